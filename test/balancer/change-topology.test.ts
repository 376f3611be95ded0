import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import {
  AdaptiveEplbPolicy,
  connectBalancer,
  ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
  type ExpertMapping,
  shareBalancer,
  type TopologyChange,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { refusal, SEED, stateOf, turn, withBalancer } from '../helpers/library.ts';

const sizes = { numLayers: 2, numLogicalExperts: 8, numPhysicalExperts: 16, numRanks: 4, numNodes: 2 };
const adaptive = (options: Partial<ExpertLoadBalancerOptions> = {}): ExpertLoadBalancerOptions => ({
  ...sizes,
  policy: new AdaptiveEplbPolicy({ price: 0 }),
  threads: 0,
  windowSize: 8,
  ...options,
});

/** Loads that differ from step to step. */
function record(balancer: ExpertLoadBalancer, step: number): void {
  const { numLayers, numLogicalExperts } = balancer.topology;
  for (let layer = 0; layer < numLayers; layer++) {
    const loads = Array.from(
      { length: numLogicalExperts },
      (_, expert) => 1 + ((expert * 7 + step * 3) % 11),
    );
    balancer.recordLogicalLoad(layer, loads);
  }
  balancer.advanceWindow();
}

/** Of each rank, the experts in its slots. */
function ranksOf(mapping: ExpertMapping, numRanks: number, layer = 0): number[][] {
  const row = mapping.toJSON().phyToLog[layer]!;
  const perRank = row.length / numRanks;
  return Array.from({ length: numRanks }, (_, rank) => row.slice(rank * perRank, (rank + 1) * perRank));
}

/** Every expert is somewhere, none on a dead rank or in a closed slot. */
function assertFits(balancer: ExpertLoadBalancer): void {
  const { numRanks, numLogicalExperts, numLayers, slotsPerRank, deadRanks } = balancer.topology;
  for (let layer = 0; layer < numLayers; layer++) {
    const ranks = ranksOf(balancer.mapping, numRanks, layer);
    assert.equal(new Set(ranks.flat().filter((expert) => expert >= 0)).size, numLogicalExperts);
    for (const [rank, experts] of ranks.entries()) {
      const open = slotsPerRank?.[rank] ?? experts.length;
      assert.ok(experts.slice(open).every((expert) => expert === -1));
      if (deadRanks?.includes(rank)) assert.equal(open, 0);
    }
  }
}

test('a rank dies: the others keep what they have, and orphans take the place of spare copies', async () => {
  await withBalancer(adaptive({ numPhysicalExperts: 12 }), (balancer) => {
    for (let step = 0; step < 5; step++) record(balancer, step);
    balancer.rebalanceSync();
    const { mapping: before, generation } = balancer;
    const averages = balancer.getAverageLogicalLoad();
    const changed = balancer.changeTopology({ deadRanks: [1] });
    assert.equal(changed.mapping, balancer.mapping);
    assert.equal(changed.generation, generation + 1);
    assert.equal(balancer.generation, generation + 1);
    assert.deepEqual(balancer.topology.deadRanks, [1]);
    assert.deepEqual(balancer.topology.slotsPerRank, [3, 0, 3, 3]);
    assertFits(balancer);
    let numOrphans = 0;
    for (let layer = 0; layer < sizes.numLayers; layer++) {
      const [old, now] = [ranksOf(before, 4, layer), ranksOf(balancer.mapping, 4, layer)];
      const left = new Set([...old[0]!, ...old[2]!, ...old[3]!]);
      const orphans = [...new Set(old[1]!)].filter((expert) => !left.has(expert));
      numOrphans += orphans.length;
      const loaded = changed.hostLoads.filter((load) => load.layer === layer);
      assert.deepEqual(loaded.map(({ expert }) => expert).sort(), [...orphans].sort());
      for (const { expert, rank, slot } of loaded) assert.equal(now[rank]![slot], expert);
      const numChanged = now
        .flat()
        .filter((expert, i) => Math.floor(i / 3) !== 1 && expert !== old.flat()[i]);
      assert.equal(numChanged.length, orphans.length);
    }
    assert.ok(numOrphans > 0, 'nothing was lost: the test shows nothing');
    assert.deepEqual(balancer.getAverageLogicalLoad(), averages);
    assert.equal(balancer.numSamples, 5);
    balancer.rebalanceSync();
    assertFits(balancer);
  });
});

test('a rank comes back, ranks are added and taken away: plans fill what there is', async () => {
  await withBalancer(adaptive(), (balancer) => {
    for (let step = 0; step < 5; step++) record(balancer, step);
    balancer.changeTopology({ deadRanks: [0, 3] });
    balancer.rebalanceSync();
    assertFits(balancer);
    const { hostLoads } = balancer.changeTopology({ deadRanks: [] });
    assert.deepEqual(hostLoads, []);
    assert.equal(balancer.topology.slotsPerRank, undefined);
    assert.deepEqual(ranksOf(balancer.mapping, 4)[3], [-1, -1, -1, -1]);
    balancer.rebalanceSync();
    assert.ok(balancer.mapping.phyToLog.every((expert) => expert >= 0));
    balancer.changeTopology({ numRanks: 6 });
    assert.equal(balancer.topology.numPhysicalExperts, 24);
    assert.equal(balancer.topology.numNodes, 3);
    assert.equal(balancer.mapping.numPhysicalExperts, 24);
    assertFits(balancer);
    record(balancer, 6);
    balancer.recordLoad(0, new Array(24).fill(1));
    balancer.advanceWindow();
    balancer.rebalanceSync();
    assert.ok(balancer.mapping.phyToLog.every((expert) => expert >= 0));
    balancer.changeTopology({ numRanks: 3, slotsPerRank: [4, 3, 4] });
    assert.equal(balancer.topology.numPhysicalExperts, 12);
    assert.deepEqual(balancer.topology.nodeOfRank, [0, 0, 1]);
    assertFits(balancer);
    balancer.rebalanceSync();
    assertFits(balancer);
  });
});

test('what was made before is stale, of its shape or not; a rebalance in flight plans again', async () => {
  const changes = [{ deadRanks: [2] }, { numRanks: 6 }, { rankSpeed: [1, 0.5, 1, 1] }];
  for (const [change, isStarted] of changes.flatMap((one) => [[one, true] as const, [one, false] as const])) {
    await withBalancer(adaptive({ threads: 1 }), async (balancer) => {
      for (let step = 0; step < 8; step++) record(balancer, step);
      // Also while the first plan waits for what makes plans in threads.
      if (isStarted) await balancer.start();
      const planned = balancer.plan();
      await turn();
      const { generation } = balancer.changeTopology(change);
      const stale = await planned;
      assert.throws(() => balancer.commit(stale), refusal('other', 'EPLB_STALE', /generation 0/));
      assert.equal(balancer.generation, generation);
      const rebalanced = balancer.rebalance();
      await turn();
      balancer.changeTopology({ deadRanks: [3] });
      assert.equal((await rebalanced).numPhysicalExperts, balancer.topology.numPhysicalExperts);
      assertFits(balancer);
    });
  }
});

test('a plan is made for the loads that it was given, whatever becomes of the ranks', async () => {
  const policy = new URL('../fixtures/policies/heaviest-first.mjs', import.meta.url);
  await withBalancer({ ...sizes, policy }, async (balancer) => {
    const weight = Array.from({ length: 2 }, () => [1, 2, 3, 90, 5, 6, 7, 8]);
    const planned = balancer.rebalance(weight);
    balancer.changeTopology({ numRanks: 6 });
    const mapping = await planned;
    assert.equal(mapping.numPhysicalExperts, 24);
    assert.equal(mapping.getLogicalExpert(0, 0), 3);
    const previous = balancer.mapping;
    const wrong = balancer.plan(weight, { previous });
    balancer.changeTopology({ numRanks: 4 });
    await assert.rejects(
      wrong,
      refusal('range', 'EPLB_SHAPE', /^previous: is of .* 24 slots, not .* 16 slots/),
    );
  });
});

test('wrong changes change nothing', async () => {
  await withBalancer(adaptive({ failureDomains: { rack: [0, 0, 1, 1] } }), (balancer) => {
    for (let step = 0; step < 3; step++) record(balancer, step);
    const before = stateOf(balancer);
    const refused = (change: unknown, ...expected: Parameters<typeof refusal>) => {
      assert.throws(() => balancer.changeTopology(change as TopologyChange), refusal(...expected));
      assert.deepEqual(stateOf(balancer), before);
    };
    refused(null, 'type', 'EPLB_KIND', /change/);
    refused({ ranks: 3 }, 'type', 'EPLB_OPTION', /ranks/);
    refused({ numRanks: 0 }, 'range', 'EPLB_RANGE', /^numRanks: 0/);
    refused({ numRanks: 2.5 }, 'range', 'EPLB_NOT_WHOLE', /^numRanks: 2.5/);
    refused({ deadRanks: [4] }, 'range', 'EPLB_RANGE', /^deadRanks\[0\]: 4 is not from 0 to 3/);
    refused({ deadRanks: '1' }, 'type', 'EPLB_KIND', /^deadRanks: "1" is not a list of ranks/);
    refused({ deadRanks: [0, 1, 2] }, 'range', 'EPLB_TOPOLOGY', /4 open slots for 8 experts, 4 too few/);
    refused({ rankSpeed: [1, 1] }, 'range', 'EPLB_SHAPE', /^rankSpeed: has 2 numbers, not 4/);
    refused({ rankSpeed: [1, 1, 0, 1] }, 'range', 'EPLB_RANGE', /^rankSpeed: rank 2: 0 is not/);
    refused({ slotsPerRank: [1, 1, 1, 1] }, 'range', 'EPLB_TOPOLOGY', /4 slots are less than/);
    refused({ slotsPerRank: 4 }, 'type', 'EPLB_KIND', /^slotsPerRank: 4 is not an array/);
    refused({ numRanks: 6 }, 'range', 'EPLB_SHAPE', /^failureDomains: say those of all 6 ranks/);
    refused({ nodeOfRank: [0, 1, 0, 1] }, 'range', 'EPLB_TOPOLOGY', /^nodeOfRank: rank 2 is on node 0 after/);
  });
  await withBalancer({ ...sizes, threads: 0 }, (balancer) => {
    const before = stateOf(balancer);
    assert.throws(
      () => balancer.changeTopology({ deadRanks: [1] }),
      refusal('range', 'EPLB_TOPOLOGY', /default policy.*policies that can plan this: .*adaptive/),
    );
    assert.deepEqual(stateOf(balancer), before);
  });
  const closed = new ExpertLoadBalancer(adaptive());
  await closed.close();
  assert.throws(() => closed.changeTopology({}), refusal('other', 'EPLB_CLOSED', /closed/));
});

test('a snapshot of a changed balancer is restored by one of that topology', async () => {
  await withBalancer(adaptive(), async (balancer) => {
    for (let step = 0; step < 5; step++) record(balancer, step);
    balancer.rebalanceSync();
    balancer.changeTopology({ numRanks: 6, deadRanks: [0] });
    record(balancer, 9);
    balancer.rebalanceSync();
    const snapshot = balancer.snapshot();
    const { numPhysicalExperts, numRanks, numNodes } = balancer.topology;
    const options = adaptive({ numPhysicalExperts, numRanks, numNodes, deadRanks: [0] });
    await withBalancer(options, (next) => {
      next.restore(snapshot);
      assert.ok(next.mapping.equals(balancer.mapping));
      assert.deepEqual(next.getAverageLogicalLoad(), balancer.getAverageLogicalLoad());
      assert.deepEqual(next.metrics().realisedGains, balancer.metrics().realisedGains);
      assert.equal(next.rebalanceSync().digest(), balancer.rebalanceSync().digest());
    });
  });
});

test('a connected thread goes on with the new topology and mapping, and no load is lost', async () => {
  const balancer = new ExpertLoadBalancer(adaptive());
  const connected = await connectBalancer(shareBalancer(balancer));
  const { mapping: before } = connected;
  connected.recordLoad(0, new Array(16).fill(1));
  balancer.changeTopology({ numRanks: 6 });
  // It has not looked yet.
  connected.recordLoad(0, new Array(16).fill(1));
  assert.equal(connected.topology.numPhysicalExperts, 16);
  balancer.changeTopology({ deadRanks: [0] });
  assert.notEqual(connected.mapping, before);
  assert.ok(connected.mapping.equals(balancer.mapping));
  assert.equal(connected.generation, 2);
  assert.deepEqual(connected.topology, balancer.topology);
  connected.recordLoad(0, new Array(24).fill(1));
  balancer.advanceWindow();
  const { data } = balancer.getAverageLogicalLoad();
  // The last row counts only where slots hold an expert.
  const numHeld = ranksOf(balancer.mapping, 6)
    .flat()
    .filter((expert) => expert >= 0).length;
  assert.equal(
    data.subarray(0, 8).reduce((sum, load) => sum + load, 0),
    16 + 16 + numHeld,
  );
  const mapping = await connected.rebalance();
  assert.ok(mapping.equals(balancer.mapping));
  assertFits(balancer);
  connected.close();
  await balancer.close();
});

test('another thread records at full speed while ranks come and go: each load counts once', async () => {
  const balancer = new ExpertLoadBalancer(adaptive({ windowSize: 1000 }));
  const words = new Int32Array(new SharedArrayBuffer(8));
  const port = shareBalancer(balancer);
  const workerData = { port, stopWord: words.buffer, numLayers: 2, numLogical: 8 };
  const url = new URL('../fixtures/share/changing-recorder.mjs', import.meta.url);
  const worker = new Worker(url, { workerData, transferList: [port], execArgv: [] });
  await once(worker, 'message');
  const report = once(worker, 'message');
  const exit = once(worker, 'exit');
  const changes: TopologyChange[] = [{ deadRanks: [1] }, { numRanks: 6 }, { deadRanks: [] }, { numRanks: 4 }];
  for (let i = 0; i < 200 || (i < 900 && Atomics.load(words, 1) < 2); i++) {
    balancer.changeTopology(changes[i % changes.length]!);
    balancer.advanceWindow();
    if (i % 4 === 0) await nextTurn();
  }
  Atomics.store(words, 0, 1);
  const [{ tokens, numBroken, widths }] = await report;
  await exit;
  await nextTurn();
  balancer.advanceWindow();
  const { data } = balancer.getAverageLogicalLoad();
  assert.deepEqual(
    Array.from(data, (mean) => Math.round(mean * balancer.numSamples)),
    Array.from(tokens),
  );
  assert.equal(numBroken, 0);
  assert.deepEqual([...widths].sort(), [16, 24]);
  await balancer.close();
});

test('any changes one after the other leave a whole mapping and the loads as they were', () => {
  const change = fc.record(
    {
      numRanks: fc.integer({ min: 2, max: 7 }),
      deadRanks: fc.uniqueArray(fc.nat(6), { maxLength: 3 }),
      rankSpeed: fc.array(fc.double({ min: 0.25, max: 2, noNaN: true }), { minLength: 2, maxLength: 7 }),
      slotsPerRank: fc.array(fc.nat(5), { minLength: 2, maxLength: 7 }),
      numNodes: fc.integer({ min: 1, max: 3 }),
    },
    { requiredKeys: [] },
  );
  const step = fc.oneof(change, fc.constant('record'), fc.constant('plan'), fc.constant('physical'));
  const property = fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => {
    const balancer = new ExpertLoadBalancer(adaptive({ numNodes: 1 }));
    steps.forEach((what, i) => {
      const before = balancer.getAverageLogicalLoad().data;
      const { generation } = balancer;
      if (what === 'record') record(balancer, i);
      else if (what === 'plan') balancer.rebalanceSync();
      else if (what === 'physical') {
        balancer.recordLoad(1, new Array(balancer.topology.numPhysicalExperts).fill(i));
        balancer.advanceWindow();
      } else {
        try {
          balancer.changeTopology(what as TopologyChange);
          assert.equal(balancer.generation, generation + 1);
        } catch (error) {
          assert.match(String(error), /EplbRangeError/);
          assert.equal(balancer.generation, generation);
        }
        const after = balancer.getAverageLogicalLoad().data;
        assert.ok(after.every((load, at) => Math.abs(load - before[at]!) <= 1e-6 * (1 + load)));
      }
      assertFits(balancer);
    });
  });
  fc.assert(property, { seed: SEED, numRuns: 150 });
});

test('threads of the pool go on with a changed topology', async () => {
  await withBalancer(adaptive({ threads: 1 }), async (balancer) => {
    for (let step = 0; step < 4; step++) record(balancer, step);
    await balancer.rebalance();
    balancer.changeTopology({ deadRanks: [1] });
    await balancer.rebalance();
    balancer.changeTopology({ deadRanks: [] });
    await balancer.rebalance();
    assertFits(balancer);
    const { workersStarted, workersWoken } = balancer.metrics();
    assert.equal(workersStarted, 1);
    assert.equal(workersWoken, 3);
  });
});
