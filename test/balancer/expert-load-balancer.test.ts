import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { DefaultEplbPolicy, ExpertLoadBalancer, ExpertMapping, ExpertType } from 'expert-load-balancer';
import fc from 'fast-check';
import { coresOf } from '../../src/engine/cores.ts';
import { layerProblemArbitrary } from '../helpers/arbitraries.ts';
import { refusal, SEED, stateOf, withBalancer } from '../helpers/library.ts';

/** Two layers of four experts in six slots on two ranks, planned inline. */
const small = {
  numLayers: 2,
  numLogicalExperts: 4,
  numPhysicalExperts: 6,
  numRanks: 2,
  threads: 0,
} as const;

/** Records one step of both layers. */
function recordStep(balancer: ExpertLoadBalancer, first: readonly number[], second: readonly number[]): void {
  balancer.recordLogicalLoad(0, first);
  balancer.recordLogicalLoad(1, second);
  balancer.advanceWindow();
}

test('the three kinds of experts have names', () => {
  assert.deepEqual(ExpertType, { LOGICAL: 'logical', PHYSICAL: 'physical', REDUNDANT: 'redundant' });
});

test('options that are left out have their defaults', () => {
  const balancer = new ExpertLoadBalancer({
    numLayers: 1,
    numLogicalExperts: 4,
    numPhysicalExperts: 6,
    numRanks: 2,
  });
  assert.deepEqual(balancer.topology, {
    numLayers: 1,
    numLogicalExperts: 4,
    numPhysicalExperts: 6,
    numRanks: 2,
    numNodes: 1,
    numGroups: 1,
  });
  assert.equal(balancer.windowSize, 100);
  assert.equal(balancer.threads, coresOf('/', availableParallelism()));
});

test('before the first rebalance expert i is in slot i, and redundant slots repeat from 0', () => {
  fc.assert(
    fc.property(layerProblemArbitrary(40), fc.integer({ min: 1, max: 3 }), ({ topology }, numLayers) => {
      const { numLogicalExperts, numReplicas: numPhysicalExperts, numRanks, numNodes, numGroups } = topology;
      const sizes = { numLogicalExperts, numPhysicalExperts, numRanks, numNodes, numGroups };
      const balancer = new ExpertLoadBalancer({ numLayers, ...sizes, windowSize: 1, threads: 0 });
      const row = Array.from({ length: numPhysicalExperts }, (_, slot) => slot % numLogicalExperts);
      const expected = Array.from({ length: numLayers }, () => row).flat();
      assert.deepEqual(balancer.mapping.phyToLog, Int32Array.from(expected));
      assert.equal(balancer.generation, 0);
    }),
    { numRuns: 50, seed: SEED },
  );
});

test('a new balancer reads as zeros and has no samples', () => {
  const balancer = new ExpertLoadBalancer(small);
  const { expertLoadWindow, ...rest } = balancer.metrics();
  assert.equal(expertLoadWindow.length, 0);
  assert.deepEqual(rest, {
    numLayers: 2,
    numPhysicalExperts: 6,
    numLogicalExperts: 4,
    numSamples: 0,
    workersStarted: 0,
    workersWoken: 0,
    realisedGains: [],
    gainBar: 0,
    physicalToLogical: Int32Array.of(0, 1, 2, 3, 0, 1, 0, 1, 2, 3, 0, 1),
    logicalToPhysical: Int32Array.of(0, 4, 1, 5, 2, -1, 3, -1, 0, 4, 1, 5, 2, -1, 3, -1),
    logicalReplicaCount: Int32Array.of(2, 2, 1, 1, 2, 2, 1, 1),
    expertLoadPass: new Float32Array(12),
  });
  assert.deepEqual(balancer.getAverageLoad(), { data: new Float32Array(12), numLayers: 2, numExperts: 6 });
  assert.deepEqual(balancer.getAverageLogicalLoad(), {
    data: new Float32Array(8),
    numLayers: 2,
    numExperts: 4,
  });
  assert.deepEqual(balancer.planProgress, { layersDone: 0, numLayers: 0 });
});

