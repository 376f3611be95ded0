import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  balancedness,
  ExpertMapping,
  layerBalances,
  peakToAverage,
  summarizeBalance,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { divisors, loadsArbitrary } from '../helpers/arbitraries.ts';
import { type Refusal, refusal, rowsArbitrary, SEED, sizesArbitrary } from '../helpers/library.ts';
import { countReplicas } from '../oracle/inverse.ts';
import { rankLoads } from '../oracle/rank-loads.ts';

const problems = sizesArbitrary().chain((sizes) =>
  fc.record({
    sizes: fc.constant(sizes),
    rows: rowsArbitrary(sizes),
    weight: fc.array(loadsArbitrary(sizes.numLogical), {
      minLength: sizes.numLayers,
      maxLength: sizes.numLayers,
    }),
    numRanks: fc.constantFrom(...divisors(sizes.numPhysical)),
  }),
);

test('with speeds there are times, load / speed, and what all take at balance is their mean', () => {
  fc.assert(
    fc.property(problems, fc.infiniteStream(fc.integer({ min: 1, max: 4 })), (problem, speeds) => {
      const { sizes, rows, weight, numRanks } = problem;
      // Powers of two, so that nothing is rounded.
      const rankSpeed = Array.from({ length: numRanks }, () => 2 ** (speeds.next().value - 2));
      const mapping = ExpertMapping.fromPhysicalToLogical(rows, sizes.numLogical);
      const expected = rows.map((row, layer) => {
        const count = countReplicas(row, sizes.numLogical);
        const { loads } = rankLoads(weight[layer]!, row, count, numRanks);
        const times = loads.map((load, rank) => load / rankSpeed[rank]!);
        const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
        return {
          maxRankLoad: Math.max(...times),
          meanRankLoad: sum(loads) / sum(rankSpeed),
          minRankLoad: Math.min(...times),
        };
      });
      const usual = rankSpeed.every((speed) => speed === 1);
      const layers = layerBalances(weight, mapping, numRanks, { rankSpeed });
      if (usual) assert.deepEqual(layers, layerBalances(weight, mapping, numRanks));
      else assert.deepEqual(layers, expected);
    }),
    { numRuns: 100, seed: SEED },
  );
  const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1]]);
  const balances = (rankSpeed: number[]) => () => layerBalances([[3, 1]], mapping, 2, { rankSpeed });
  assert.deepEqual(balances([3, 1])(), [{ maxRankLoad: 1, meanRankLoad: 1, minRankLoad: 1 }]);
  assert.throws(balances([1]), refusal('range', 'EPLB_SHAPE', /rankSpeed/));
  assert.throws(balances([1, 0]), refusal('range', 'EPLB_RANGE', /rankSpeed/));
});

test('what a dead rank still holds is lost: no ratio is above 1 for it', () => {
  const speeds = fc.array(fc.constantFrom(0.5, 1, 2), { minLength: 8, maxLength: 8 });
  const seeds = fc.array(fc.boolean(), { minLength: 8, maxLength: 8 });
  fc.assert(
    fc.property(problems, seeds, speeds, fc.boolean(), (problem, flags, allSpeeds, isNearest) => {
      const { sizes, rows, weight, numRanks } = problem;
      fc.pre(numRanks > 1 && numRanks <= 8);
      const deadRanks = flags.flatMap((isDead, rank) => (isDead && rank < numRanks - 1 ? [rank] : []));
      const rankSpeed = allSpeeds.slice(0, numRanks);
      const mapping = ExpertMapping.fromPhysicalToLogical(rows, sizes.numLogical);
      const dispatch = isNearest ? 'nearest' : 'even';
      const layers = layerBalances(weight, mapping, numRanks, { deadRanks, rankSpeed, dispatch });
      const live = Array.from({ length: numRanks }, (_, rank) => rank).filter((r) => !deadRanks.includes(r));
      const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
      for (const [layer, balance] of layers.entries()) {
        assert.ok(balancedness(balance) <= 1 + 1e-9, `${balancedness(balance)} with ${deadRanks} dead`);
        if (isNearest) continue;
        const count = countReplicas(rows[layer]!, sizes.numLogical);
        const { loads } = rankLoads(weight[layer]!, rows[layer]!, count, numRanks);
        const times = live.map((rank) => loads[rank]! / rankSpeed[rank]!);
        const mean = sum(live.map((rank) => loads[rank]!)) / sum(live.map((rank) => rankSpeed[rank]!));
        assert.ok(Math.abs(balance.maxRankLoad - Math.max(...times)) <= 1e-9 * Math.max(...times));
        assert.ok(Math.abs(balance.meanRankLoad - mean) <= 1e-9 * mean);
        assert.ok(Math.abs(balance.minRankLoad - Math.min(...times)) <= 1e-9 * Math.min(...times));
      }
    }),
    { numRuns: 300, seed: SEED },
  );
  const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2]]);
  const [layer] = layerBalances([[30, 50, 10]], mapping, 3, { deadRanks: [1] });
  assert.deepEqual(layer, { maxRankLoad: 30, meanRankLoad: 20, minRankLoad: 10 });
});

