import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  ExpertLoadBalancer,
  type ExpertMapping,
  planTransfer,
  type RankWeights,
  type RearrangeOptions,
  type RearrangeProgress,
  type RearrangeResult,
  rearrangeExpertWeights,
  type TransferPlan,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { hasEnded, threadsOf } from '../helpers/hostile-policy.ts';
import { type Refusal, refusal, SEED } from '../helpers/library.ts';
import { transferProblems } from '../helpers/transfer.ts';

const BUNDLE = [
  { name: 'id', bytes: 4 },
  { name: 'scales', bytes: 32 },
  { name: 'weights', bytes: 64 },
] as const;

/** The bytes of a tensor of an expert, unlike those of any other. */
function tensorOf(layer: number, expert: number, bytes: number): Uint8Array {
  return Uint8Array.from(
    { length: bytes },
    (_, at) => (layer * 89 + expert * 57 + bytes * 31 + at * 7 + 1) % 251,
  );
}

const expertOf = (layer: number, expert: number) => BUNDLE.map(({ bytes }) => tensorOf(layer, expert, bytes));

/** What ranks hold by a mapping; null for dead ones. Tensors of several kinds, some on the same memory. */
function weightsOf(
  mapping: ExpertMapping,
  numRanks: number,
  deadRanks: readonly number[] = [],
): RankWeights[] {
  const slotsPerRank = mapping.numPhysicalExperts / numRanks;
  return Array.from({ length: numRanks }, (_, rank) => {
    if (deadRanks.includes(rank)) return null;
    return Array.from({ length: mapping.numLayers }, (__, layer) => {
      const all = new SharedArrayBuffer(slotsPerRank * 100);
      const ids = new Uint32Array(all, 0, slotsPerRank);
      const scales = new Float64Array(new SharedArrayBuffer(32 * slotsPerRank));
      const rest = new Uint8Array(all, 4 * slotsPerRank, 64 * slotsPerRank);
      const tensors = [ids, scales, rest];
      for (let slot = 0; slot < slotsPerRank; slot++) {
        const expert = mapping.getLogicalExpert(layer, rank * slotsPerRank + slot);
        if (expert < 0) continue;
        tensors.forEach((tensor, i) => {
          const { bytes } = BUNDLE[i]!;
          new Uint8Array(tensor.buffer, tensor.byteOffset).set(tensorOf(layer, expert, bytes), slot * bytes);
        });
      }
      return tensors;
    });
  });
}

/** Whether the slots of a layer that hold experts by a mapping have their weights. */
function holds(
  ranks: readonly RankWeights[],
  mapping: ExpertMapping,
  layer: number,
  skip: Set<string>,
): boolean {
  const slotsPerRank = mapping.numPhysicalExperts / ranks.length;
  return ranks.every((weights, rank) =>
    Array.from({ length: slotsPerRank }, (_, slot) => slot).every((slot) => {
      const expert = mapping.getLogicalExpert(layer, rank * slotsPerRank + slot);
      if (weights === null || expert < 0 || skip.has(`${rank}/${slot}`)) return true;
      const tensors = weights[layer] as readonly ArrayBufferView[];
      return tensors.every((tensor, i) => {
        const { bytes } = BUNDLE[i]!;
        const own = Buffer.from(tensor.buffer, tensor.byteOffset + slot * bytes, bytes);
        return own.equals(tensorOf(layer, expert, bytes));
      });
    }),
  );
}

const undoneOf = (plan: TransferPlan, layer: number) =>
  new Set(
    plan.layers
      .find((one) => one.layer === layer)!
      .undone.map(({ targetRank, targetSlot }) => `${targetRank}/${targetSlot}`),
  );

/** Checks that each layer is what the result says, and all are there. */
function checkLayers(
  result: RearrangeResult,
  plan: TransferPlan,
  ranks: readonly RankWeights[],
  from: ExpertMapping,
  to: ExpertMapping,
): void {
  assert.deepEqual(
    result.layers.map(({ layer }) => layer),
    plan.layers.map(({ layer }) => layer),
  );
  for (const { layer, state } of result.layers) {
    if (state === 'new') assert.ok(holds(ranks, to, layer, undoneOf(plan, layer)), `layer ${layer} is new`);
    if (state === 'old') assert.ok(holds(ranks, from, layer, new Set()), `layer ${layer} is old`);
  }
}

/** Threads of the pool end with the last balancer: this one keeps them. */
async function withThreads(work: () => Promise<void>): Promise<void> {
  const keeper = new ExpertLoadBalancer({
    ...{ numLayers: 1, numLogicalExperts: 2, numPhysicalExperts: 2, numRanks: 1, threads: 2 },
  });
  try {
    await keeper.start();
    await work();
  } finally {
    await keeper.close();
  }
}

