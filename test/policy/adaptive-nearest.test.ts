import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AdaptiveEplbPolicy, type ExpertMapping, slotLoads, survival } from 'expert-load-balancer';
import fc from 'fast-check';
import { seededRandom } from '../helpers/arbitraries.ts';
import { refusal, SEED } from '../helpers/library.ts';
import { tokensOfLoads } from '../oracle/traffic.ts';

const NUM_EXPERTS = 24;
const NUM_RANKS = 8;
const NUM_SLOTS = 48;
const NUM_LAYERS = 2;

/** Loads of some steps, a few experts far hotter than the others. */
function samplesOf(seed: number, numSamples: number) {
  const random = seededRandom(seed);
  const hot = Array.from({ length: NUM_LAYERS * NUM_EXPERTS }, () => 20 + Math.floor(400 * random() ** 6));
  const data = Float32Array.from({ length: numSamples * hot.length }, (_, at) =>
    Math.round(hot[at % hot.length]! * (0.9 + 0.2 * random())),
  );
  return { data, numSamples, numLayers: NUM_LAYERS, numExperts: NUM_EXPERTS };
}

/** The mean over samples and layers of what the slowest rank has / the mean, tokens taking near copies. */
function slowest(mapping: ExpertMapping, samples: ReturnType<typeof samplesOf>, numNodes: number): number {
  const { data, numSamples } = samples;
  const size = NUM_LAYERS * NUM_EXPERTS;
  let sum = 0;
  for (let t = 0; t < numSamples; t++) {
    const matrix = {
      data: data.slice(t * size, (t + 1) * size),
      numLayers: NUM_LAYERS,
      numExperts: NUM_EXPERTS,
    };
    const { ranks } = slotLoads(matrix, mapping, { numRanks: NUM_RANKS, numNodes, dispatch: 'nearest' });
    for (let layer = 0; layer < NUM_LAYERS; layer++) {
      const own = ranks.subarray(layer * NUM_RANKS, (layer + 1) * NUM_RANKS);
      sum += (Math.max(...own) * NUM_RANKS) / own.reduce((all, load) => all + load, 0);
    }
  }
  return sum / (numSamples * NUM_LAYERS);
}

const problems = fc.record({
  seed: fc.nat(),
  numNodes: fc.constantFrom(2, 4),
  numSamples: fc.integer({ min: 1, max: 6 }),
});

test('plans for the nearest copy are no slower than plans for any copy, and mostly far faster', () => {
  let even = 0;
  let nearest = 0;
  fc.assert(
    fc.property(problems, ({ seed, numNodes, numSamples }) => {
      const samples = samplesOf(seed, numSamples);
      const [any, near] = (['even', 'nearest'] as const).map((dispatch) => {
        const policy = new AdaptiveEplbPolicy({ dispatch });
        const { mapping } = policy.planExperts(samples, NUM_SLOTS, 1, numNodes, NUM_RANKS);
        return slowest(mapping, samples, numNodes);
      });
      even += any!;
      nearest += near!;
      // It goes by how much each sample tells, which are counted alike here.
      assert.ok(near! <= any! + 0.01, `${near} after ${any}`);
    }),
    { numRuns: 30, seed: SEED },
  );
  // Of what is above 1, which no plan can have less than.
  assert.ok(nearest - 30 < 0.5 * (even - 30), `${nearest / 30}, not half as far from 1 as ${even / 30}`);
});

