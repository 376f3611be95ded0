import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ExpertMapping, type SurvivalOptions, survival } from 'expert-load-balancer';
import fc from 'fast-check';
import { refusal, SEED } from '../helpers/library.ts';
import { lostExperts, mostSurviving } from '../oracle/survival.ts';

/** A layer on ranks of some domains, a few of its slots empty, and loads of its experts. */
const layerArbitrary = (mostRanks: number, mostStride: number) =>
  fc
    .record({
      domains: fc.array(fc.nat(2), { minLength: 1, maxLength: mostRanks }),
      stride: fc.integer({ min: 1, max: mostStride }),
      share: fc.double({ min: 0.3, max: 1, noNaN: true }),
      draws: fc.array(fc.nat(10_000), { minLength: 40, maxLength: 40 }),
    })
    .map(({ domains: given, stride, share, draws }) => {
      const domains = given.map((domain) => Math.min(domain, given.length - 1));
      const numSlots = domains.length * stride;
      const numExperts = Math.max(1, Math.floor(numSlots * share));
      const row = Array.from({ length: numSlots }, (_, slot) => {
        if (slot < numExperts) return slot;
        return draws[slot]! % 5 === 0 ? -1 : draws[slot]! % numExperts;
      });
      for (let slot = numSlots - 1; slot > 0; slot--) {
        const other = draws[39 - slot]! % (slot + 1);
        [row[slot], row[other]] = [row[other]!, row[slot]!];
      }
      const loads = Array.from({ length: numExperts }, (_, expert) => draws[expert]! % 7);
      const sizes = { numLayers: 1, numLogicalExperts: numExperts, numPhysicalExperts: numSlots };
      const ranks = { numRanks: domains.length, numNodes: 1, numGroups: 1 };
      const topology = { ...sizes, ...ranks, failureDomains: { rack: domains } };
      return { domains, stride, numExperts, row, loads, topology };
    });

const only = (row: readonly number[], numExperts: number) =>
  ExpertMapping.fromPhysicalToLogical([[...row]], numExperts);
const sumOf = (experts: readonly number[], loads: readonly number[]) =>
  experts.reduce((sum, expert) => sum + loads[expert]!, 0);

