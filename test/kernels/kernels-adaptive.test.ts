import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExpertMapping } from 'expert-load-balancer';
import fc from 'fast-check';
import { fewestMoves, openSlots } from '../helpers/adaptive.ts';
import { divisors, seededRandom, sizeArbitrary } from '../helpers/arbitraries.ts';
import { assertSameNumbers, loadKernels } from '../helpers/kernels.ts';
import { assertForAll } from '../helpers/property.ts';
import { runSearch } from '../helpers/search-kernel.ts';
import { type AdaptiveProblem, type AdaptiveResult, searchAdaptive } from '../oracle/adaptive.ts';
import { prepareSamples } from '../oracle/adaptive-samples.ts';

const { kernels, arena } = loadKernels();

/**
 * Whole slots for ranks of nodes, loads with bursts, and live placements with empty slots, doubles and
 * missing experts.
 */
function problemArbitrary(maxSlots: number): fc.Arbitrary<AdaptiveProblem> {
  return fc
    .record({
      numRanks: fc.constantFrom(1, 2, 3, 4, 8, 16),
      slotsPerRank: fc.integer({ min: 1, max: maxSlots > 64 ? 10 : 6 }),
    })
    .filter(({ numRanks, slotsPerRank }) => numRanks * slotsPerRank <= Math.min(maxSlots, 160))
    .chain(({ numRanks, slotsPerRank }) => {
      const numSlots = numRanks * slotsPerRank;
      return fc.record({
        seed: fc.integer(),
        numSlots: fc.constant(numSlots),
        numRanks: fc.constant(numRanks),
        numNodes: fc.oneof(fc.constant(1), fc.constantFrom(...divisors(numRanks))),
        shareOfExperts: fc.double({ min: 0, max: 1, noNaN: true }),
        slotsPerRank: openSlots(numRanks, slotsPerRank).map((sizes) => sizes && Int32Array.from(sizes)),
        numFours: fc.integer({ min: 1, max: 4 }),
        price: fc.constantFrom(0, 0.001, 0.01, 0.1),
        maxMoves: fc.oneof(fc.constant(numSlots), fc.nat({ max: numSlots })),
        maxEvaluations: fc.constantFrom(1, 20, 200, 100_000),
        numKicks: fc.nat({ max: 3 }),
        isBroken: fc.boolean(),
        hasFresh: fc.boolean(),
      });
    })
    .map(({ seed, numFours, isBroken, hasFresh, shareOfExperts, ...given }) => {
      const random = seededRandom(seed);
      const { numSlots, slotsPerRank } = given;
      const numOpen = slotsPerRank?.reduce((sum, size) => sum + size, 0) ?? numSlots;
      const numExperts = Math.max(1, Math.round(shareOfExperts * numOpen));
      const sizes = { ...given, numExperts };
      const numSamples = 4 * numFours;
      const samples = Float32Array.from({ length: numExperts * numSamples }, () => random() ** 4 + 0.001);
      const spread = Float32Array.from({ length: numExperts }, () => 0.2 * random());
      const weights = new Float32Array(numSamples).fill(1 / numSamples);
      const dealt = Int32Array.from({ length: numSlots }, (_, slot) => slot % numExperts);
      const previous = dealt.map((expert) => {
        if (!isBroken || random() > 0.1) return expert;
        return random() < 0.5 ? -1 : Math.floor(random() * numExperts);
      });
      const fresh = hasFresh ? dealt.slice().reverse() : undefined;
      return { ...sizes, samples, spread, weights, previous, fresh };
    });
}

const runKernel = (problem: AdaptiveProblem): AdaptiveResult => runSearch({ kernels, arena }, problem);

test('the kernel equals the oracle', () => {
  const property = (problem: AdaptiveProblem): void => {
    const actual = runKernel(problem);
    const expected = searchAdaptive(problem);
    assertSameNumbers(actual.phyToLog, expected.phyToLog, 'phyToLog');
    assertSameNumbers(actual.replicaRank, expected.replicaRank, 'replicaRank');
    const numbers = ({ before, after, moves, evaluations }: AdaptiveResult) => [
      before,
      after,
      moves,
      evaluations,
    ];
    assertSameNumbers(numbers(actual), numbers(expected), 'stats');
  };
  assertForAll(problemArbitrary, { small: 1500, large: 20 }, property);
});

