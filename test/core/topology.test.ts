import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AbstractEplbPolicy,
  AdaptiveEplbPolicy,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
  ExpertMapping,
  type PolicyContext,
  planTransfer,
  repair,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { MoveCounter } from '../../src/mapping/move-counter.ts';
import { refusal, SEED, withBalancer } from '../helpers/library.ts';

const even = { numLayers: 1, numLogicalExperts: 8, numPhysicalExperts: 12, numRanks: 4, threads: 0 };
const adaptive = (more: Partial<ExpertLoadBalancerOptions>) => ({
  ...even,
  policy: new AdaptiveEplbPolicy({ price: 0 }),
  ...more,
});

/** Sizes that ranks, nodes and groups do not divide. */
const UNEVEN: readonly [Partial<ExpertLoadBalancerOptions>, RegExp][] = [
  [
    { numPhysicalExperts: 10 },
    /^numPhysicalExperts: 10 is not a multiple of numRanks 4: the \w+ policy deals/,
  ],
  [
    { numRanks: 6, numNodes: 4, nodeOfRank: [0, 0, 0, 1, 2, 3] },
    /^numRanks: 6 is not a multiple of numNodes/,
  ],
  [
    { numNodes: 2, nodeOfRank: [0, 0, 0, 1] },
    /^nodeOfRank: nodes have not equally many ranks: the \w+ policy/,
  ],
  [{ numGroups: 3 }, /^numLogicalExperts: 8 is not a multiple of numGroups 3: the \w+ policy/],
  [{ rankSpeed: [1, 1, 0.5, 1] }, /^rankSpeed: the \w+ policy cannot plan for ranks of unequal speed/],
  [{ deadRanks: [2] }, /^slotsPerRank: the \w+ policy cannot plan for closed slots/],
  [{ slotsPerRank: [3, 3, 2, 3] }, /^slotsPerRank: the \w+ policy cannot plan for closed slots/],
];

test('a policy that cannot plan a topology is refused, with the names of those that can', async () => {
  for (const [more, message] of UNEVEN) {
    const policy = new DefaultEplbPolicy();
    assert.throws(
      () => new ExpertLoadBalancer({ ...even, policy, ...more }),
      (error: unknown) =>
        refusal('range', 'EPLB_TOPOLOGY', message)(error) &&
        refusal('range', 'EPLB_TOPOLOGY', /; policies that can plan this: (\w+, )?adaptive$/)(error),
      JSON.stringify(more),
    );
    await withBalancer(adaptive(more), (balancer) => {
      balancer.recordLogicalLoad(0, [9, 1, 4, 7, 2, 8, 5, 3]);
      balancer.advanceWindow();
      const mapping = balancer.rebalanceSync();
      const { slotsPerRank, numRanks, numPhysicalExperts } = balancer.topology;
      const perRank = numPhysicalExperts / numRanks;
      const row = [...mapping.phyToLog];
      for (const [slot, expert] of row.entries()) {
        const isOpen = slot % perRank < (slotsPerRank?.[Math.floor(slot / perRank)] ?? perRank);
        assert.equal(expert >= 0, isOpen, JSON.stringify([more, row]));
      }
      assert.equal(new Set(row.filter((expert) => expert >= 0)).size, 8);
    });
  }
});

test('slots that ranks do not divide: the first ranks have one more, and ids stay rank-major', async () => {
  await withBalancer(adaptive({ numPhysicalExperts: 10 }), ({ topology, mapping }) => {
    assert.equal(topology.numPhysicalExperts, 12);
    assert.deepEqual(topology.slotsPerRank, [3, 3, 2, 2]);
    assert.deepEqual([...mapping.phyToLog], [0, 1, 2, 3, 4, 5, 6, 7, -1, 0, 1, -1]);
  });
  await withBalancer(adaptive({ numPhysicalExperts: 10, slotsPerRank: [1, 3, 3, 3] }), ({ topology }) => {
    assert.deepEqual(topology.slotsPerRank, [1, 3, 3, 3]);
  });
  assert.throws(
    () => new ExpertLoadBalancer(adaptive({ numPhysicalExperts: 10, slotsPerRank: [3, 3, 3, 3] })),
    refusal('range', 'EPLB_TOPOLOGY', /^slotsPerRank: 12 slots are more than the 10 of 4 ranks/),
  );
});

