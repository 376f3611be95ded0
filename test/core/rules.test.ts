import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  brokenRules,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  ExpertMapping,
  layerBalances,
  type PlacementRules,
  type Topology,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { adaptiveProblems } from '../helpers/adaptive.ts';
import { type Refusal, refusal, SEED } from '../helpers/library.ts';
import { drawRules } from '../helpers/rules.ts';
import { brokenSentences, ruledRankLoads } from '../oracle/rules.ts';

const SIZES = { numLayers: 2, numLogicalExperts: 6, numPhysicalExperts: 9, numRanks: 3, numNodes: 1 };

function balancerWith(rules: unknown, more: Partial<Topology> = {}): ExpertLoadBalancer {
  const policy = new AdaptiveEplbPolicy();
  return new ExpertLoadBalancer({ ...SIZES, ...more, rules: rules as PlacementRules, policy, threads: 0 });
}

const REFUSED: readonly (readonly [rules: unknown, ...Refusal])[] = [
  [[], 'type', 'EPLB_KIND', /^rules: .* is not an object/],
  [{ pin: [] }, 'type', 'EPLB_OPTION', /^rules: there is no option "pin"; did you mean pinned\?/],
  [{ pinned: {} }, 'type', 'EPLB_KIND', /^rules\.pinned: .* is not a list of rules/],
  [
    { pinned: [{ experts: [6], ranks: [0] }] },
    'range',
    'EPLB_RANGE',
    /^rules\.pinned\[0\]\.experts\[0\]: 6 is not from 0 to 5/,
  ],
  [
    { pinned: [{ experts: [0], ranks: [3] }] },
    'range',
    'EPLB_RANGE',
    /^rules\.pinned\[0\]\.ranks\[0\]: 3 is not from 0 to 2/,
  ],
  [
    { pinned: [{ experts: [0], ranks: [0], layers: [2] }] },
    'range',
    'EPLB_RANGE',
    /layers\[0\]: 2 is not from 0 to 1/,
  ],
  [
    { pinned: [{ experts: [0], ranks: [0], only: 1 }] },
    'type',
    'EPLB_KIND',
    /^rules\.pinned\[0\]\.only: 1 is neither/,
  ],
  [
    { neverReplicated: [{ experts: 3 }] },
    'type',
    'EPLB_KIND',
    /^rules\.neverReplicated\[0\]\.experts: 3 is not a list/,
  ],
  [{ sharedExpert: {} }, 'type', 'EPLB_KIND', /^rules\.sharedExpert\.load: undefined is not a number/],
  [
    { sharedExpert: { load: -1 } },
    'range',
    'EPLB_RANGE',
    /^rules\.sharedExpert\.load: -1 is not a finite number/,
  ],
  [
    { sharedExpert: { load: 1.1e6 } },
    'range',
    'EPLB_RANGE',
    /^rules\.sharedExpert\.load: .*from 0 to 1000000/,
  ],
  [
    { sharedExpert: { load: [1, 0] } },
    'range',
    'EPLB_SHAPE',
    /^rules\.sharedExpert\.load: has 2 numbers, not 3/,
  ],
  [
    { sharedExpert: { load: 1, slots: 4 } },
    'range',
    'EPLB_RANGE',
    /^rules\.sharedExpert\.slots: 4 is not from 0 to 3/,
  ],
  [
    { sharedExpert: { load: 1, slots: 2 } },
    'range',
    'EPLB_RULES',
    /leaves 3 open slots for 6 experts, 3 too few/,
  ],
  [
    { pinned: [{ experts: [0, 1, 2, 3], ranks: [1], layers: [1] }] },
    'range',
    'EPLB_RULES',
    /^rules\.pinned: layer 1: 4 experts are pinned to rank 1, which has 3 open slots: pin at most as many$/,
  ],
  [
    { pinned: [{ experts: [0, 1], ranks: [0, 1, 2] }] },
    'range',
    'EPLB_RULES',
    /^rules: layer 0: 6 pinned copies and a slot for each of the 4 other experts are more than the 9 open slots/,
  ],
  [
    {
      pinned: [
        { experts: [0], ranks: [1], only: true },
        { experts: [0], ranks: [2] },
      ],
    },
    'range',
    'EPLB_RULES',
    /^rules\.pinned: expert 0 in layer 0 is to be on rank 1 only, and on rank 2 as well/,
  ],
  [
    { pinned: [{ experts: [0], ranks: [1, 2] }], neverReplicated: [{ experts: [0], layers: [1] }] },
    'range',
    'EPLB_RULES',
    /^rules\.neverReplicated: expert 0 in layer 1 is pinned to ranks 1, 2, a copy on each/,
  ],
  [
    { neverReplicated: [{}] },
    'range',
    'EPLB_RULES',
    /^rules: layer 0: of 9 open slots 3 would stay empty, as no expert may have a further copy: close them/,
  ],
];