test('from a live mapping it moves no more than is allowed, and says what is gained', () => {
  fc.assert(
    fc.property(problems, fc.integer({ min: 0, max: 12 }), ({ seed, numNodes, numSamples }, maxMoves) => {
      const samples = samplesOf(seed, numSamples);
      const args = [NUM_SLOTS, 1, numNodes, NUM_RANKS] as const;
      const previous = new AdaptiveEplbPolicy().planExperts(samples, ...args).mapping;
      const policy = new AdaptiveEplbPolicy({ dispatch: 'nearest', price: 0, maxMoves, confidence: 0 });
      const decision = policy.planExperts(samples, ...args, { previous });
      const before = slowest(previous, samples, numNodes);
      const after = slowest(decision.mapping, samples, numNodes);
      assert.ok(decision.mapping.movesFrom(previous, NUM_RANKS) <= maxMoves);
      if (decision.status === 'kept') {
        assert.equal(decision.mapping, previous);
        return;
      }
      assert.ok(after < before, `${after} after ${before}`);
      assert.ok(decision.forecast !== undefined && decision.forecast.moves > 0);
    }),
    { numRuns: 30, seed: SEED },
  );
});

test('closed slots stay empty, and what has to survive a failure does', () => {
  fc.assert(
    fc.property(problems, ({ seed, numSamples }) => {
      const samples = samplesOf(seed, numSamples);
      const numNodes = 4;
      const slotsPerRank = Array.from({ length: NUM_RANKS }, (_, rank) => (rank === 3 ? 4 : 6));
      const policy = new AdaptiveEplbPolicy({ dispatch: 'nearest', survive: 'node' });
      const topology = { slotsPerRank };
      const { mapping } = policy.planExperts(samples, NUM_SLOTS, 1, numNodes, NUM_RANKS, topology);
      for (let layer = 0; layer < NUM_LAYERS; layer++)
        for (const slot of [22, 23]) assert.equal(mapping.getLogicalExpert(layer, slot), -1);
      const sizes = { numLayers: NUM_LAYERS, numLogicalExperts: NUM_EXPERTS, numPhysicalExperts: NUM_SLOTS };
      const all = { ...sizes, numRanks: NUM_RANKS, numNodes, numGroups: 1, slotsPerRank };
      const { overall } = survival(mapping, { level: 'node', topology: all });
      assert.equal(overall.surviving, overall.mostSurviving);
    }),
    { numRuns: 10, seed: SEED },
  );
});

test('on one node nothing changes, and a dispatch that there is not is refused', () => {
  const samples = samplesOf(7, 3);
  const [any, near] = (['even', 'nearest'] as const).map((dispatch) =>
    new AdaptiveEplbPolicy({ dispatch }).planExperts(samples, NUM_SLOTS, 1, 1, NUM_RANKS).mapping.digest(),
  );
  assert.equal(near, any);
  const far = () => new AdaptiveEplbPolicy({ dispatch: 'far' as 'even' });
  assert.throws(far, refusal('range', 'EPLB_RANGE', /dispatch: "far"/));
  const both = () => new AdaptiveEplbPolicy({ dispatch: 'nearest', tolerance: 0.05 });
  assert.throws(both, refusal('range', 'EPLB_OPTION', /dispatch: tolerance/));
});

/** The tokens that cross between nodes in the mean sample, as a share of all, dispatched in plain code. */
function crossing(mapping: ExpertMapping, samples: ReturnType<typeof samplesOf>, numNodes: number): number {
  const nodeOf = Array.from({ length: NUM_RANKS }, (_, rank) => Math.floor((rank * numNodes) / NUM_RANKS));
  const rows = Array.from({ length: NUM_LAYERS }, (_, layer) => [
    ...mapping.phyToLog.subarray(layer * NUM_SLOTS, (layer + 1) * NUM_SLOTS),
  ]);
  const means = meansOf(samples);
  const loads = means.map((layer) =>
    Array.from({ length: NUM_RANKS }, () => layer.map((load) => load / NUM_RANKS)),
  );
  const problem = { rows, numRanks: NUM_RANKS, nodeOf, deadRanks: [], dispatch: 'nearest' } as const;
  let [crossed, all] = [0, 0];
  for (const [source, targets] of tokensOfLoads(problem, loads).entries()) {
    for (const [target, tokens] of targets.entries()) {
      all += tokens;
      if (nodeOf[source] !== nodeOf[target]) crossed += tokens;
    }
  }
  return crossed / all;
}

