import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DefaultEplbPolicy } from 'expert-load-balancer';
import fc from 'fast-check';
import { seededRandom } from '../helpers/arbitraries.ts';
import { loadKernels } from '../helpers/kernels.ts';
import { linksOf, nearLinksOf } from '../helpers/links.ts';
import { runSearch } from '../helpers/search-kernel.ts';
import {
  type AdaptiveProblem,
  longestTime,
  objectiveOf,
  openRows,
  savedByLinks,
  together,
} from '../oracle/adaptive.ts';

const { kernels, arena } = loadKernels();
const SEED = Number(process.env.FAST_CHECK_SEED ?? 20_261_128);
const MANY = 2 ** 31 - 1;

/** Every expert once, then copies of the first ones, on ranks of two to four slots. */
function problemOf(seed: number, numRanks: number, slotsPerRank: number, price: number): AdaptiveProblem {
  const random = seededRandom(seed);
  const numSlots = numRanks * slotsPerRank;
  const numExperts = Math.max(2, numSlots - Math.floor(random() * numRanks));
  const loads = Float32Array.from({ length: numExperts }, () => 0.2 + random() ** 3);
  const sum = loads.reduce((total, load) => total + load, 0);
  const samples = Float32Array.from({ length: numExperts * 4 }, (_, i) => (loads[i >> 2]! * numRanks) / sum);
  const links = linksOf(random, numExperts, numRanks, 10);
  return {
    samples,
    spread: new Float32Array(numExperts),
    weights: new Float32Array(4).fill(0.25),
    numExperts,
    numSlots,
    numRanks,
    numNodes: 1,
    links: random() < 0.3 ? nearLinksOf(random, numExperts, links) : links,
    rankSpeed: random() < 0.3 ? Float32Array.from({ length: numRanks }, () => 0.5 + random()) : undefined,
    fixedShare: random() < 0.4 ? fixedOf(random, numRanks) : undefined,
    previous: Int32Array.from({ length: numSlots }, (_, slot) => slot % numExperts),
    dealsCopies: false,
    isSharp: random() < 0.5,
    price,
    leastGain: 1e-5,
    maxMoves: numSlots,
    maxVisits: MANY,
    maxPasses: 3,
    maxIdle: MANY,
    maxEvaluations: 200_000,
    numKicks: random() < 0.3 ? 3 : 0,
    walkPatience: random() < 0.7 ? 40 : 0,
  };
}

/** A shared expert on some of the ranks, or on each as much. */
function fixedOf(random: () => number, numRanks: number): Float32Array {
  const share = random() / numRanks;
  const isEven = random() < 0.3;
  return Float32Array.from({ length: numRanks }, () => (isEven || random() < 0.5 ? share : 0));
}

const problems = (maxRanks: number): fc.Arbitrary<AdaptiveProblem> =>
  fc
    .record({
      seed: fc.integer(),
      numRanks: fc.integer({ min: 2, max: maxRanks }),
      slotsPerRank: fc.integer({ min: 2, max: 5 }),
      price: fc.constantFrom(0, 0.02),
    })
    .map(({ seed, numRanks, slotsPerRank, price }) => problemOf(seed, numRanks, slotsPerRank, price));

test('what links save is kept up to date exactly, over walks and kicks', () => {
  const property = (problem: AdaptiveProblem): void => {
    const { phyToLog, saved, before, after, price, moves } = {
      ...problem,
      ...runSearch({ kernels, arena }, problem),
    };
    const rows = openRows(phyToLog, problem);
    const start = openRows(problem.previous, problem);
    const close = (a: number, b: number) => Math.abs(a - b) <= 1e-5 * Math.max(1, Math.abs(b));
    assert.ok(close(saved.before, savedByLinks(start, problem)), `before: ${saved.before}`);
    assert.ok(close(saved.after, savedByLinks(rows, problem)), `after: ${saved.after}`);
    assert.ok(close(after, objectiveOf(rows, problem)), `objective: ${after}`);
    assert.ok(after + price * moves <= before);
  };
  fc.assert(fc.property(problems(12), property), { numRuns: 400, seed: SEED });
});

