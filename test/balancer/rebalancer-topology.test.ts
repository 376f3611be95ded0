import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, beforeEach, test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  AsyncExpertRebalancer,
  type ExpertLoadBalancer,
  type ExpertMapping,
  type ExpertTransfer,
  type RebalancerEvents,
  type ShadowGain,
  type TransferPlan,
} from 'expert-load-balancer';
import { refusal, turn, until, withBalancer } from '../helpers/library.ts';

// A rebalancer's timers keep no process alive, and here nothing else does.
let alive: NodeJS.Timeout;
beforeEach(() => {
  alive = setInterval(() => {}, 1000);
});
afterEach(() => clearInterval(alive));

const sizes = { numLayers: 2, numLogicalExperts: 8, numPhysicalExperts: 12, numRanks: 4, windowSize: 4 };
const options = { ...sizes, policy: new AdaptiveEplbPolicy({ price: 0 }) };

/** [layers][logical], that differ from step to step. */
const loadsOf = (step: number) =>
  Array.from({ length: 2 }, (_, layer) =>
    Array.from({ length: 8 }, (_, expert) => 1 + ((expert * (7 + layer) + step * 3) % 11) ** 2),
  );

function record(balancer: ExpertLoadBalancer, step: number): void {
  for (const [layer, loads] of loadsOf(step).entries()) balancer.recordLogicalLoad(layer, loads);
  balancer.advanceWindow();
}

/** All events of a rebalancer, in order. */
function listen(rebalancer: AsyncExpertRebalancer): string[] {
  const seen: string[] = [];
  const names: (keyof RebalancerEvents)[] = ['repaired', 'committed', 'pending', 'skipped', 'error'];
  for (const name of [...names, 'shadowed', 'scored'] as const) {
    rebalancer.on(name as 'skipped', (outcome) => {
      seen.push(name === 'skipped' ? `skipped: ${outcome.reason}` : name);
    });
  }
  return seen;
}

for (const threads of [0, 1]) {
  test(`ranks change: a plan for balance follows at once; ${threads} threads`, async () => {
    await withBalancer({ ...options, threads }, async (balancer) => {
      for (let step = 0; step < 4; step++) record(balancer, step);
      const rebalancer = new AsyncExpertRebalancer({
        balancer,
        rebalanceInterval: 1e8,
        loadThreshold: 1e30,
        autoCommit: true,
      });
      const seen = listen(rebalancer);
      rebalancer.start();
      await rebalancer.rebalanceAsync();
      const committed = once(rebalancer, 'committed');
      const changed = balancer.changeTopology({ deadRanks: [1] });
      assert.deepEqual(seen, ['committed', 'repaired']);
      const [outcome] = await committed;
      assert.equal(outcome.previous, changed.mapping);
      assert.equal(outcome.generation, changed.generation + 1);
      // New ranks have no experts, and so no loads that could differ.
      const filled = once(rebalancer, 'committed');
      balancer.changeTopology({ numRanks: 5, deadRanks: [] });
      await filled;
      assert.ok(balancer.mapping.phyToLog.every((expert) => expert >= 0));
      await rebalancer.stop();
      const { length } = seen;
      balancer.changeTopology({ deadRanks: [0] });
      await turn();
      assert.equal(seen.length, length, 'a stopped one hears nothing');
      rebalancer.start();
      const again = once(rebalancer, 'committed');
      balancer.changeTopology({ deadRanks: [] });
      await again;
      await rebalancer.stop();
    });
  });
}

test('ranks change while a plan is made: it is stale, and another one follows', async () => {
  const policy = new AdaptiveEplbPolicy({ effort: 'thorough', price: 0 });
  await withBalancer({ ...options, policy, threads: 1 }, async (balancer) => {
    for (let step = 0; step < 4; step++) record(balancer, step);
    const rebalancer = new AsyncExpertRebalancer({ balancer, rebalanceInterval: 0, loadThreshold: 1 });
    const seen = listen(rebalancer);
    rebalancer.start();
    await until(() => balancer.planProgress.numLayers > 0);
    const pending = once(rebalancer, 'pending');
    balancer.changeTopology({ numRanks: 5 });
    await pending;
    assert.deepEqual(seen, ['repaired', 'skipped: stale', 'pending']);
    const waiting = rebalancer.getPendingMapping()!;
    assert.equal(waiting.numPhysicalExperts, 15);
    await rebalancer.stop();
  });
});

test('a plan that waits when ranks change is gone', async () => {
  await withBalancer({ ...options, threads: 0 }, async (balancer) => {
    for (let step = 0; step < 4; step++) record(balancer, step);
    const rebalancer = new AsyncExpertRebalancer({ balancer, rebalanceInterval: 1e8 });
    rebalancer.start();
    await rebalancer.rebalanceAsync();
    balancer.changeTopology({ deadRanks: [3] });
    assert.equal(rebalancer.getPendingMapping(), undefined);
    await once(rebalancer, 'pending');
    balancer.commit(rebalancer.getPendingMapping()!);
    await rebalancer.stop();
  });
});

