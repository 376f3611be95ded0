import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  type AbstractEplbPolicy,
  AdaptiveEplbPolicy,
  computeBalancedPacking,
  computeExpertReplication,
  DefaultEplbPolicy,
  EplbRangeError,
  ExpertLoadBalancer,
  ExpertMapping,
  LocalityAwarePolicy,
  layerBalances,
} from 'expert-load-balancer';
import { stateOf } from '../helpers/library.ts';

// Another thread writes what is shared while it is read: that must not be, but then too a plan is valid or
// refused.

const numLayers = 4;
const numExperts = 64;
const SIZES = { numLayers, numLogicalExperts: numExperts, numPhysicalExperts: 80, numRanks: 8, numNodes: 2 };
const numSamples = 16;
const shape = { numLayers, numExperts };

function shared(length: number): Float32Array {
  return new Float32Array(new SharedArrayBuffer(4 * length)).fill(1);
}

const weight = { data: shared(numLayers * numExperts), ...shape };
const samples = { data: shared(numSamples * numLayers * numExperts), numSamples, ...shape };
const coactivation = { data: shared(numLayers * numExperts ** 2), ...shape };

/** Runs `work` while another thread scribbles on all that is shared: again where that had no turn. */
async function whileScribbled(work: () => Promise<void>): Promise<void> {
  const stopWord = new Int32Array(new SharedArrayBuffer(8));
  const values = [Number.NaN, -1, Number.POSITIVE_INFINITY, -Number.MAX_VALUE, 1e30];
  const workerData = {
    arrays: [weight.data, samples.data, coactivation.data],
    stopWord: stopWord.buffer,
    values,
  };
  const url = new URL('../fixtures/share/scribbler.mjs', import.meta.url);
  const worker = new Worker(url, { workerData, execArgv: [] });
  await once(worker, 'message');
  const exit = once(worker, 'exit');
  try {
    do await work();
    while (Atomics.load(stopWord, 1) === 0);
  } finally {
    Atomics.store(stopWord, 0, 1);
    await exit;
  }
  assert.ok(Atomics.load(stopWord, 1) > 0, 'it did scribble');
}

/** Asserts that a mapping is valid, or that what was thrown tells of a bad value. */
async function assertPlannedOrRefused(plan: () => ExpertMapping | Promise<ExpertMapping>): Promise<void> {
  let mapping: ExpertMapping;
  try {
    mapping = await plan();
  } catch (error) {
    assert.ok(error instanceof EplbRangeError, String(error));
    assert.match(error.code, /^EPLB_(LOAD|RANGE)$/, error.message);
    assert.match(error.message, /^(weight|samples|coactivation): /);
    return;
  }
  assert.ok(new ExpertMapping(mapping.toJSON()).equals(mapping));
  assert.equal(mapping.numPhysicalExperts, 80);
}

class OwnPolicy extends DefaultEplbPolicy {
  override readonly name = 'own';
  override rebalanceExperts(...args: Parameters<DefaultEplbPolicy['rebalanceExperts']>): ExpertMapping {
    return super.rebalanceExperts(...args);
  }
}

const POLICIES: Readonly<Record<string, () => AbstractEplbPolicy>> = {
  default: () => new DefaultEplbPolicy(),
  locality: () => new LocalityAwarePolicy({ maxEvaluations: 1000 }),
  adaptive: () => new AdaptiveEplbPolicy({ maxEvaluations: 2000 }),
  'of your own': () => new OwnPolicy(),
};

for (const [name, makePolicy] of Object.entries(POLICIES)) {
  test(`policy ${name}: shared memory written during plans gives valid mappings or errors`, async () => {
    for (const threads of [0, 2]) {
      const balancer = new ExpertLoadBalancer({ ...SIZES, windowSize: 2, policy: makePolicy(), threads });
      for (let step = 0; step < 3; step++) {
        for (let layer = 0; layer < numLayers; layer++)
          balancer.recordLoad(layer, new Float32Array(80).fill(step + layer));
        balancer.advanceWindow();
      }
      await balancer.start();
      // The window lies behind the memory of plans.
      const before = stateOf(balancer);
      await whileScribbled(async () => {
        for (let i = 0; i < 25; i++) {
          const options = [{}, { samples }, { coactivation }, { samples, coactivation }][i % 4]!;
          await assertPlannedOrRefused(() => balancer.plan(i % 3 === 0 ? undefined : weight, options));
        }
      });
      assert.deepEqual(stateOf(balancer), before);
      await balancer.close();
    }
  });
}

test('a module policy: shared memory written during plans gives valid mappings or errors', async () => {
  const policy = new URL('../fixtures/policies/repeat.mjs', import.meta.url);
  const balancer = new ExpertLoadBalancer({ ...SIZES, windowSize: 2, policy, threads: 1 });
  await whileScribbled(async () => {
    for (let i = 0; i < 25; i++) await assertPlannedOrRefused(() => balancer.plan(weight));
  });
  await balancer.close();
});

test('inline calls: shared memory that is written meanwhile gives valid results or errors', async () => {
  const mapping = ExpertMapping.fromPhysicalToLogical(
    Array.from({ length: numLayers }, () => Array.from({ length: 80 }, (_, slot) => slot % numExperts)),
  );
  await whileScribbled(async () => {
    for (let i = 0; i < 50; i++) {
      for (const makePolicy of Object.values(POLICIES)) {
        await assertPlannedOrRefused(() =>
          makePolicy().rebalanceExperts(weight, 80, 1, 2, 8, { coactivation, samples, previous: mapping }),
        );
      }
      await assertPlannedOrRefused(() => {
        for (const { meanRankLoad } of layerBalances(weight, mapping, 8)) assert.ok(meanRankLoad >= 0);
        for (const pack of computeBalancedPacking(weight, 8).packIndex) assert.ok(pack >= 0 && pack < 8);
        const { phyToLog } = computeExpertReplication(weight, 80);
        for (const expert of phyToLog) assert.ok(expert >= 0 && expert < numExperts);
        return mapping;
      });
    }
  });
});

test('values that are bad by the time they are read are refused, or were copied before', async () => {
  const good = (length: number) => Float32Array.from({ length }, (_, i) => 1 + ((i * 7) % 100));
  const arrays = [weight.data, samples.data, coactivation.data];
  const restore = () => {
    for (const array of arrays) array.set(good(array.length));
  };
  for (const makePolicy of Object.values(POLICIES)) {
    for (const threads of [0, 2]) {
      const balancer = new ExpertLoadBalancer({ ...SIZES, policy: makePolicy(), threads });
      for (const options of [{}, { samples }, { coactivation }]) {
        restore();
        const expected = await balancer.plan(weight, options);
        const plan = balancer.plan(weight, options);
        for (const array of arrays) for (let i = 100; i < array.length; i += 50) array[i] = Number.NaN;
        await plan.then(
          (mapping) => assert.ok(mapping.equals(expected), 'a plan from values that were checked'),
          (error) => {
            assert.ok(error instanceof EplbRangeError, String(error));
            // Which layer comes first is the threads' affair.
            assert.match(
              error.message,
              /^(weight: layer \d, index|coactivation: layer \d, experts \d+ and) \d+: NaN is not/,
            );
          },
        );
      }
      await balancer.close();
    }
  }
  restore();
});
