import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  AbstractEplbPolicy,
  type CostModelInit,
  costModel,
  ExpertMapping,
  planTransfer,
} from 'expert-load-balancer';
import { checkCostModel, type ReplayResult, replay, slotCost } from 'expert-load-balancer/replay';
import fc from 'fast-check';
import { refusal } from '../helpers/library.ts';
import { memoryRecording } from '../helpers/memory-recording.ts';

/** Plans the same mapping each time. */
class Always extends AbstractEplbPolicy {
  readonly name = 'always';
  readonly #mapping: ExpertMapping;
  constructor(mapping: ExpertMapping) {
    super();
    this.#mapping = mapping;
  }
  override rebalanceExperts(): ExpertMapping {
    return this.#mapping;
  }
}

interface Change {
  readonly numRanks: number;
  readonly numNodes: number;
  readonly from: ExpertMapping;
  readonly to: ExpertMapping;
  readonly cost: CostModelInit | string;
}

const NUM_EXPERTS = 8;
const MODELS = ['h200:deepseek-v3', 'ascend-910b:qwen3-235b'];

const models: fc.Arbitrary<Change['cost']> = fc.oneof(
  fc.constantFrom(...MODELS),
  fc.record({
    slotSeconds: fc.constant({ perToken: 1e-6 }),
    bytesPerExpert: fc.constantFrom(0, 1e6),
    moves: fc.record({
      secondsPerRound: fc.constantFrom(0, 1e-3),
      bandwidthShare: fc.constantFrom(0.5, 1),
    }),
    links: fc.constant({
      intraNode: { bytesPerSecond: 1e9, batchShare: 0.9 },
      interNode: { bytesPerSecond: 1e8, batchShare: 0.3 },
    }),
  }),
);

/** A layer that has every expert, some in several slots or several times on a rank, and empty slots. */
const rowOf = (numSlots: number) =>
  fc
    .record({
      more: fc.array(fc.integer({ min: -1, max: NUM_EXPERTS - 1 }), {
        minLength: numSlots - NUM_EXPERTS,
        maxLength: numSlots - NUM_EXPERTS,
      }),
      keys: fc.array(fc.double({ noNaN: true }), { minLength: numSlots, maxLength: numSlots }),
    })
    .map(({ more, keys }) => {
      const experts = [...Array(NUM_EXPERTS).keys(), ...more];
      return experts
        .map((expert, i) => ({ expert, key: keys[i]! }))
        .sort((a, b) => a.key - b.key)
        .map(({ expert }) => expert);
    });

const changes: fc.Arbitrary<Change> = fc
  .record({
    numNodes: fc.integer({ min: 1, max: 2 }),
    ranksPerNode: fc.integer({ min: 1, max: 4 }),
    numLayers: fc.integer({ min: 1, max: 3 }),
    cost: models,
  })
  .chain(({ numNodes, ranksPerNode, numLayers, cost }) => {
    const numRanks = numNodes * ranksPerNode;
    const numSlots = numRanks * Math.ceil((NUM_EXPERTS + 4) / numRanks);
    const tables = fc
      .array(rowOf(numSlots), { minLength: numLayers, maxLength: numLayers })
      .map((rows) => ExpertMapping.fromPhysicalToLogical(rows, NUM_EXPERTS));
    return fc.record({ from: tables, to: tables }).map((both) => ({ numRanks, numNodes, cost, ...both }));
  });

/** All layers change to the mapping, one before each step from the second on. */
function replayed({ from, to, cost, ...ranks }: Change): Promise<ReplayResult> {
  const { numLayers, numPhysicalExperts } = from;
  const loads = Array.from({ length: numLayers }, () => Array.from({ length: NUM_EXPERTS }, (_, i) => i + 1));
  return replay(memoryRecording(Array.from({ length: numLayers + 1 }, () => loads)), {
    ...ranks,
    ...{ numPhysicalExperts, policy: new Always(to), start: from, cost },
    ...{ trigger: { interval: 1 }, planningSeconds: 0, layersPerStep: 1 },
  });
}

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) <= 1e-12 * Math.abs(expected), `${actual}, not ${expected}`);
}

describe('what moving takes in a replay by a cost model', () => {
  test('a plan takes the seconds of its transfer plan, layer by layer', () =>
    fc.assert(
      fc.asyncProperty(changes, async (change) => {
        const { from, to, numRanks, numNodes, cost } = change;
        const { plans, totals, series } = await replayed(change);
        const { layers, seconds } = planTransfer(from, to, { numRanks, numNodes, cost });
        const [plan] = plans;
        near(plan!.moveSeconds, seconds!);
        near(totals.moveSeconds, seconds!);
        const secondsOf = new Map(layers.map((layer) => [layer.layer, layer.seconds!]));
        plan!.layerOrder.forEach((layer, i) => {
          near(series.moveSeconds[i + 1]!, secondsOf.get(layer)!);
        });
      }),
      { seed: 20_240_714, numRuns: 60 },
    ));

  test('the plan, not the layer, says whether rounds or a batch', async () => {
    // Rounds are shorter in the first layer, over cards that slow down when many send at once, and a batch in
    // the second, within a node.
    const cost = costModel({
      slotSeconds: { perToken: 1e-6 },
      bytesPerExpert: 1e6,
      moves: { secondsPerRound: 1e-3 },
      links: {
        intraNode: { bytesPerSecond: 1e9 },
        interNode: { bytesPerSecond: 1e9, batchShare: 0.25 },
      },
    });
    const from = [0, 1, 2, 3, 4, 5, 6, 7];
    const [far, near] = [
      [4, 1, 2, 3, 0, 5, 6, 7],
      [2, 3, 0, 1, 6, 7, 4, 5],
    ];
    const secondsOf = async (rows: number[][]) => {
      const { plans } = await replayed({
        ...{ numRanks: 4, numNodes: 2, cost: cost.toJSON() },
        from: ExpertMapping.fromPhysicalToLogical(rows.map(() => from)),
        to: ExpertMapping.fromPhysicalToLogical(rows),
      });
      return Math.round(1e6 * plans[0]!.moveSeconds) / 1e3;
    };
    // ms: a round of 1 + 1, a batch of 1 + 4; two rounds of 1 + 1, a batch of 1 + 2.
    assert.deepEqual([await secondsOf([far]), await secondsOf([near])], [2, 3]);
    // Rounds 2 + 4, batches 5 + 3; with three more of the second, rounds 2 + 16, batches 5 + 12.
    assert.equal(await secondsOf([far, near]), 6);
    assert.equal(await secondsOf([far, near, near, near, near]), 17);
  });

  test('what contradicts the model is refused', () => {
    const cost = slotCost(costModel('h200:deepseek-v3'));
    for (const change of [
      { bytesPerExpert: 1 },
      { intraNodeBytesPerSecond: 1 },
      { interNodeBytesPerSecond: 1 },
      { concurrentTransfers: 'none' },
      { countedMoves: 'slot' },
    ]) {
      const [field] = Object.keys(change);
      assert.throws(
        () => checkCostModel('cost', { ...cost, ...change }),
        refusal('range', 'EPLB_RANGE', new RegExp(`cost.${field}: .* "slots"`)),
      );
    }
  });
});