test('the kernel equals the oracle on ranks of many slots', () => {
  const random = seededRandom(5);
  for (let run = 0; run < 40; run++) {
    const numRanks = 1 + (run % 3);
    const stride = 65 + Math.floor(60 * random());
    const numSlots = numRanks * stride;
    const numExperts = 1 + Math.floor(random() * (run % 2 === 0 ? 8 : stride));
    const table = () =>
      Int32Array.from(
        { length: numSlots },
        () => Math.floor(random() * (numExperts + 1)) - (random() < 0.1 ? 1 : 0),
      ).map((expert) => Math.min(expert, numExperts - 1));
    const problem: AdaptiveProblem = {
      samples: Float32Array.from({ length: numExperts * 4 }, () => random() ** 2 + 0.05),
      spread: new Float32Array(numExperts),
      weights: new Float32Array(4).fill(0.25),
      numExperts,
      numSlots,
      numRanks,
      numNodes: 1,
      slotsPerRank: run % 4 < 2 ? undefined : new Int32Array(numRanks).fill(stride - (run % 5)),
      previous: table(),
      fresh: run % 3 === 0 ? table() : undefined,
      price: 0.002,
      maxMoves: numSlots,
      maxEvaluations: 100,
      numKicks: 0,
    };
    const actual = runKernel(problem);
    const expected = searchAdaptive(problem);
    assertSameNumbers(actual.phyToLog, expected.phyToLog, `run ${run}: phyToLog`);
    assertSameNumbers(actual.replicaRank, expected.replicaRank, `run ${run}: replicaRank`);
    assert.equal(actual.evaluations, expected.evaluations, `run ${run}`);
  }
});

test('every expert has a replica, moves are within their limit, closed slots are empty', () => {
  const property = (problem: AdaptiveProblem): void => {
    const { numExperts, numRanks, previous, price } = problem;
    const { phyToLog, replicaRank, before, after, moves } = runKernel(problem);
    const ranks = openRows(phyToLog, problem);
    assert.equal(new Set(ranks.flat()).size, numExperts);
    assert.ok(!ranks.flat().includes(-1), 'no open slot is empty');
    assert.ok(isClosedEmpty(phyToLog, problem));
    const rows = (table: Int32Array) => ExpertMapping.fromPhysicalToLogical([[...table]], numExperts);
    assert.deepEqual(
      [...replicaRank],
      [...phyToLog].map((expert, slot) =>
        expert < 0 ? 0 : phyToLog.subarray(0, slot).filter((other) => other === expert).length,
      ),
    );
    if (isValid(previous, problem)) {
      assert.equal(moves, rows(phyToLog).movesFrom(rows(previous), numRanks));
      assert.ok(moves <= problem.maxMoves);
      assert.ok(after + price * moves <= before + 1e-5);
      if (moves === 0) assert.deepEqual(phyToLog, previous);
    }
    if (mayDoWithoutDoubles(problem) && (isValid(previous, problem) || problem.numNodes === 1))
      assert.ok(isValid(phyToLog, problem));
  };
  assertForAll(problemArbitrary, { small: 1500, large: 20 }, property);
});

/** The experts in the open slots of each rank. */
function openRows(table: Int32Array, { numRanks, numSlots, slotsPerRank }: AdaptiveProblem): number[][] {
  const stride = numSlots / numRanks;
  return Array.from({ length: numRanks }, (_, rank) =>
    Array.from(table.subarray(rank * stride, rank * stride + (slotsPerRank?.[rank] ?? stride))),
  );
}

function isClosedEmpty(table: Int32Array, problem: AdaptiveProblem): boolean {
  const numOpen = openRows(table, problem).flat().length;
  return (
    table.filter((expert) => expert === -1).length >= table.length - numOpen &&
    openRows(table, problem)
      .flat()
      .filter((expert) => expert >= 0).length === table.filter((expert) => expert >= 0).length
  );
}