/** `[layers][experts]` */
function meansOf({ data, numSamples }: ReturnType<typeof samplesOf>): number[][] {
  const size = NUM_LAYERS * NUM_EXPERTS;
  return Array.from({ length: NUM_LAYERS }, (_, layer) =>
    Array.from({ length: NUM_EXPERTS }, (_, expert) => {
      let sum = 0;
      for (let t = 0; t < numSamples; t++) sum += data[t * size + layer * NUM_EXPERTS + expert]!;
      return sum / numSamples;
    }),
  );
}

/** The least share that can cross: further copies are of the heaviest experts, on each node of all. */
function leastCrossing(samples: ReturnType<typeof samplesOf>, numNodes: number): number {
  let [stays, all] = [0, 0];
  for (const loads of meansOf(samples)) {
    let spare = NUM_SLOTS - NUM_EXPERTS;
    for (const load of loads.toSorted((a, b) => b - a)) {
      const more = Math.min(spare, numNodes - 1);
      spare -= more;
      stays += (load * (1 + more)) / numNodes;
      all += load;
    }
  }
  return 1 - stays / all;
}

test('where links count, copies come nearer: at a high price as near as they can', () => {
  let [free, priced, least] = [0, 0, 0];
  const numRuns = 12;
  const property = ({
    seed,
    numNodes,
    numSamples,
  }: {
    seed: number;
    numNodes: number;
    numSamples: number;
  }) => {
    const samples = samplesOf(seed, numSamples);
    const plan = (linkPrice: number) =>
      new AdaptiveEplbPolicy({ dispatch: 'nearest', linkPrice }).planExperts(
        ...([samples, NUM_SLOTS, 1, numNodes, NUM_RANKS] as const),
      ).mapping;
    const [without, some, far] = [0, 1, 1000].map((price) => plan(price));
    const bound = leastCrossing(samples, numNodes);
    const high = crossing(far!, samples, numNodes);
    assert.ok(high >= bound - 1e-5 && high <= bound * 1.02 + 0.001, `${high}, at least ${bound}`);
    free += crossing(without!, samples, numNodes);
    priced += crossing(some!, samples, numNodes);
    least += bound;
    assert.ok(slowest(some!, samples, numNodes) < slowest(without!, samples, numNodes) + 0.3);
  };
  fc.assert(fc.property(problems, property), { numRuns, seed: SEED });
  // At a price of the size of what balance is worth a good part of the way.
  assert.ok(priced - least < 0.6 * (free - least), `${free}, ${priced}, ${least}`);
});

test('from a live mapping copies come nearer where that is worth the moves', () => {
  let [before, after] = [0, 0];
  fc.assert(
    fc.property(problems, ({ seed, numNodes, numSamples }) => {
      const samples = samplesOf(seed, numSamples);
      const args = [NUM_SLOTS, 1, numNodes, NUM_RANKS] as const;
      const previous = new AdaptiveEplbPolicy().planExperts(samples, ...args).mapping;
      const price = 0.002;
      const policy = new AdaptiveEplbPolicy({ dispatch: 'nearest', linkPrice: 1, price });
      const { status, mapping } = policy.planExperts(samples, ...args, { previous });
      if (status === 'kept') assert.equal(mapping, previous);
      const worth = (of: ExpertMapping) => slowest(of, samples, numNodes) + crossing(of, samples, numNodes);
      const moves = mapping.movesFrom(previous, NUM_RANKS) / NUM_LAYERS;
      // Samples are told apart by how much each says, which are counted alike here.
      assert.ok(worth(mapping) + price * moves <= worth(previous) + 0.01);
      before += worth(previous);
      after += worth(mapping);
    }),
    { numRuns: 20, seed: SEED },
  );
  assert.ok(after < before - 20 * 0.05, `${after} after ${before}`);
});
