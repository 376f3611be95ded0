import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
  type LoadMatrix,
  LocalityAwarePolicy,
} from 'expert-load-balancer';
import { coresOf } from '../../src/engine/cores.ts';
import { collectAll } from '../helpers/collect.ts';
import { hasEnded, SMALL, SMALL_LOADS, threadsOf, withHostile } from '../helpers/hostile-policy.ts';
import { refusal, turn, until, untilPlanning, withBalancer } from '../helpers/library.ts';
import { endlessPolicy, slowPolicy } from '../helpers/slow-policy.ts';

// A test that takes this long hangs.
const limit = { timeout: 60_000 };
const cores = coresOf('/', availableParallelism());
const twoCores = { ...limit, skip: cores < 2 && 'two threads need two cores' };

const sizesOf = (numLayers: number) => ({
  ...{ numLayers, numLogicalExperts: 64, numPhysicalExperts: 80 },
  ...{ numRanks: 16, numNodes: 4, numGroups: 16, windowSize: 1 },
});
/** So long a search that others come and go meanwhile, and a plan that is over before a thread is woken. */
const long = { ...sizesOf(30), policy: slowPolicy() };
const short = { ...sizesOf(2), policy: new DefaultEplbPolicy() };

function loadsOf({ numLayers, numLogicalExperts: numExperts }: ExpertLoadBalancerOptions): LoadMatrix {
  const data = Float32Array.from({ length: numLayers * numExperts }, (_, i) => (i * 7919) % 1013);
  return { data, numLayers, numExperts };
}

const plan = (balancer: ExpertLoadBalancer, options: ExpertLoadBalancerOptions) =>
  balancer.plan(loadsOf(options));

/** The plan from the mapping that a balancer begins with, as the calling thread makes it. */
async function expectedOf(options: ExpertLoadBalancerOptions): Promise<string> {
  await using alone = new ExpertLoadBalancer({ ...options, threads: 0 });
  return (await plan(alone, options)).digest();
}

/** What plans of a balancer cost so far. */
function costOf(balancer: ExpertLoadBalancer) {
  const { workersStarted, workersWoken } = balancer.metrics();
  return { workersStarted, workersWoken };
}

test('a plan that is worth one thread starts and wakes one, however many it may have', limit, async () => {
  await threadsOf((threads) =>
    withBalancer({ ...short, threads: 64 }, async (balancer) => {
      for (let plans = 1; plans <= 3; plans++) {
        await plan(balancer, short);
        assert.deepEqual(costOf(balancer), { workersStarted: 1, workersWoken: plans });
      }
      assert.equal(threads.length, 1);
    }),
  );
});

test('a plan of one claim wakes one thread, however long it takes', limit, async () => {
  await threadsOf((threads) =>
    withBalancer({ ...long, numLayers: 1, threads: 64 }, async (balancer) => {
      await balancer.start();
      await plan(balancer, { ...long, numLayers: 1 });
      assert.deepEqual(costOf(balancer), { workersStarted: 1, workersWoken: 1 });
      assert.equal(threads.length, 1);
    }),
  );
});

test('a plan that is worth more threads than there are cores wakes one a core', twoCores, async () => {
  await threadsOf((threads) =>
    withBalancer({ ...long, threads: 64 }, async (balancer) => {
      const most = Math.min(cores, 15);
      await balancer.start();
      assert.equal(threads.length, most);
      await plan(balancer, long);
      await plan(balancer, long);
      assert.deepEqual(costOf(balancer), { workersStarted: most, workersWoken: 2 * most });
    }),
  );
});

test('a long plan has threads join it as they are ready', twoCores, async () => {
  const endless = { ...long, policy: endlessPolicy(), threads: 2 };
  await withBalancer(endless, async (balancer) => {
    const abort = new AbortController();
    const cancelled = assert.rejects(
      balancer.plan(loadsOf(long), { signal: abort.signal }),
      refusal('other', 'EPLB_CANCELLED', /cancelled/),
    );
    await until(() => costOf(balancer).workersWoken === 2);
    assert.equal(costOf(balancer).workersStarted, 2);
    abort.abort();
    await cancelled;
  });
});

test('`threads` bounds the plans of its own balancer, also where others have more', twoCores, async () => {
  await withBalancer({ ...long, threads: 2 }, (wide) =>
    withBalancer({ ...long, threads: 1 }, async (narrow) => {
      await wide.start();
      await plan(narrow, long);
      assert.deepEqual(costOf(narrow), { workersStarted: 0, workersWoken: 1 });
    }),
  );
});

