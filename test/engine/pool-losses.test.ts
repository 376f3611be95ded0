import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Worker } from 'node:worker_threads';
import {
  type AbstractEplbPolicy,
  AdaptiveEplbPolicy,
  DefaultEplbPolicy,
  type ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
  type ExpertMapping,
  type LoadMatrix,
  LocalityAwarePolicy,
} from 'expert-load-balancer';
import { coresOf } from '../../src/engine/cores.ts';
import { seededRandom } from '../helpers/arbitraries.ts';
import {
  hasEnded,
  SMALL,
  SMALL_LOADS,
  SMALL_PLAN,
  threadsOf,
  withHostile,
} from '../helpers/hostile-policy.ts';
import { refusal, SEED, stateOf, until, untilPlanning, withBalancer } from '../helpers/library.ts';
import { slowPolicy } from '../helpers/slow-policy.ts';

// A test that takes this long hangs.
const limit = { timeout: 30_000 };
const lost = refusal('other', 'EPLB_WORKER_LOST', /worker/);

/** So much work that every policy's plan is worth two threads. */
const sizes = {
  ...{ numLayers: 48, numLogicalExperts: 64, numPhysicalExperts: 96 },
  ...{ numRanks: 8, numNodes: 2, numGroups: 4, windowSize: 4, threads: 2 },
} as const;

/** Loads for such a plan. */
function weightOf(): LoadMatrix {
  const { numLayers, numLogicalExperts: numExperts } = sizes;
  return { data: floats(numLayers * numExperts, seededRandom(SEED)), numLayers, numExperts };
}

/**
 * Ends threads without a turn of the event loop: nothing is heard of it before the next plan's tasks are out.
 */
function kill(threads: readonly Worker[]): void {
  for (const thread of threads) void thread.terminate();
}

function floats(length: number, random: () => number): Float32Array {
  const data = new Float32Array(new SharedArrayBuffer(4 * length));
  for (let i = 0; i < length; i++) data[i] = Math.floor(1000 * random() ** 3);
  return data;
}

/**
 * Plans from loads in the ways that a kernel reads them, some from the mapping that the one before made live.
 */
function plansOf(
  policy: AbstractEplbPolicy,
): readonly ((balancer: ExpertLoadBalancer) => Promise<ExpertMapping>)[] {
  const random = seededRandom(SEED);
  const { numLayers, numLogicalExperts: numExperts } = sizes;
  const data = floats(numLayers * numExperts, random);
  const shared = { data, numLayers, numExperts };
  const own = { ...shared, data: Float32Array.from(data) };
  if (policy instanceof LocalityAwarePolicy) {
    const coactivation = { data: floats(data.length * numExperts, random), numLayers, numExperts };
    return [(balancer) => balancer.plan(own, { coactivation })];
  }
  if (policy instanceof AdaptiveEplbPolicy) {
    const samples = { data: floats(6 * data.length, random), numSamples: 6, numLayers, numExperts };
    return [(balancer) => balancer.rebalance(), (balancer) => balancer.plan(undefined, { samples })];
  }
  return [
    (balancer) => balancer.rebalance(own),
    (balancer) => balancer.plan(shared),
    (balancer) => balancer.plan(),
  ];
}

/** Records the same steps in every balancer. */
function record(balancer: ExpertLoadBalancer): void {
  const random = seededRandom(SEED);
  for (let step = 0; step < 6; step++) {
    for (let layer = 0; layer < sizes.numLayers; layer++) {
      if (step % 2 === 0) balancer.recordLoad(layer, floats(sizes.numPhysicalExperts, random));
      else balancer.recordLogicalLoad(layer, floats(sizes.numLogicalExperts, random));
    }
    balancer.advanceWindow();
  }
}

