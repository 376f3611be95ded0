import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AbstractEplbPolicy,
  AdaptiveEplbPolicy,
  AsyncExpertRebalancer,
  type CommitOptions,
  DefaultEplbPolicy,
  type ExpertLoadBalancer,
  ExpertMapping,
  type RebalanceOptions,
} from 'expert-load-balancer';
import { refusal, stateOf, turn, withBalancer } from '../helpers/library.ts';

const sizes = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 } as const;
const isStale = refusal('other', 'EPLB_STALE', /generation \d+, but \d+ is live/);

/** A mapping that no policy would make of the loads here; another one for each number. */
function hostMapping(number: number): ExpertMapping {
  const row = Array.from({ length: 6 }, (_, slot) => (slot + number) % 4);
  return ExpertMapping.fromPhysicalToLogical([row, row]);
}

function record(balancer: ExpertLoadBalancer, ...loads: number[]): void {
  for (let layer = 0; layer < sizes.numLayers; layer++) balancer.recordLogicalLoad(layer, loads);
  balancer.advanceWindow();
}

/** A policy in the host's thread that has something else done while it plans, as often as it is told. */
class InterruptedPolicy extends AbstractEplbPolicy {
  readonly name = 'interrupted';
  readonly #default = new DefaultEplbPolicy();
  numPlans = 0;
  interrupt: () => void = () => {};
  override rebalanceExperts(...args: Parameters<AbstractEplbPolicy['rebalanceExperts']>): ExpertMapping {
    this.numPlans++;
    this.interrupt();
    return this.#default.rebalanceExperts(...args);
  }
}

test('a plan knows what it was made from, and goes live only while that is live', async () => {
  for (const threads of [0, 1]) {
    await withBalancer({ ...sizes, threads }, async (balancer) => {
      record(balancer, 90, 10, 40, 60);
      const decision = await balancer.decide();
      assert.equal(decision.generation, 0);
      const other = hostMapping(1);
      balancer.commit(other);
      assert.equal(balancer.generation, 1, 'mappings made elsewhere are not checked');
      const before = stateOf(balancer);
      assert.throws(() => balancer.commit(decision.mapping), isStale);
      assert.throws(() => balancer.commit(decision.mapping, { from: 0 }), isStale);
      assert.throws(() => balancer.commit(hostMapping(2), { from: 0 }), isStale, 'asked for, any mapping is');
      assert.deepEqual(stateOf(balancer), before);
      balancer.commit(hostMapping(2), { from: 1 });
      assert.equal(balancer.generation, 2);
      balancer.commit(other);
      assert.equal(balancer.mapping, other, 'a rollback is not checked');
      balancer.commit(decision.mapping, { force: true });
      assert.equal(balancer.mapping, decision.mapping);
      balancer.commit(other);
      balancer.commit(decision.mapping);
      assert.equal(balancer.mapping, decision.mapping, 'once live, it is a rollback');
      assert.throws(() => balancer.commit(other, { from: 4 }), isStale);
    });
  }
});

test('`from` and `force` of a wrong kind are refused, and nothing goes live', async () => {
  await withBalancer({ ...sizes, threads: 0 }, (balancer) => {
    const refuses = (options: unknown, ...expected: Parameters<typeof refusal>) =>
      assert.throws(() => balancer.commit(hostMapping(1), options as CommitOptions), refusal(...expected));
    refuses({ from: '0' }, 'type', 'EPLB_KIND', /from: "0"/);
    refuses({ from: -1 }, 'range', 'EPLB_RANGE', /from: -1/);
    refuses({ from: 0.5 }, 'range', 'EPLB_NOT_WHOLE', /from: 0\.5/);
    refuses({ force: 1 }, 'type', 'EPLB_KIND', /force: 1/);
    refuses(null, 'type', 'EPLB_KIND', /options: null/);
    assert.equal(balancer.generation, 0);
  });
});