test('every kind of real array is recorded as its numbers', () => {
  const loads = [0, 1, 2, 3, 100, 127];
  const arrays = [
    loads,
    Object.freeze([...loads]),
    Float32Array.from(loads),
    Float64Array.from(loads),
    Int8Array.from(loads),
    Uint8Array.from(loads),
    Uint8ClampedArray.from(loads),
    Int16Array.from(loads),
    Uint16Array.from(loads),
    Int32Array.from(loads),
    Uint32Array.from(loads),
    new Float32Array(new SharedArrayBuffer(24)).map((_, i) => loads[i]!),
    Float64Array.of(9, 9, ...loads, 9).subarray(2, 8),
  ];
  for (const array of arrays) {
    const balancer = new ExpertLoadBalancer(small);
    balancer.recordLoad(1, array);
    assert.deepEqual(balancer.metrics().expertLoadPass, Float32Array.of(0, 0, 0, 0, 0, 0, ...loads));
  }
});

test('loads given twice in a step add up, and -0 counts as 0', () => {
  const balancer = new ExpertLoadBalancer(small);
  balancer.recordLoad(0, [1, 2, 3, 4, 5, -0]);
  balancer.recordLoad(0, [10, 0, 0, 0, 0, -0]);
  balancer.recordLogicalLoad(1, [4, 6, 1, 1]);
  const pass = [11, 2, 3, 4, 5, 0, 2, 3, 1, 1, 2, 3];
  assert.deepEqual(balancer.metrics().expertLoadPass, Float32Array.from(pass));
  assert.equal(balancer.numSamples, 0);
  balancer.advanceWindow();
  assert.deepEqual(balancer.metrics().expertLoadPass, new Float32Array(12));
  assert.deepEqual(balancer.metrics().expertLoadWindow, Float32Array.from(pass));
  assert.deepEqual(balancer.getAverageLoad().data, Float32Array.from(pass));
  assert.deepEqual(balancer.getAverageLogicalLoad().data, Float32Array.of(16, 2, 3, 4, 4, 6, 1, 1));
});

test('averages divide by the samples recorded; the window holds the last steps, the oldest first', () => {
  const balancer = new ExpertLoadBalancer({ ...small, windowSize: 3 });
  for (let step = 1; step <= 5; step++) {
    balancer.recordLoad(0, [step, 0, 0, 0, 0, 0]);
    balancer.advanceWindow();
    const steps = [1, 2, 3, 4, 5].slice(Math.max(0, step - 3), step);
    const { expertLoadWindow, numSamples } = balancer.metrics();
    assert.equal(numSamples, steps.length);
    assert.deepEqual(
      steps.map((_, i) => expertLoadWindow[i * 12]),
      steps,
    );
    const mean = steps.reduce((sum, load) => sum + load) / steps.length;
    assert.equal(balancer.getAverageLoad().data[0], mean);
    assert.equal(balancer.getAverageLogicalLoad().data[0], mean);
  }
});

test('what a balancer gives is a copy', () => {
  const balancer = new ExpertLoadBalancer(small);
  recordStep(balancer, [1, 2, 3, 4], [5, 6, 7, 8]);
  balancer.recordLoad(0, [1, 1, 1, 1, 1, 1]);
  const before = stateOf(balancer);
  for (const table of Object.values(balancer.metrics())) if (typeof table === 'object') table.fill(9);
  balancer.getAverageLoad().data.fill(9);
  balancer.getAverageLogicalLoad().data.fill(9);
  assert.deepEqual(stateOf(balancer), before);
});

test('what a balancer is given is copied', () => {
  const balancer = new ExpertLoadBalancer(small);
  const loads = Float32Array.of(1, 2, 3, 4, 5, 6);
  balancer.recordLoad(0, loads);
  const before = stateOf(balancer);
  loads.fill(99);
  assert.deepEqual(stateOf(balancer), before);
});

test('commit makes a mapping live and counts; the live mapping again is not a commit', () => {
  const balancer = new ExpertLoadBalancer(small);
  const initial = balancer.mapping;
  const rows = [0, 1].map(() => [3, 2, 1, 0, 0, -1]);
  const mapping = ExpertMapping.fromPhysicalToLogical(rows);
  balancer.commit(initial);
  assert.equal(balancer.generation, 0);
  balancer.commit(mapping);
  balancer.commit(mapping);
  assert.equal(balancer.mapping, mapping);
  assert.equal(balancer.generation, 1);
  assert.deepEqual(balancer.metrics().physicalToLogical, mapping.phyToLog);
  assert.deepEqual(balancer.metrics().logicalToPhysical, mapping.logToPhy);
  assert.deepEqual(balancer.metrics().logicalReplicaCount, mapping.replicaCount);
  balancer.commit(ExpertMapping.fromPhysicalToLogical(rows));
  assert.equal(balancer.generation, 2, 'an equal mapping is another object');
});