const EXPERT_BYTES = 2 ** 19;

/** Large enough that the copies take many turns of the event loop. */
function bigProblem(mode: 'buffered' | 'inPlace') {
  const [numLayers, numRanks, slots] = [8, 4, 8];
  const row = (shift: number) => Array.from({ length: numRanks * slots }, (_, at) => (at + shift) % 32);
  const mappingOf = (shift: number) =>
    ({ phyToLog: Array.from({ length: numLayers }, () => row(shift)), numLogicalExperts: 32 }) as const;
  const plan = planTransfer(mappingOf(0), mappingOf(slots), { numRanks, mode, bytesPerExpert: EXPERT_BYTES });
  const ranks = Array.from({ length: numRanks }, () =>
    Array.from({ length: numLayers }, () => new Uint8Array(new SharedArrayBuffer(slots * EXPERT_BYTES))),
  );
  for (const [rank, layers] of ranks.entries()) {
    for (const [layer, tensor] of layers.entries()) {
      for (let slot = 0; slot < slots; slot++)
        tensor.fill(
          1 + ((layer * 32 + rank * slots + slot) % 255),
          slot * EXPERT_BYTES,
          (slot + 1) * EXPERT_BYTES,
        );
    }
  }
  /** What a layer holds: the first byte of each slot says it, and the last one the same. */
  const stateOf = (layer: number) => {
    const found = ranks.flatMap((layers) =>
      Array.from({ length: slots }, (_, slot) => {
        const tensor = layers[layer]!;
        const [first, last] = [tensor[slot * EXPERT_BYTES]!, tensor[(slot + 1) * EXPERT_BYTES - 1]!];
        return first === last ? first : -1;
      }),
    );
    const wanted = (shift: number) => row(shift).map((expert) => 1 + ((layer * 32 + expert) % 255));
    if (found.join() === wanted(0).join()) return 'old';
    return found.join() === wanted(slots).join() ? 'new' : 'broken';
  };
  return { plan, ranks, stateOf };
}

