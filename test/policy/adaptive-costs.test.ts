import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  type AdaptiveEplbPolicyOptions,
  costModel,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  type ExpertMapping,
  type LoadSamples,
  layerCosts,
} from 'expert-load-balancer';
import { costModel as ownCostModel } from '../../src/cost/make.ts';
import {
  NUM_CURVE_POINTS,
  slotCostsOf,
  tokensOfPoint,
  writeCurve,
} from '../../src/policy/adaptive/slot-costs.ts';
import { seededRandom } from '../helpers/arbitraries.ts';
import { refusal } from '../helpers/library.ts';

const sizes = { numLayers: 3, numExperts: 64 };
const NUM_SLOTS = 80;
const NUM_RANKS = 16;

/** Tokens of steps, each drawn for itself: experts are unequal, and of few tokens some get none. */
function drawn(tokensPerExpert: number, numSamples: number, seed: number): LoadSamples {
  const random = seededRandom(seed);
  const size = sizes.numLayers * sizes.numExperts;
  const shares = Float64Array.from({ length: size }, () => Math.exp(3 * random() - 2));
  const data = new Float32Array(numSamples * size);
  for (let i = 0; i < data.length; i++) data[i] = poisson(tokensPerExpert * shares[i % size]!, random);
  return { data, numSamples, ...sizes };
}

function poisson(mean: number, random: () => number): number {
  if (mean > 100) return Math.round(mean + Math.sqrt(mean) * (random() + random() + random() - 1.5) * 2);
  let count = 0;
  for (let left = Math.exp(-mean), product = random(); product > left; product *= random()) count++;
  return count;
}

function planOf(
  samples: LoadSamples,
  options: AdaptiveEplbPolicyOptions,
  previous?: ExpertMapping,
): ExpertMapping {
  const policy = new AdaptiveEplbPolicy(options);
  const context = previous === undefined ? {} : { previous };
  return policy.planExperts(samples, NUM_SLOTS, 1, 1, NUM_RANKS, context).mapping;
}

/** Active experts of the worst rank, and seconds of the slowest one: means over steps and layers. */
function costsOf(mapping: ExpertMapping, samples: LoadSamples, model: ReturnType<typeof costModel>) {
  const size = sizes.numLayers * sizes.numExperts;
  let active = 0;
  let seconds = 0;
  for (let t = 0; t < samples.numSamples; t++) {
    const data = samples.data.subarray(t * size, (t + 1) * size);
    for (const cost of layerCosts({ data, ...sizes }, mapping, NUM_RANKS, model)) {
      active += cost.maxActiveExperts;
      seconds += cost.seconds;
    }
  }
  const count = samples.numSamples * sizes.numLayers;
  return { active: active / count, seconds: seconds / count };
}

test('where slots take what their tokens take, plans are as good as those for tokens', () => {
  const cost = costModel({ slotSeconds: { perToken: 1e-6 } });
  for (const seed of [1, 2, 3]) {
    const samples = drawn(200, 12, seed);
    const forTokens = costsOf(planOf(samples, { price: 0 }), samples, cost).seconds;
    const forTime = costsOf(planOf(samples, { price: 0, cost }), samples, cost).seconds;
    assert.ok(Math.abs(forTime / forTokens - 1) < 0.003, `${forTime} and ${forTokens}`);
  }
});

test('few tokens: plans for active experts have fewer of them than plans for tokens', () => {
  const model = costModel('h200:deepseek-v3:bf16');
  let gained = 0;
  for (const seed of [1, 2, 3, 4]) {
    const both = drawn(0.5, 64, seed);
    const half = both.data.length / 2;
    const samples = { ...both, data: both.data.slice(0, half), numSamples: 32 };
    const later = { ...both, data: both.data.slice(half), numSamples: 32 };
    const sums = new Float32Array(sizes.numLayers * sizes.numExperts);
    for (const [i, load] of samples.data.entries()) sums[i % sums.length]! += load;
    const weight = { data: sums, ...sizes };
    const byDefault = new DefaultEplbPolicy().rebalanceExperts(weight, NUM_SLOTS, 1, 1, NUM_RANKS);
    const forTokens = costsOf(planOf(samples, { price: 0 }), later, model);
    const forTime = costsOf(planOf(samples, { price: 0, cost: model }), later, model);
    assert.ok(forTime.active < forTokens.active && forTime.active < costsOf(byDefault, later, model).active);
    gained += 1 - forTime.seconds / forTokens.seconds;
  }
  assert.ok(gained > 0);
});