/** Whether no rank has more slots than there are experts. */
function mayDoWithoutDoubles(problem: AdaptiveProblem): boolean {
  return openRows(problem.previous, problem).every((row) => row.length <= problem.numExperts);
}

/**
 * Whether every expert is there, no open slot is empty, no closed one full, and no rank has an expert twice.
 */
function isValid(table: Int32Array, problem: AdaptiveProblem): boolean {
  const ranks = openRows(table, problem);
  if (!isClosedEmpty(table, problem) || ranks.flat().includes(-1)) return false;
  if (new Set(ranks.flat()).size < problem.numExperts) return false;
  return ranks.every((row) => new Set(row).size === row.length);
}

test('tiny problems: the best placement is found, or missed by at most 2 %', () => {
  const random = seededRandom(1);
  for (let run = 0; run < 400; run++) {
    const numRanks = 2 + (run % 2);
    // Of three slots a rank, some are closed in every other problem; else there are two.
    const hasClosed = run % 4 >= 2;
    const stride = hasClosed ? 3 : 2;
    const numSlots = numRanks * stride;
    const slotsPerRank = hasClosed
      ? Int32Array.from({ length: numRanks }, (_, rank) => (rank === 0 ? 3 : 1 + Math.floor(random() * 2)))
      : undefined;
    const numOpen = slotsPerRank?.reduce((sum, size) => sum + size, 0) ?? numSlots;
    const numExperts = Math.max(hasClosed ? 3 : 2, numOpen - 1 - (run % 2));
    const samples = Float32Array.from({ length: numExperts * 4 }, () => random() ** 2 + 0.05);
    const problem: AdaptiveProblem = {
      samples,
      spread: new Float32Array(numExperts),
      weights: new Float32Array(4).fill(0.25),
      numExperts,
      numSlots,
      numRanks,
      numNodes: 1,
      slotsPerRank,
      previous: Int32Array.from({ length: numSlots }, (_, slot) => slot % numExperts),
      price: 0,
      maxMoves: numSlots,
      maxEvaluations: 1_000_000,
      numKicks: 20,
    };
    const { after } = runKernel(problem);
    assert.ok(after <= leastObjective(problem) * 1.02, `run ${run}`);
  }
});

/** The least objective of all placements without doubles. */
function leastObjective(problem: AdaptiveProblem): number {
  let least = Number.POSITIVE_INFINITY;
  for (const table of allPlacements(problem)) least = Math.min(least, objective(table, problem));
  return least;
}

/**
 * All placements that are valid, but for the order of the experts on a rank; always the same table, filled
 * anew.
 */
function* allPlacements(problem: AdaptiveProblem): Generator<Int32Array> {
  const { numSlots, numRanks, numExperts } = problem;
  const slots = Int32Array.from({ length: numSlots }, (_, slot) => slot);
  const open = openRows(slots, problem).flat();
  const table = new Int32Array(numSlots).fill(-1);
  const fill = function* (i: number): Generator<Int32Array> {
    const slot = open[i];
    if (slot === undefined) {
      if (isValid(table, problem)) yield table;
      return;
    }
    const isFirst = slot % (numSlots / numRanks) === 0;
    for (let expert = isFirst ? 0 : table[slot - 1]! + 1; expert < numExperts; expert++) {
      table[slot] = expert;
      yield* fill(i + 1);
    }
  };
  yield* fill(0);
}

function objective(table: Int32Array, { samples, weights, numRanks, numSlots }: AdaptiveProblem): number {
  const numSamples = weights.length;
  const counts = new Map<number, number>();
  for (const expert of table) counts.set(expert, (counts.get(expert) ?? 0) + 1);
  return weights.reduce((sum, weight, t) => {
    const loads = new Float64Array(numRanks);
    for (const [slot, expert] of table.entries()) {
      if (expert < 0) continue;
      loads[Math.floor((slot * numRanks) / numSlots)]! +=
        samples[expert * numSamples + t]! / counts.get(expert)!;
    }
    return sum + weight * loads.reduce((powers, load) => powers + load ** 8, 0) ** 0.125;
  }, 0);
}

