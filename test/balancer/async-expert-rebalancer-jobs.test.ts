import assert from 'node:assert/strict';
import { once as onceIn } from 'node:events';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AsyncExpertRebalancer, type ExpertLoadBalancer, type RebalancerEvents } from 'expert-load-balancer';
import { refusal, stateOf, turn, until, withBalancer } from '../helpers/library.ts';

const small = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2, threads: 1 } as const;
const policyUrl = (file: string) => new URL(`../fixtures/policies/${file}`, import.meta.url);
/** A policy that takes half a second, in a thread of the pool. */
const slow = { ...small, policy: policyUrl('slow.mjs') };
const stopped = { status: 'skipped', reason: 'stopped' };

// A rebalancer's timer does not keep the process alive, not even for a test that waits for its event.
let alive: NodeJS.Timeout;
before(() => {
  alive = setInterval(() => {}, 1000);
});
after(() => clearInterval(alive));

function record(balancer: ExpertLoadBalancer, ...loads: number[]): void {
  balancer.recordLogicalLoad(0, loads);
  balancer.advanceWindow();
}

/** The next event, or a failure when it does not come for long. */
function once<Name extends keyof RebalancerEvents>(
  rebalancer: AsyncExpertRebalancer,
  name: Name,
): Promise<RebalancerEvents[Name]> {
  const event = onceIn(rebalancer, name, { signal: AbortSignal.timeout(20_000) });
  return event as Promise<RebalancerEvents[Name]>;
}

/** A rebalancer that looks all the time and finds that there is something to do. */
function eager(balancer: ExpertLoadBalancer, options: { autoCommit?: boolean } = {}): AsyncExpertRebalancer {
  record(balancer, 0, 0, 100, 1);
  return new AsyncExpertRebalancer({ balancer, rebalanceInterval: 1, loadThreshold: 1, ...options });
}

test('the loop plans in the pool and commits what it finds, step after step', async () => {
  await withBalancer({ ...small, windowSize: 1 }, async (balancer) => {
    const rebalancer = eager(balancer, { autoCommit: true });
    rebalancer.start();
    for (const [i, hot] of [2, 3, 0, 1].entries()) {
      record(balancer, ...[0, 1, 2, 3].map((expert) => (expert === hot ? 100 : 1)));
      const [outcome] = await once(rebalancer, 'committed');
      assert.equal(outcome.generation, i + 1);
      assert.equal(outcome.mapping, balancer.mapping);
      assert.equal(balancer.mapping.getPhysicalExperts(0, hot).length, 3);
    }
    await rebalancer.stop();
  });
});

test('rebalanceAsync plans whatever the threshold says, and says what became of it', async () => {
  await withBalancer(small, async (balancer) => {
    const rebalancer = new AsyncExpertRebalancer({ balancer, loadThreshold: 1000 });
    assert.deepEqual(await rebalancer.rebalanceAsync(), { status: 'skipped', reason: 'no samples' });
    record(balancer, 0, 0, 100, 1);
    const outcome = await rebalancer.rebalanceAsync();
    assert.ok(outcome.status === 'pending');
    assert.equal(outcome.previous, balancer.mapping);
    assert.equal(rebalancer.getPendingMapping(), outcome.mapping);
    balancer.commit(outcome.mapping);
    assert.deepEqual(await rebalancer.rebalanceAsync(), { status: 'skipped', reason: 'unchanged' });
    assert.equal(rebalancer.isRunning, false);
  });
});

test('an error of rebalanceAsync is the caller’s: it is neither emitted nor counted', async () => {
  await withBalancer({ ...small, policy: policyUrl('wrong.mjs?throws') }, async (balancer) => {
    record(balancer, 1, 2, 3, 4);
    const rebalancer = new AsyncExpertRebalancer({ balancer });
    rebalancer.on('error', assert.fail);
    for (let time = 0; time < 2; time++) {
      await assert.rejects(rebalancer.rebalanceAsync(), refusal('other', 'EPLB_POLICY', /out of luck/));
    }
    assert.equal(rebalancer.numErrors, 0);
  });
});

test('two jobs never overlap, whoever asks for them', async (t) => {
  await withBalancer({ ...small, windowSize: 1 }, async (balancer) => {
    let numRunning = 0;
    let numPlans = 0;
    const decide = balancer.decide.bind(balancer);
    t.mock.method(balancer, 'decide', async (...args: Parameters<typeof decide>) => {
      numPlans++;
      assert.equal(++numRunning, 1, 'jobs at once');
      await sleep(5);
      return decide(...args).finally(() => numRunning--);
    });
    const rebalancer = eager(balancer);
    rebalancer.start();
    while (numPlans < 10) {
      const [first, second] = [rebalancer.rebalanceAsync(), rebalancer.rebalanceAsync()];
      assert.equal(first, second, 'the job in flight');
      await first;
      await once(rebalancer, 'pending');
    }
    await rebalancer.stop();
    assert.equal(rebalancer.numErrors, 0);
  });
});