test('the curve of few tokens counts that none may come', () => {
  const cost = ownCostModel({ slotSeconds: { floor: 3, perToken: 0 } });
  const { seconds } = slotCostsOf(cost);
  for (let point = 0; point < NUM_CURVE_POINTS; point++) {
    const expected = 3 * (1 - Math.exp(-tokensOfPoint(point)));
    assert.ok(Math.abs(seconds[point]! - expected) < 1e-5, `${seconds[point]}, not ${expected}`);
  }
});

test('the curve has dispatch and combine in it, over the links that tokens come by', () => {
  const cost = ownCostModel({
    slotSeconds: { perToken: 1 },
    ...{ dispatchBytesPerToken: 3, combineBytesPerToken: 5 },
    links: { intraNode: { bytesPerSecond: 8 }, interNode: { bytesPerSecond: 2 } },
  });
  const topology = { numLayers: 1, numLogicalExperts: 8, numPhysicalExperts: 8, numRanks: 8, numNodes: 2 };
  const curve = new Float32Array(NUM_CURVE_POINTS);
  writeCurve(slotCostsOf(cost), { ...topology, numGroups: 1 }, curve);
  const point = Array.from(curve.keys()).find((at) => tokensOfPoint(at) === 16)!;
  // Of 8 tokens one is there already, three come within the node, and four from the other one.
  assert.ok(Math.abs(curve[point]! - 16 * (1 + 3 / 8 + (4 / 8) * 4)) < 1e-4);
});

test('a plan by a cost model tells seconds, and is kept where moves take more than they return', async () => {
  const before = planOf(drawn(3000, 16, 5), { price: 0 });
  const samples = drawn(3000, 16, 6);
  const plan = (bytesPerExpert: number) => {
    const cost = costModel({ slotSeconds: { floor: 3e-5, perToken: 1e-7 }, bytesPerExpert });
    const context = { previous: before };
    return new AdaptiveEplbPolicy({ cost }).planExperts(samples, NUM_SLOTS, 1, 1, NUM_RANKS, context);
  };
  const cheap = plan(1e6);
  assert.ok(cheap.status === 'planned' && cheap.forecast !== undefined);
  assert.ok(cheap.forecast.secondsGained > cheap.forecast.secondsSpent);
  assert.equal(cheap.forecast.bytes, cheap.forecast.moves * 1e6);
  const dear = plan(1e13);
  assert.ok(dear.status === 'kept' && dear.mapping === before);
});

test('with a price of 0 moves are free, however much the cost says that they take', () => {
  const before = planOf(drawn(3000, 16, 5), { price: 0 });
  const samples = drawn(3000, 16, 6);
  const plan = (options: AdaptiveEplbPolicyOptions) =>
    new AdaptiveEplbPolicy(options).planExperts(samples, NUM_SLOTS, 1, 1, NUM_RANKS, { previous: before });
  const preset = costModel('h200:deepseek-v3:bf16').toJSON();
  // No round of moves returns its hour, and no token what a move takes.
  const dear = costModel({ ...preset, moves: { ...preset.moves, secondsPerRound: 3600 } });
  for (const cost of [dear, { secondsPerLoad: 1e-12 }, { secondsAtBalance: 1e-12 }]) {
    const priced = plan({ price: 1e-9, cost });
    assert.ok(priced.status === 'kept' && priced.reason === 'costs more than it returns', priced.status);
    const free = plan({ price: 0, cost });
    assert.ok(free.status === 'planned' && free.forecast!.moves > 0, free.status);
    assert.ok(free.forecast!.secondsSpent > free.forecast!.secondsGained, 'what they take is still told');
  }
  // What moves take has no say in where they go: a preset plans as the same with dear ones.
  const byName = plan({ price: 0, cost: preset.name });
  assert.ok(byName.status === 'planned' && byName.mapping.equals(plan({ price: 0, cost: dear }).mapping));
});

