import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import {
  AbstractEplbPolicy,
  AsyncExpertRebalancer,
  type AsyncExpertRebalancerOptions,
  DefaultEplbPolicy,
  type ExpertLoadBalancer,
  ExpertMapping,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { loadsArbitrary } from '../helpers/arbitraries.ts';
import { refusal, SEED, turn, withBalancer } from '../helpers/library.ts';

const small = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2, threads: 0 } as const;

/** Timers that fire when a test says so. */
class Clock {
  timers: { callback: () => void; delay: number; isUnref: boolean }[] = [];

  constructor(t: TestContext) {
    t.mock.method(globalThis, 'setTimeout', (callback: () => void, delay: number) => {
      const timer = { callback, delay, isUnref: false };
      this.timers.push(timer);
      const handle = {
        timer,
        unref() {
          timer.isUnref = true;
          return handle;
        },
      };
      return handle;
    });
    t.mock.method(globalThis, 'clearTimeout', (handle?: { timer: unknown }) => {
      this.timers = this.timers.filter((timer) => timer !== handle?.timer);
    });
  }

  get delays(): number[] {
    return this.timers.map(({ delay }) => delay);
  }

  /** Fires the only timer and waits for the next one. Returns its delay. */
  async tick(): Promise<number> {
    this.fire();
    for (let turns = 0; this.timers.length === 0; turns++) {
      assert.ok(turns < 10_000, 'no timer was set again');
      await turn();
    }
    return this.timers[0]!.delay;
  }

  fire(): void {
    assert.equal(this.timers.length, 1);
    this.timers.shift()!.callback();
  }
}

/** What a rebalancer said, in order. */
function log(rebalancer: AsyncExpertRebalancer): string[] {
  const events: string[] = [];
  rebalancer.on('pending', () => events.push('pending'));
  rebalancer.on('committed', ({ generation }) => events.push(`committed ${generation}`));
  rebalancer.on('skipped', ({ reason }) => events.push(reason));
  rebalancer.on('error', (error) => events.push(`error ${(error as { code?: string }).code}`));
  return events;
}

function record(balancer: ExpertLoadBalancer, ...loads: number[]): void {
  balancer.recordLogicalLoad(0, loads);
  balancer.advanceWindow();
}

/** A policy that fails when the first load is 13. */
class UnluckyPolicy extends AbstractEplbPolicy {
  readonly name = 'unlucky';
  readonly #default = new DefaultEplbPolicy();
  override rebalanceExperts(...args: Parameters<AbstractEplbPolicy['rebalanceExperts']>): ExpertMapping {
    const [weight] = args;
    if ('data' in weight && weight.data[0] === 13) return undefined as never;
    return this.#default.rebalanceExperts(...args);
  }
}

test('options that are left out have their defaults, and wrong ones are refused', async () => {
  await withBalancer(small, (balancer) => {
    const rebalancer = new AsyncExpertRebalancer({ balancer });
    assert.equal(rebalancer.balancer, balancer);
    assert.equal(rebalancer.rebalanceInterval, 60_000);
    assert.equal(rebalancer.loadThreshold, 2);
    assert.equal(rebalancer.autoCommit, false);
    assert.equal(rebalancer.isRunning, false);
    assert.equal(rebalancer.numErrors, 0);
    assert.equal(rebalancer.getPendingMapping(), undefined);
    const refuses = (options: object, ...expected: Parameters<typeof refusal>) =>
      assert.throws(
        () => new AsyncExpertRebalancer({ balancer, ...options } as AsyncExpertRebalancerOptions),
        refusal(...expected),
      );
    refuses({ balancer: undefined }, 'type', 'EPLB_KIND', /balancer: undefined/);
    refuses({ balancer: {} }, 'type', 'EPLB_KIND', /balancer: an Object/);
    refuses({ rebalanceInterval: -1 }, 'range', 'EPLB_RANGE', /rebalanceInterval: -1/);
    refuses({ rebalanceInterval: Number.NaN }, 'range', 'EPLB_RANGE', /rebalanceInterval: NaN/);
    refuses({ rebalanceInterval: '5' }, 'type', 'EPLB_KIND', /rebalanceInterval: "5"/);
    refuses({ loadThreshold: 0.5 }, 'range', 'EPLB_RANGE', /loadThreshold: 0\.5/);
    refuses({ loadThreshold: null }, 'type', 'EPLB_KIND', /loadThreshold: null/);
  });
});