test('twenty balancers share one thread, and each plans as it would alone', limit, async () => {
  await threadsOf(async (threads) => {
    const options = { ...short, threads: 1 };
    const balancers = Array.from({ length: 20 }, () => new ExpertLoadBalancer(options));
    const expected = new ExpertLoadBalancer({ ...options, threads: 0 }).rebalanceSync(loadsOf(short));
    const mappings = await Promise.all(balancers.map((balancer) => plan(balancer, short)));
    for (const mapping of mappings) assert.ok(mapping.equals(expected));
    assert.equal(threads.length, 1);
    const started = balancers.map((balancer) => costOf(balancer).workersStarted);
    assert.equal(
      started.reduce((a, b) => a + b),
      1,
    );
    await Promise.all(balancers.slice(1).map((balancer) => balancer.close()));
    assert.equal(hasEnded(threads[0]!), false);
    assert.ok((await plan(balancers[0]!, short)).equals(expected));
    await balancers[0]!.close();
    assert.ok(hasEnded(threads[0]!), 'the last balancer ends the thread');
  });
});

test(
  'threads beyond what those that are left may have end with the balancer that had them',
  twoCores,
  async () => {
    await threadsOf((threads) =>
      withBalancer({ ...long, threads: 1 }, async (narrow) => {
        await narrow.start();
        await withBalancer({ ...long, threads: 2 }, (wide) => wide.start());
        assert.equal(threads.filter((thread) => !hasEnded(thread)).length, 1);
        await plan(narrow, long);
      }),
    );
  },
);

test('balancers of all policies plan at once on the same threads as they do alone', limit, async () => {
  const policies = [new DefaultEplbPolicy(), new LocalityAwarePolicy(), new AdaptiveEplbPolicy()];
  const options = policies.map((policy) => ({ ...sizesOf(24), policy, threads: 2 }));
  const balancers = options.map((option) => new ExpertLoadBalancer(option));
  const alone = options.map((option) => new ExpertLoadBalancer({ ...option, threads: 0 }));
  for (let time = 0; time < 5; time++) {
    const mappings = await Promise.all(balancers.map((balancer) => balancer.rebalance(loadsOf(sizesOf(24)))));
    for (const [i, mapping] of mappings.entries()) {
      assert.equal(
        mapping.digest(),
        alone[i]!.rebalanceSync(loadsOf(sizesOf(24))).digest(),
        policies[i]!.name,
      );
    }
  }
  await Promise.all(balancers.map((balancer) => balancer.close()));
});

test('a short plan does not wait for the end of a long one of another balancer', limit, async () => {
  // Longer than the machine is ever busy with other things: it is cancelled when it has done its part.
  const longest = { ...long, numLayers: 400, threads: 1 };
  await withBalancer(longest, (first) =>
    withBalancer({ ...short, threads: 1 }, async (second) => {
      await first.start();
      const abort = new AbortController();
      const cancelled = assert.rejects(
        first.plan(loadsOf(longest), { signal: abort.signal }),
        refusal('other', 'EPLB_CANCELLED', /cancelled/),
      );
      await untilPlanning(first);
      const mapping = await plan(second, short);
      const { layersDone, numLayers } = first.planProgress;
      assert.ok(layersDone < numLayers, `${layersDone} of ${numLayers} layers`);
      assert.equal(mapping.digest(), await expectedOf(short));
      await until(() => first.planProgress.layersDone > layersDone);
      const cost = { workersStarted: 1, workersWoken: 2 };
      assert.deepEqual(costOf(first), cost, 'its thread left it, and came back');
      abort.abort();
      await cancelled;
    }),
  );
});

test('a long plan that has all threads gives one back to another long one', twoCores, async () => {
  await withBalancer({ ...long, threads: 2 }, (first) =>
    withBalancer({ ...long, threads: 2 }, async (second) => {
      await first.start();
      const expected = await expectedOf(long);
      const plans = [plan(first, long)];
      await untilPlanning(first);
      plans.push(plan(second, long));
      await until(() => second.planProgress.layersDone > 0);
      assert.ok(first.planProgress.numLayers > 0, 'both are at work');
      for (const mapping of await Promise.all(plans)) assert.equal(mapping.digest(), expected);
    }),
  );
});

test('threads that are lost in the plan of one balancer do not fail that of another', twoCores, async () => {
  await threadsOf((threads) =>
    withBalancer({ ...long, threads: 2 }, (first) =>
      withBalancer({ ...long, threads: 2 }, async (second) => {
        await first.start();
        const doomed = assert.rejects(plan(first, long), refusal('other', 'EPLB_WORKER_LOST', /worker/));
        await untilPlanning(first);
        const other = plan(second, long);
        for (const thread of threads) void thread.terminate();
        await doomed;
        assert.equal((await other).digest(), second.rebalanceSync(loadsOf(long)).digest());
        await plan(first, long);
      }),
    ),
  );
});