describe('rearranging the weights of experts', () => {
  test('random plans: the slots hold what they are to hold, byte for byte', async () => {
    await withThreads(async () => {
      await fc.assert(
        fc.asyncProperty(transferProblems, async ({ from, to, options: { bytesPerExpert, ...options } }) => {
          const plan = planTransfer(from, to, { ...options, bundle: BUNDLE });
          const ranks = weightsOf(from, options.numRanks, options.deadRanks);
          const told: RearrangeProgress[] = [];
          const result = await rearrangeExpertWeights(plan, ranks, {
            loadExpert: (layer, expert) => expertOf(layer, expert),
            onLayer: (progress) => told.push(progress),
          });
          assert.equal(result.status, 'moved');
          checkLayers(result, plan, ranks, from, to);
          assert.ok(result.layers.every(({ state }) => state === 'new'));
          assert.deepEqual(
            told.map(({ numDone }) => numDone),
            plan.layers.map((_, i) => i + 1),
          );
          assert.deepEqual(
            told.map(({ layer }) => layer).sort((a, b) => a - b),
            Array.from({ length: from.numLayers }, (_, layer) => layer),
          );
        }),
        { seed: SEED, numRuns: 80 },
      );
    });
  });

  test('the event loop goes on meanwhile, and other threads of the pool are left alone', async () => {
    const { plan, ranks, stateOf } = bigProblem('buffered');
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const result = await rearrangeExpertWeights(plan, ranks, { threads: 1 });
    clearInterval(timer);
    assert.equal(result.status, 'moved');
    assert.ok(turns > 2, `${turns} turns`);
    for (const { layer } of result.layers) assert.equal(stateOf(layer), 'new');
  });

  for (const mode of ['buffered', 'inPlace'] as const) {
    test(`aborted, ${mode}: each layer is old or new`, async () => {
      const { plan, ranks, stateOf } = bigProblem(mode);
      const abort = new AbortController();
      const result = await rearrangeExpertWeights(plan, ranks, {
        signal: abort.signal,
        threads: 1,
        onLayer: ({ numDone }) => {
          if (numDone === 2) abort.abort();
        },
      });
      assert.equal(result.status, 'aborted');
      for (const { layer, state } of result.layers) assert.equal(stateOf(layer), state);
      const numNew = result.layers.filter(({ state }) => state === 'new').length;
      assert.ok(numNew >= 2 && numNew <= 4, `${numNew} new`);
    });
  }

  test('aborted before it begins: nothing has moved, and no thread was started', async () => {
    const { plan, ranks, stateOf } = bigProblem('buffered');
    await threadsOf(async (threads) => {
      const result = await rearrangeExpertWeights(plan, ranks, { signal: AbortSignal.abort() });
      assert.equal(result.status, 'aborted');
      assert.equal(threads.length, 0);
      for (const { layer } of result.layers) assert.equal(stateOf(layer), 'old');
    });
  });

  for (const mode of ['buffered', 'inPlace'] as const) {
    test(`a thread that is killed, ${mode}: what it was at is named, all else is old or new`, async () => {
      const { plan, ranks, stateOf } = bigProblem(mode);
      await threadsOf(async (threads) => {
        // One that is killed before it has begun is replaced, and those after it are killed too.
        let killer: NodeJS.Timeout | undefined;
        const result = await rearrangeExpertWeights(plan, ranks, {
          threads: 1,
          onLayer: () => {
            killer ??= setInterval(() => void threads.at(-1)!.terminate(), 2);
          },
        });
        clearInterval(killer);
        assert.equal(result.status, 'failed');
        refusal('other', 'EPLB_WORKER_LOST', /moving weights/)(result.status === 'failed' && result.error);
        for (const { layer, state, undefinedSlots } of result.layers) {
          if (state !== 'broken') assert.equal(stateOf(layer), state);
          assert.equal(undefinedSlots.length, state === 'broken' ? 32 : 0);
        }
        assert.ok(result.layers.some(({ state }) => state === 'old'));
        assert.ok(threads.every(hasEnded));
      });
    });
  }

  test('what does not fit is refused before anything moves', async () => {
    const from = { phyToLog: [[0, 1, 2, 3]] };
    const to = { phyToLog: [[2, 1, 0, 3]] };
    const plan = planTransfer(from, to, { numRanks: 2, bytesPerExpert: 8 });
    const shared = (bytes: number) => new Uint8Array(new SharedArrayBuffer(bytes)).fill(7);
    const good = () => [[shared(16)], [shared(16)]];
    const orphaned = planTransfer(
      { phyToLog: [[0, 1, 2, 1]] },
      { phyToLog: [[0, 2, 1, 1]] },
      { numRanks: 2, deadRanks: [1], bytesPerExpert: 8 },
    );
    const cases: readonly [unknown, unknown, unknown, Refusal][] = [
      [{ layers: [] }, good(), {}, ['type', 'EPLB_KIND', /plan/]],
      [plan, 7, {}, ['type', 'EPLB_KIND', /ranks: 7/]],
      [plan, [[shared(16)]], {}, ['range', 'EPLB_SHAPE', /ranks: has 1/]],
      [plan, [[shared(16)], null], {}, ['type', 'EPLB_KIND', /ranks\[1\]: null/]],
      [plan, [[shared(16)], []], {}, ['range', 'EPLB_SHAPE', /ranks\[1\]: has 0 layers/]],
      [plan, [[shared(16)], [new Uint8Array(16)]], {}, ['type', 'EPLB_KIND', /ranks\[1\]\[0\].*Shared/]],
      [plan, [[shared(16)], ['x']], {}, ['type', 'EPLB_KIND', /ranks\[1\]\[0\]/]],
      [plan, [[shared(12)], [shared(12)]], {}, ['range', 'EPLB_SHAPE', /6 bytes a slot.* 8/]],
      [plan, [[shared(16)], [shared(18)]], {}, ['range', 'EPLB_SHAPE', /ranks\[1\]\[0\]: tensor 0 has 9/]],
      [plan, [[[shared(16)]], [[shared(8), shared(8)]]], {}, ['range', 'EPLB_SHAPE', /has 2 tensors, not 1/]],
      [plan, good(), { thread: 1 }, ['type', 'EPLB_OPTION', /threads/]],
      [plan, good(), { threads: 0 }, ['range', 'EPLB_RANGE', /threads/]],
      [orphaned, [[shared(16)], null], {}, ['type', 'EPLB_OPTION', /expert 2 .*loadExpert/]],
      [
        orphaned,
        [[shared(16)], null],
        { loadExpert: () => shared(9) },
        ['range', 'EPLB_SHAPE', /9 bytes, not 8/],
      ],
      [
        orphaned,
        [[shared(16)], null],
        { loadExpert: () => 9 },
        ['type', 'EPLB_KIND', /loadExpert\(0, 2\): 9/],
      ],
    ];
    for (const [given, ranks, options, expected] of cases) {
      await assert.rejects(
        rearrangeExpertWeights(given as TransferPlan, ranks as RankWeights[], options as RearrangeOptions),
        refusal(...expected),
      );
      for (const tensor of Array.isArray(ranks) ? ranks.flat(2) : [])
        if (tensor instanceof Uint8Array && tensor.buffer instanceof SharedArrayBuffer)
          assert.ok(tensor.every((byte) => byte === 7));
    }
  });
});