test('nodes that are not given are filled one after the other', async () => {
  const sizes = { numPhysicalExperts: 20, numRanks: 10, numNodes: 4 };
  await withBalancer(adaptive(sizes), ({ topology }) => {
    assert.deepEqual(topology.nodeOfRank, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]);
  });
  const given = { ...sizes, numRanks: 4, numNodes: 2, nodeOfRank: [0, 0, 1, 1] };
  await withBalancer(adaptive(given), ({ topology }) => assert.equal(topology.nodeOfRank, undefined));
  assert.throws(
    () => new ExpertLoadBalancer(adaptive({ numPhysicalExperts: 15, numRanks: 5, numNodes: 4 })),
    refusal('range', 'EPLB_TOPOLOGY', /^numRanks: 5 is not a multiple of numNodes 4, .*nodeOfRank/),
  );
});

test('what is said of ranks is checked, by name', () => {
  const cases: readonly [object, ...Parameters<typeof refusal>][] = [
    [{ rankSpeed: 2 }, 'type', 'EPLB_KIND', /^rankSpeed: 2 is not an array of numbers, one a rank/],
    [{ rankSpeed: [1, 1, 1] }, 'range', 'EPLB_SHAPE', /^rankSpeed: has 3 numbers, not 4, one a rank/],
    [{ rankSpeed: [1, 1, '1', 1] }, 'type', 'EPLB_KIND', /^rankSpeed: rank 2: "1" is not a number/],
    [
      { rankSpeed: [1, 1, Number.NaN, 1] },
      'range',
      'EPLB_RANGE',
      /^rankSpeed: rank 2: NaN is not from 0.001/,
    ],
    [{ rankSpeed: [1, 1, 1, 1e9] }, 'range', 'EPLB_RANGE', /^rankSpeed: rank 3: 1000000000 is not from/],
    [{ deadRanks: 1 }, 'type', 'EPLB_KIND', /^deadRanks: 1 is not a list of ranks/],
    [{ deadRanks: [-1] }, 'range', 'EPLB_RANGE', /^deadRanks\[0\]: -1 is not from 0 to 3/],
    [{ deadRanks: [0.5] }, 'range', 'EPLB_NOT_WHOLE', /^deadRanks\[0\]: 0.5/],
    [{ deadRanks: [0, 1] }, 'range', 'EPLB_TOPOLOGY', /^deadRanks: the live ranks have 6 open slots for 8/],
    [{ nodeOfRank: [0, 0, 1, 0], numNodes: 2 }, 'range', 'EPLB_TOPOLOGY', /^nodeOfRank: rank 3 is on node 0/],
    [{ nodeOfRank: [0, 0, 0, 0], numNodes: 2 }, 'range', 'EPLB_TOPOLOGY', /^nodeOfRank: names 1 nodes/],
    [{ nodeOfRank: [0, 0, 0, 2], numNodes: 2 }, 'range', 'EPLB_RANGE', /^nodeOfRank: rank 3: 2 is not from/],
    [{ failureDomains: 'rack' }, 'type', 'EPLB_KIND', /^failureDomains: "rack" is not an object/],
    [{ failureDomains: { node: [0, 0, 1, 1] } }, 'range', 'EPLB_RANGE', /^failureDomains.node: is a level/],
    [{ failureDomains: { rack: [0] } }, 'range', 'EPLB_SHAPE', /^failureDomains.rack: has 1 numbers, not 4/],
    [{ linkClasses: ['a'] }, 'range', 'EPLB_SHAPE', /^linkClasses: has 1 rows, not 4/],
    [{ linkClasses: [1, 2, 3, 4] }, 'type', 'EPLB_KIND', /^linkClasses: rank 0: 1 is not an array of names/],
  ];
  for (const [more, ...expected] of cases) {
    assert.throws(() => new ExpertLoadBalancer(adaptive(more)), refusal(...expected), JSON.stringify(more));
  }
});

/** Remembers what it was told. */
class Asked extends AbstractEplbPolicy {
  readonly name = 'asked';
  readonly contexts: PolicyContext[] = [];
  override rebalanceExperts(...args: Parameters<AbstractEplbPolicy['rebalanceExperts']>): ExpertMapping {
    this.contexts.push(args[5]!);
    const row = Array.from({ length: args[1] }, (_, slot) => slot % 8);
    return ExpertMapping.fromPhysicalToLogical([row], 8);
  }
}