test('no rank comes above the ceiling, and what is above comes below where that can be', () => {
  let numLowered = 0;
  const property = (problem: AdaptiveProblem, share: number): void => {
    const loads = Float32Array.from(
      { length: problem.numExperts },
      (_, expert) => problem.samples[expert * 4]!,
    );
    const { rankSpeed, fixedShare } = problem;
    const timeOf = (table: Int32Array) => longestTime(openRows(table, problem), loads, rankSpeed, fixedShare);
    const time = timeOf(problem.previous) * share;
    const result = runSearch({ kernels, arena }, { ...problem, ceiling: { loads, time } });
    assert.equal(result.isBelow, timeOf(result.phyToLog) <= time * (1 + 1e-9));
    if (share >= 1.001) assert.ok(result.isBelow);
    if (share < 1 && result.isBelow) numLowered++;
  };
  const shares = fc.constantFrom(0.7, 0.9, 0.95, 1.001, 1.2);
  fc.assert(fc.property(problems(10), shares, property), { numRuns: 400, seed: SEED });
  assert.ok(numLowered > 50, `${numLowered}`);
});

test('copies that no rank may take the load of are not looked at closely', () => {
  const [numExperts, numRanks, slotsPerRank] = [256, 128, 4];
  const random = seededRandom(3);
  const loads = Float32Array.from({ length: numExperts }, () => 0.05 + random() ** 4);
  const previous = Int32Array.from(
    new DefaultEplbPolicy().rebalanceExperts([[...loads]], numRanks * slotsPerRank, 1, 1, numRanks).phyToLog,
  );
  const sum = loads.reduce((total, load) => total + load, 0);
  const problem: AdaptiveProblem = {
    ...problemOf(3, numRanks, slotsPerRank, 0),
    numExperts,
    samples: Float32Array.from({ length: 4 * numExperts }, (_, i) => (loads[i >> 2]! * numRanks) / sum),
    spread: new Float32Array(numExperts),
    rankSpeed: undefined,
    fixedShare: undefined,
    previous,
    links: {
      ...linksOf(random, numExperts, numRanks, 10),
      nodeOfRank: Int32Array.from({ length: numRanks }, (_, rank) => rank >> 4),
    },
    walkPatience: 0,
    numKicks: 0,
    maxVisits: 4 * numRanks,
  };
  const time = 1.05 * longestTime(openRows(previous, problem), loads, undefined);
  const { evaluations, visits, saved } = runSearch(
    { kernels, arena },
    { ...problem, ceiling: { loads, time } },
  );
  assert.ok(saved.after > saved.before && visits === 4 * numRanks);
  assert.ok(evaluations < 10 * visits, `${evaluations} steps, ${visits} visits`);
});

test('clusters come to one node each, from any start, where nothing else is in the way', () => {
  const random = seededRandom(5);
  const [numExperts, numRanks] = [32, 8];
  const perRow = numExperts;
  const pairs = new Float32Array(numExperts * perRow);
  for (let a = 0; a < numExperts; a++)
    for (let b = 0; b < numExperts; b++) if (a !== b && a % 4 === b % 4) pairs[a * perRow + b] = 10;
  for (let run = 0; run < 10; run++) {
    const previous = Int32Array.from({ length: numExperts }, (_, slot) => slot);
    for (let slot = numExperts - 1; slot > 0; slot--) {
      const other = Math.floor(random() * (slot + 1));
      [previous[slot], previous[other]] = [previous[other]!, previous[slot]!];
    }
    const links = {
      pairs,
      nodeOfRank: Int32Array.from({ length: numRanks }, (_, rank) => rank >> 1),
      price: 10,
    };
    const problem: AdaptiveProblem = {
      ...problemOf(run, numRanks, 4, 0),
      numExperts,
      samples: new Float32Array(numExperts * 4).fill(numRanks / numExperts),
      spread: new Float32Array(numExperts),
      rankSpeed: undefined,
      fixedShare: undefined,
      previous,
      links,
      walkPatience: 400,
    };
    const { phyToLog } = runSearch({ kernels, arena }, problem);
    const { sum, total } = together(openRows(phyToLog, problem), links, numExperts);
    assert.equal(sum, total, `run ${run}`);
  }
});

