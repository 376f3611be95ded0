import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  ExpertMapping,
} from 'expert-load-balancer';
import fc from 'fast-check';
import {
  type AdaptiveProblem,
  adaptiveProblems,
  assertGroupsOnNodes,
  fewestMoves,
  liveMapping,
  makeSamples,
} from '../helpers/adaptive.ts';
import { seededRandom } from '../helpers/arbitraries.ts';
import { refusal, SEED, withBalancer } from '../helpers/library.ts';
import { assertClosedEmpty, plan, sizes, slotsPerRank, topology } from '../helpers/slots.ts';

test('all slots open is as if nothing was said', () => {
  const all = [6, 6, 6, 6];
  const balancer = new ExpertLoadBalancer({ ...sizes, slotsPerRank: all, threads: 0 });
  assert.deepEqual(balancer.topology, sizes);
  const policy = new DefaultEplbPolicy();
  const loads = [[...makeSamples(sizes, 1, 1).data.subarray(0, 16)]];
  const mapping = policy.rebalanceExperts(loads, 24, 4, 2, 4, { slotsPerRank: all });
  assert.ok(mapping.equals(policy.rebalanceExperts(loads, 24, 4, 2, 4)));
  assert.equal(plan({ slotsPerRank: all }).mapping.digest(), plan({}).mapping.digest());
});

test('any number of threads, and none, plans the same with closed slots, limited and not', async () => {
  for (const options of [{}, { price: 0, numKicks: 1 }, { maxMoves: 7 }, { locality: 'groups' }] as const) {
    const plans = await Promise.all(
      [0, 1, 2, 3].map((threads) =>
        withBalancer(
          { ...topology, threads, windowSize: 20, policy: new AdaptiveEplbPolicy(options) },
          async (balancer) => {
            const decisions = [];
            for (const seed of [1, 2]) {
              const decision = await balancer.decide(undefined, { samples: makeSamples(sizes, 9, seed) });
              assertClosedEmpty(decision.mapping);
              balancer.commit(decision.mapping);
              decisions.push({ ...decision, mapping: decision.mapping.digest() });
            }
            return decisions;
          },
        ),
      ),
    );
    for (const made of plans) assert.deepEqual(made, plans[0]);
    assert.equal(plans[0]![0]!.status, 'planned');
  }
});

test('random problems are planned to the same bytes by the policy itself, one thread and two', async () => {
  const problems = adaptiveProblems(40).filter(
    ({ topology: { slotsPerRank } }) => slotsPerRank !== undefined,
  );
  const property = async ({ topology, samples, previous, options }: AdaptiveProblem): Promise<void> => {
    const policy = new AdaptiveEplbPolicy({ ...options, locality: 'none' });
    const { numPhysicalExperts, numGroups, numNodes, numRanks, slotsPerRank } = topology;
    const context = { previous, slotsPerRank: slotsPerRank!, topology };
    const inline = policy.planExperts(samples, numPhysicalExperts, numGroups, numNodes, numRanks, context);
    for (const threads of [1, 2]) {
      await withBalancer({ ...topology, policy, threads }, async (balancer) => {
        const decision = await balancer.decide(undefined, { samples, previous });
        assert.deepEqual(decision, { ...inline, generation: 0 });
        assert.equal(decision.mapping.digest(), inline.mapping.digest());
        if (decision.status === 'kept') assert.equal(decision.mapping, previous);
        else balancer.commit(decision.mapping);
      });
    }
  };
  await fc.assert(fc.asyncProperty(problems, property), { numRuns: 25, seed: SEED });
});

test('what is kept is the same object, with its closed slots empty', () => {
  const { mapping } = plan({ slotsPerRank });
  const again = plan({ slotsPerRank, previous: mapping }, { price: 1e6 }, 2);
  assert.deepEqual(again, { status: 'kept', reason: 'under the price', mapping });
  assert.equal(again.mapping, mapping);
});

test('a rank that lost slots: what was only there moves, and nothing else, unless it pays', () => {
  const random = seededRandom(3);
  for (let run = 0; run < 200; run++) {
    const previous = liveMapping(sizes, run, false);
    const lost = [6, 6, 6, 6].map((slots) => slots - Math.floor(random() * 3));
    if (lost.every((slots) => slots === 6)) continue;
    const rows = previous.toJSON().phyToLog;
    const wanted = rows.map((row) => fewestMoves(row, { ...sizes, numExperts: 16, slotsPerRank: lost }));
    for (const options of [{ price: 1e6 }, { maxMoves: 0 }, { maxMovesPerLayer: 0, numKicks: 3 }]) {
      const decision = plan({ slotsPerRank: lost, previous }, options);
      assert.equal(decision.status, 'planned');
      assert.deepEqual([...decision.mapping.movesPerLayerFrom(previous, 4)], wanted);
      if (options.maxMoves === 0)
        assert.equal(
          decision.forecast?.moves,
          wanted.reduce((sum, moves) => sum + moves, 0),
        );
    }
  }
});

