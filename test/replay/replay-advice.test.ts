import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { costModel, DefaultEplbPolicy, ExpertMapping, layerCosts, summarizeCost } from 'expert-load-balancer';
import {
  adviseReplays,
  fixedPlanningSeconds,
  type ReplayOptions,
  type ReplayResult,
  replay,
  resized,
  savedSpread,
} from 'expert-load-balancer/replay';
import fc from 'fast-check';
import { seededRandom } from '../helpers/arbitraries.ts';
import { refusal, SEED } from '../helpers/library.ts';
import { memoryRecording } from '../helpers/memory-recording.ts';

/** Seeded counts [steps][2 layers][8 experts], the first expert of each layer hot. */
function countsOf(seed: number, numSteps: number, most = 200): number[][][] {
  const random = seededRandom(seed);
  return Array.from({ length: numSteps }, () =>
    Array.from({ length: 2 }, () =>
      Array.from({ length: 8 }, (_, expert) => Math.floor(random() * (expert === 0 ? 5 * most : most))),
    ),
  );
}
const SIZES = { numPhysicalExperts: 12, numRanks: 4 };
const COST = 'h200:deepseek-v2-lite';
const replayed = (numSteps: number, options: Partial<ReplayOptions> = {}, most?: number) =>
  replay(memoryRecording(countsOf(3, numSteps, most)), {
    ...{ ...SIZES, policy: new DefaultEplbPolicy(), trigger: { interval: 8 }, cost: COST },
    ...options,
  });
const near = (actual: number, expected: number) =>
  assert.ok(
    Math.abs(actual - expected) <= 1e-9 * Math.max(1, Math.abs(expected)),
    `${actual}, not ${expected}`,
  );
const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);

describe('planning time', () => {
  test('is a fixed figure of the policy and the sizes, stated, and counted', async () => {
    const result = await replayed(64, {}, 4000);
    const { totals, configuration, plans } = result;
    const each = fixedPlanningSeconds('default', { numLayers: 2, numPhysicalExperts: 12 });
    assert.equal(configuration.planningSeconds, each);
    assert.ok(plans.length > 1);
    near(totals.planningSeconds, plans.length * each);
    near(totals.modelledSeconds, totals.stepSeconds + totals.moveSeconds + totals.planningSeconds);
    near(totals.secondsSaved, totals.unbalancedSeconds - totals.modelledSeconds);
    assert.deepEqual(await replayed(64, {}, 4000), result);
  });

  test('is not in the formula of the competition', async () => {
    const { totals } = await replayed(64, { cost: 'competition', planningSeconds: 0.25 });
    assert.ok(totals.planningSeconds > 0);
    near(totals.modelledSeconds, totals.stepSeconds + totals.moveSeconds);
  });

  test('grows with the sizes, is nothing for static, and that of adaptive for unknown policies', () => {
    const sizes = { numLayers: 58, numPhysicalExperts: 288 };
    assert.equal(fixedPlanningSeconds('static', sizes), 0);
    assert.equal(fixedPlanningSeconds('mine', sizes), fixedPlanningSeconds('adaptive', sizes));
    assert.ok(fixedPlanningSeconds('default', sizes) < fixedPlanningSeconds('adaptive', sizes));
    const twice = fixedPlanningSeconds('adaptive', { ...sizes, numLayers: 116 });
    assert.ok(twice > 1.8 * fixedPlanningSeconds('adaptive', sizes));
  });
});

describe('what a replay says of time', () => {
  test('is what layerCosts says of the first placement', async () => {
    const steps = countsOf(3, 6);
    const { time } = await replay(memoryRecording(steps), { ...SIZES, policy: 'static', cost: COST });
    const row = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3];
    const mapping = ExpertMapping.fromPhysicalToLogical([row, row], 8);
    const layers = steps.flatMap((step) =>
      layerCosts(step, mapping, 4, costModel(COST), { exchange: 'even' }),
    );
    assert.deepEqual(time!.unbalanced, summarizeCost(layers));
    assert.deepEqual(time!.live, time!.unbalanced);
    assert.equal(time!.boundBy, time!.unbalanced.boundBy);
    assert.equal(time!.isEnlarged, false);
  });

  test('plans answer for periods that add up to the steps after the first plan', async () => {
    const { plans, totals, numSteps, series } = await replayed(50);
    assert.equal(sum(plans.map(({ period }) => period.numSteps)), numSteps - 8);
    const before = sum(series.unbalancedStepSeconds.mean.slice(0, 8));
    near(sum(plans.map(({ period }) => period.unbalancedSeconds)), totals.unbalancedSeconds - before);
    near(sum(plans.map(({ period }) => period.stepSeconds)), totals.stepSeconds - before);
  });
});

