import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  type AdaptiveEplbPolicyOptions,
  AsyncExpertRebalancer,
  ExpertLoadBalancer,
  type ExpertMapping,
  type LoadSamples,
  layerBalances,
  type PlanDecision,
  type Topology,
} from 'expert-load-balancer';
import { costModel as ownCostModel } from '../../src/cost/make.ts';
import { slotCostsOf, slotSecondsOf } from '../../src/policy/adaptive/slot-costs.ts';
import { liveMapping, makeSamples, noiseSamples } from '../helpers/adaptive.ts';
import { seededRandom } from '../helpers/arbitraries.ts';
import { leastSlowestTime } from '../oracle/placement-bound.ts';

interface Sizes extends Topology {
  readonly rankSpeed: readonly number[];
}

function sizesOf(rankSpeed: readonly number[], sizes: Partial<Topology> = {}): Sizes {
  return {
    numLayers: 1,
    numLogicalExperts: 128,
    numPhysicalExperts: 160,
    numRanks: rankSpeed.length,
    numNodes: 1,
    numGroups: 1,
    ...sizes,
    rankSpeed,
  };
}

function plan(
  topology: Topology,
  samples: LoadSamples,
  previous?: ExpertMapping,
  options: AdaptiveEplbPolicyOptions = {},
): PlanDecision {
  const { numPhysicalExperts, numNodes, numRanks } = topology;
  const context = previous === undefined ? { topology } : { topology, previous };
  const policy = new AdaptiveEplbPolicy(options);
  return policy.planExperts(samples, numPhysicalExperts, 1, numNodes, numRanks, context);
}

/** The loads of one step. */
function oneStep(topology: Topology, seed: number): LoadSamples {
  const { numLayers, numLogicalExperts: numExperts } = topology;
  const random = seededRandom(seed);
  const sum = () => random() + random() + random();
  const data = Float32Array.from({ length: numLayers * numExperts }, () =>
    Math.round(200 * Math.exp(1.5 * (sum() - 1.5))),
  );
  return { data, numSamples: 1, numLayers, numExperts };
}

const timesOf = (samples: LoadSamples, mapping: ExpertMapping, { numRanks, rankSpeed }: Sizes) =>
  layerBalances(samples, mapping, numRanks, { rankSpeed });

const withSlow = (numRanks: number, slow: readonly number[], speed: number) =>
  Array.from({ length: numRanks }, (_, rank) => (slow.includes(rank) ? speed : 1));

/** Speeds from .5 to 1.5. */
function anySpeeds(numRanks: number, seed: number): number[] {
  const random = seededRandom(seed);
  return Array.from({ length: numRanks }, () => 0.5 + Math.floor(9 * random()) / 8);
}

for (const [name, rankSpeed, sizes] of [
  ['one rank of 16 at 0.9', withSlow(16, [5], 0.9), {}],
  ['two of 32 at 0.5', withSlow(32, [3, 20], 0.5), { numLogicalExperts: 256, numPhysicalExperts: 320 }],
  ['any speeds', anySpeeds(16, 1), {}],
  ['any speeds of few slots a rank', anySpeeds(16, 2), { numLogicalExperts: 192, numPhysicalExperts: 224 }],
  ['five slots a rank', anySpeeds(16, 3), { numLogicalExperts: 64, numPhysicalExperts: 80 }],
  ['four slots a rank', anySpeeds(16, 4), { numLogicalExperts: 48, numPhysicalExperts: 64 }],
  ['three slots a rank', anySpeeds(16, 5), { numLogicalExperts: 40, numPhysicalExperts: 48 }],
  ['ranks that are twice as fast', withSlow(16, [0, 7], 2), {}],
] as const) {
  test(`${name}: the slowest time is within 1 % of the bound`, async () => {
    const topology = sizesOf(rankSpeed, sizes);
    const samples = oneStep(topology, 3);
    const slots = rankSpeed.map(() => topology.numPhysicalExperts / rankSpeed.length);
    const bound = await leastSlowestTime({ loads: Array.from(samples.data), speeds: rankSpeed, slots });
    const live = liveMapping(topology, 4, false);
    for (const decision of [plan(topology, samples), plan(topology, samples, live, { price: 0 })]) {
      const [layer] = timesOf(samples, decision.mapping, topology);
      assert.ok(layer!.maxRankLoad >= bound * (1 - 1e-6), `${layer!.maxRankLoad}, below ${bound}`);
      assert.ok(layer!.maxRankLoad <= 1.01 * bound, `${layer!.maxRankLoad} of ${bound}`);
    }
  });
}