test('a balancer plans by a preset in its pool as it does inline', async () => {
  const mappings = [];
  for (const threads of [0, 1]) {
    const policy = new AdaptiveEplbPolicy({ cost: 'h100:deepseek-v3', rememberedSteps: 0 });
    await using balancer = new ExpertLoadBalancer({
      ...{ numLayers: 3, numLogicalExperts: 64, numPhysicalExperts: NUM_SLOTS, numRanks: NUM_RANKS },
      ...{ windowSize: 8, threads, policy },
    });
    const { data } = drawn(2, 8, 7);
    for (let row = 0; row < 8 * 3; row++) {
      balancer.recordLogicalLoad(row % 3, data.subarray(64 * row, 64 * (row + 1)));
      if (row % 3 === 2) balancer.advanceWindow();
    }
    mappings.push(await balancer.plan());
  }
  assert.ok(mappings[0]!.equals(mappings[1]!));
});

test('weights that take no bytes leave a limit of bytes without an effect', () => {
  const samples = drawn(3000, 16, 6);
  const before = planOf(drawn(3000, 16, 5), { price: 0 });
  const cost = costModel({ slotSeconds: { floor: 3e-5, perToken: 1e-7 }, bytesPerExpert: 0 });
  const free = planOf(samples, { cost }, before);
  assert.ok(!free.equals(before));
  for (const maxBytes of [0, 1e9]) assert.ok(planOf(samples, { cost, maxBytes }, before).equals(free));
});

test('a cost that is none is refused', () => {
  const make = (cost: unknown) => () =>
    new AdaptiveEplbPolicy({ cost } as unknown as AdaptiveEplbPolicyOptions);
  assert.throws(make('h2000:deepseek-v3'), refusal('range', 'EPLB_RANGE', /h2000/));
  assert.throws(make(null), refusal('type', 'EPLB_KIND', /cost/));
  assert.throws(make(3), refusal('type', 'EPLB_KIND', /cost/));
});

test('slots that wait for their weights: spare ones go to experts that seldom have a token', () => {
  const [numExperts, numRanks, numSlots] = [32, 16, 48];
  const decode = costModel({ slotSeconds: { floor: 30e-6, perToken: 0 }, bytesPerExpert: 0 });
  const random = seededRandom(3);
  // A quarter of the experts gets a token in every fifth step.
  const steps = Array.from({ length: 32 }, () =>
    Array.from({ length: numExperts }, (_, expert) =>
      expert % 4 > 0 ? poisson(12, random) : poisson(0.2, random),
    ),
  );
  const samples = {
    ...{ data: Float32Array.from(steps.slice(0, 16).flat()), numSamples: 16, numLayers: 1, numExperts },
  };
  const active = (mapping: ExpertMapping) =>
    steps
      .slice(16)
      .map((step) => layerCosts([step], mapping, numRanks, decode)[0]!.maxActiveExperts)
      .reduce((sum, most) => sum + most, 0);
  const plan = new AdaptiveEplbPolicy({ cost: decode }).planExperts(
    samples,
    numSlots,
    1,
    1,
    numRanks,
  ).mapping;
  const mean = Array.from({ length: numExperts }, (_, e) => steps.reduce((sum, step) => sum + step[e]!, 0));
  const byDefault = new DefaultEplbPolicy().rebalanceExperts([mean], numSlots, 1, 1, numRanks);
  assert.ok(active(plan) <= 0.92 * active(byDefault), `${active(plan)} ${active(byDefault)}`);
});