test('the balance of a mapping equals the oracle, from nested and flat loads', () => {
  fc.assert(
    fc.property(problems, ({ sizes, rows, weight, numRanks }) => {
      const mapping = ExpertMapping.fromPhysicalToLogical(rows, sizes.numLogical);
      const layers = layerBalances(weight, mapping, numRanks);
      const expected = rows.map((row, layer) => {
        const count = countReplicas(row, sizes.numLogical);
        const { max, mean, min } = rankLoads(weight[layer]!, row, count, numRanks);
        return { maxRankLoad: max, meanRankLoad: mean, minRankLoad: min };
      });
      assert.deepEqual(layers, expected);
      const flat = {
        data: Float32Array.from(weight.flat()),
        numLayers: sizes.numLayers,
        numExperts: sizes.numLogical,
      };
      assert.deepEqual(layerBalances(flat, mapping, numRanks), expected);
      for (const layer of layers) {
        assert.ok(balancedness(layer) > 0 && balancedness(layer) <= 1 + 1e-12);
        assert.ok(Math.abs(balancedness(layer) * peakToAverage(layer) - 1) < 1e-12);
      }
    }),
    { numRuns: 500, seed: SEED },
  );
});

test('replicas share the load of their expert evenly, and an empty slot has none', () => {
  const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 0, -1]]);
  const [layer] = layerBalances([[6, 1]], mapping, 2);
  assert.deepEqual(layer, { maxRankLoad: 4, meanRankLoad: 3.5, minRankLoad: 3 });
  assert.equal(balancedness(layer!), 3.5 / 4);
  assert.equal(peakToAverage(layer!), 4 / 3.5);
});

test('a layer without load is balanced', () => {
  const [layer] = layerBalances([[0, 0]], ExpertMapping.fromPhysicalToLogical([[0, 1]]), 2);
  assert.deepEqual(layer, { maxRankLoad: 0, meanRankLoad: 0, minRankLoad: 0 });
  assert.equal(balancedness(layer!), 1);
  assert.equal(peakToAverage(layer!), 1);
});

test('over layers, the ratio of sums and the mean of ratios are two numbers', () => {
  const summary = summarizeBalance([
    { maxRankLoad: 4, meanRankLoad: 2, minRankLoad: 0 },
    { maxRankLoad: 100, meanRankLoad: 100, minRankLoad: 100 },
    { maxRankLoad: 0, meanRankLoad: 0, minRankLoad: 0 },
  ]);
  assert.deepEqual(summary, {
    balancednessRatioOfSums: 102 / 104,
    balancednessMeanOfRatios: (0.5 + 1 + 1) / 3,
    peakToAverageRatioOfSums: 104 / 102,
    peakToAverageMeanOfRatios: (2 + 1 + 1) / 3,
  });
});

test('over one layer, or layers without load, both agree', () => {
  fc.assert(
    fc.property(loadsArbitrary(8), (loads) => {
      const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3, 4, 5, 6, 7]]);
      const [layer] = layerBalances([loads], mapping, 4);
      const summary = summarizeBalance([layer!]);
      assert.equal(summary.balancednessRatioOfSums, balancedness(layer!));
      assert.equal(summary.balancednessMeanOfRatios, balancedness(layer!));
      assert.equal(summary.peakToAverageRatioOfSums, peakToAverage(layer!));
      assert.equal(summary.peakToAverageMeanOfRatios, peakToAverage(layer!));
    }),
    { numRuns: 100, seed: SEED },
  );
});

test('no layers are as balanced as layers without load', () => {
  assert.deepEqual(summarizeBalance([]), {
    balancednessRatioOfSums: 1,
    balancednessMeanOfRatios: 1,
    peakToAverageRatioOfSums: 1,
    peakToAverageMeanOfRatios: 1,
  });
});

test('what does not fit the mapping is refused', () => {
  const mapping = ExpertMapping.fromPhysicalToLogical([
    [0, 1, 2, 0],
    [0, 1, 2, 1],
  ]);
  const rows = [
    [1, 2, 3],
    [4, 5, 6],
  ];
  const refuses = (weight: unknown, numRanks: unknown, ...expected: Refusal) =>
    assert.throws(
      () => layerBalances(weight as number[][], mapping, numRanks as number),
      refusal(...expected),
    );
  refuses([rows[0]], 2, 'range', 'EPLB_SHAPE', /weight.*1 layers, not 2/);
  refuses(
    [
      [1, 2],
      [3, 4],
    ],
    2,
    'range',
    'EPLB_SHAPE',
    /weight.*2 experts.*not 3/,
  );
  refuses([rows[0], [4, Number.NaN, 6]], 2, 'range', 'EPLB_LOAD', /layer 1.*index 1.*NaN/);
  refuses(
    { data: Float32Array.of(1, 2, 3, 4, 5, -6), numLayers: 2, numExperts: 3 },
    2,
    'range',
    'EPLB_LOAD',
    /layer 1.*index 2.*-6/,
  );
  refuses(rows, 3, 'range', 'EPLB_TOPOLOGY', /numRanks.*3.*4/);
  refuses(rows, 0, 'range', 'EPLB_RANGE', /numRanks.*0/);
  refuses(rows, '2', 'type', 'EPLB_KIND', /numRanks.*"2"/);
});

test('what is not a mapping is refused', () => {
  for (const mapping of [undefined, null, {}, { phyToLog: [[0, 1]] }]) {
    const measure = () => layerBalances([[1, 2]], mapping as never, 2);
    assert.throws(measure, refusal('type', 'EPLB_KIND', /mapping: /));
  }
});
