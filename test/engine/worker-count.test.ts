import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  DefaultEplbPolicy,
  LocalityAwarePolicy,
  type Topology,
} from 'expert-load-balancer';
import fc from 'fast-check';
import type { KernelRequest } from '../../src/engine/plan-job.ts';
import { workersFor } from '../../src/engine/worker-count.ts';
import { kernelOf } from '../../src/policy/kernels.ts';
import { SEED } from '../helpers/library.ts';

test('a job gets at least one worker, and no more than it has claims and may have', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1e13, noNaN: true }),
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 1, max: 1024 }),
      (work, numClaims, most) => {
        const workers = workersFor(work, numClaims, most);
        assert.ok(Number.isInteger(workers) && workers >= 1 && workers <= Math.min(numClaims, most));
        assert.ok(workersFor(2 * work, numClaims, most) >= workers);
      },
    ),
    { seed: SEED },
  );
});

test('what a worker does pays for waking all of them, but for half of one', () => {
  for (const work of [1e3, 1e5, 1e6, 1e7, 1e9]) {
    const workers = workersFor(work, 1e6, 1e6);
    if (workers > 1) assert.ok((workers - 0.5) ** 2 * 60_000 <= work);
    assert.ok((workers + 0.5) ** 2 * 60_000 >= work);
  }
});

const topologyOf = (numLogicalExperts: number, numPhysicalExperts: number, numRanks: number): Topology => ({
  ...{ numLayers: 1, numLogicalExperts, numPhysicalExperts, numRanks, numNodes: 2, numGroups: 2 },
});
const policies = [
  new DefaultEplbPolicy(),
  new LocalityAwarePolicy(),
  new AdaptiveEplbPolicy(),
  new AdaptiveEplbPolicy({ effort: 'thorough' }),
];

/** What is asked of a policy's kernel: no part of the public types. */
function requestOf(policy: object): KernelRequest {
  return (policy as { kernelRequest(): KernelRequest }).kernelRequest();
}

for (const policy of policies) {
  test(`a layer of more slots is told to take longer, from small to huge ones: ${policy.name}`, () => {
    const request = requestOf(policy);
    const kernel = kernelOf(request);
    let last = 0;
    for (const slots of [32, 64, 128, 256, 1024, 4096, 16_384]) {
      const nanoseconds = kernel.nanosecondsPerLayer(request, topologyOf((slots * 3) / 4, slots, 8));
      assert.ok(Number.isFinite(nanoseconds) && nanoseconds > last, `${slots} slots: ${nanoseconds} ns`);
      last = nanoseconds;
    }
  });
}

test('a search is told to take longer than to place a layer, and a quick one is shorter', () => {
  const topology = topologyOf(192, 256, 16);
  const timeOf = (policy: (typeof policies)[number]) => {
    const request = requestOf(policy);
    return kernelOf(request).nanosecondsPerLayer(request, topology);
  };
  const placing = timeOf(new DefaultEplbPolicy());
  assert.ok(timeOf(new LocalityAwarePolicy({ effort: 'quick' })) > placing);
  assert.ok(timeOf(new LocalityAwarePolicy()) > timeOf(new LocalityAwarePolicy({ effort: 'quick' })));
  assert.ok(timeOf(new AdaptiveEplbPolicy({ effort: 'quick' })) > placing);
  assert.ok(timeOf(new AdaptiveEplbPolicy()) > timeOf(new AdaptiveEplbPolicy({ effort: 'quick' })));
  assert.ok(timeOf(new AdaptiveEplbPolicy()) > timeOf(new AdaptiveEplbPolicy({ maxSamples: 4 })));
});