/** The mean over steps of what the slowest ranks of all layers have less, in shares of the mean rank load. */
function gainOver(steps: readonly number[], before: ExpertMapping, after: ExpertMapping): number {
  const slowest = (mapping: ExpertMapping, layer: number, loads: readonly number[]) => {
    const row = mapping.toJSON().phyToLog[layer]!;
    const ranks = [0, 0, 0, 0];
    row.forEach((expert, slot) => {
      ranks[Math.floor(slot / 3)]! += loads[expert]! / mapping.getPhysicalExperts(layer, expert).length;
    });
    return Math.max(...ranks);
  };
  let sum = 0;
  for (const step of steps) {
    for (const [layer, loads] of loadsOf(step).entries()) {
      const mean = loads.reduce((total, load) => total + load, 0) / 4;
      sum += (slowest(before, layer, loads) - slowest(after, layer, loads)) / mean;
    }
  }
  return sum / steps.length;
}

test('in shadow mode plans are measured on the steps that follow, and offered to nobody', async () => {
  await withBalancer({ ...options, threads: 0 }, async (balancer) => {
    for (let step = 0; step < 4; step++) record(balancer, step);
    const { mapping: live } = balancer;
    const rebalancer = new AsyncExpertRebalancer({ balancer, rebalanceInterval: 1e8, shadow: true });
    const seen = listen(rebalancer);
    const outcome = await rebalancer.rebalanceAsync();
    assert.ok(outcome.status === 'shadowed');
    assert.equal(outcome.previous, live);
    assert.deepEqual(await rebalancer.rebalanceAsync(), { status: 'skipped', reason: 'unchanged' });
    assert.equal(balancer.mapping, live);
    assert.equal(balancer.generation, 0);
    assert.equal(rebalancer.getPendingMapping(), undefined);
    record(balancer, 10);
    record(balancer, 11);
    const near = (value: number | undefined, wanted: number) =>
      assert.ok(Math.abs(value! - wanted) < 1e-9, `${value} is not ${wanted}`);
    const [sofar] = rebalancer.shadowGains;
    assert.equal(sofar!.isFinal, false);
    assert.equal(sofar!.numSteps, 2);
    near(sofar!.realisedGain, gainOver([10, 11], live, outcome.mapping));
    let scored: ShadowGain | undefined;
    rebalancer.on('scored', (gain) => {
      scored = gain;
    });
    record(balancer, 12);
    record(balancer, 13);
    assert.deepEqual(seen, ['shadowed', 'skipped: unchanged', 'scored']);
    assert.deepEqual(rebalancer.shadowGains, [scored]);
    near(scored!.realisedGain, gainOver([10, 11, 12, 13], live, outcome.mapping));
    assert.equal(scored!.moves, outcome.mapping.movesFrom(live, 4));
    assert.equal(scored!.isFinal, true);
    near(
      scored!.predictedGain,
      outcome.forecast!.gainPerLayer.reduce((sum, gain) => sum + gain, 0),
    );
    // A commit of the host's ends what is measured beside the mapping before.
    await rebalancer.rebalanceAsync();
    balancer.commit(outcome.mapping);
    record(balancer, 14);
    assert.equal(rebalancer.shadowGains.length, 2);
    assert.equal(rebalancer.shadowGains[1]!.numSteps, 0);
    // So do other ranks.
    await rebalancer.rebalanceAsync();
    balancer.changeTopology({ numRanks: 5 });
    record(balancer, 15);
    assert.equal(balancer.metrics().realisedGains.length, 1, 'shadows are none of what went live');
    await rebalancer.stop();
  });
});

test('shadow mode leaves nothing to apply or commit', async () => {
  await withBalancer({ ...options, threads: 0 }, (balancer) => {
    for (const more of [{ autoCommit: true }, { apply: async () => {} }]) {
      assert.throws(
        () => new AsyncExpertRebalancer({ balancer, shadow: true, ...more }),
        refusal('other', 'EPLB_OPTION', /^shadow: offers nothing/),
      );
    }
    assert.throws(
      () => new AsyncExpertRebalancer({ balancer, shadow: 'yes' as unknown as boolean }),
      refusal('type', 'EPLB_KIND', /^shadow: "yes" is not true or false/),
    );
  });
});