test("a policy of one's own is told all that is known of the ranks", async () => {
  const policy = new Asked();
  const rankSpeed = [1, 0.9, 1, 1];
  const failureDomains = { rack: [0, 0, 1, 1] };
  const more = { policy, numPhysicalExperts: 16, rankSpeed, failureDomains };
  await withBalancer({ ...even, ...more }, (balancer) => {
    balancer.rebalanceSync([[1, 2, 3, 4, 5, 6, 7, 8]]);
    const { topology } = policy.contexts[0]!;
    assert.deepEqual(topology, balancer.topology);
    assert.ok(Object.isFrozen(topology));
  });
});

test('moves are counted between nodes of any ranks', () => {
  const sizes = { numLogicalExperts: 4, numRanks: 4, numNodes: 2, nodeOfRank: [0, 0, 0, 1] };
  const counter = new MoveCounter(sizes);
  const live = Int32Array.of(0, 1, 2, 3);
  assert.deepEqual(counter.count(live, Int32Array.of(1, 0, 2, 3)), { moves: 2, movesBetweenNodes: 0 });
  assert.deepEqual(counter.count(live, Int32Array.of(0, 1, 3, 2)), { moves: 2, movesBetweenNodes: 2 });
});

test('a node of few ranks dies, and a transfer knows the topology', () => {
  const before = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3, 0, 1, 2, 3]], 4);
  const nodes = { numRanks: 4, numNodes: 2, nodeOfRank: [0, 0, 0, 1] };
  const { mapping, hostLoads } = repair(before, { ...nodes, deadNodes: [1] });
  assert.deepEqual([...mapping.phyToLog], [0, 1, 2, 3, 0, 1, -1, -1]);
  assert.deepEqual(hostLoads, []);
  const sizes = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 8, numGroups: 1 };
  const topology = { ...sizes, ...nodes, deadRanks: [3] };
  const plan = planTransfer(before, mapping, { topology });
  assert.deepEqual(plan.deadRanks, [3]);
});

test('the search plans any topology: open slots are full, closed ones empty', () => {
  const problem = fc
    .record({
      numRanks: fc.integer({ min: 1, max: 6 }),
      numLogicalExperts: fc.integer({ min: 2, max: 12 }),
      spare: fc.nat(9),
      dead: fc.nat(6),
      seed: fc.nat(1000),
    })
    .filter(({ numRanks, numLogicalExperts, spare, dead }) => {
      const numSlots = numLogicalExperts + spare;
      return dead >= numRanks || numSlots - Math.ceil(numSlots / numRanks) >= numLogicalExperts;
    });
  const property = fc.property(problem, ({ numRanks, numLogicalExperts, spare, dead, seed }) => {
    const numPhysicalExperts = numLogicalExperts + spare;
    const deadRanks = dead < numRanks ? [dead] : [];
    const sizes = { numLayers: 1, numLogicalExperts, numPhysicalExperts, numRanks, deadRanks, threads: 0 };
    const balancer = new ExpertLoadBalancer({ ...sizes, policy: new AdaptiveEplbPolicy({ price: 0 }) });
    const loads = Array.from({ length: numLogicalExperts }, (_, expert) => 1 + ((expert * 31 + seed) % 17));
    const mapping = balancer.rebalanceSync([loads]);
    const { slotsPerRank, numPhysicalExperts: width } = balancer.topology;
    const perRank = width / numRanks;
    const open = slotsPerRank ?? new Array<number>(numRanks).fill(perRank);
    const total = open.reduce((sum, count) => sum + count, 0);
    const least = Math.floor(numPhysicalExperts / numRanks);
    const numLost = least + (dead < numPhysicalExperts % numRanks ? 1 : 0);
    assert.equal(total, numPhysicalExperts - (dead < numRanks ? numLost : 0));
    mapping.phyToLog.forEach((expert, slot) => {
      assert.equal(expert >= 0, slot % perRank < open[Math.floor(slot / perRank)]!);
    });
  });
  fc.assert(property, { seed: SEED, numRuns: 100 });
});