for (const policy of [
  new DefaultEplbPolicy(),
  new LocalityAwarePolicy(),
  new AdaptiveEplbPolicy({ maxMoves: 9 }),
]) {
  test(
    `threads that died idle, one or all, do not fail a plan, which is the same: ${policy.name}`,
    limit,
    async () => {
      const options: ExpertLoadBalancerOptions = { ...sizes, policy };
      await threadsOf((threads) =>
        withBalancer(options, (balancer) =>
          withBalancer({ ...options, threads: 0 }, async (inline) => {
            record(balancer);
            record(inline);
            for (const [i, plan] of plansOf(policy).entries()) {
              await balancer.start();
              const known = threads.length;
              const alive = threads.filter((thread) => !hasEnded(thread));
              assert.equal(alive.length, 2);
              const killed = i % 2 === 0 ? alive : alive.slice(1);
              kill(killed);
              const mapping = await plan(balancer);
              const expected = await plan(inline);
              assert.deepEqual(mapping.toJSON(), expected.toJSON());
              assert.ok(killed.length === 1 || threads.length > known, 'threads were started');
              await until(() => killed.every(hasEnded));
            }
            assert.deepEqual(stateOf(balancer), stateOf(inline));
          }),
        ),
      );
    },
  );
}

test('threads that are known to have died are replaced before the next plan', limit, async () => {
  await threadsOf((threads) =>
    withBalancer(sizes, async (balancer) => {
      const first = await balancer.plan(weightOf());
      for (const victims of [[0], [0, 1]]) {
        await balancer.start();
        const alive = threads.filter((thread) => !hasEnded(thread));
        await Promise.all(victims.map((victim) => alive[victim]!.terminate()));
        assert.ok((await balancer.plan(weightOf())).equals(first));
      }
    }),
  );
});

test('threads that die while they start in the place of others do not hold up a plan', limit, async () => {
  await threadsOf((threads) =>
    withBalancer(sizes, async (balancer) => {
      const first = await balancer.plan(weightOf());
      await balancer.start();
      await Promise.all(threads.slice(0, 2).map((thread) => thread.terminate()));
      const plan = balancer.plan(weightOf());
      await until(() => threads.length > 2);
      kill(threads.slice(2));
      assert.ok((await plan).equals(first));
    }),
  );
});

test('start replaces threads that died idle', limit, async () => {
  await threadsOf((threads) =>
    withBalancer(sizes, async (balancer) => {
      await balancer.start();
      kill(threads);
      await balancer.start();
      assert.equal(threads.filter((thread) => !hasEnded(thread)).length, 2);
    }),
  );
});

test(
  'a plan is tried twice, and is lost when its threads die before they take it up both times',
  limit,
  async () => {
    await threadsOf((threads) =>
      withBalancer({ ...SMALL, threads: 2 }, async (balancer) => {
        const before = stateOf(balancer);
        const die = (thread: Worker) => void thread.terminate();
        process.on('worker', die);
        try {
          await assert.rejects(balancer.rebalance(SMALL_LOADS), lost);
        } finally {
          process.off('worker', die);
        }
        await until(() => threads.every(hasEnded));
        assert.deepEqual(stateOf(balancer), before);
        const first = threads.length;
        await balancer.rebalance(SMALL_LOADS);
        assert.equal(threads.length, first + 1);
      }),
    );
  },
);

test(
  'a plan for which no thread can be started is made by one that another balancer has',
  limit,
  async () => {
    const slowly = { ...sizes, policy: slowPolicy() };
    await threadsOf((threads) =>
      withBalancer({ ...slowly, threads: 1 }, (other) =>
        withBalancer({ ...sizes, threads: 2 }, async (balancer) => {
          await other.start();
          const abort = new AbortController();
          const slow = other.plan(weightOf(), { signal: abort.signal });
          slow.catch(() => {});
          await untilPlanning(other);
          const die = (thread: Worker) => void thread.terminate();
          process.on('worker', die);
          try {
            const mapping = await balancer.plan(weightOf());
            assert.ok(mapping.equals(balancer.rebalanceSync(weightOf())));
          } finally {
            process.off('worker', die);
          }
          assert.ok(threads.length >= 3 || coresOf('/', availableParallelism()) < 2, 'tried twice');
          assert.equal(other.planProgress.numLayers, sizes.numLayers, 'still at work');
          abort.abort();
          await assert.rejects(slow, refusal('other', 'EPLB_CANCELLED', /cancelled/));
        }),
      ),
    );
  },
);

test('threads that die whenever they are ready are not started without end', limit, async () => {
  const preload = new URL('../fixtures/engine/dies-when-ready.mjs', import.meta.url).href;
  const script = fileURLToPath(new URL('../fixtures/engine/plans-twice.mjs', import.meta.url));
  const args = ['--import', preload, script];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 20_000 });
  assert.equal(stdout, 'EPLB_WORKER_LOST 2\nEPLB_WORKER_LOST 4\n');
});

