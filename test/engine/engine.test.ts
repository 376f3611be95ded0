import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { constants, getPriority } from 'node:os';
import { test } from 'node:test';
import {
  ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
  type LoadMatrix,
  LocalityAwarePolicy,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { loadsArbitrary, seededRandom } from '../helpers/arbitraries.ts';
import { refusal, SEED, stateOf, turn, untilPlanning, withBalancer } from '../helpers/library.ts';
import { slowPolicy } from '../helpers/slow-policy.ts';

const cancelled = refusal('other', 'EPLB_CANCELLED', /cancelled/);

/**
 * So much work that a plan takes many turns of the event loop, also when the machine is busy with other
 * things.
 */
const big = {
  ...{ numLayers: 40, numLogicalExperts: 64, numPhysicalExperts: 80 },
  ...{ numRanks: 16, numNodes: 4, numGroups: 16 },
  ...{ windowSize: 1, threads: 2, policy: slowPolicy() },
};

/** Loads of all layers that differ from each other. */
function loadsOf({ numLayers, numLogicalExperts: numExperts }: ExpertLoadBalancerOptions): LoadMatrix {
  const data = Float32Array.from({ length: numLayers * numExperts }, (_, i) => (i * 7919) % 1013);
  return { data, numLayers, numExperts };
}

const topologies = {
  'one rank, one layer': { numLayers: 1, numLogicalExperts: 5, numPhysicalExperts: 9, numRanks: 1 },
  'nodes that do not divide the groups': {
    ...{ numLayers: 5, numLogicalExperts: 24, numPhysicalExperts: 32 },
    ...{ numRanks: 8, numNodes: 4, numGroups: 6 },
  },
  'many layers, hierarchical': {
    ...{ numLayers: 33, numLogicalExperts: 64, numPhysicalExperts: 96 },
    ...{ numRanks: 16, numNodes: 4, numGroups: 8 },
  },
};

for (const [title, topology] of Object.entries(topologies)) {
  test(`0, 1, 2 and 4 threads give the same mappings: ${title}`, async () => {
    const { numLayers, numLogicalExperts: numExperts, numPhysicalExperts } = topology;
    const balancers = [0, 1, 2, 4].map(
      (threads) => new ExpertLoadBalancer({ ...topology, windowSize: 3, threads }),
    );
    const loads = (n: number) => fc.array(loadsArbitrary(n), { minLength: numLayers, maxLength: numLayers });
    const problem = fc.record({
      rows: loads(numExperts),
      step: loads(numPhysicalExperts),
      take: fc.boolean(),
    });
    try {
      await fc.assert(
        // Each problem goes on from the mapping that the ones before it have left.
        fc.asyncProperty(problem, async ({ rows, step, take }) => {
          const asText = await Promise.all(
            balancers.map(async (balancer) => {
              const planned = await balancer.plan(rows);
              // No sum over replicas leaves float32.
              step.forEach((row, layer) => {
                balancer.recordLoad(
                  layer,
                  row.map((load) => load / 64),
                );
              });
              balancer.advanceWindow();
              const recorded = await balancer.plan();
              balancer.commit(take ? planned : recorded);
              return JSON.stringify([planned, recorded, planned.digest(), recorded.digest()]);
            }),
          );
          assert.equal(new Set(asText).size, 1);
        }),
        { numRuns: 40, seed: SEED, endOnFailure: true },
      );
    } finally {
      await Promise.all(balancers.map((balancer) => balancer.close()));
    }
  });
}

test('0, 1, 2 and 4 threads give the same mappings: locality, with and without co-activation', async () => {
  const sizes = {
    ...{ numLayers: 9, numLogicalExperts: 16, numPhysicalExperts: 24 },
    ...{ numRanks: 8, numNodes: 4, numGroups: 8 },
  };
  const balancers = [0, 1, 2, 4].map(
    (threads) =>
      new ExpertLoadBalancer({ ...sizes, policy: new LocalityAwarePolicy(), windowSize: 1, threads }),
  );
  const data = new Float32Array(new SharedArrayBuffer(4 * 9 * 16 * 16));
  const coactivation = { data, numLayers: 9, numExperts: 16 };
  const problem = fc.record({
    rows: fc.array(loadsArbitrary(16), { minLength: 9, maxLength: 9 }),
    seed: fc.integer(),
    isPaired: fc.boolean(),
  });
  try {
    await fc.assert(
      fc.asyncProperty(problem, async ({ rows, seed, isPaired }) => {
        const random = seededRandom(seed);
        for (let a = 0; a < 9 * 256; a++) data[a] = Math.floor(random() * 50);
        const digests = await Promise.all(
          balancers.map(async (balancer) =>
            (await balancer.rebalance(rows, isPaired ? { coactivation } : {})).digest(),
          ),
        );
        assert.equal(new Set(digests).size, 1);
      }),
      { numRuns: 25, seed: SEED, endOnFailure: true },
    );
  } finally {
    await Promise.all(balancers.map((balancer) => balancer.close()));
  }
});

test('tables of over a megabyte, which the threads write in place, are the same too', async () => {
  const large = { numLayers: 65, numLogicalExperts: 1500, numPhysicalExperts: 2048, numRanks: 32 };
  const loads = loadsOf(large);
  const plan = (threads: number) => withBalancer({ ...large, threads }, (balancer) => balancer.plan(loads));
  const inline = await plan(0);
  for (const threads of [1, 3]) {
    const pooled = await plan(threads);
    assert.ok(pooled.equals(inline), `${threads} threads`);
    assert.deepEqual(pooled.replicaCount, inline.replicaCount);
    assert.deepEqual(pooled.getPhysicalExperts(64, 7), inline.getPhysicalExperts(64, 7));
  }
});

test('more threads than layers do no harm', async () => {
  const sizes = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
  await withBalancer({ ...sizes, threads: 4 }, async (balancer) => {
    const expected = await withBalancer({ ...sizes, threads: 0 }, (inline) => inline.plan(loadsOf(sizes)));
    assert.ok((await balancer.plan(loadsOf(sizes))).equals(expected));
  });
});

test('start starts the threads before the first plan, once', async () => {
  let numThreads = 0;
  const count = () => numThreads++;
  process.on('worker', count);
  try {
    const sizes = { ...big, numLayers: 4, threads: 2 };
    await withBalancer(sizes, async (balancer) => {
      await Promise.all([balancer.start(), balancer.start()]);
      assert.equal(numThreads, 2);
      await balancer.plan(loadsOf(sizes));
      await balancer.start();
      assert.equal(numThreads, 2);
      await balancer.close();
      await assert.rejects(balancer.start(), refusal('other', 'EPLB_CLOSED', /closed/));
    });
    await withBalancer({ ...sizes, threads: 0 }, (inline) => inline.start());
    assert.equal(numThreads, 2);
  } finally {
    process.off('worker', count);
  }
});

const isLinux = process.platform === 'linux';
test('threads that plan let the others go first', { skip: !isLinux && 'only Linux has it' }, async () => {
  const threads = () => readdirSync('/proc/self/task').map(Number);
  const before = new Set(threads());
  await withBalancer({ ...big, threads: 2 }, async (balancer) => {
    await balancer.start();
    const started = threads().filter((thread) => !before.has(thread));
    const own = getPriority(process.pid);
    const low = Math.max(own, constants.priority.PRIORITY_BELOW_NORMAL);
    assert.ok(started.filter((thread) => getPriority(thread) === low).length >= 2);
    assert.equal(getPriority(process.pid), own);
  });
});

test('the event loop turns during a plan in the pool, and its progress can be read', async () => {
  await withBalancer(big, async (balancer) => {
    let isDone = false;
    let last = 0;
    let numTurns = 0;
    const plan = balancer.plan(loadsOf(big)).finally(() => {
      isDone = true;
    });
    for (; !isDone; numTurns++) {
      const { layersDone, numLayers } = balancer.planProgress;
      assert.ok(numLayers === 40 || numTurns === 0, `${numLayers} layers`);
      assert.ok(layersDone >= last && layersDone <= 40, `${last}, then ${layersDone}`);
      last = layersDone;
      await turn();
    }
    assert.ok(numTurns > 10, `${numTurns} turns`);
    assert.deepEqual(balancer.planProgress, { layersDone: 0, numLayers: 0 });
    await plan;
  });
});

test('a plan that is aborted before it begins is cancelled', async () => {
  for (const threads of [0, 1]) {
    await withBalancer({ ...big, numLayers: 2, threads }, async (balancer) => {
      const weight = loadsOf({ ...big, numLayers: 2 });
      const before = stateOf(balancer);
      const reason = new Error('no longer needed');
      await assert.rejects(balancer.plan(weight, { signal: AbortSignal.abort(reason) }), (error: Error) => {
        assert.equal(error.cause, reason);
        return cancelled(error);
      });
      const abort = new AbortController();
      const first = balancer.plan(weight);
      const second = balancer.rebalance(weight, { signal: abort.signal });
      abort.abort();
      await assert.rejects(second, cancelled);
      assert.deepEqual(stateOf(balancer), before);
      assert.ok((await balancer.plan(weight)).equals(await first));
    });
  }
});

test('a plan aborted before it begins is cancelled even with nothing to plan from', async () => {
  await withBalancer({ ...big, numLayers: 2 }, async (balancer) => {
    await assert.rejects(balancer.plan(undefined, { signal: AbortSignal.abort() }), cancelled);
  });
});

test('a plan that is aborted while it runs is cancelled between two layers; the next one works', async () => {
  await withBalancer(big, async (balancer) => {
    const before = stateOf(balancer);
    for (let time = 0; time < 3; time++) {
      const abort = new AbortController();
      const plan = balancer.rebalance(loadsOf(big), { signal: abort.signal });
      const rejected = assert.rejects(plan, (error: Error) => {
        assert.equal(error.cause, abort.signal.reason);
        return cancelled(error);
      });
      await untilPlanning(balancer);
      abort.abort(new Error(`time ${time}`));
      await rejected;
    }
    assert.deepEqual(stateOf(balancer), before);
    const mapping = await balancer.plan(loadsOf(big));
    assert.equal(mapping.digest(), balancer.rebalanceSync(loadsOf(big)).digest());
  });
});

test('an abort in the turn that asked for the plan cancels it, also while threads start', async () => {
  await withBalancer(big, async (balancer) => {
    for (let numTurns = 0; numTurns < 4; numTurns++) {
      const abort = new AbortController();
      const rejected = assert.rejects(balancer.plan(loadsOf(big), { signal: abort.signal }), cancelled);
      for (let i = 0; i < numTurns; i++) await Promise.resolve();
      abort.abort();
      await rejected;
    }
  });
});

test('an abort after the plan has settled does nothing', async () => {
  const sizes = { ...big, numLayers: 2 };
  await withBalancer(sizes, async (balancer) => {
    const abort = new AbortController();
    const mapping = await balancer.plan(loadsOf(sizes), { signal: abort.signal });
    abort.abort();
    assert.ok((await balancer.plan(loadsOf(sizes))).equals(mapping));
  });
});

test('many plans with one signal leave no listeners on it', async () => {
  const sizes = { ...big, numLayers: 1 };
  await withBalancer(sizes, async (balancer) => {
    const { signal } = new AbortController();
    let numListeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      numListeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      numListeners--;
      remove(...args);
    };
    for (let i = 0; i < 5; i++) await balancer.plan(loadsOf(sizes), { signal });
    assert.equal(numListeners, 0);
  });
});