test('pairs are whole numbers in the proportion of what is counted beyond half of chance', () => {
  const kinds: Record<string, (random: () => number) => number> = {
    counts: (random) => Math.floor(random() * 1000),
    sparse: (random) => (random() < 0.9 ? 0 : Math.floor(random() * 100)),
    fractional: (random) => random(),
    huge: (random) => random() * 3e38,
  };
  const property = (numExperts: number, kind: string, seed: number): void => {
    const random = seededRandom(seed);
    const matrix = Float32Array.from({ length: numExperts ** 2 }, () => kinds[kind]!(random));
    const { pairs, total } = prepare(matrix, new Float32Array(numExperts), numExperts, 1);
    const most = 1e34;
    const both = (a: number, b: number) => {
      if (a === b) return 0;
      return Math.min(Math.fround(matrix[a * numExperts + b]! + matrix[b * numExperts + a]!), most);
    };
    const rows = Array.from({ length: numExperts }, (_, a) => a);
    const counts = rows.map((a) => rows.reduce((sum, b) => sum + both(a, b), 0));
    const all = counts.reduce((sum, count) => sum + count, 0);
    const beyond = (a: number, b: number) => {
      if (a === b || all === 0) return 0;
      return Math.max(0, both(a, b) - (0.5 * counts[a]! * counts[b]!) / all);
    };
    const sums = rows.map((a) => rows.reduce((sum, b) => sum + beyond(a, b), 0));
    const scale = Math.max(...sums) === 0 ? 0 : (2 ** 19 - 2 ** 8) / Math.max(...sums);
    const perRow = Math.ceil(numExperts / 4) * 4;
    let sum = 0;
    for (const a of rows) {
      let ofRow = 0;
      for (const b of rows) {
        const pair = pairs[a * perRow + b]!;
        assert.equal(pair, pairs[b * perRow + a]);
        // Both of what is subtracted are rounded.
        const rounding = 1e-5 * both(a, b) * scale;
        assert.ok(Number.isInteger(pair) && Math.abs(pair - beyond(a, b) * scale) <= 1 + rounding);
        ofRow += pair;
      }
      assert.ok(ofRow <= 2 ** 19);
      sum += ofRow;
    }
    assert.equal(total, sum / 2);
  };
  const sizes = fc.integer({ min: 1, max: 40 });
  const anyKind = fc.constantFrom(...Object.keys(kinds));
  fc.assert(fc.property(sizes, anyKind, fc.integer(), property), { numRuns: 200, seed: SEED });
});

test('without a matrix the experts of a group are pairs, the heavy ones most', () => {
  const weight = Float32Array.from([9, 1, 1, 1, 5, 5, 5, 5]);
  const { pairs } = prepare(undefined, weight, 8, 2);
  const at = (a: number, b: number) => pairs[a * 8 + b]!;
  assert.equal(at(0, 4), 0);
  assert.ok(at(0, 1) > at(1, 2) && at(1, 2) > 0);
  const mean = 32 / 8;
  const expected = (1 + 5 / mean) ** 2 / ((1 + 9 / mean) * (1 + 1 / mean));
  assert.ok(Math.abs(at(4, 5) / at(0, 1) - expected) < 1e-3, `${at(4, 5) / at(0, 1)}, not ${expected}`);
  assert.equal(prepare(undefined, weight, 8, 1).total, 0);
  assert.equal(prepare(new Float32Array(64), weight, 8, 2).total, 0);
});

function prepare(
  matrix: Float32Array | undefined,
  weight: Float32Array,
  numExperts: number,
  numGroups: number,
): { readonly pairs: Float32Array; readonly total: number } {
  arena.reset();
  const out = arena.output(Float32Array, numExperts * Math.ceil(numExperts / 4) * 4);
  const from = matrix === undefined ? 0 : arena.input(matrix).ptr;
  const { ptr: sums } = arena.output(Float32Array, Math.ceil(numExperts / 4) * 4);
  const total = kernels.preparePairs(from, arena.input(weight).ptr, numExperts, numGroups, out.ptr, sums);
  arena.check();
  return { pairs: out.view.slice(), total };
}