test('a plan that is cancelled while its dead threads are replaced is cancelled', limit, async () => {
  await threadsOf((threads) =>
    withBalancer({ ...SMALL, threads: 2 }, async (balancer) => {
      await balancer.start();
      kill(threads);
      const abort = new AbortController();
      const plan = balancer.plan(SMALL_LOADS, { signal: abort.signal });
      const reason = new Error('no longer needed');
      setImmediate(() => abort.abort(reason));
      await assert.rejects(plan, (error: Error) => {
        assert.equal(error.cause, reason);
        return refusal('other', 'EPLB_CANCELLED', /cancelled/)(error);
      });
      await balancer.plan(SMALL_LOADS);
      kill(threads.filter((thread) => !hasEnded(thread)));
      const last = assert.rejects(balancer.plan(SMALL_LOADS), refusal('other', 'EPLB_CLOSED', /closed/));
      await Promise.resolve();
      await balancer.close();
      await last;
      await until(() => threads.every(hasEnded));
    }),
  );
});

test(
  'a plan whose only thread is killed while it plans is lost, and made by no other thread',
  limit,
  async () => {
    const big = { ...sizes, numLayers: 40, numLogicalExperts: 64, numPhysicalExperts: 80, numRanks: 16 };
    const numExperts = big.numLogicalExperts;
    const weight = { data: floats(40 * numExperts, seededRandom(SEED)), numLayers: 40, numExperts };
    await threadsOf((threads) =>
      withBalancer({ ...big, threads: 1, policy: slowPolicy() }, async (balancer) => {
        const before = stateOf(balancer);
        const plan = assert.rejects(balancer.rebalance(weight), lost);
        await untilPlanning(balancer);
        kill(threads);
        await plan;
        assert.deepEqual(stateOf(balancer), before);
        // piscina's own replacement at most: the plan was not begun anew.
        assert.ok(threads.length <= 2);
        assert.deepEqual(balancer.planProgress, { layersDone: 0, numLayers: 0 });
        assert.equal((await balancer.plan(weight)).digest(), balancer.rebalanceSync(weight).digest());
      }),
    );
  },
);

for (const way of ['late-throw', 'late-exit', 'late-reject']) {
  test(
    `a policy that ends its thread once its plan is settled does not fail the next plan: ${way}`,
    limit,
    async () => {
      await withHostile(way, (policy) =>
        threadsOf((threads) =>
          withBalancer({ ...SMALL, threads: 1, policy: policy.url }, async (balancer) => {
            await balancer.plan(SMALL_LOADS);
            policy.goLate();
            assert.equal(hasEnded(threads[0]!), false, 'nothing is heard of it yet');
            assert.deepEqual((await balancer.rebalance(SMALL_LOADS)).toJSON().phyToLog, SMALL_PLAN);
            assert.ok(hasEnded(threads[0]!));
          }),
        ),
      );
    },
  );

  test(`a policy that ends its thread between two plans is loaded anew: ${way}`, limit, async () => {
    await withHostile(way, (policy) =>
      threadsOf((threads) =>
        withBalancer({ ...SMALL, threads: 2, policy: policy.url }, async (balancer) => {
          await balancer.plan(SMALL_LOADS);
          policy.goLate();
          await until(() => threads.some(hasEnded));
          for (let time = 0; time < 2; time++) {
            assert.deepEqual((await balancer.rebalance(SMALL_LOADS)).toJSON().phyToLog, SMALL_PLAN);
          }
          await balancer.close();
          await until(() => threads.every(hasEnded));
        }),
      ),
    );
  });
}

test('a policy that ends its thread in its own plan is not asked a second time', limit, async () => {
  await withHostile('exit', (policy) =>
    withBalancer({ ...SMALL, threads: 1, policy: policy.url }, async (balancer) => {
      // It would answer the second time.
      await assert.rejects(balancer.plan(SMALL_LOADS), lost);
      assert.equal(policy.numPlans(), 1);
      assert.deepEqual((await balancer.plan(SMALL_LOADS)).toJSON().phyToLog, SMALL_PLAN);
    }),
  );
});