describe('the spread of a saving', () => {
  test('has the saving in it, is the same each time, and narrows to nothing for plans alike', async () => {
    const result = await replayed(400, { planningSeconds: 0 }, 4000);
    const spread = savedSpread(result)!;
    const share = result.totals.secondsSaved / result.totals.unbalancedSeconds;
    assert.ok(spread.low <= share && share <= spread.high, `${spread.low} ${share} ${spread.high}`);
    assert.ok(spread.high - spread.low < 0.2 && spread.low < spread.high);
    assert.deepEqual(savedSpread(result), spread);
    assert.notDeepEqual(savedSpread(result, 2), spread);
    const one = result.plans[0]!;
    const alike = { ...result, plans: result.plans.map(() => one) };
    const { unbalancedSeconds, stepSeconds } = one.period;
    const n = result.plans.length;
    const totals = {
      ...result.totals,
      unbalancedSeconds: n * unbalancedSeconds,
      stepSeconds: n * stepSeconds,
      moveSeconds: n * one.moveSeconds,
      modelledSeconds: n * (stepSeconds + one.moveSeconds),
    };
    const { low, high } = savedSpread({ ...alike, totals })!;
    near(low, high);
    near(low, 1 - (stepSeconds + one.moveSeconds) / unbalancedSeconds);
  });

  test('needs three plans', async () => {
    assert.equal(savedSpread(await replayed(17)), undefined);
    assert.throws(() => savedSpread({} as ReplayResult, -1), refusal('range', 'EPLB_RANGE', /^seed: -1/));
  });
});

describe('advice', () => {
  const TEN = { tokensPerRank: 10 };

  test('names the policy that saves most, with the spread and from which batch on', async () => {
    const large = await replayed(200, { planningSeconds: 0, name: 'best' }, 8000);
    const dear = await replayed(200, { planningSeconds: 0.001, name: 'dear' }, 8000);
    const advice = adviseReplays([dear, large], TEN);
    assert.equal(advice.kind, 'balance');
    assert.equal(advice.replay, 'best');
    assert.match(
      advice.sentence,
      /^Balance with best: it saves \d+\.\d% \(\d+\.\d% to \d+\.\d% in 90 of 100 draws of its 25 plans\), .* instead of .*\. It pays from about [\d.,]+ tokens a rank on\.$/,
    );
  });

  test('is not to balance where slots wait for their weights, and says which batch would pay', async () => {
    const small = await replayed(200, { planningSeconds: 0 }, 8);
    const advice = adviseReplays([small], TEN);
    assert.equal(advice.kind, 'do not balance');
    assert.match(advice.sentence, /^Do not balance at 10 tokens a rank: the best, default, (takes|saves) /);
    assert.match(
      advice.sentence,
      /It pays (from about [\d,]+ tokens a rank on, by enlarged counts|with no batch .*)\.$/,
    );
    // A saving that draws of the plans do not bear out is none.
    const { plans } = small;
    const lucky = plans.map((plan, i) => ({
      ...plan,
      period: { ...plan.period, unbalancedSeconds: i === 0 ? 10 : 0.99, stepSeconds: 1 },
    }));
    const modelledSeconds = plans.length;
    const totals = {
      ...small.totals,
      modelledSeconds,
      stepSeconds: modelledSeconds,
      moveSeconds: 0,
      unbalancedSeconds: 10 + 0.99 * (plans.length - 1),
      secondsSaved: 10 + 0.99 * (plans.length - 1) - modelledSeconds,
    };
    assert.ok(totals.secondsSaved > 0.01 * totals.unbalancedSeconds);
    assert.equal(adviseReplays([{ ...small, plans: lucky, totals }], TEN).kind, 'do not balance');
  });

  test('says that a recording is too short to plan', async () => {
    const none = adviseReplays([await replayed(7)], TEN);
    assert.equal(none.kind, 'too short');
    assert.match(
      none.sentence,
      /^Too short to say: no plan every 8 steps took effect whole within the 7 steps /,
    );
    const late = adviseReplays([await replayed(20, { planningSeconds: 60 })], TEN);
    assert.equal(late.kind, 'too short');
    assert.match(
      late.sentence,
      /^Too short to say: no plan every 8 steps took effect whole within the 20 steps /,
    );
    const still = adviseReplays([await replayed(8, { policy: 'static', trigger: undefined as never })], TEN);
    assert.equal(still.kind, 'none');
    assert.match(
      still.sentence,
      /^Nothing to advise: only no balancing was replayed, which takes \S+ \S+\.$/,
    );
  });

  test('says that no policy found a change worth making', async () => {
    const result = await replayed(100);
    const totals = { ...result.totals, changedSlots: 0, unbalancedSeconds: 100 };
    const plans = result.plans.map((plan) => ({ ...plan, status: 'unchanged' as const }));
    assert.deepEqual(adviseReplays([{ ...result, totals, plans }], TEN), {
      ...{ kind: 'do not balance', replay: result.name },
      sentence: 'Do not balance: no policy found a change worth making, and no balancing takes 100 s.',
    });
  });

  test('larger batches never save less where every batch is enlarged and moves are free', async () => {
    const linear = { slotSeconds: { perToken: 1e-6 }, bytesPerExpert: 0 };
    const { batches } = await replayed(100, { planningSeconds: 0, cost: linear });
    const [small, own, large] = [2 ** -6, 1, 256].map(
      (times) => batches!.sizes.find((size) => size.times === times)!.savedShare,
    );
    // Tokens alone: what is enlarged saves the same share.
    near(large!, own!);
    assert.ok(Math.abs(small! - own!) < 0.2);
  });
});