test('commit in the middle of a step reads the step so far through the mapping that was live', () => {
  const balancer = new ExpertLoadBalancer({ ...small, numLayers: 1 });
  balancer.recordLoad(0, [8, 0, 0, 0, 2, 0]);
  balancer.commit(ExpertMapping.fromPhysicalToLogical([[1, 2, 3, 0, 3, 3]]));
  balancer.recordLoad(0, [0, 0, 3, 1, 0, 0]);
  balancer.advanceWindow();
  assert.deepEqual(balancer.getAverageLogicalLoad().data, Float32Array.of(11, 0, 0, 3));
});

test('rebalance makes its mapping live, plan does not; both equal rebalanceSync', async () => {
  const loads = [
    [90, 10, 40, 60],
    [1, 2, 3, 400],
  ] as const;
  for (const threads of [0, 1]) {
    await withBalancer({ ...small, threads }, async (balancer) => {
      const initial = balancer.mapping;
      recordStep(balancer, ...loads);
      const context = { previous: initial };
      const expected = new DefaultEplbPolicy().rebalanceExperts([...loads], 6, 1, 1, 2, context);
      const planned = await balancer.plan();
      assert.ok(planned.equals(expected));
      assert.equal(balancer.mapping, initial);
      assert.equal(balancer.generation, 0);
      const live = await balancer.rebalance();
      assert.equal(balancer.mapping, live);
      assert.equal(balancer.generation, 1);
      assert.ok(live.equals(expected));
    });
    await withBalancer({ ...small, threads }, (balancer) => {
      recordStep(balancer, ...loads);
      const live = balancer.rebalanceSync();
      assert.equal(balancer.mapping, live);
      const policy = new DefaultEplbPolicy();
      const previous = new ExpertLoadBalancer(small).mapping;
      assert.ok(live.equals(policy.rebalanceExperts([...loads], 6, 1, 1, 2, { previous })));
    });
  }
});

test('without a sample and without loads the live mapping itself is the plan', async () => {
  for (const threads of [0, 1]) {
    await withBalancer({ ...small, threads }, async (balancer) => {
      const { mapping } = balancer;
      balancer.recordLoad(0, [1, 2, 3, 4, 5, 6]);
      assert.equal(await balancer.plan(), mapping);
      assert.equal(await balancer.rebalance(), mapping);
      assert.equal(balancer.rebalanceSync(), mapping);
      assert.equal(balancer.mapping, mapping);
      assert.equal(balancer.generation, 0);
      assert.notEqual(await balancer.plan([...Array(2)].map(() => [1, 2, 3, 4])), mapping);
    });
  }
});

test('a sample without any load is a sample', async () => {
  await withBalancer(small, async (balancer) => {
    balancer.advanceWindow();
    const mapping = await balancer.rebalance();
    assert.equal(balancer.numSamples, 1);
    assert.equal(balancer.mapping, mapping);
    assert.equal(balancer.generation, 1);
  });
});

test('after close everything can be read and nothing changed', async () => {
  const balancer = new ExpertLoadBalancer({ ...small, threads: 1 });
  recordStep(balancer, [1, 2, 3, 4], [5, 6, 7, 8]);
  const planned = await balancer.plan();
  const before = stateOf(balancer);
  await balancer.close();
  await balancer.close();
  const closed = refusal('other', 'EPLB_CLOSED', /closed/);
  const loads = [1, 2, 3, 4];
  assert.throws(() => balancer.recordLoad(0, [1, 2, 3, 4, 5, 6]), closed);
  assert.throws(() => balancer.recordLogicalLoad(0, loads), closed);
  assert.throws(() => balancer.advanceWindow(), closed);
  assert.throws(() => balancer.commit(planned), closed);
  assert.throws(() => balancer.rebalanceSync([loads, loads]), closed);
  await assert.rejects(balancer.plan(), closed);
  await assert.rejects(balancer.rebalance([loads, loads]), closed);
  assert.deepEqual(stateOf(balancer), before);
  assert.deepEqual(balancer.planProgress, { layersDone: 0, numLayers: 0 });
});

test('Symbol.asyncDispose closes', async () => {
  const balancer = new ExpertLoadBalancer({ ...small, threads: 1 });
  await balancer.plan([
    [1, 2, 3, 4],
    [5, 6, 7, 8],
  ]);
  await balancer[Symbol.asyncDispose]();
  await assert.rejects(balancer.plan(), refusal('other', 'EPLB_CLOSED', /closed/));
});
