import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  checkTransfer,
  ExpertMapping,
  planTransfer,
  TransferPlan,
  type TransferPlanJson,
} from 'expert-load-balancer';

// Plans of a few ranks, each with one fault.

const from = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3, 4, 5, 0, -1]]);
const to = ExpertMapping.fromPhysicalToLogical([[4, 0, 1, 3, 2, 5, 1, -1]]);
const options = { numRanks: 4, bytesPerExpert: 100 };

type Editable<T> = { -readonly [K in keyof T]: Editable<T[K]> };
type Layer = Editable<TransferPlanJson['layers'][number]>;

/** What the checker makes of a plan after a change. */
function problemsAfter(
  change: (layer: Layer, plan: Editable<TransferPlanJson>) => void,
  more: object = {},
): string {
  const json = structuredClone(planTransfer(from, to, { ...options, ...more }).toJSON());
  change(json.layers[0] as Layer, json as Editable<TransferPlanJson>);
  const check = checkTransfer(TransferPlan.fromJSON(json), from, to);
  return check.status === 'valid' ? '' : check.problems.join('\n');
}

test('a plan as it was made is valid, in every mode', () => {
  for (const more of [
    {},
    { staging: 0 },
    { staging: 2 },
    { duplex: 'half' },
    { relay: true },
    { deadRanks: [3] },
  ]) {
    assert.equal(
      problemsAfter(() => {}, more),
      '',
    );
  }
});

test('a transfer that is missing, doubled, or of another expert is found', () => {
  assert.match(
    problemsAfter(({ rounds }) => rounds[0]!.pop()),
    /it is not in slot|in the end/,
  );
  assert.match(
    problemsAfter(({ rounds }) => rounds.push([rounds[0]![0]!])),
    /has it already/,
  );
  assert.match(
    problemsAfter(({ rounds }) => {
      rounds[0]![0]!.expert = (rounds[0]![0]!.expert + 1) % 6;
    }),
    /it is not in slot/,
  );
});

test('a source that does not have the expert, or is dead, is found, and so are such fallbacks', () => {
  assert.match(
    problemsAfter(({ rounds }) => {
      rounds[0]![0]!.sourceSlot = 1 - rounds[0]![0]!.sourceSlot;
    }),
    /it is not in slot/,
  );
  const fromRank = (rank: number) => problemsAfter((_, plan) => plan.deadRanks.push(rank));
  for (const rank of [0, 1, 2]) assert.match(fromRank(rank), new RegExp(`rank ${rank} is dead`));
  assert.match(
    problemsAfter(({ rounds }) => {
      rounds[0]![0]!.fallbacks = [{ rank: 3, slot: 1 }];
    }),
    /its fallback rank 3 does not have it/,
  );
});

test('two transfers of a rank in one round are found', () => {
  const together = (layer: Layer) => {
    layer.rounds = [layer.rounds.flat()];
    for (const copy of layer.copies) copy.step = Math.min(copy.step, 2);
  };
  assert.match(problemsAfter(together, { staging: 2 }), /sends|receives/);
  assert.match(
    problemsAfter((layer, plan) => {
      plan.duplex = 'half';
      together(layer);
    }),
    /at half duplex/,
  );
});

test('what is overwritten too early is found', () => {
  assert.match(
    problemsAfter(({ rounds, copies }) => {
      // The activation before the rounds.
      for (const copy of copies) copy.step = 0;
      assert.ok(rounds.length > 0);
    }),
    /before the activation/,
  );
  assert.match(
    problemsAfter(({ rounds }) => {
      rounds[0]![0]!.targetSlot = 0;
    }),
    /before the activation/,
  );
  assert.match(
    problemsAfter(
      ({ rounds }) => {
        const [first] = rounds[0]!;
        const reader = rounds[0]!.find(({ sourceRank }) => sourceRank === first!.targetRank)!;
        first!.targetSlot = reader.sourceSlot;
      },
      { staging: 2 },
    ),
    /while it is read/,
  );
});

test('a slot that is to be empty, or is none, is not written', () => {
  assert.match(
    problemsAfter(({ copies }) => {
      const last = copies.findLast(({ targetRank }) => targetRank === 3)!;
      last.targetSlot = 1;
    }),
    /slot 1 is to be empty/,
  );
  assert.match(
    problemsAfter((layer) => {
      layer.extraSlots = 0;
    }),
    /has no slot/,
  );
  assert.match(
    problemsAfter(({ clears }) => clears.push({ rank: 0, slot: 0 })),
    /is not to be cleared/,
  );
});

test('copies and slots that are left out, and false reasons, are found', () => {
  assert.match(
    problemsAfter(({ copies }) => copies.pop()),
    /in the end/,
  );
  const undone = { expert: 4, targetRank: 0, targetSlot: 0, bytes: 100 };
  assert.match(
    problemsAfter((layer) => layer.undone.push({ ...undone, reason: 'deadRank' })),
    /is not undone/,
  );
  assert.match(
    problemsAfter((layer) => layer.undone.push({ ...undone, reason: 'staging' })),
    /is not undone/,
  );
  assert.match(
    problemsAfter(
      (layer) => {
        layer.undone = [];
      },
      { deadRanks: [3] },
    ),
    /dead rank 3 is not listed/,
  );
});

test('more bytes in flight than allowed, and rounds together that depend on each other, are found', () => {
  assert.match(
    problemsAfter((_, plan) => {
      plan.maxBytesInFlight = 150;
    }),
    /more than 150 bytes/,
  );
  assert.match(
    problemsAfter(
      (_, plan) => {
        plan.schedule = 'batch';
      },
      { staging: 1 },
    ),
    /may not be issued together/,
  );
});

test('loads of what a rank has are found, and other mappings', () => {
  assert.match(
    problemsAfter(({ hostLoads }) => hostLoads.push({ expert: 5, targetRank: 0, targetSlot: 2, bytes: 100 })),
    /a live rank has it/,
  );
  const plan = planTransfer(from, to, options);
  const check = checkTransfer(plan, to, from);
  assert.ok(check.status === 'invalid');
  assert.equal(check.problems.length, 2);
  assert.throws(() => checkTransfer({} as TransferPlan, from, to), { code: 'EPLB_KIND' });
});