test('a search that starts at a result finds nothing, whatever the order in its ranks', () => {
  const property = (problem: AdaptiveProblem): void => {
    const unlimited = {
      ...problem,
      numNodes: 1,
      fresh: undefined,
      maxMoves: problem.numSlots,
      maxEvaluations: 10_000_000,
    };
    const { phyToLog } = runKernel(unlimited);
    const stride = problem.numSlots / problem.numRanks;
    // The same placement in other slots.
    const turned = phyToLog.slice();
    for (const [rank, row] of openRows(phyToLog, problem).entries()) turned.set(row.reverse(), rank * stride);
    const again = runKernel({ ...unlimited, previous: turned });
    if (isValid(phyToLog, problem)) assert.deepEqual(again.phyToLog, turned);
  };
  assertForAll(problemArbitrary, { small: 500, large: 10 }, property);
});

test('experts stay on their node', () => {
  const property = (problem: AdaptiveProblem): void => {
    const { numNodes, numSlots, numExperts } = problem;
    const slots = Int32Array.from({ length: numSlots }, (_, slot) => slot);
    const previous = new Int32Array(numSlots).fill(-1);
    for (const [i, slot] of openRows(slots, problem).flat().entries()) previous[slot] = i % numExperts;
    if (!isValid(previous, problem)) return;
    const slotsPerNode = numSlots / numNodes;
    // An expert on several nodes may stay on any of them.
    const homes = new Map<number, Set<number>>();
    for (const [slot, expert] of previous.entries()) {
      homes.set(expert, (homes.get(expert) ?? new Set()).add(Math.floor(slot / slotsPerNode)));
    }
    const { phyToLog } = runKernel({ ...problem, previous, fresh: undefined });
    for (const [slot, expert] of phyToLog.entries()) {
      if (expert < 0) continue;
      assert.ok(homes.get(expert)!.has(Math.floor(slot / slotsPerNode)), `slot ${slot}`);
    }
  };
  assertForAll(problemArbitrary, { small: 500, large: 10 }, property);
});

test('what is infeasible is repaired with the fewest moves there can be, however dear they are', () => {
  const property = (problem: AdaptiveProblem): void => {
    if (!mayDoWithoutDoubles(problem)) return;
    const dear = { ...problem, numNodes: 1, price: 1e6, maxMoves: 0, fresh: undefined };
    const { phyToLog, moves } = runKernel(dear);
    assert.ok(isValid(phyToLog, problem));
    assert.equal(moves, fewestMoves(problem.previous, problem));
  };
  assertForAll(problemArbitrary, { small: 1500, large: 20 }, property);
});

test('the fewest moves of a repair are those of the best of all placements', () => {
  const random = seededRandom(2);
  for (let run = 0; run < 300; run++) {
    const numRanks = 2 + (run % 2);
    const stride = 5 - numRanks;
    const numSlots = numRanks * stride;
    const slotsPerRank = Int32Array.from({ length: numRanks }, () => Math.ceil(random() * stride));
    const numOpen = slotsPerRank.reduce((sum, size) => sum + size, 0);
    const numExperts = Math.min(numOpen, Math.max(...slotsPerRank) + Math.floor(random() * 3));
    const problem: AdaptiveProblem = {
      samples: Float32Array.from({ length: numExperts * 4 }, () => random() + 0.05),
      spread: new Float32Array(numExperts),
      weights: new Float32Array(4).fill(0.25),
      numExperts,
      numSlots,
      numRanks,
      numNodes: 1,
      slotsPerRank,
      previous: Int32Array.from({ length: numSlots }, () => Math.floor(random() * (numExperts + 1)) - 1),
      price: 1e6,
      maxMoves: 0,
      maxEvaluations: 1_000_000,
      numKicks: 0,
    };
    let fewest = Number.POSITIVE_INFINITY;
    for (const table of allPlacements(problem)) fewest = Math.min(fewest, movesTo(table, problem));
    const { phyToLog, moves } = runKernel(problem);
    assert.equal(movesTo(phyToLog, problem), moves);
    assert.equal(moves, fewest, `run ${run}`);
    assert.equal(fewestMoves(problem.previous, problem), fewest, `run ${run}`);
  }
});

