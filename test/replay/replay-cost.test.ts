import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AbstractEplbPolicy, DefaultEplbPolicy, ExpertMapping } from 'expert-load-balancer';
import {
  bytesPerExpert,
  COMPETITION,
  COMPETITION_INTERVAL,
  COST_PRESETS,
  type CostModel,
  checkCostModel,
  competitionStart,
  costPreset,
  MODEL_SHAPES,
  modelShape,
  replay,
} from 'expert-load-balancer/replay';
import { seededRandom } from '../helpers/arbitraries.ts';
import { refusal } from '../helpers/library.ts';
import { memoryRecording } from '../helpers/memory-recording.ts';

/** Gives its tables one after the other. */
class Listed extends AbstractEplbPolicy {
  readonly name = 'listed';
  readonly #tables: number[][][];
  constructor(...tables: number[][][]) {
    super();
    this.#tables = tables;
  }
  override rebalanceExperts(): ExpertMapping {
    return ExpertMapping.fromPhysicalToLogical(this.#tables.shift()!, 4);
  }
}

describe("the public competition's cost model", () => {
  test('the first table gives ranks their experts in order, redundant slots repeating the one before', () => {
    const sizes = { numLayers: 2, numLogicalExperts: 8, numPhysicalExperts: 12, numRanks: 4 };
    const row = [0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7];
    assert.deepEqual(competitionStart(sizes).toJSON().phyToLog, [row, row]);
    const uneven = { ...sizes, numRanks: 3 };
    assert.throws(
      () => competitionStart(uneven),
      refusal('range', 'EPLB_TOPOLOGY', /3 does not divide 8 experts/),
    );
  });

  test('60 s x mean PAR + moved slots x 88,080,384 B / 900e9 B/s, by hand', async () => {
    // One layer, two ranks of two slots; a load of 0 is read as 1.
    const steps = [[[4, 0, 2, 1]], [[1, 3, 5, 3]], [[1, 3, 5, 3]], [[2, 2, 2, 2]]];
    // After step 0, 0.1 s are two steps of 0.08 s: it changes before step 3. An exchange inside a rank counts
    // as two moved slots.
    const policy = new Listed([[1, 0, 2, 3]], [[1, 0, 2, 3]]);
    const result = await replay(memoryRecording(steps), {
      numPhysicalExperts: 4,
      numRanks: 2,
      policy,
      trigger: { interval: 1 },
      planningSeconds: 0.1,
      cost: COMPETITION,
    });
    assert.equal(result.plans[0]!.appliedFromStep, 3);
    assert.equal(result.totals.changedSlots, 2);
    assert.equal(result.totals.moves, 0);
    assert.equal(result.totals.bytes, 2 * 88_080_384);
    const meanPar = (5 / 4 + 8 / 6 + 8 / 6 + 1) / 4;
    const expected = 60 * meanPar + (2 * 88_080_384) / 900e9;
    assert.ok(
      Math.abs(result.totals.modelledSeconds - expected) < 1e-12 * expected,
      `${result.totals.modelledSeconds}`,
    );
  });

  test("the default policy's score against itself is exactly 100", async () => {
    const random = seededRandom(5);
    const steps = Array.from({ length: 2 * COMPETITION_INTERVAL + 50 }, () =>
      Array.from({ length: 3 }, () =>
        Array.from({ length: 16 }, (_, expert) => Math.floor((expert % 5 === 0 ? 90 : 9) * random())),
      ),
    );
    const sizes = { numLayers: 3, numLogicalExperts: 16, numPhysicalExperts: 20, numRanks: 4 };
    const run = () =>
      replay(memoryRecording(steps), {
        ...sizes,
        policy: new DefaultEplbPolicy(),
        trigger: { interval: COMPETITION_INTERVAL },
        windowSize: COMPETITION_INTERVAL,
        cost: COMPETITION,
        start: competitionStart(sizes),
      });
    // Planning time is measured: it differs between the two, and both are less than a step of 0.08 s.
    const [ours, reference] = [await run(), await run()];
    assert.equal(ours.plans.length, 2);
    assert.ok(ours.totals.changedSlots > 0, 'nothing moved');
    assert.equal(100 * (reference.totals.modelledSeconds / ours.totals.modelledSeconds), 100);
  });
});

describe('moving weights', () => {
  const base: CostModel = {
    name: 'by hand',
    time: { kind: 'load', secondsPerLoad: 1 },
    bytesPerExpert: 100,
    intraNodeBytesPerSecond: 1000,
    interNodeBytesPerSecond: 10,
    concurrentTransfers: 'rank',
    countedMoves: 'rank',
    stepSeconds: 'modelled',
    zeroLoadsCountAsOne: false,
  };
  // Four ranks of two slots on two nodes. 0 1 | 2 3 || 0 1 | 2 3 becomes 2 3 | 1 0 || 3 1 | 2 0.
  const first = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3, 0, 1, 2, 3]]);
  const moved = (cost: CostModel) =>
    replay(memoryRecording([[[1, 1, 1, 1]], [[1, 1, 1, 1]]]), {
      numPhysicalExperts: 8,
      numRanks: 4,
      numNodes: 2,
      policy: new Listed([[2, 3, 1, 0, 3, 1, 2, 0]], [[2, 3, 1, 0, 3, 1, 2, 0]]),
      trigger: { interval: 1 },
      planningSeconds: 0,
      start: first,
      cost,
    });

  test('ranks receive at once, or every move waits', async () => {
    // Rank 0 gets 2 and 3, rank 1 gets 1 and 0, rank 2 gets 3, rank 3 gets 0: all held on their own node.
    const { totals } = await moved(base);
    assert.deepEqual(
      [totals.moves, totals.changedSlots, totals.bytes, totals.bytesBetweenNodes],
      [6, 6, 600, 0],
    );
    assert.equal(totals.moveSeconds, 0.2);
    assert.equal((await moved({ ...base, concurrentTransfers: 'none' })).totals.moveSeconds, 0.6);
  });

  test('what no rank of the node held comes from another node', async () => {
    const { totals } = await replay(memoryRecording([[[1, 1, 1, 1]], [[1, 1, 1, 1]]]), {
      numPhysicalExperts: 4,
      numRanks: 2,
      numNodes: 2,
      policy: new Listed([[0, 2, 1, 3]], [[0, 2, 1, 3]]),
      trigger: { interval: 1 },
      planningSeconds: 0,
      cost: base,
    });
    assert.deepEqual([totals.moves, totals.bytesBetweenNodes, totals.moveSeconds], [2, 200, 10]);
  });
});