test('start sets one timer, which does not keep the process alive; both are idempotent', async (t) => {
  const clock = new Clock(t);
  await withBalancer(small, async (balancer) => {
    const rebalancer = new AsyncExpertRebalancer({ balancer, rebalanceInterval: 50 });
    await rebalancer.stop();
    for (let time = 0; time < 2; time++) {
      rebalancer.start();
      rebalancer.start();
      assert.deepEqual(
        clock.timers.map(({ delay, isUnref }) => [delay, isUnref]),
        [[50, true]],
      );
      assert.equal(rebalancer.isRunning, true);
      await rebalancer.stop();
      await rebalancer.stop();
      assert.deepEqual(clock.timers, []);
      assert.equal(rebalancer.isRunning, false);
    }
  });
});

test('an interval longer than timers can be is the longest they can be', async (t) => {
  const clock = new Clock(t);
  await withBalancer(small, (balancer) => {
    new AsyncExpertRebalancer({ balancer, rebalanceInterval: 1e12 }).start();
    assert.deepEqual(clock.delays, [2 ** 31 - 1]);
  });
});

test('each look says what became of it: no samples, balanced, pending, unchanged', async (t) => {
  const clock = new Clock(t);
  await withBalancer({ ...small, windowSize: 1 }, async (balancer) => {
    const rebalancer = new AsyncExpertRebalancer({ balancer, rebalanceInterval: 10, loadThreshold: 1.1 });
    const events = log(rebalancer);
    rebalancer.start();
    await clock.tick();
    record(balancer, 5, 5, 5, 5);
    await clock.tick();
    record(balancer, 90, 10, 40, 60);
    await clock.tick();
    assert.deepEqual(events, ['no samples', 'balanced', 'pending']);
    const pending = rebalancer.getPendingMapping();
    assert.ok(pending !== undefined && pending !== balancer.mapping);
    assert.equal(rebalancer.getPendingMapping(), undefined, 'it is taken');
    assert.equal(balancer.generation, 0);
    balancer.commit(pending);
    // So heavy that no placement brings it below the threshold, and the same again.
    record(balancer, 0, 0, 100, 1);
    await clock.tick();
    balancer.commit(rebalancer.getPendingMapping()!);
    await clock.tick();
    assert.deepEqual(events.slice(3), ['pending', 'unchanged']);
    assert.equal(rebalancer.getPendingMapping(), undefined);
    await rebalancer.stop();
    assert.deepEqual(clock.timers, []);
  });
});

test('a mapping that was not taken gives way to a newer one', async () => {
  await withBalancer({ ...small, windowSize: 1 }, async (balancer) => {
    const rebalancer = new AsyncExpertRebalancer({ balancer });
    record(balancer, 90, 10, 40, 60);
    const first = await rebalancer.rebalanceAsync();
    record(balancer, 10, 90, 60, 40);
    const second = await rebalancer.rebalanceAsync();
    assert.ok(first.status === 'pending' && second.status === 'pending');
    assert.notEqual(first.mapping, second.mapping);
    assert.equal(second.previous, balancer.mapping);
    assert.equal(rebalancer.getPendingMapping(), second.mapping);
  });
});

test('a mapping that waits is dropped when a newer plan is to keep the live one', async () => {
  await withBalancer({ ...small, windowSize: 1 }, async (balancer) => {
    const rebalancer = new AsyncExpertRebalancer({ balancer });
    record(balancer, 90, 10, 40, 60);
    balancer.rebalanceSync();
    record(balancer, 10, 90, 60, 40);
    await rebalancer.rebalanceAsync();
    record(balancer, 90, 10, 40, 60);
    assert.deepEqual(await rebalancer.rebalanceAsync(), { status: 'skipped', reason: 'unchanged' });
    assert.equal(rebalancer.getPendingMapping(), undefined);
  });
});

test('with autoCommit a mapping goes live at once', async (t) => {
  const clock = new Clock(t);
  await withBalancer(small, async (balancer) => {
    const rebalancer = new AsyncExpertRebalancer({
      balancer,
      rebalanceInterval: 10,
      loadThreshold: 1,
      autoCommit: true,
    });
    const events = log(rebalancer);
    const previous = balancer.mapping;
    record(balancer, 500, 10, 40, 60);
    rebalancer.start();
    const committed = once(rebalancer, 'committed');
    await clock.tick();
    const { mapping } = balancer;
    assert.deepEqual(await committed, [{ status: 'committed', mapping, previous, generation: 1 }]);
    assert.deepEqual(events, ['committed 1']);
    assert.equal(rebalancer.getPendingMapping(), undefined);
    await rebalancer.stop();
  });
});

