import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  AsyncExpertRebalancer,
  ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
} from 'expert-load-balancer';
import {
  type HostilePolicy,
  hasEnded,
  SMALL,
  SMALL_LOADS,
  SMALL_PLAN,
  threadsOf,
  withHostile,
} from '../helpers/hostile-policy.ts';
import { refusal, stateOf, until, withBalancer } from '../helpers/library.ts';

// A test that takes this long hangs.
const limit = { timeout: 30_000 };
const cancelled = refusal('other', 'EPLB_CANCELLED', /cancelled/);
const closed = refusal('other', 'EPLB_CLOSED', /closed/);
const overdue = refusal(
  'other',
  'EPLB_POLICY',
  /hostile\.mjs.* did not return within 20 ms of being cancelled/,
);

const short = { ...SMALL, threads: 1, policyGraceMs: 20 };
/** So much that it never ends while a test runs. */
const long = { ...SMALL, threads: 1, policyGraceMs: 600_000 };

/** Asks for a plan and waits until the policy misbehaves in it. */
async function planThatHangs(balancer: ExpertLoadBalancer, policy: HostilePolicy) {
  const abort = new AbortController();
  const plan = balancer.rebalance(SMALL_LOADS, { signal: abort.signal });
  plan.catch(() => {});
  await policy.begun();
  return { plan, abort };
}

/** Ways of never returning from a plan, or from being loaded. */
const endless = ['loop', 'wait', 'microtasks', 'exit-loop', 'load-await', 'load-loop'];

for (const way of endless) {
  test(
    `a policy that never returns is ended after an abort, and its thread replaced: ${way}`,
    limit,
    async () => {
      await withHostile(way, (policy) =>
        threadsOf((threads) =>
          withBalancer({ ...short, policy: policy.url }, async (balancer) => {
            const before = stateOf(balancer);
            const { plan, abort } = await planThatHangs(balancer, policy);
            const waiting = balancer.plan(SMALL_LOADS);
            const reason = new Error('no longer needed');
            abort.abort(reason);
            await assert.rejects(plan, (error: Error) => {
              assert.equal(error.cause, reason);
              return overdue(error);
            });
            assert.deepEqual(stateOf(balancer), before);
            await until(() => hasEnded(threads[0]!));
            assert.deepEqual((await waiting).toJSON().phyToLog, SMALL_PLAN);
            assert.deepEqual((await balancer.rebalance(SMALL_LOADS)).toJSON().phyToLog, SMALL_PLAN);
            assert.equal(threads.length, 2);
          }),
        ),
      );
    },
  );

  test(`close ends a policy that never returns: ${way}`, limit, async () => {
    await withHostile(way, (policy) =>
      threadsOf(async (threads) => {
        const balancer = new ExpertLoadBalancer({ ...short, policy: policy.url });
        const { plan } = await planThatHangs(balancer, policy);
        const waiting = assert.rejects(balancer.plan(SMALL_LOADS), closed);
        await Promise.all([balancer.close(), balancer.close()]);
        await assert.rejects(plan, closed);
        await waiting;
        assert.equal(threads.length, 1);
        await until(() => hasEnded(threads[0]!));
        await balancer.close();
      }),
    );
  });
}

test('a policy that returns within the grace time is cancelled, and keeps its thread', limit, async () => {
  await withHostile('gate', (policy) =>
    threadsOf((threads) =>
      withBalancer({ ...long, policy: policy.url }, async (balancer) => {
        const { plan, abort } = await planThatHangs(balancer, policy);
        abort.abort();
        policy.open();
        await assert.rejects(plan, cancelled);
        assert.deepEqual((await balancer.plan(SMALL_LOADS)).toJSON().phyToLog, SMALL_PLAN);
        assert.equal(threads.length, 1);
        assert.equal(hasEnded(threads[0]!), false);
      }),
    ),
  );
});