describe('what a single failure loses', () => {
  test('is what has no copy elsewhere, of each layer the worst', () => {
    const property = fc.property(layerArbitrary(6, 5), ({ domains, numExperts, row, loads, topology }) => {
      const lost = lostExperts(row, domains, numExperts);
      const total = sumOf(Array.from(loads.keys()), loads);
      const told = survival(only(row, numExperts), { level: 'rack', topology, loads: [loads] });
      const [layer] = told.layers;
      const { worst } = layer!;
      assert.deepEqual(worst.experts, lost[worst.domain]);
      assert.equal(worst.share, total === 0 ? 0 : sumOf(worst.experts, loads) / total);
      for (const others of lost) {
        const more = sumOf(others, loads) - sumOf(worst.experts, loads);
        assert.ok(more < 0 || (more === 0 && others.length <= worst.experts.length));
      }
      const numLost = new Set(lost.flat()).size;
      assert.equal(layer!.surviving, numExperts - numLost);
      assert.equal(told.overall.surviving, numExperts - numLost);
      assert.equal(told.overall.worst.experts, worst.experts.length);
      assert.equal(told.numDomains, new Set(domains).size);
      const unloaded = survival(only(row, numExperts), { level: 'rack', topology });
      const mostLost = Math.max(...lost.map(({ length }) => length));
      assert.equal(unloaded.layers[0]!.worst.experts.length, mostLost);
      assert.equal(unloaded.overall.share, null);
    });
    fc.assert(property, { numRuns: 150, seed: SEED });
  });

  test('is no less than the bound, which some placement reaches', () => {
    const property = fc.property(
      layerArbitrary(4, 2),
      ({ domains, stride, numExperts, row, loads, topology }) => {
        fc.pre(numExperts ** row.length < 60_000);
        const open = domains.map(() => stride);
        const most = mostSurviving(numExperts, domains, open, loads);
        const { layers } = survival(only(row, numExperts), { level: 'rack', topology, loads: [loads] });
        const total = sumOf(Array.from(loads.keys()), loads);
        assert.equal(layers[0]!.mostSurviving, most.experts);
        assert.equal(layers[0]!.mostShare, total === 0 ? 1 : most.load / total);
        assert.ok(layers[0]!.surviving <= most.experts);
        assert.ok(layers[0]!.share! <= layers[0]!.mostShare!);
      },
    );
    fc.assert(property, { numRuns: 150, seed: SEED });
  });

  test('the bound counts open slots, and the largest domain', () => {
    const loads = [[5, 4, 3, 2]];
    const mapping = only([0, 1, 2, 3, -1, -1, 0, -1, -1], 4);
    const told = (slotsPerRank: number[], domains: number[]) => {
      const sizes = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 9 };
      const ranks = { numRanks: 3, numNodes: 1, numGroups: 1, failureDomains: { rack: domains } };
      const topology = { ...sizes, ...ranks, slotsPerRank };
      return survival(mapping, { level: 'rack', topology, loads }).layers[0]!.mostSurviving;
    };
    assert.equal(told([3, 3, 3], [0, 1, 2]), 4, 'all four have room');
    assert.equal(told([3, 2, 1], [0, 1, 2]), 2, 'two slots are redundant');
    assert.equal(told([3, 3, 1], [0, 0, 1]), 1, 'one slot is outside the first domain');
    assert.equal(told([3, 3, 3], [0, 0, 0]), 0, 'nothing is outside the only domain');
  });

  test('over layers, a failure hits all of them at once', () => {
    const rows = [
      [0, 1, 2, 2],
      [0, 2, 1, 1],
      [1, 0, 2, 2],
    ];
    const loads = [
      [1, 1, 8],
      [5, 0, 5],
      [0, 0, 0],
    ];
    const { overall, layers } = survival(ExpertMapping.fromPhysicalToLogical(rows), {
      level: 'rank',
      numRanks: 2,
      loads,
    });
    assert.deepEqual(
      layers.map(({ worst }) => worst),
      [
        { domain: 1, experts: [2], share: 0.8 },
        { domain: 0, experts: [0, 2], share: 1 },
        { domain: 0, experts: [0, 1], share: 0 },
      ],
    );
    assert.deepEqual(overall, {
      experts: 9,
      surviving: 0,
      mostSurviving: 3,
      share: 0,
      mostShare: (8 + 5) / 20,
      worst: { domain: 0, experts: 6, share: 12 / 20 },
    });
  });

  test('levels are those of the topology', () => {
    const mapping = only([0, 1, 1, 0, 2, 2, 3, 3], 4);
    const lost = (options: Omit<SurvivalOptions, 'numRanks'>) =>
      survival(mapping, { numRanks: 4, ...options }).layers[0]!.worst.experts;
    assert.deepEqual(lost({ level: 'rank' }), [2]);
    assert.deepEqual(lost({ level: 'node', numNodes: 2 }), [0, 1]);
    const message = 'level: "rack" is not a level of what fails together; there are rank, node';
    assert.throws(() => lost({ level: 'rack' }), refusal('range', 'EPLB_RANGE', new RegExp(message)));
  });
});

test('what cannot be looked at is refused', () => {
  const mapping = only([0, 1, 1, 0], 2);
  const sizes = { numLayers: 1, numLogicalExperts: 2, numPhysicalExperts: 4 };
  const topology = { ...sizes, numRanks: 2, numNodes: 1, numGroups: 1 };
  const wrong: readonly [options: object, code: string][] = [
    [{ numRanks: 2 }, 'EPLB_KIND'],
    [{ level: 'rank' }, 'EPLB_KIND'],
    [{ level: 'rank', numRanks: 3 }, 'EPLB_TOPOLOGY'],
    [{ level: 'constructor', numRanks: 2 }, 'EPLB_RANGE'],
    [{ level: 'rank', numRanks: 2, loads: [[1, -1]] }, 'EPLB_LOAD'],
    [{ level: 'rank', numRanks: 2, loads: [[1]] }, 'EPLB_SHAPE'],
    [{ level: 'rank', numRanks: 2, topology }, 'EPLB_OPTION'],
    [{ level: 'rank', topology: { ...topology, numPhysicalExperts: 6 } }, 'EPLB_SHAPE'],
    [{ level: 'rank', topology: { ...topology, slotsPerRank: [2, 1] } }, 'EPLB_MAPPING'],
    [{ level: 'rank', numRank: 2 }, 'EPLB_OPTION'],
  ];
  for (const [options, code] of wrong)
    assert.throws(() => survival(mapping, options as SurvivalOptions), { code }, JSON.stringify(options));
});