describe('rules of a placement', () => {
  test('what is wrong, unknown, contradictory or too much is refused, with what would be right', () => {
    for (const [rules, ...refused] of REFUSED)
      assert.throws(() => balancerWith(rules), refusal(...refused), JSON.stringify(rules));
  });

  test('policies that know no rules refuse them, and name those that do', () => {
    const rules = { neverReplicated: [{ experts: [1] }] };
    const named =
      /^rules: the default policy cannot keep rules; policies that can plan this: locality, adaptive$/;
    assert.throws(
      () => new ExpertLoadBalancer({ ...SIZES, rules, policy: new DefaultEplbPolicy() }),
      refusal('range', 'EPLB_TOPOLOGY', named),
    );
    const sizes = { ...SIZES, numNodes: 3, numGroups: 3, rules };
    assert.throws(
      () => new ExpertLoadBalancer({ ...sizes, policy: new AdaptiveEplbPolicy({ locality: 'groups' }) }),
      refusal(
        'range',
        'EPLB_TOPOLOGY',
        /^rules: groups that stay on their node .*can plan this: locality, adaptive$/,
      ),
    );
  });

  test('a balancer begins with a mapping that keeps them, and says where another breaks them', async () => {
    const problems = fc.tuple(adaptiveProblems(24), fc.integer());
    fc.assert(
      fc.property(problems, ([{ topology: given, previous }, seed]) => {
        const topology = { ...given, rules: drawRules(given, seed) };
        const { numLayers, numPhysicalExperts } = topology;
        const policy = new AdaptiveEplbPolicy();
        const balancer = new ExpertLoadBalancer({ ...topology, policy, threads: 0 });
        assert.deepEqual(brokenRules(balancer.mapping, topology), []);
        const { phyToLog } = balancer.mapping;
        void balancer.close();
        for (let layer = 0; layer < numLayers; layer++) {
          const row = phyToLog.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts);
          assert.deepEqual(brokenSentences(row, layer, topology), []);
        }
        const broken = brokenRules(previous, topology);
        for (let layer = 0; layer < numLayers; layer++) {
          const row = previous.phyToLog.subarray(
            layer * numPhysicalExperts,
            (layer + 1) * numPhysicalExperts,
          );
          const isBroken = brokenSentences(row, layer, topology).length > 0;
          assert.equal(
            broken.some((one) => one.layer === layer),
            isBroken,
          );
        }
      }),
      { seed: SEED, numRuns: 50 },
    );
  });

  test('each broken rule is told once, by layer, expert and rank', () => {
    const mapping = ExpertMapping.fromPhysicalToLogical([
      [0, 1, 2, 3, 4, 5, 0, 1, 2],
      [0, 1, 2, 3, 4, 5, 3, 4, 5],
    ]);
    const rules = {
      pinned: [
        { experts: [0], ranks: [0], only: true },
        { experts: [3], ranks: [0, 1], layers: [1] },
      ],
      neverReplicated: [{ experts: [5] }],
    };
    assert.deepEqual(brokenRules(mapping, { ...SIZES, numGroups: 1, rules }), [
      { layer: 0, expert: 0, rank: 2, rule: 'elsewhere' },
      { layer: 1, expert: 3, rank: 0, rule: 'missing' },
      { layer: 1, expert: 5, rank: 2, rule: 'replicated' },
    ]);
    // A pin to a dead rank rests.
    const dead = {
      ...SIZES,
      numGroups: 1,
      deadRanks: [2],
      rules: { pinned: [{ experts: [0, 1], ranks: [1, 2] }] },
    };
    const left = ExpertMapping.fromPhysicalToLogical([
      [2, 3, 4, 0, 1, 5, -1, -1, -1],
      [0, 3, 4, 2, 1, 5, -1, -1, -1],
    ]);
    assert.deepEqual(brokenRules(left, dead), [{ layer: 1, expert: 0, rank: 1, rule: 'missing' }]);
  });

  test("a shared expert's slots are closed, and stay so where the ranks change", async () => {
    const balancer = balancerWith({ sharedExpert: { load: 0.5, ranks: [0, 1] } });
    assert.deepEqual(balancer.topology.slotsPerRank, [2, 2, 3]);
    balancer.changeTopology({ deadRanks: [1], rules: { sharedExpert: { load: 0.5, slots: 0 } } });
    assert.deepEqual(balancer.topology.slotsPerRank, [3, 0, 3]);
    balancer.changeTopology({ deadRanks: [], numRanks: 4, rules: { sharedExpert: { load: 0.5 } } });
    assert.deepEqual(balancer.topology.slotsPerRank, [2, 2, 2, 2]);
    balancer.changeTopology({ numRanks: 5 });
    assert.deepEqual(balancer.topology.slotsPerRank, [2, 2, 2, 2, 2]);
    balancer.changeTopology({ slotsPerRank: [3, 3, 2, 2, 3] });
    assert.deepEqual(balancer.topology.slotsPerRank, [2, 2, 1, 1, 2]);
    balancer.changeTopology({ rules: {} });
    assert.deepEqual(balancer.topology.slotsPerRank, [3, 3, 2, 2, 3]);
    assert.equal(balancer.topology.rules, undefined);
    await balancer.close();
  });

  test('what it adds to its ranks is in their loads', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    const cases = fc.tuple(
      adaptiveProblems(24),
      fc.oneof(share, fc.array(share, { minLength: 8, maxLength: 8 })),
    );
    fc.assert(
      fc.property(cases, ([{ topology: given, previous, samples }, load]) => {
        const { numRanks, numLogicalExperts, numPhysicalExperts, rankSpeed } = given;
        const part = typeof load === 'number' ? load : load.slice(0, numRanks);
        const rules = { sharedExpert: { load: part, ranks: [...new Set([0, numRanks - 1])], slots: 0 } };
        const step = samples.data.slice(0, numLogicalExperts);
        const slots = previous.phyToLog.slice(0, numPhysicalExperts);
        const mapping = new ExpertMapping({ phyToLog: slots, numLayers: 1, numLogicalExperts });
        const speeds = rankSpeed && { rankSpeed };
        const [one] = layerBalances(
          { data: step, numLayers: 1, numExperts: numLogicalExperts },
          mapping,
          numRanks,
          {
            rules,
            ...speeds,
          },
        );
        const loads = ruledRankLoads(slots, step, { numRanks, rules });
        const most = Math.max(...loads.map((own, rank) => own / (rankSpeed?.[rank] ?? 1)));
        assert.ok(Math.abs(one!.maxRankLoad - most) <= 1e-6 * (1 + most), `${one!.maxRankLoad}, not ${most}`);
      }),
      { seed: SEED, numRuns: 50 },
    );
  });
});
