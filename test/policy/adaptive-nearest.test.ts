import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AdaptiveEplbPolicy, type ExpertMapping, slotLoads, survival } from 'expert-load-balancer';
import fc from 'fast-check';
import { seededRandom } from '../helpers/arbitraries.ts';
import { refusal, SEED } from '../helpers/library.ts';

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
  for (const options of [{ tolerance: 0.05 }, { linkPrice: 1 }]) {
    const [name] = Object.keys(options);
    const both = () => new AdaptiveEplbPolicy({ dispatch: 'nearest', ...options });
    assert.throws(both, refusal('range', 'EPLB_OPTION', new RegExp(`dispatch: ${name}`)));
  }
});
