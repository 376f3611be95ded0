import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { costModel, DefaultEplbPolicy, ExpertMapping, layerCosts, summarizeCost } from 'expert-load-balancer';
import {
  type CostModel,
  checkCostModel,
  costPreset,
  hardwareCost,
  inspect,
  type ReplayTotals,
  replay,
  slotCost,
} from 'expert-load-balancer/replay';
import { seededRandom } from '../helpers/arbitraries.ts';
import { refusal } from '../helpers/library.ts';
import { memoryRecording } from '../helpers/memory-recording.ts';

const random = seededRandom(7);
/** [steps][3 layers][8 experts], the first of each layer hot. */
const STEPS = Array.from({ length: 24 }, () =>
  Array.from({ length: 3 }, () =>
    Array.from({ length: 8 }, (_, expert) => Math.floor(random() * (expert === 0 ? 900 : 200))),
  ),
);
const SIZES = { numPhysicalExperts: 12, numRanks: 4, numNodes: 2 };
const near = (actual: number, expected: number) =>
  assert.ok(Math.abs(actual - expected) <= 1e-9 * Math.abs(expected), `${actual}, not ${expected}`);

describe('a replay by what slots cost', () => {
  test('a static placement takes what layerCosts says, with dispatch and combine', async () => {
    const cost = costModel('h200:deepseek-v3:bf16');
    const result = await replay(memoryRecording(STEPS), { ...SIZES, policy: 'static', cost: slotCost(cost) });
    const row = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3];
    const mapping = ExpertMapping.fromPhysicalToLogical([row, row, row], 8);
    const sums = STEPS.map((step) =>
      summarizeCost(layerCosts(step, mapping, 4, cost, { exchange: 'even', numNodes: 2 })),
    );
    near(
      result.totals.stepSeconds,
      sums.reduce((sum, { seconds }) => sum + seconds, 0),
    );
    near(
      result.totals.idealSeconds,
      sums.reduce((sum, { secondsAtBalance }) => sum + secondsAtBalance, 0),
    );
  });

  test('where slots cost by their tokens alone, it is the replay by loads', async () => {
    const links = { intraNode: { bytesPerSecond: 1e9 }, interNode: { bytesPerSecond: 1e8 } };
    const linear = costModel({ slotSeconds: { perToken: 1e-6 }, bytesPerExpert: 1000, links });
    const bySlots = slotCost(linear);
    const byLoads: CostModel = { ...bySlots, time: { kind: 'load', secondsPerLoad: 1e-6 } };
    const [slots, loads] = await Promise.all(
      [bySlots, byLoads].map((cost) =>
        replay(memoryRecording(STEPS), {
          ...{ ...SIZES, cost, policy: new DefaultEplbPolicy(), planningSeconds: 0 },
          trigger: { interval: 6 },
        }),
      ),
    );
    assert.ok(loads!.totals.numAppliedPlans > 0 && loads!.totals.moves > 0);
    // Moves take what a transfer plan takes, not their bytes at one rate.
    const withMoves = ['moveSeconds', 'modelledSeconds', 'secondsSaved'];
    for (const [name, value] of Object.entries(loads!.totals)) {
      if (withMoves.includes(name)) continue;
      near(slots!.totals[name as keyof ReplayTotals] as number, value as number);
    }
    slots!.plans.forEach((plan, i) => {
      const { predictedGainSecondsPerStep, realisedGainSecondsPerStep } = loads!.plans[i]!;
      near(plan.predictedGainSecondsPerStep, predictedGainSecondsPerStep);
      if (realisedGainSecondsPerStep !== null)
        near(plan.realisedGainSecondsPerStep!, realisedGainSecondsPerStep);
    });
    assert.deepEqual(slots!.balance, loads!.balance);
  });

  test('the cost is checked whole', () => {
    const cost = slotCost(costModel('h200:deepseek-v3'));
    assert.deepEqual(checkCostModel('cost', JSON.parse(JSON.stringify(cost))), cost);
    const refused = (change: object, ...[kind, code, message]: Parameters<typeof refusal>) =>
      assert.throws(() => checkCostModel('cost', { ...cost, ...change }), refusal(kind, code, message));
    refused(
      { zeroLoadsCountAsOne: true },
      'range',
      'EPLB_RANGE',
      /cost.zeroLoadsCountAsOne: has to be false/,
    );
    refused({ time: { kind: 'slots' } }, 'range', 'EPLB_RANGE', /cost.time: lacks the field model/);
    refused(
      { time: { kind: 'slots', model: 'h200' } },
      'type',
      'EPLB_KIND',
      /time.model: "h200" is not an object/,
    );
    refused(
      { time: { kind: 'slots', model: { slotSeconds: { perToken: -1 } } } },
      'range',
      'EPLB_RANGE',
      /cost.time.model.slotSeconds.perToken: -1/,
    );
  });

  test("a model's name is the model on the device that was measured, however it is given", async () => {
    const cost = costModel('h200:deepseek-v3');
    assert.deepEqual(costPreset('deepseek-v3'), slotCost(cost));
    const all = await Promise.all(
      [undefined, 'h200:deepseek-v3', 'deepseek-v3', cost, cost.toJSON(), slotCost(cost)].map((given) =>
        replay(memoryRecording(STEPS), {
          ...{ ...SIZES, policy: new DefaultEplbPolicy(), trigger: { interval: 6 } },
          ...(given === undefined ? {} : { cost: given }),
        }),
      ),
    );
    for (const result of all.slice(1)) assert.deepEqual(result, all[0]);
    await assert.rejects(
      replay(memoryRecording(STEPS), { ...SIZES, policy: 'static', cost: 'h200' }),
      refusal('range', 'EPLB_RANGE', /"h200" is not DEVICE:MODEL/),
    );
  });

  test('the older cost of tokens alone means what it meant', () => {
    const { time } = hardwareCost('deepseek-v3');
    assert.deepEqual(time, { kind: 'load', secondsPerLoad: (2 * 3 * 7168 * 2048) / (1979e12 * 0.4) });
  });
});

describe('inspect with a cost', () => {
  test('says what a step takes with the experts in order, and what follows from it', async () => {
    const cost = costModel('h200:deepseek-v3:bf16');
    const { time } = await inspect(memoryRecording(STEPS), { cost, numRanks: 4 });
    const mapping = ExpertMapping.fromPhysicalToLogical([0, 1, 2].map(() => [0, 1, 2, 3, 4, 5, 6, 7]));
    const layers = STEPS.flatMap((step) => layerCosts(step, mapping, 4, cost, { exchange: 'even' }));
    const {
      secondsPerLayer,
      secondsPerStep,
      secondsAtBalancePerStep,
      cost: name,
      numRanks,
      ...summary
    } = time!;
    assert.deepEqual(summary, summarizeCost(layers));
    near(secondsPerStep, summary.seconds / 24);
    near(secondsPerLayer, summary.seconds / 72);
    near(secondsAtBalancePerStep, summary.secondsAtBalance / 24);
    assert.deepEqual([name, numRanks], ['h200:deepseek-v3:bf16', 4]);
    assert.equal((await inspect(memoryRecording(STEPS))).time, undefined);
  });

  test('a cost that is none is refused', async () => {
    const inspected = inspect(memoryRecording(STEPS), { cost: {} as never });
    await assert.rejects(inspected, refusal('type', 'EPLB_KIND', /slotSeconds/));
  });
});