test(
  "another balancer's policy that never returns holds up nobody, and has its own thread",
  limit,
  async () => {
    await withHostile('loop', (policy) =>
      threadsOf((threads) =>
        withBalancer({ ...SMALL, threads: 1, policy: policy.url, policyGraceMs: 20 }, (hanging) =>
          withBalancer({ ...short, threads: 1 }, async (balancer) => {
            const abort = new AbortController();
            const stuck = hanging.plan(SMALL_LOADS, { signal: abort.signal });
            stuck.catch(() => {});
            await policy.begun();
            const first = await plan(balancer, short);
            assert.equal(threads.length, 2);
            abort.abort();
            await assert.rejects(stuck, refusal('other', 'EPLB_POLICY', /did not return/));
            assert.ok((await plan(balancer, short)).equals(first));
            assert.deepEqual(costOf(hanging), { workersStarted: 1, workersWoken: 1 });
            assert.deepEqual(costOf(balancer), { workersStarted: 1, workersWoken: 2 });
          }),
        ),
      ),
    );
  },
);

test('closing a balancer in a plan leaves the plan of another alone', limit, async () => {
  await withBalancer({ ...long, threads: 2 }, async (balancer) => {
    await withBalancer({ ...long, threads: 2 }, async (other) => {
      const lost = assert.rejects(plan(other, long), refusal('other', 'EPLB_CLOSED', /closed/));
      await untilPlanning(other);
      const mapping = plan(balancer, long);
      await other.close();
      await lost;
      assert.equal((await mapping).digest(), balancer.rebalanceSync(loadsOf(long)).digest());
    });
  });
});

test('closing at any turn of a start ends every thread that was started', limit, async () => {
  await threadsOf(async (threads) => {
    let isReady = false;
    for (let turns = 0; !isReady; turns++) {
      const balancer = new ExpertLoadBalancer({ ...short, threads: 1 });
      const started = balancer.start().then(
        () => {
          isReady = true;
        },
        () => {},
      );
      for (let i = 0; i < turns; i++) await turn();
      await balancer.close();
      await started;
      assert.deepEqual(
        threads.filter((thread) => !hasEnded(thread)),
        [],
        `after ${turns} turns`,
      );
    }
    // Nor does one begin afterwards.
    const numStarted = threads.length;
    for (let i = 0; i < 10; i++) await turn();
    assert.equal(threads.length, numStarted);
  });
});

test('closing ends every thread of a plan that is aborted at any turn', limit, async () => {
  await threadsOf(async (threads) => {
    for (let turns = 0; turns < 12; turns++) {
      const balancer = new ExpertLoadBalancer({ ...long, threads: 2 });
      const planned = assert.rejects(plan(balancer, long), refusal('other', 'EPLB_CLOSED', /closed/));
      for (let i = 0; i < turns; i++) await turn();
      // Also one that ends of itself meanwhile.
      if (turns % 2 === 1) void threads.findLast((thread) => !hasEnded(thread))?.terminate();
      await balancer.close();
      await planned;
      assert.deepEqual(
        threads.filter((thread) => !hasEnded(thread)),
        [],
        `after ${turns} turns`,
      );
    }
  });
});

test('a plan that is cancelled while it waits for a thread is cancelled at once', limit, async () => {
  await withBalancer({ ...long, threads: 1 }, (first) =>
    withBalancer({ ...long, threads: 1 }, async (second) => {
      let isDone = false;
      const slow = plan(first, long).finally(() => {
        isDone = true;
      });
      await untilPlanning(first);
      const abort = new AbortController();
      const waiting = second.plan(loadsOf(long), { signal: abort.signal });
      abort.abort();
      await assert.rejects(waiting, refusal('other', 'EPLB_CANCELLED', /cancelled/));
      assert.equal(isDone, false);
      await slow;
    }),
  );
});

for (const [title, options] of Object.entries({
  'a kernel': short,
  'a policy module': { ...short, policy: new URL('../fixtures/policies/repeat.mjs', import.meta.url) },
})) {
  test(`a balancer that nobody holds any more gives its threads back: ${title}`, limit, async () => {
    await threadsOf(async (threads) => {
      await planAndDrop(options);
      assert.equal(threads.length, 1);
      await until(() => {
        void collectAll();
        return threads.every(hasEnded);
      });
    });
  });
}

async function planAndDrop(options: ExpertLoadBalancerOptions): Promise<void> {
  await plan(new ExpertLoadBalancer(options), options);
}

test('threads that spin plan the same, and are woken as often', limit, async () => {
  await withBalancer({ ...long, threads: 1, idle: 'spin' }, async (spinning) => {
    const first = await plan(spinning, long);
    for (let i = 0; i < 3; i++) assert.ok((await plan(spinning, long)).equals(first));
    assert.deepEqual(costOf(spinning), { workersStarted: 1, workersWoken: 4 });
  });
});

test('what is neither parking nor spinning is refused', () => {
  const options = { ...SMALL, idle: 'run' } as unknown as ExpertLoadBalancerOptions;
  assert.throws(() => new ExpertLoadBalancer(options), refusal('range', 'EPLB_RANGE', /idle: "run"/));
});