function movesTo(table: Int32Array, { previous, numRanks, numSlots }: AdaptiveProblem): number {
  const stride = numSlots / numRanks;
  return table.filter((expert, slot) => {
    const first = slot - (slot % stride);
    return expert >= 0 && !previous.subarray(first, first + stride).includes(expert);
  }).length;
}

interface Window {
  steps: number[][];
  /** How many steps each is the mean of. */
  lengths: number[];
  shrink: number;
  prior: number;
  numRanks: number;
}

/** Steps of whole loads, some without any, and from some step on of other experts. */
function windowArbitrary(maxExperts: number): fc.Arbitrary<Window> {
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  const load = fc.nat({ max: 1000 });
  return sizeArbitrary(maxExperts).chain((numExperts) => {
    const step = fc.array(load, { minLength: numExperts, maxLength: numExperts });
    const steps = fc.array(fc.oneof(step, fc.constant(new Array<number>(numExperts).fill(0))), {
      minLength: 1,
      maxLength: 14,
    });
    const problem = { shrink: share, prior: share, numRanks: fc.constantFrom(1, 2, 3, 8) };
    const domains = fc.record({ from: fc.nat({ max: 14 }), expert: fc.nat({ max: numExperts - 1 }) });
    return fc
      .record({ steps, domains, ...problem })
      .chain(({ steps: all, domains: { from, expert }, ...rest }) => {
        const shifted = all.map((row, t) => row.map((v, e) => (t < from && e === expert ? v + 5000 : v)));
        const lengths = fc.array(fc.double({ min: 0.25, max: 4, noNaN: true }), {
          minLength: all.length,
          maxLength: all.length,
        });
        return lengths.map((chosen) => ({ steps: shifted, lengths: chosen, ...rest }));
      });
  });
}

test('prepareSamples equals its oracle', () => {
  assertForAll(windowArbitrary, { small: 1000, large: 50 }, ({ steps, lengths, shrink, prior, numRanks }) => {
    const numExperts = steps[0]!.length;
    const numSamples = Math.ceil(steps.length / 4) * 4;
    const numRuns = numSamples / 4;
    arena.reset();
    const samples = arena.output(Float32Array, numExperts * numSamples);
    const spread = arena.output(Float32Array, numExperts);
    const mean = arena.output(Float64Array, numExperts);
    const likeness = arena.output(Float64Array, steps.length);
    const weights = arena.output(Float32Array, numSamples);
    const scratch = arena.output(Float64Array, numRuns * (numExperts + numRuns + 1));
    kernels.prepareSamples(
      arena.input(Float32Array.from(steps.flat())).ptr,
      4 * numExperts,
      steps.length,
      numExperts,
      numRanks,
      arena.input(Float64Array.from(lengths)).ptr,
      shrink,
      prior,
      samples.ptr,
      spread.ptr,
      mean.ptr,
      likeness.ptr,
      weights.ptr,
      scratch.ptr,
    );
    arena.check();
    const expected = prepareSamples(steps, lengths, numRanks, shrink, prior);
    assertSameNumbers(samples.view, expected.samples, 'samples');
    assertSameNumbers(spread.view, expected.spread, 'spread');
    assertSameNumbers(mean.view, expected.mean, 'mean');
    assertSameNumbers(likeness.view, expected.likeness, 'likeness');
    assertSameNumbers(weights.view, expected.weights, 'weights');
    const sum = mean.view.reduce((all, load) => all + load, 0);
    assert.ok(Math.abs(sum - numRanks) < 1e-5 * numRanks, 'a mean rank load of 1');
  });
});