describe('cost models', () => {
  const good = costPreset('deepseek-v3')!;

  test('presets have the bytes of their models, and are models themselves', () => {
    assert.deepEqual(COST_PRESETS, ['competition', ...MODEL_SHAPES.map(({ name }) => name)]);
    for (const name of COST_PRESETS) {
      const named = checkCostModel('cost', costPreset(name)).name;
      assert.ok(name === 'competition' ? named === name : named.startsWith(`h200:${name}:`), named);
    }
    // 3 x 7168 x 2048 bytes and a float32 for each block of 128 x 128; the competition's are those of bf16.
    assert.equal(good.bytesPerExpert, 44_040_192 + 4 * 3 * 56 * 16);
    assert.equal(COMPETITION.bytesPerExpert, 2 * 44_040_192);
    // 17.5 MB an expert on disk, as its release is described.
    assert.equal(bytesPerExpert(modelShape('kimi-k3')), 17_547_264);
    assert.equal(bytesPerExpert(modelShape('deepseek-v2-lite')), 2 * 3 * 2048 * 1408);
    assert.equal(costPreset('no-such'), undefined);
  });

  test('every field is needed, none is unknown, every value is checked', () => {
    const refused = (change: object, kind: 'type' | 'range', message: RegExp) =>
      assert.throws(
        () => checkCostModel('cost', { ...good, ...change }),
        refusal(kind, kind === 'type' ? 'EPLB_KIND' : 'EPLB_RANGE', message),
      );
    refused({ bandwith: 1 }, 'range', /unknown field "bandwith"; its fields are name, time/);
    refused({ bytesPerExpert: -1 }, 'range', /cost\.bytesPerExpert: -1/);
    refused({ bytesPerExpert: '1' }, 'type', /cost\.bytesPerExpert: "1" is not a number/);
    refused({ intraNodeBytesPerSecond: 0 }, 'range', /intraNodeBytesPerSecond: 0/);
    refused({ interNodeBytesPerSecond: Number.NaN }, 'range', /interNodeBytesPerSecond: NaN/);
    refused({ time: { kind: 'load' } }, 'range', /cost\.time: lacks the field secondsPerLoad/);
    refused(
      { time: { kind: 'load', secondsPerLoad: 1, secondsAtBalance: 1 } },
      'range',
      /unknown field "secondsAtBalance"/,
    );
    refused({ time: { kind: 'par' } }, 'range', /cost\.time/);
    refused({ time: 5 }, 'type', /cost\.time: 5/);
    refused({ concurrentTransfers: 'all' }, 'range', /"all" is not "rank" or "none"/);
    refused({ zeroLoadsCountAsOne: 1 }, 'type', /true or false/);
    refused({ stepSeconds: 'fast' }, 'type', /stepSeconds/);
    refused(
      { time: { kind: 'peak-to-average', secondsAtBalance: 1 } },
      'range',
      /stepSeconds: needs seconds/,
    );
    for (const field of Object.keys(good)) {
      const { [field]: _, ...rest } = good as unknown as Record<string, unknown>;
      assert.throws(
        () => checkCostModel('cost', rest),
        refusal('range', 'EPLB_RANGE', new RegExp(`lacks the field ${field}`)),
      );
    }
    for (const value of [null, [], 'deepseek-v3', 3]) {
      assert.throws(
        () => checkCostModel('cost', value),
        refusal('type', 'EPLB_KIND', /is not an object with name/),
      );
    }
  });
});