test('of an expert with a replica elsewhere the closed slot takes one, and no weights move', () => {
  const previous = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3, 0, 1]], 4);
  const one = { data: Float32Array.of(4, 4, 4, 4), numSamples: 1, numLayers: 1, numExperts: 4 };
  const repair = (slots: number[], options = {}) =>
    new AdaptiveEplbPolicy({ price: 1e6, ...options }).planExperts(one, 6, 1, 1, 2, {
      previous,
      slotsPerRank: slots,
    });
  const [spare, only, alone] = [repair([3, 2]), repair([2, 3]), repair([1, 3])].map(({ mapping }) => mapping);
  // Expert 1 is on rank 0 as well.
  assert.deepEqual(spare!.toJSON().phyToLog, [[0, 1, 2, 3, 0, -1]]);
  assert.equal(spare!.movesFrom(previous, 2), 0);
  // Expert 2 was only in the closed slot, but its rank has its weights at hand: it takes the slot of a spare
  // replica there.
  assert.deepEqual(only!.toJSON().phyToLog, [[2, 1, -1, 3, 0, 1]]);
  assert.equal(only!.movesFrom(previous, 2), 0);
  assert.deepEqual(alone!.toJSON().phyToLog, [[2, -1, -1, 3, 0, 1]]);
  assert.equal(alone!.movesFrom(previous, 2), 0);
});

test('with no sample at all closed slots are emptied all the same, inline and in the pool', async () => {
  const previous = liveMapping(sizes, 4, false);
  const none = { data: new Float32Array(0), numSamples: 0, numLayers: 3, numExperts: 16 };
  const policy = new AdaptiveEplbPolicy();
  const inline = policy.planExperts(none, 24, 4, 2, 4, { previous, slotsPerRank });
  assert.equal(inline.status, 'planned');
  assertClosedEmpty(inline.mapping);
  const kept = policy.planExperts(none, 24, 4, 2, 4, { previous: inline.mapping, slotsPerRank });
  assert.deepEqual(kept, { status: 'kept', reason: 'no samples', mapping: inline.mapping });
  for (const threads of [0, 1]) {
    await withBalancer({ ...topology, policy, threads }, async (balancer) => {
      for (const options of [{ previous }, { previous, samples: none }]) {
        const decision = await balancer.decide(undefined, options);
        assert.equal(decision.status, 'planned');
        assert.ok(decision.mapping.equals(inline.mapping));
      }
      const feasible = await balancer.decide(undefined, { previous: inline.mapping });
      assert.deepEqual(feasible, {
        ...{ status: 'kept', reason: 'no samples', mapping: inline.mapping },
        generation: 0,
      });
      assert.equal(feasible.mapping, inline.mapping);
      const live = balancer.mapping;
      assert.deepEqual(await balancer.decide(), {
        ...{ status: 'kept', reason: 'no samples', mapping: live },
        generation: 0,
      });
    });
  }
});

test('a balancer plans from another mapping than its live one, whatever the loads come from', async () => {
  const previous = liveMapping(sizes, 5, false);
  const samples = makeSamples(sizes, 8, 1);
  const policy = new AdaptiveEplbPolicy();
  const { numLayers, numExperts } = samples;
  const expected = policy.planExperts(samples, 24, 4, 2, 4, { previous, slotsPerRank });
  for (const threads of [0, 2]) {
    await withBalancer({ ...topology, policy, threads, windowSize: 8 }, async (balancer) => {
      const given = await balancer.decide(undefined, { samples, previous });
      assert.deepEqual([given.status, given.mapping.digest()], ['planned', expected.mapping.digest()]);
      // The same steps, recorded per slot of the live mapping.
      for (let step = 0; step < 8; step++) {
        for (let layer = 0; layer < numLayers; layer++) {
          const first = (step * numLayers + layer) * numExperts;
          balancer.recordLogicalLoad(layer, samples.data.subarray(first, first + numExperts));
        }
        balancer.advanceWindow();
      }
      const mapping = await balancer.rebalance(undefined, { previous });
      assert.equal(mapping.digest(), expected.mapping.digest());
      assert.equal(balancer.mapping, mapping);
      const shape = refusal('range', 'EPLB_SHAPE', /^previous: is of 1 layers/);
      const other = ExpertMapping.fromPhysicalToLogical([[0, 1]]);
      await assert.rejects(balancer.plan(undefined, { previous: other }), shape);
      assert.throws(() => balancer.rebalanceSync(undefined, { previous: other }), shape);
    });
  }
});

test('groups stay on nodes that have room for them; a node without is refused at once', () => {
  const policy = new AdaptiveEplbPolicy({ locality: 'groups' });
  // Nodes of 9 and 9 slots for 8 experts each.
  const { mapping } = plan({ slotsPerRank }, { locality: 'groups', price: 0 });
  assertClosedEmpty(mapping);
  for (const row of mapping.toJSON().phyToLog) assertGroupsOnNodes(row, topology);
  const tooFew = refusal(
    'range',
    'EPLB_TOPOLOGY',
    /^slotsPerRank: node 1 has 7 slots, too few for the 8 experts of its groups \(locality 'groups'\)/,
  );
  const few = { slotsPerRank: [6, 6, 4, 3] };
  assert.throws(() => new ExpertLoadBalancer({ ...sizes, ...few, policy }), tooFew);
  assert.throws(() => plan(few, { locality: 'groups' }), tooFew);
  // Without that option experts go anywhere.
  assert.equal(plan(few).status, 'planned');
});

test('groups that no longer fit on their node are dealt anew', () => {
  // Three groups of four experts fill the twelve slots of node 0; then it has nine.
  const row = Array.from({ length: 24 }, (_, slot) => (slot < 12 ? slot : 12 + (slot % 4)));
  const previous = ExpertMapping.fromPhysicalToLogical([row, row, row], 16);
  const kept = plan({ previous }, { locality: 'groups', price: 1e6 });
  assert.equal(kept.mapping, previous, 'with all slots open it may stay');
  const { mapping, status } = plan({ previous, slotsPerRank }, { locality: 'groups', price: 1e6 });
  assert.equal(status, 'planned');
  assertClosedEmpty(mapping);
  for (const planned of mapping.toJSON().phyToLog) assertGroupsOnNodes(planned, topology);
});