test('few slots a rank: in random problems the slowest time is within 1 % of the bound', async () => {
  for (const [numRanks, numLogicalExperts, slots] of [
    [16, 40, 3],
    [32, 80, 3],
    [16, 48, 4],
  ] as const) {
    let sum = 0;
    for (let seed = 1; seed <= 10; seed++) {
      const rankSpeed = anySpeeds(numRanks, 100 * seed + numRanks);
      const topology = sizesOf(rankSpeed, { numLogicalExperts, numPhysicalExperts: slots * numRanks });
      const samples = oneStep(topology, 200 * seed + numRanks);
      const open = rankSpeed.map(() => slots);
      const bound = await leastSlowestTime({ loads: [...samples.data], speeds: rankSpeed, slots: open });
      const live = liveMapping(topology, seed, false);
      for (const decision of [plan(topology, samples), plan(topology, samples, live, { price: 0 })]) {
        const time = timesOf(samples, decision.mapping, topology)[0]!.maxRankLoad;
        assert.ok(time <= 1.01 * bound, `${numRanks} ranks, seed ${seed}: ${time} of ${bound}`);
        sum += time / bound - 1;
      }
    }
    assert.ok(sum / 20 <= 0.005, `${numRanks} ranks: ${sum / 20} above the bound in the mean`);
  }
});

test('what is forecast is what the slowest rank takes less, as a share of what all take at balance', () => {
  const topology = sizesOf(anySpeeds(16, 7), { numLayers: 3 });
  const samples = oneStep(topology, 8);
  const live = liveMapping(topology, 9, false);
  const decision = plan(topology, samples, live, { price: 0, cost: { secondsPerLoad: 1 } });
  assert.ok(decision.status === 'planned');
  const before = timesOf(samples, live, topology);
  const after = timesOf(samples, decision.mapping, topology);
  for (const [layer, gain] of decision.forecast!.gainPerLayer.entries()) {
    const seconds = before[layer]!.maxRankLoad - after[layer]!.maxRankLoad;
    assert.ok(Math.abs(gain - seconds / before[layer]!.meanRankLoad) < 1e-5);
    const forecast = decision.forecast!.secondsPerLayer[layer]!;
    assert.ok(Math.abs(forecast - seconds) < 1e-5 * seconds, `${forecast} of ${seconds} seconds`);
  }
});

test('what slots take is divided by the speed too', () => {
  const topology = sizesOf(withSlow(16, [2, 9], 0.5), { numLogicalExperts: 64, numPhysicalExperts: 80 });
  const samples = makeSamples(topology, 8, 11);
  const live = liveMapping(topology, 12, false);
  const decision = plan(topology, samples, live, { price: 0, cost: 'h200:deepseek-v3:bf16' });
  assert.ok(decision.status === 'planned');
  const slotSeconds = slotSecondsOf(slotCostsOf(ownCostModel('h200:deepseek-v3:bf16')), topology);
  /** Of the slowest rank, in the mean sample. */
  const slowest = (mapping: ExpertMapping): number => {
    let sum = 0;
    for (let t = 0; t < samples.numSamples; t++) {
      const seconds = new Float64Array(topology.numRanks);
      for (const [slot, expert] of mapping.phyToLog.entries()) {
        const copies = mapping.replicaCount[expert]!;
        seconds[Math.floor(slot / 5)]! += slotSeconds(samples.data[64 * t + expert]! / copies);
      }
      sum += Math.max(...seconds.map((value, rank) => value / topology.rankSpeed[rank]!));
    }
    return sum / samples.numSamples;
  };
  const gained = slowest(live) - slowest(decision.mapping);
  const forecast = decision.forecast!.secondsPerLayer[0]!;
  // Samples count by what they tell of the loads to come, and some of a gain is chance.
  assert.ok(gained > 0 && Math.abs(forecast - gained) < 0.2 * gained, `${forecast} of ${gained}`);
});

/** The sums of all samples, as one. */
function samplesMean({ data, numSamples, numLayers, numExperts }: LoadSamples): LoadSamples {
  const size = numLayers * numExperts;
  const mean = Float32Array.from({ length: size }, (_, i) => {
    let sum = 0;
    for (let t = 0; t < numSamples; t++) sum += data[t * size + i]!;
    return sum / numSamples;
  });
  return { data: mean, numSamples: 1, numLayers, numExperts };
}