test('no commit made while a plan is under way is undone by a plan that keeps what there was', async () => {
  const policy = new AdaptiveEplbPolicy({ maxMoves: 0 });
  await withBalancer({ ...sizes, policy, threads: 1 }, async (balancer) => {
    record(balancer, 90, 10, 40, 60);
    await balancer.start();
    for (const ifStale of ['replan', 'keep'] as const) {
      for (let i = 1; i <= 100; i++) {
        const rebalanced = balancer.rebalance(undefined, { ifStale });
        const checked = rebalanced.then((mapping) => assert.equal(mapping, balancer.mapping, 'live by then'));
        for (let turns = i % 4; turns > 0; turns--) await turn();
        const host = hostMapping(i);
        balancer.commit(host);
        await checked;
        assert.equal(balancer.mapping, host);
      }
    }
    assert.equal(balancer.generation, 200);
  });
});

test('a rebalance plans anew at most three times, from what went live, and then leaves that', async () => {
  for (const isSync of [false, true]) {
    const policy = new InterruptedPolicy();
    await withBalancer({ ...sizes, policy, threads: 0 }, async (balancer) => {
      record(balancer, 90, 10, 40, 60);
      const rebalance = async (options?: RebalanceOptions) =>
        isSync ? balancer.rebalanceSync(undefined, options) : balancer.rebalance(undefined, options);
      const commitFor = (plans: number) => {
        policy.numPlans = 0;
        policy.interrupt = () => {
          if (policy.numPlans <= plans) balancer.commit(hostMapping(policy.numPlans));
        };
      };
      for (const interrupted of [0, 1, 3]) {
        commitFor(interrupted);
        const mapping = await rebalance();
        assert.equal(policy.numPlans, interrupted + 1);
        assert.equal(balancer.mapping, mapping);
        assert.notDeepEqual(mapping.toJSON(), hostMapping(interrupted).toJSON());
      }
      commitFor(Number.POSITIVE_INFINITY);
      const mapping = await rebalance();
      assert.equal(policy.numPlans, 4);
      assert.equal(balancer.mapping, mapping);
      assert.deepEqual(mapping.toJSON(), hostMapping(4).toJSON());
      commitFor(1);
      assert.deepEqual((await rebalance({ ifStale: 'keep' })).toJSON(), hostMapping(1).toJSON());
      assert.equal(policy.numPlans, 1);
      await assert.rejects(
        rebalance({ ifStale: 'retry' } as unknown as RebalanceOptions),
        refusal('range', 'EPLB_RANGE', /ifStale: "retry"/),
      );
    });
  }
});

test('committing a plan that keeps what there was does not bring it back', async () => {
  const policy = new AdaptiveEplbPolicy({ maxMoves: 0 });
  await withBalancer({ ...sizes, policy, threads: 1 }, async (balancer) => {
    record(balancer, 90, 10, 40, 60);
    const planned = balancer.decide();
    await turn();
    balancer.commit(hostMapping(1));
    const decision = await planned;
    assert.equal(decision.status, 'kept');
    assert.equal(decision.mapping, balancer.mapping);
    assert.equal(decision.generation, 0);
    balancer.commit(decision.mapping);
    assert.equal(balancer.generation, 1);
  });
});

test('the pattern of taking a pending mapping never commits a stale one', async () => {
  await withBalancer({ ...sizes, windowSize: 1, threads: 1 }, async (balancer) => {
    const rebalancer = new AsyncExpertRebalancer({ balancer });
    const errors: Error[] = [];
    let committed = 0;
    rebalancer.on('error', (error) => errors.push(error));
    rebalancer.on('pending', async ({ previous }) => {
      const next = rebalancer.getPendingMapping();
      if (next === undefined) return;
      await turn(); // weights move
      balancer.commit(next);
      committed++;
      assert.equal(previous.movesFrom(before, sizes.numRanks), 0);
    });
    let before = balancer.mapping;
    for (let i = 0; i < 20; i++) {
      before = balancer.mapping;
      record(balancer, ...[0, 1, 2, 3].map((expert) => (expert === i % 4 ? 100 : 1)));
      const outcome = await rebalancer.rebalanceAsync();
      if (i % 2 === 0) balancer.commit(hostMapping(i));
      assert.equal(outcome.status, 'pending');
      await turn();
      await turn();
    }
    assert.equal(committed, 10);
    assert.equal(errors.length, 10);
    for (const error of errors) isStale(error);
  });
});