describe('a batch of another size', () => {
  const loadsOf = async (source: ReturnType<typeof memoryRecording>, from = 0) => {
    const all: number[][] = [];
    for await (const { loads } of source.steps({ from })) all.push([...loads]);
    return all;
  };

  test('is thinned to whole counts that were there, each step alike wherever reading begins', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1000 }),
        fc.double({ min: 0.001, max: 1, noNaN: true }),
        fc.nat(),
        async (seed, times, draw) => {
          const source = memoryRecording(countsOf(seed, 3));
          const [before, after] = [await loadsOf(source), await loadsOf(resized(source, times, draw))];
          for (const [i, step] of after.entries()) {
            for (const [j, count] of step.entries())
              assert.ok(Number.isInteger(count) && count >= 0 && count <= before[i]![j]!);
          }
          assert.deepEqual(await loadsOf(resized(source, times, draw), 1), after.slice(1));
        },
      ),
      { seed: SEED, numRuns: 40 },
    );
  });

  test('has so many tokens in the mean', async () => {
    const source = memoryRecording(countsOf(1, 200));
    const total = sum((await loadsOf(source)).flat());
    for (const times of [0.01, 0.1, 0.5]) {
      const thinned = sum((await loadsOf(resized(source, times))).flat());
      assert.ok(Math.abs(thinned / total / times - 1) < 0.05, `${thinned / total}, not ${times}`);
    }
    assert.deepEqual(
      (await loadsOf(resized(source, 4))).flat(),
      (await loadsOf(source)).flat().map((count) => 4 * count),
    );
  });

  test('of enlarged counts active experts are not judged', async () => {
    const source = memoryRecording(countsOf(1, 20, 2));
    const options = { ...SIZES, policy: 'static', cost: COST } as const;
    const enlarged = await replay(resized(source, 3), options);
    assert.equal(enlarged.time!.isEnlarged, true);
    assert.notEqual(enlarged.time!.boundBy, 'active experts');
    const thinned = await replay(resized(resized(source, 3), 0.2), options);
    assert.equal(thinned.time!.isEnlarged, false);
  });

  test('what is not a size, and loads that are none, are refused', async () => {
    const source = memoryRecording(countsOf(1, 2));
    for (const times of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      assert.throws(() => resized(source, times), /times: .* \(EPLB|times: /);
    assert.throws(() => resized(source, 0.5, 0.5), refusal('range', 'EPLB_NOT_WHOLE', /^seed: 0.5/));
    const bad = resized(memoryRecording([[[1, -1, 2, 3, 4, 5, 6, 7]]]), 0.5);
    const run = replay(bad, { ...SIZES, policy: 'static', cost: COST });
    await assert.rejects(run, refusal('range', 'EPLB_LOAD', /step 0: layer 0, index 1: -1/));
  });
});