test('what went live while a plan was made stays live: the plan is stale', async (t) => {
  await withBalancer(small, async (balancer) => {
    for (const autoCommit of [false, true]) {
      const rebalancer = new AsyncExpertRebalancer({ balancer, autoCommit });
      record(balancer, 500, 10, 40, 60);
      await rebalancer.rebalanceAsync();
      record(balancer, 10, 500, 40, 60);
      const other = ExpertMapping.fromPhysicalToLogical([[3, 2, 1, 0, 3, 2]]);
      const decide = balancer.decide.bind(balancer);
      const mock = t.mock.method(balancer, 'decide', async (...args: Parameters<typeof decide>) => {
        const decision = await decide(...args);
        balancer.commit(other);
        return decision;
      });
      assert.deepEqual(await rebalancer.rebalanceAsync(), { status: 'skipped', reason: 'stale' });
      mock.mock.restore();
      assert.equal(balancer.mapping, other);
      assert.equal(rebalancer.getPendingMapping(), undefined, 'what waited is stale too');
      assert.equal((await rebalancer.rebalanceAsync()).status, autoCommit ? 'committed' : 'pending');
    }
  });
});

test('shouldRebalance: a layer’s largest rank load is above the threshold times its smallest', () => {
  const problems = fc.record({
    layers: fc.array(loadsArbitrary(6), { minLength: 1, maxLength: 3 }),
    factor: fc.constantFrom(0.5, 0.999, 1, 1.001, 2),
  });
  return fc.assert(
    fc.asyncProperty(problems, async ({ layers, factor }) => {
      await withBalancer({ ...small, numLayers: layers.length, numRanks: 3 }, (balancer) => {
        assert.equal(new AsyncExpertRebalancer({ balancer, loadThreshold: 1 }).shouldRebalance(), false);
        layers.forEach((loads, layer) => {
          balancer.recordLoad(layer, loads);
        });
        balancer.advanceWindow();
        const worst = Math.max(
          ...layers.map((loads) => {
            const ranks = [0, 2, 4].map((slot) => Math.fround(loads[slot]!) + Math.fround(loads[slot + 1]!));
            return Math.max(...ranks) === 0 ? 1 : Math.max(...ranks) / (Math.min(...ranks) + 0);
          }),
        );
        const loadThreshold = Math.min(Math.max(worst * factor, 1), Number.MAX_VALUE);
        const rebalancer = new AsyncExpertRebalancer({ balancer, loadThreshold });
        assert.equal(rebalancer.shouldRebalance(), worst > loadThreshold);
      });
    }),
    { numRuns: 300, seed: SEED },
  );
});

test('shouldRebalance at the threshold itself says no', async () => {
  await withBalancer({ ...small, windowSize: 1 }, (balancer) => {
    const rebalancer = new AsyncExpertRebalancer({ balancer, loadThreshold: 2 });
    for (const [load, expected] of [
      [20, false],
      [20.001, true],
      [5, false],
      [4.999, true],
      [0, true],
    ] as const) {
      balancer.recordLoad(0, [10, 0, 0, load, 0, 0]);
      balancer.advanceWindow();
      assert.equal(rebalancer.shouldRebalance(), expected, `10 and ${load}`);
    }
  });
});

test('errors of the loop are emitted and counted, and the pauses grow until a look succeeds', async (t) => {
  const clock = new Clock(t);
  await withBalancer({ ...small, windowSize: 1, policy: new UnluckyPolicy() }, async (balancer) => {
    const rebalancer = new AsyncExpertRebalancer({ balancer, rebalanceInterval: 10, loadThreshold: 1 });
    const events = log(rebalancer);
    record(balancer, 13, 1, 500, 1);
    rebalancer.start();
    const delays = [];
    for (let look = 0; look < 6; look++) delays.push(await clock.tick());
    assert.deepEqual(delays, [20, 40, 80, 160, 160, 160]);
    assert.deepEqual(events, Array(6).fill('error EPLB_POLICY'));
    assert.equal(rebalancer.numErrors, 6);
    record(balancer, 1, 1, 500, 1);
    assert.equal(await clock.tick(), 10);
    record(balancer, 13, 1, 500, 1);
    assert.equal(await clock.tick(), 20);
    assert.deepEqual(events.slice(6), ['pending', 'error EPLB_POLICY']);
    assert.equal(rebalancer.numErrors, 7);
    await rebalancer.stop();
  });
});

test('started again while the stopped loop still winds down, there is one loop', async (t) => {
  const clock = new Clock(t);
  await withBalancer(small, async (balancer) => {
    record(balancer, 0, 0, 100, 1);
    const rebalancer = new AsyncExpertRebalancer({ balancer, rebalanceInterval: 10, loadThreshold: 1 });
    const events = log(rebalancer);
    rebalancer.start();
    clock.fire();
    const end = rebalancer.stop();
    rebalancer.start();
    await end;
    await turn();
    assert.deepEqual(events, ['stopped']);
    assert.deepEqual(clock.delays, [10]);
    await rebalancer.stop();
    assert.deepEqual(clock.delays, []);
  });
});