test('ranks that are all twice as fast are planned as usual ones, and save half the seconds', () => {
  const sizes = { numLogicalExperts: 32, numPhysicalExperts: 48, numLayers: 2 };
  const twice = sizesOf(new Array<number>(8).fill(2), sizes);
  const { rankSpeed: _, ...usual } = twice;
  const samples = makeSamples(twice, 6, 13);
  const live = liveMapping(twice, 14, false);
  const options = { cost: { bytesPerExpert: 1, secondsPerLoad: 1 }, price: 0.001 };
  const [a, b] = [plan(usual, samples, live, options), plan(twice, samples, live, options)];
  assert.ok(a.status === 'planned' && b.status === 'planned');
  assert.deepEqual(b.mapping.phyToLog, a.mapping.phyToLog);
  assert.deepEqual(
    b.forecast!.secondsPerLayer,
    a.forecast!.secondsPerLayer.map((seconds) => seconds / 2),
  );
});

test('equal loads move off a slow rank, and stay in the end', () => {
  const topology = sizesOf(withSlow(8, [1], 0.5), { numLogicalExperts: 64, numPhysicalExperts: 96 });
  const samples = noiseSamples(topology, 16, 2000, 15);
  const live = liveMapping(topology, 16, false);
  const first = plan(topology, samples, live);
  assert.ok(first.status === 'planned');
  const [before] = timesOf(samplesMean(samples), live, topology);
  const [after] = timesOf(samplesMean(samples), first.mapping, topology);
  assert.ok(after!.maxRankLoad < 0.8 * before!.maxRankLoad, `${after!.maxRankLoad}`);
  const second = plan(topology, samples, first.mapping);
  assert.equal(plan(topology, samples, second.mapping).status, 'kept');
});

test('closed slots and speeds together', async () => {
  const rankSpeed = [1, 1, 0.5, 1, 1.5, 1, 0, 1].map((speed) => speed || 1);
  const slotsPerRank = [10, 10, 6, 10, 10, 10, 0, 10];
  const topology = sizesOf(rankSpeed, { numLogicalExperts: 40, numPhysicalExperts: 80, slotsPerRank });
  const samples = oneStep(topology, 17);
  const { mapping } = plan(topology, samples, liveMapping(topology, 18, false), { price: 0 });
  const times = timesOf(samples, mapping, topology)[0]!;
  const open = slotsPerRank.flatMap((slots, rank) => (slots > 0 ? [rank] : []));
  const bound = await leastSlowestTime({
    loads: Array.from(samples.data),
    speeds: open.map((rank) => rankSpeed[rank]!),
    slots: open.map((rank) => slotsPerRank[rank]!),
  });
  assert.ok(times.maxRankLoad <= 1.02 * bound, `${times.maxRankLoad} of ${bound}`);
  assert.ok(mapping.phyToLog.subarray(60, 70).every((expert) => expert === -1));
});

test('a balancer plans by speed in its pool, and a rebalancer compares times', async () => {
  const rankSpeed = [1, 1, 1, 0.5];
  const balancer = new ExpertLoadBalancer({
    numLayers: 1,
    numLogicalExperts: 4,
    numPhysicalExperts: 4,
    numRanks: 4,
    rankSpeed,
    windowSize: 1,
    policy: new AdaptiveEplbPolicy({ rememberedSteps: 0 }),
  });
  try {
    const rebalancer = new AsyncExpertRebalancer({ balancer, loadThreshold: 1.2 });
    balancer.recordLogicalLoad(0, [40, 40, 40, 20]);
    balancer.advanceWindow();
    assert.equal(rebalancer.shouldRebalance(), false, 'all take as long');
    const kept = await balancer.decide();
    assert.equal(kept.status, 'kept');
    balancer.recordLogicalLoad(0, [20, 40, 40, 40]);
    balancer.advanceWindow();
    assert.equal(rebalancer.shouldRebalance(), true, 'the slow rank has as much as others');
    const decision = await balancer.decide();
    assert.ok(decision.status === 'planned');
    assert.equal(decision.mapping.phyToLog[3], 0, 'the lightest expert is on the slow rank');
  } finally {
    await balancer.close();
  }
});
