import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  type AdaptiveEplbPolicyOptions,
  ExpertMapping,
  type LoadSamples,
} from 'expert-load-balancer';
import { makeSamples } from '../helpers/adaptive.ts';
import { refusal, withBalancer } from '../helpers/library.ts';

const NUMBERS = [
  'price',
  'confidence',
  'maxBytes',
  'maxMoves',
  'maxMovesPerLayer',
  'maxEvaluations',
  'numKicks',
  'maxSamples',
  'rememberedSteps',
] as const;
const COSTS = [
  'secondsPerLoad',
  'stepsPerPlan',
  'bytesPerExpert',
  'bandwidthWithinNode',
  'bandwidthBetweenNodes',
] as const;

function make(options: unknown): () => AdaptiveEplbPolicy {
  return () => new AdaptiveEplbPolicy(options as AdaptiveEplbPolicyOptions);
}

test('options that are negative or not a number are refused by name', () => {
  for (const name of NUMBERS) {
    for (const value of [-1, Number.NaN]) {
      const code =
        Number.isNaN(value) && !/price|confidence|maxBytes/.test(name) ? 'EPLB_NOT_WHOLE' : 'EPLB_RANGE';
      assert.throws(make({ [name]: value }), refusal('range', code, new RegExp(`^${name}: ${value}`)));
    }
    for (const value of ['1', null, [1], 1n]) {
      assert.throws(make({ [name]: value }), refusal('type', 'EPLB_KIND', new RegExp(`^${name}: `)));
    }
  }
  for (const name of [
    'maxMoves',
    'maxMovesPerLayer',
    'maxEvaluations',
    'numKicks',
    'maxSamples',
    'rememberedSteps',
  ]) {
    assert.throws(make({ [name]: 1.5 }), refusal('range', 'EPLB_NOT_WHOLE', /1\.5/));
  }
  assert.throws(make({ price: Number.POSITIVE_INFINITY }), refusal('range', 'EPLB_RANGE', /price: Infinity/));
  assert.throws(make({ maxSamples: 65 }), refusal('range', 'EPLB_RANGE', /maxSamples: 65/));
  for (const name of COSTS) {
    for (const value of [-1, 0, Number.NaN, Number.POSITIVE_INFINITY]) {
      const message = new RegExp(`^cost\\.${name}: ${value}`);
      assert.throws(make({ cost: { [name]: value } }), refusal('range', 'EPLB_RANGE', message));
    }
    assert.throws(make({ cost: { [name]: '1' } }), refusal('type', 'EPLB_KIND', /^cost\./));
  }
  assert.throws(make({ cost: null }), refusal('type', 'EPLB_KIND', /cost: null/));
  assert.throws(make(null), refusal('type', 'EPLB_KIND', /options: null/));
  assert.throws(make({ locality: 'racks' }), refusal('range', 'EPLB_RANGE', /locality: "racks"/));
});

const sizes = { numLayers: 1, numExperts: 2 };
const previous = ExpertMapping.fromPhysicalToLogical([[0, 1]]);
const plan = (samples: unknown, before = previous) =>
  new AdaptiveEplbPolicy().planExperts(samples as LoadSamples, 2, 1, 1, 2, { previous: before });

test('samples of another kind, shape or value are refused', () => {
  assert.throws(() => plan([[1, 2]]), refusal('type', 'EPLB_KIND', /samples: an Array/));
  const bad = (change: object, ...what: Parameters<typeof refusal>) =>
    assert.throws(
      () => plan({ ...sizes, numSamples: 1, data: Float32Array.of(1, 2), ...change }),
      refusal(...what),
    );
  bad({ data: Float32Array.of(1, 2, 3) }, 'range', 'EPLB_SHAPE', /has 3 loads, not 2/);
  bad({ numSamples: -1 }, 'range', 'EPLB_RANGE', /samples\.numSamples: -1/);
  bad({ numSamples: 0.5 }, 'range', 'EPLB_NOT_WHOLE', /samples\.numSamples: 0\.5/);
  bad({ newestShare: 0 }, 'range', 'EPLB_RANGE', /samples\.newestShare: 0/);
  bad({ newestShare: 1.5 }, 'range', 'EPLB_RANGE', /samples\.newestShare: 1\.5/);
  bad({ stepsPerSample: 0 }, 'range', 'EPLB_RANGE', /samples\.stepsPerSample: 0/);
  bad({ numSingles: -1 }, 'range', 'EPLB_RANGE', /samples\.numSingles: -1/);
  bad({ numSingles: 3 }, 'range', 'EPLB_RANGE', /samples\.numSingles: 3/);
  bad({ numSingles: 0.5 }, 'range', 'EPLB_NOT_WHOLE', /samples\.numSingles: 0\.5/);
  for (const load of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    const where = /samples: sample 0: layer 0, index 1/;
    bad({ data: Float32Array.of(1, load) }, 'range', 'EPLB_LOAD', where);
  }
});

test('a previous mapping of another shape is refused', () => {
  const one = { ...sizes, numSamples: 1, data: Float32Array.of(1, 2) };
  const other = ExpertMapping.fromPhysicalToLogical([[0, 1, 0, 1]]);
  assert.throws(() => plan(one, other), refusal('range', 'EPLB_SHAPE', /previous: is of 1 layers/));
});

test('a window without samples keeps the mapping, or is refused when there is none', () => {
  const none = { ...sizes, numSamples: 0, data: new Float32Array(0) };
  assert.deepEqual(plan(none), { status: 'kept', reason: 'no samples', mapping: previous });
  const policy = new AdaptiveEplbPolicy();
  assert.throws(
    () => policy.planExperts(none, 2, 1, 1, 2),
    refusal('other', 'EPLB_POLICY', /samples: there are none/),
  );
});

test('a balancer refuses samples of other sizes, and an empty one keeps its mapping', async () => {
  const topology = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
  const policy = new AdaptiveEplbPolicy();
  await withBalancer({ ...topology, threads: 1, policy }, async (balancer) => {
    const samples = makeSamples({ numLayers: 2, numLogicalExperts: 5 }, 2, 1);
    const shape = refusal('range', 'EPLB_SHAPE', /samples\.numExperts: 5/);
    await assert.rejects(balancer.plan(undefined, { samples }), shape);
    assert.throws(() => balancer.rebalanceSync(undefined, { samples }), shape);
    const none = { data: new Float32Array(0), numSamples: 0, numLayers: 2, numExperts: 4 };
    const { mapping } = balancer;
    const decision = await balancer.decide(undefined, { samples: none });
    assert.deepEqual(decision, { status: 'kept', reason: 'no samples', mapping, generation: 0 });
    assert.equal(decision.mapping, mapping);
  });
});

test('a plan that is aborted is cancelled, and the next one works', async () => {
  const topology = { numLayers: 40, numLogicalExperts: 64, numPhysicalExperts: 80, numRanks: 16 };
  const policy = new AdaptiveEplbPolicy({ price: 0, numKicks: 2 });
  await withBalancer({ ...topology, threads: 1, policy }, async (balancer) => {
    const samples = makeSamples(topology, 8, 1);
    const abort = new AbortController();
    const plan = balancer.plan(undefined, { samples, signal: abort.signal });
    setTimeout(() => abort.abort(), 5);
    await assert.rejects(plan, refusal('other', 'EPLB_CANCELLED', /cancelled/));
    const decision = await balancer.decide(undefined, {
      samples: { ...samples, ...makeSamples(topology, 1, 1) },
    });
    assert.equal(decision.status, 'planned');
  });
});