test('what is said of pairs of ranks is of those that there are, or refused', async () => {
  const pairs = <T>(numRanks: number, of: (near: boolean) => T) =>
    Array.from({ length: numRanks }, (_, from) =>
      Array.from({ length: numRanks }, (_, to) => of(from >> 1 === to >> 1)),
    );
  const classes = (numRanks: number) => pairs(numRanks, (near) => (near ? 'near' : 'far'));
  await withBalancer({ ...options, threads: 0 }, async (balancer) => {
    const plans: TransferPlan[] = [];
    const rebalancer = new AsyncExpertRebalancer({
      balancer,
      apply: async ({ plan }) => void plans.push(plan),
      transfer: { linkClasses: classes(4), linkCosts: pairs(4, (near) => (near ? 1 : 9)), deadRanks: [3] },
    });
    let step = 0;
    const plan = async () => {
      for (let i = 0; i < 4; i++) record(balancer, step++);
      await rebalancer.rebalanceAsync();
      return plans.at(-1)!;
    };
    const classesIn = ({ bytesByLink }: TransferPlan) => Object.keys(bytesByLink).sort();
    assert.deepEqual(classesIn(await plan()), ['far', 'near']);
    balancer.changeTopology({ deadRanks: [1] });
    const first = await plan();
    assert.deepEqual(first.deadRanks, [1, 3], 'dead are the ranks of both');
    balancer.changeTopology({ numRanks: 3, deadRanks: [] });
    const fewer = await plan();
    assert.deepEqual([fewer.numRanks, fewer.deadRanks, classesIn(fewer)], [3, [], ['far', 'near']]);
    balancer.changeTopology({ numRanks: 6 });
    for (let i = 0; i < 4; i++) record(balancer, step++);
    const message = /^transfer\.linkClasses: are of 4 ranks, and now there are 6; give changeTopology those/;
    await assert.rejects(rebalancer.rebalanceAsync(), refusal('range', 'EPLB_SHAPE', message));
    balancer.changeTopology({ linkClasses: classes(6) });
    for (let i = 0; i < 4; i++) record(balancer, step++);
    await assert.rejects(rebalancer.rebalanceAsync(), refusal('range', 'EPLB_SHAPE', /transfer\.linkCosts/));
  });
  await withBalancer({ ...options, threads: 0 }, async (balancer) => {
    const plans: TransferPlan[] = [];
    const apply = async ({ plan }: ExpertTransfer) => void plans.push(plan);
    const transfer = { linkClasses: classes(4) };
    const rebalancer = new AsyncExpertRebalancer({ balancer, apply, transfer });
    balancer.changeTopology({ numRanks: 6, linkClasses: pairs(6, (near) => (near ? 'own' : 'other')) });
    for (let step = 0; step < 4; step++) record(balancer, step);
    await rebalancer.rebalanceAsync();
    assert.deepEqual(Object.keys(plans[0]!.bytesByLink).sort(), ['other', 'own']);
  });
});

for (const threads of [0, 1]) {
  test(`the threshold counts a shared expert's load, as plans do; ${threads} threads`, async () => {
    const shared = (rank: number) => ({ sharedExpert: { load: 0.5, ranks: [rank], slots: 0 } });
    const small = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 4, numRanks: 2, windowSize: 4 };
    const cases = [
      // Ranks have 10 and 10, and the first one 10 more: twice as much.
      { loads: [5, 5, 5, 5], rules: shared(0), loadThreshold: 1.9, isUneven: true },
      { loads: [5, 5, 5, 5], rules: shared(0), loadThreshold: 2, isUneven: false },
      // They have 15 and 5, and the second one 10 more: as much.
      { loads: [10, 5, 3, 2], rules: shared(1), loadThreshold: 1, isUneven: false },
      { loads: [10, 5, 3, 2], rules: {}, loadThreshold: 2.9, isUneven: true },
      // Rank 0 is twice as fast: 15 / 2 = 7.5, and 5 + 10.
      { loads: [10, 5, 3, 2], rules: shared(1), rankSpeed: [2, 1], loadThreshold: 1.9, isUneven: true },
      { loads: [10, 5, 3, 2], rules: shared(1), rankSpeed: [2, 1], loadThreshold: 2, isUneven: false },
    ];
    for (const { loads, loadThreshold, isUneven, ...topology } of cases) {
      const policy = new AdaptiveEplbPolicy();
      await withBalancer({ ...small, ...topology, policy, threads }, async (balancer) => {
        balancer.recordLogicalLoad(0, loads);
        balancer.advanceWindow();
        const rebalancer = new AsyncExpertRebalancer({ balancer, rebalanceInterval: 1, loadThreshold });
        assert.equal(rebalancer.shouldRebalance(), isUneven);
        const seen = listen(rebalancer);
        rebalancer.start();
        await until(() => seen.length > 0);
        await rebalancer.stop();
        assert.equal(seen[0] === 'skipped: balanced', !isUneven, seen[0]);
      });
    }
  });
}