test('rebalanceAsync plans also while the background finds that the loads are even', async () => {
  await withBalancer(small, async (balancer) => {
    const rebalancer = new AsyncExpertRebalancer({ balancer, rebalanceInterval: 0, loadThreshold: 1000 });
    let numEven = 0;
    rebalancer.on('skipped', ({ reason }) => {
      if (reason === 'balanced') numEven++;
    });
    record(balancer, 100, 101, 102, 103);
    await balancer.rebalance();
    rebalancer.start();
    // Each call comes at another moment of a look.
    for (let i = 0; i < 300; i++) {
      assert.deepEqual(await rebalancer.rebalanceAsync(), { status: 'skipped', reason: 'unchanged' });
      await sleep(i % 3);
    }
    await rebalancer.stop();
    assert.ok(numEven > 30, `${numEven} looks`);
  });
});

test('stop cancels the job in flight and waits for it: nothing of it is kept', async () => {
  for (const autoCommit of [false, true]) {
    await withBalancer(slow, async (balancer) => {
      const rebalancer = eager(balancer, { autoCommit });
      const before = stateOf(balancer);
      const outcome = rebalancer.rebalanceAsync();
      let hasSettled = false;
      outcome.finally(() => {
        hasSettled = true;
      });
      await turn();
      await Promise.all([rebalancer.stop(), rebalancer.stop()]);
      assert.equal(hasSettled, true);
      assert.deepEqual(await outcome, stopped);
      assert.equal(rebalancer.getPendingMapping(), undefined);
      assert.deepEqual(stateOf(balancer), before);
      const next = await rebalancer.rebalanceAsync();
      assert.notEqual(next.status, 'skipped');
    });
  }
});

test('stop ends the loop also while it plans', async () => {
  await withBalancer(slow, async (balancer) => {
    const rebalancer = eager(balancer);
    const events: string[] = [];
    for (const event of ['pending', 'committed', 'skipped', 'error'] as const) {
      rebalancer.on(event, () => events.push(event));
    }
    rebalancer.start();
    await until(() => balancer.planProgress.numLayers > 0);
    await rebalancer.stop();
    assert.deepEqual(events, ['skipped']);
    await sleep(30);
    assert.deepEqual(events, ['skipped'], 'nothing comes after stop');
    assert.equal(rebalancer.numErrors, 0);
  });
});

test('without a listener an error is a warning of the process, and the loop goes on', async (t) => {
  await withBalancer({ ...small, policy: policyUrl('wrong.mjs?throws') }, async (balancer) => {
    const warnings: unknown[] = [];
    t.mock.method(process, 'emitWarning', (warning: unknown) => warnings.push(warning));
    const rebalancer = eager(balancer);
    rebalancer.start();
    await until(() => rebalancer.numErrors >= 3);
    await rebalancer.stop();
    assert.ok(warnings.length >= 3);
    for (const warning of warnings) refusal('other', 'EPLB_POLICY', /out of luck/)(warning);
  });
});

test('a listener that throws costs neither the mapping nor the loop', async () => {
  await withBalancer({ ...small, windowSize: 1 }, async (balancer) => {
    const rebalancer = eager(balancer);
    const errors: Error[] = [];
    let numPending = 0;
    rebalancer.on('error', (error) => errors.push(error));
    rebalancer.on('pending', () => {
      if (++numPending === 1) throw new Error('the listener fails');
    });
    rebalancer.start();
    await until(() => numPending > 0);
    assert.notEqual(rebalancer.getPendingMapping(), undefined);
    await until(() => numPending >= 3);
    assert.deepEqual(
      errors.map(({ message }) => message),
      ['the listener fails'],
    );
    assert.equal(rebalancer.numErrors, 1);
    await rebalancer.stop();
  });
});

test('a balancer that is closed is an error of the loop', async () => {
  await withBalancer(small, async (balancer) => {
    const rebalancer = eager(balancer);
    await balancer.close();
    rebalancer.start();
    const [error] = await once(rebalancer, 'error').catch((reason: unknown) => [reason]);
    refusal('other', 'EPLB_CLOSED', /closed/)(error);
    await rebalancer.stop();
  });
});
