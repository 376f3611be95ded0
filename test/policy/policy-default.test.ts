import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AbstractEplbPolicy,
  DefaultEplbPolicy,
  ExpertMapping,
  type LoadMatrix,
  type PolicyContext,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { layerProblemArbitrary, loadsArbitrary } from '../helpers/arbitraries.ts';
import { mappingArbitrary, type Refusal, refusal, SEED } from '../helpers/library.ts';
import { rebalanceLayer } from '../oracle/default-policy.ts';
import { invertLayer } from '../oracle/inverse.ts';
import { preserveSlots } from '../oracle/preserve.ts';

const policy = new DefaultEplbPolicy();

/** A topology, the loads of one to three layers, and any valid mapping as the one before. */
const problems = layerProblemArbitrary(40).chain(({ topology }) =>
  fc.integer({ min: 1, max: 3 }).chain((numLayers) => {
    const { numLogicalExperts: numLogical, numReplicas: numPhysical } = topology;
    return fc.record({
      topology: fc.constant(topology),
      rows: fc.array(loadsArbitrary(numLogical), { minLength: numLayers, maxLength: numLayers }),
      previous: mappingArbitrary({ numLayers, numLogical, numPhysical }),
    });
  }),
);

function flatOf(rows: readonly (readonly number[])[], isShared: boolean): LoadMatrix {
  const values = rows.flat();
  const data = isShared
    ? new Float32Array(new SharedArrayBuffer(4 * values.length))
    : new Float32Array(values.length);
  data.set(values);
  return { data, numLayers: rows.length, numExperts: rows[0]!.length };
}

test('the default policy is called default and is an AbstractEplbPolicy', () => {
  assert.equal(policy.name, 'default');
  assert.ok(policy instanceof AbstractEplbPolicy);
});

test('layers are planned each for itself, from nested, flat and shared loads', () => {
  fc.assert(
    fc.property(problems, ({ topology, rows }) => {
      const { numReplicas, numGroups, numNodes, numRanks } = topology;
      const placed = rows.map((row) => rebalanceLayer(row, topology));
      for (const weight of [rows, flatOf(rows, false), flatOf(rows, true)]) {
        const mapping = policy.rebalanceExperts(weight, numReplicas, numGroups, numNodes, numRanks);
        assert.deepEqual(mapping.phyToLog, Int32Array.from(placed.flatMap(({ phyToLog }) => phyToLog)));
        const logToPhy = placed.flatMap(({ phyToLog, replicaRank }) =>
          invertLayer(phyToLog, replicaRank, topology.numLogicalExperts, mapping.maxReplicas),
        );
        assert.deepEqual(mapping.logToPhy, Int32Array.from(logToPhy.flat()));
      }
    }),
    { numRuns: 300, seed: SEED },
  );
});

test('with any mapping before, empty slots too, experts that stay on a rank stay in their slot', () => {
  fc.assert(
    fc.property(problems, ({ topology, rows, previous }) => {
      const { numReplicas, numGroups, numNodes, numRanks } = topology;
      const mapping = policy.rebalanceExperts(rows, numReplicas, numGroups, numNodes, numRanks, { previous });
      const before = previous.toJSON().phyToLog;
      const placed = rows.map((row, layer) =>
        preserveSlots(before[layer]!, rebalanceLayer(row, topology), numRanks),
      );
      assert.deepEqual(mapping.phyToLog, Int32Array.from(placed.flatMap(({ phyToLog }) => phyToLog)));
      const logToPhy = placed.flatMap(({ phyToLog, replicaRank }) =>
        invertLayer(phyToLog, replicaRank, topology.numLogicalExperts, mapping.maxReplicas),
      );
      assert.deepEqual(mapping.logToPhy, Int32Array.from(logToPhy.flat()));
    }),
    { numRuns: 300, seed: SEED },
  );
});

test('what is kept in its slot is what is on the rank: neither moves nor replicas change', () => {
  fc.assert(
    fc.property(problems, ({ topology, rows, previous }) => {
      const { numReplicas, numGroups, numNodes, numRanks } = topology;
      const plan = (context?: PolicyContext) =>
        policy.rebalanceExperts(rows, numReplicas, numGroups, numNodes, numRanks, context);
      const [fresh, kept] = [plan(), plan({ previous })];
      assert.deepEqual(
        kept.movesPerLayerFrom(previous, numRanks),
        fresh.movesPerLayerFrom(previous, numRanks),
      );
      assert.deepEqual(kept.replicaCount, fresh.replicaCount);
      assert.equal(kept.movesFrom(fresh, numRanks), 0);
      assert.ok(plan({ previous: kept }).equals(kept), 'a plan for the same loads changes no slot');
    }),
    { numRuns: 200, seed: SEED },
  );
});