test('close waits for a policy that returns within the grace time', limit, async () => {
  await withHostile('gate', async (policy) => {
    const balancer = new ExpertLoadBalancer({ ...long, policy: policy.url });
    const { plan } = await planThatHangs(balancer, policy);
    let isClosed = false;
    const closing = balancer.close().then(() => {
      isClosed = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(isClosed, false);
    policy.open();
    await assert.rejects(plan, closed);
    await closing;
  });
});

test('a rebalancer whose policy never returns can be stopped, and tells of it', limit, async () => {
  await withHostile('loop', (policy) =>
    withBalancer({ ...short, policy: policy.url }, async (balancer) => {
      balancer.recordLogicalLoad(0, [1, 2, 9, 4]);
      balancer.advanceWindow();
      const rebalancer = new AsyncExpertRebalancer({ balancer, rebalanceInterval: 0, loadThreshold: 1 });
      const errors: Error[] = [];
      rebalancer.on('error', (error) => errors.push(error));
      rebalancer.start();
      await policy.begun();
      await rebalancer.stop();
      await until(() => errors.length > 0);
      overdue(errors[0]);
      assert.equal(errors.length, 1);
      assert.deepEqual((await balancer.plan(SMALL_LOADS)).toJSON().phyToLog, SMALL_PLAN);
    }),
  );
});

test('a policy that returns without being cancelled has all the time it wants', limit, async () => {
  await withHostile('gate', (policy) =>
    withBalancer({ ...short, policyGraceMs: 0, policy: policy.url }, async (balancer) => {
      const { plan } = await planThatHangs(balancer, policy);
      policy.open();
      assert.deepEqual((await plan).toJSON().phyToLog, SMALL_PLAN);
    }),
  );
});

test('close after an abort waits no longer than the abort has left', limit, async () => {
  await withHostile('loop', async (policy) => {
    const balancer = new ExpertLoadBalancer({ ...short, policy: policy.url });
    const { plan, abort } = await planThatHangs(balancer, policy);
    abort.abort();
    await balancer.close();
    await assert.rejects(plan, closed);
  });
});

test(
  'a plan whose thread is kept busy by what an earlier plan left behind is ended after an abort',
  limit,
  async () => {
    await withHostile('late-loop', (policy) =>
      threadsOf((threads) =>
        withBalancer({ ...short, policy: policy.url }, async (balancer) => {
          await balancer.plan(SMALL_LOADS);
          policy.goLate();
          const abort = new AbortController();
          const plan = balancer.plan(SMALL_LOADS, { signal: abort.signal });
          setImmediate(() => abort.abort());
          await assert.rejects(plan, overdue);
          assert.deepEqual((await balancer.plan(SMALL_LOADS)).toJSON().phyToLog, SMALL_PLAN);
          assert.equal(threads.length, 2);
        }),
      ),
    );
  },
);

test('a policy is not asked for a plan that was cancelled before its thread came to it', limit, async () => {
  await withHostile('late-gate', (policy) =>
    threadsOf((threads) =>
      withBalancer({ ...long, policy: policy.url }, async (balancer) => {
        await balancer.plan(SMALL_LOADS);
        policy.goLate();
        const abort = new AbortController();
        const plan = balancer.plan(SMALL_LOADS, { signal: abort.signal });
        setImmediate(() => {
          abort.abort();
          policy.open();
        });
        await assert.rejects(plan, cancelled);
        assert.equal(policy.numPlans(), 1);
        await balancer.plan(SMALL_LOADS);
        assert.equal(policy.numPlans(), 2);
        assert.equal(threads.length, 1);
      }),
    ),
  );
});

test('a policy that is in a call of the system holds up neither the abort nor close', limit, async () => {
  await withHostile('system', (policy) =>
    threadsOf(async (threads) => {
      const balancer = new ExpertLoadBalancer({ ...short, policy: policy.url });
      const { plan, abort } = await planThatHangs(balancer, policy);
      abort.abort();
      await assert.rejects(plan, overdue);
      assert.deepEqual((await balancer.plan(SMALL_LOADS)).toJSON().phyToLog, SMALL_PLAN);
      await balancer.close();
      assert.equal(hasEnded(threads[0]!), false);
      policy.open();
      await until(() => hasEnded(threads[0]!));
    }),
  );
});

/** Ways that fail by themselves, at once or later, and what becomes of that plan. */
const failing = {
  promise: refusal('other', 'EPLB_POLICY', /Promise/),
  throw: refusal('other', 'EPLB_POLICY', /thrown late/),
  exit: refusal('other', 'EPLB_WORKER_LOST', /exited with code: 3/),
  'load-exit': refusal('other', 'EPLB_WORKER_LOST', /exited with code: 3/),
  messages: undefined,
};

for (const [way, refused] of Object.entries(failing)) {
  test(`a policy that fails by itself leaves the balancer usable: ${way}`, limit, async () => {
    await withHostile(way, (policy) =>
      withBalancer({ ...long, policy: policy.url }, async (balancer) => {
        const before = stateOf(balancer);
        if (refused === undefined) await balancer.plan(SMALL_LOADS);
        else await assert.rejects(balancer.plan(SMALL_LOADS), refused);
        assert.deepEqual(stateOf(balancer), before);
        for (let time = 0; time < 3; time++) {
          assert.deepEqual((await balancer.rebalance(SMALL_LOADS)).toJSON().phyToLog, SMALL_PLAN);
        }
      }),
    );
  });
}

/** Runs a program, which is killed when it does not exit by itself, and returns what it printed. */
async function outputOf(script: string): Promise<string> {
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  const args = ['--input-type=module', '--eval', script];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd, timeout: 25_000 });
  assert.equal(stderr, '');
  return stdout;
}