test('a plan neither changes nor keeps what it is given', () => {
  const rows = [[90, 10, 40, 60]];
  const previous = ExpertMapping.fromPhysicalToLogical([[3, 2, 1, 0, 0, 1]]);
  const digest = previous.digest();
  const weight = flatOf(rows, false);
  const mapping = policy.rebalanceExperts(weight, 6, 1, 1, 2, { previous });
  const text = JSON.stringify(mapping);
  assert.deepEqual([...weight.data], rows[0]);
  assert.equal(previous.digest(), digest);
  weight.data.fill(0);
  policy.rebalanceExperts([[1, 1, 1, 1]], 6, 1, 1, 2);
  assert.equal(JSON.stringify(mapping), text);
});

test('co-activation does not matter to the default policy, but is checked', () => {
  const rows = [[90, 10, 40, 60]];
  const plain = policy.rebalanceExperts(rows, 6, 1, 1, 2);
  const coactivation = { data: new Float32Array(16).fill(5), numLayers: 1, numExperts: 4 };
  assert.ok(policy.rebalanceExperts(rows, 6, 1, 1, 2, { coactivation }).equals(plain));
});

/** What rebalanceExperts refuses: its arguments after the loads [1, 2, 3, 4], and what is said about them. */
const bad: readonly (readonly [args: readonly unknown[], ...Refusal])[] = [
  [[3, 1, 1, 1], 'range', 'EPLB_TOPOLOGY', /numReplicas: 3 is less than numLogicalExperts 4/],
  [[6, 1, 1, 4], 'range', 'EPLB_TOPOLOGY', /numReplicas: 6 is not a multiple of numRanks 4/],
  [[6, 1, 2, 3], 'range', 'EPLB_TOPOLOGY', /numRanks: 3 is not a multiple of numNodes 2/],
  [[6, 3, 1, 2], 'range', 'EPLB_TOPOLOGY', /numLogicalExperts: 4 is not a multiple of numGroups 3/],
  [[6.5, 1, 1, 1], 'range', 'EPLB_NOT_WHOLE', /numReplicas: 6\.5/],
  [[6, 0, 1, 1], 'range', 'EPLB_RANGE', /numGroups: 0/],
  [[6, 1, -1, 1], 'range', 'EPLB_RANGE', /numNodes: -1/],
  [[6, 1, 1, 0], 'range', 'EPLB_RANGE', /numRanks: 0/],
  [[6, 1, 1, Number.NaN], 'range', 'EPLB_NOT_WHOLE', /numRanks: NaN/],
  [['6', 1, 1, 1], 'type', 'EPLB_KIND', /numReplicas: "6"/],
  [[6, 1, 1], 'type', 'EPLB_KIND', /numRanks: undefined/],
  [[6, 1, 1, 2n], 'type', 'EPLB_KIND', /numRanks: 2n/],
  [[6, 1, 1, 2, { previous: {} }], 'type', 'EPLB_KIND', /previous: an Object/],
  [
    [6, 1, 1, 2, { previous: ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3]]) }],
    'range',
    'EPLB_SHAPE',
    /previous.*4 slots.*6 slots/,
  ],
  [[6, 1, 1, 2, { coactivation: [[1]] }], 'type', 'EPLB_KIND', /coactivation/],
  [
    [6, 1, 1, 2, { coactivation: { data: new Float32Array(15), numLayers: 1, numExperts: 4 } }],
    'range',
    'EPLB_SHAPE',
    /coactivation\.data.*15.*16/,
  ],
  [
    [6, 1, 1, 2, { coactivation: { data: new Float32Array(16), numLayers: 2, numExperts: 4 } }],
    'range',
    'EPLB_SHAPE',
    /coactivation\.numLayers: 2/,
  ],
  [
    [6, 1, 1, 2, { coactivation: { data: new Float32Array(9), numLayers: 1, numExperts: 3 } }],
    'range',
    'EPLB_SHAPE',
    /coactivation\.numExperts: 3/,
  ],
];

test('arguments that do not fit are refused', () => {
  for (const [args, ...expected] of bad) {
    const plan = () => Reflect.apply(policy.rebalanceExperts, policy, [[[1, 2, 3, 4]], ...args]);
    assert.throws(plan, refusal(...expected));
  }
});

test('bad loads are refused, nested, flat and shared', () => {
  for (const value of [Number.NaN, -1, Number.POSITIVE_INFINITY, -Number.MIN_VALUE * 2 ** 960]) {
    const rows = [
      [1, 2, 3, 4],
      [1, value, 3, 4],
    ];
    for (const weight of [rows, flatOf(rows, false), flatOf(rows, true)]) {
      const plan = () => policy.rebalanceExperts(weight, 6, 1, 1, 2);
      assert.throws(plan, refusal('range', 'EPLB_LOAD', /weight.*layer 1.*index 1/));
    }
  }
});

test('a topology whose tables would not fit the memory is refused, with what it needs', () => {
  const rows = Array<number[]>(4000).fill([1, 2]);
  const plan = () => policy.rebalanceExperts(rows, 2 ** 24, 1, 1, 1);
  assert.throws(plan, refusal('range', 'EPLB_MEMORY', /4000 layers.*16777216 slots needs \d+ MiB/));
});