/** What a process prints of the first plan, aborted where it never ends. */
const outcomes: Record<string, string> = {
  ...Object.fromEntries(endless.map((way) => [way, 'EPLB_POLICY'])),
  ...{ promise: 'EPLB_POLICY', throw: 'EPLB_POLICY', exit: 'EPLB_WORKER_LOST', messages: 'planned' },
  ...{ 'load-exit': 'EPLB_WORKER_LOST', 'late-throw': 'planned', 'late-exit': 'planned' },
  ...{ 'late-reject': 'planned', 'late-loop': 'planned' },
};

for (const [way, outcome] of Object.entries(outcomes)) {
  test(`a process with a hostile policy exits by itself: ${way}`, limit, async () => {
    const output = await withHostile(way, (policy) =>
      outputOf(`
        import { existsSync, writeFileSync } from 'node:fs';
        import { setTimeout as sleep } from 'node:timers/promises';
        import { ExpertLoadBalancer } from 'expert-load-balancer';
        const url = new URL(${JSON.stringify(policy.url.href)});
        const mark = url.searchParams.get('mark');
        const until = async (file) => { while (!existsSync(file)) await sleep(1); };
        const balancer = new ExpertLoadBalancer({ ...${JSON.stringify(short)}, threads: 2, policy: url });
        const abort = new AbortController();
        const plan = balancer.plan(${JSON.stringify(SMALL_LOADS)}, { signal: abort.signal });
        const settled = plan.then(() => 'planned', (error) => error.code);
        await until(mark);
        if (${endless.includes(way)}) abort.abort();
        console.log(await settled);
        writeFileSync(mark + '.go', '');
        if (${way.startsWith('late')}) await until(mark + '.gone');
        await balancer.close();
        console.log('closed');`),
    );
    assert.equal(output, `${outcome}\nclosed\n`);
  });
}

/** Values of the option that are refused. */
const bad: readonly (readonly [value: unknown, ...Parameters<typeof refusal>])[] = [
  ['5', 'type', 'EPLB_KIND', /policyGraceMs.*"5"/],
  [null, 'type', 'EPLB_KIND', /policyGraceMs.*null/],
  [-1, 'range', 'EPLB_RANGE', /policyGraceMs.*-1/],
  [Number.NaN, 'range', 'EPLB_RANGE', /policyGraceMs.*NaN/],
  [Number.POSITIVE_INFINITY, 'range', 'EPLB_RANGE', /policyGraceMs.*Infinity/],
];

test('a grace time that is not a number of milliseconds is refused', () => {
  for (const [policyGraceMs, ...expected] of bad) {
    const options = { ...SMALL, policyGraceMs } as ExpertLoadBalancerOptions;
    assert.throws(() => new ExpertLoadBalancer(options), refusal(...expected));
  }
});

test('a grace time beyond what a timer can count is as long as that', limit, async () => {
  await withHostile('gate', (policy) =>
    withBalancer({ ...long, policyGraceMs: Number.MAX_VALUE, policy: policy.url }, async (balancer) => {
      const { plan, abort } = await planThatHangs(balancer, policy);
      abort.abort();
      await new Promise((resolve) => setTimeout(resolve, 20));
      policy.open();
      await assert.rejects(plan, cancelled);
    }),
  );
});
