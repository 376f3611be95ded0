import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExpertMapping } from 'expert-load-balancer';
import fc from 'fast-check';
import { divisors, seededRandom, sizeArbitrary } from './helpers/arbitraries.ts';
import { assertSameNumbers, loadKernels } from './helpers/kernels.ts';
import { assertForAll } from './helpers/property.ts';
import { type AdaptiveProblem, type AdaptiveResult, searchAdaptive } from './oracle/adaptive.ts';
import { prepareSamples } from './oracle/adaptive-samples.ts';

const { kernels, arena } = loadKernels();

/** Whole slots for ranks of nodes, loads with bursts, and live placements with empty slots, doubles and missing experts. */
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
        numExperts: fc.integer({ min: 1, max: numSlots }),
        numFours: fc.integer({ min: 1, max: 4 }),
        price: fc.constantFrom(0, 0.001, 0.01, 0.1),
        maxMoves: fc.oneof(fc.constant(numSlots), fc.nat({ max: numSlots })),
        maxEvaluations: fc.constantFrom(1, 20, 200, 100_000),
        numKicks: fc.nat({ max: 3 }),
        isBroken: fc.boolean(),
        hasFresh: fc.boolean(),
      });
    })
    .map(({ seed, numFours, isBroken, hasFresh, ...sizes }) => {
      const random = seededRandom(seed);
      const { numExperts, numSlots } = sizes;
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

function runKernel(problem: AdaptiveProblem): AdaptiveResult {
  const { numExperts, numSlots, numRanks, numNodes, price, maxMoves, maxEvaluations, numKicks } = problem;
  const numSamples = problem.weights.length;
  arena.reset();
  const samples = arena.input(problem.samples);
  const spread = arena.input(problem.spread);
  const weights = arena.input(problem.weights);
  const stats = arena.output(Float64Array, 4);
  const previous = arena.input(problem.previous);
  const fresh = problem.fresh && arena.input(problem.fresh);
  const phyToLog = arena.output(Int32Array, numSlots);
  const replicaRank = arena.output(Int32Array, numSlots);
  const rows = 4 * numSamples * (2 * numExperts + 2 * numRanks + 4);
  const costs = 8 * (numRanks + numExperts + (2 * numSlots) / numRanks);
  const counts = 8 * numSlots + 16 * (numExperts + numRanks * numExperts + numRanks);
  kernels.searchAdaptive(
    samples.ptr,
    spread.ptr,
    weights.ptr,
    numExperts,
    numSlots,
    numRanks,
    numNodes,
    numSamples,
    previous.ptr,
    fresh?.ptr ?? 0,
    price,
    maxMoves,
    maxEvaluations,
    numKicks,
    phyToLog.ptr,
    replicaRank.ptr,
    stats.ptr,
    arena.scratch(rows + costs + counts + 336),
  );
  arena.check();
  const [before = 0, after = 0, moves = 0, evaluations = 0] = stats.view;
  return {
    phyToLog: phyToLog.view.slice(),
    replicaRank: replicaRank.view.slice(),
    before,
    after,
    moves,
    evaluations,
  };
}

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

test('every expert has a replica, moves are paid for and within their limit, doubles only without choice', () => {
  const property = (problem: AdaptiveProblem): void => {
    const { numExperts, numRanks, numSlots, previous, price } = problem;
    const { phyToLog, before, after, moves } = runKernel(problem);
    assert.equal(new Set(phyToLog).size, numExperts);
    const rows = (table: Int32Array) => [ExpertMapping.fromPhysicalToLogical([[...table]], numExperts)];
    const isFeasible = isValid(previous, problem);
    if (isFeasible) {
      assert.equal(moves, rows(phyToLog)[0]!.movesFrom(rows(previous)[0]!, numRanks));
      assert.ok(moves <= problem.maxMoves);
      assert.ok(after + price * moves <= before + 1e-5);
      if (moves === 0) assert.deepEqual(phyToLog, previous);
      if (numExperts >= numSlots / numRanks) assert.ok(isValid(phyToLog, problem));
    }
  };
  assertForAll(problemArbitrary, { small: 1500, large: 20 }, property);
});

/** Whether every expert is there, no slot is empty, and no rank has an expert twice. */
function isValid(table: Int32Array, { numExperts, numRanks, numSlots }: AdaptiveProblem): boolean {
  if (table.includes(-1) || new Set(table).size < numExperts) return false;
  const slotsPerRank = numSlots / numRanks;
  return Array.from({ length: numRanks }, (_, rank) => rank * slotsPerRank).every(
    (first) => new Set(table.subarray(first, first + slotsPerRank)).size === slotsPerRank,
  );
}

test('tiny problems: the best placement is found, or missed by at most 2 %', () => {
  const random = seededRandom(1);
  for (let run = 0; run < 300; run++) {
    const numRanks = 2 + (run % 2);
    const numSlots = numRanks * 2;
    const numExperts = numSlots - 1 - (run % 2);
    const samples = Float32Array.from({ length: numExperts * 4 }, () => random() ** 2 + 0.05);
    const problem: AdaptiveProblem = {
      samples,
      spread: new Float32Array(numExperts),
      weights: new Float32Array(4).fill(0.25),
      numExperts,
      numSlots,
      numRanks,
      numNodes: 1,
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
  const { numSlots, numExperts } = problem;
  const table = new Int32Array(numSlots);
  let least = Number.POSITIVE_INFINITY;
  for (let code = 0; code < numExperts ** numSlots; code++) {
    for (let slot = 0, left = code; slot < numSlots; slot++, left = Math.floor(left / numExperts)) {
      table[slot] = left % numExperts;
    }
    if (isValid(table, problem)) least = Math.min(least, objective(table, problem));
  }
  return least;
}

function objective(table: Int32Array, { samples, weights, numRanks, numSlots }: AdaptiveProblem): number {
  const numSamples = weights.length;
  const counts = new Map<number, number>();
  for (const expert of table) counts.set(expert, (counts.get(expert) ?? 0) + 1);
  return weights.reduce((sum, weight, t) => {
    const loads = new Float64Array(numRanks);
    for (const [slot, expert] of table.entries()) {
      loads[Math.floor((slot * numRanks) / numSlots)]! +=
        samples[expert * numSamples + t]! / counts.get(expert)!;
    }
    return sum + weight * loads.reduce((powers, load) => powers + load ** 8, 0) ** 0.125;
  }, 0);
}

test('a search that starts at a result finds nothing, in whichever slots of their ranks the experts are', () => {
  const property = (problem: AdaptiveProblem): void => {
    const unlimited = {
      ...problem,
      numNodes: 1,
      fresh: undefined,
      maxMoves: problem.numSlots,
      maxEvaluations: 10_000_000,
    };
    const { phyToLog } = runKernel(unlimited);
    const slotsPerRank = problem.numSlots / problem.numRanks;
    // The same placement in other slots.
    const turned = phyToLog.slice();
    for (let first = 0; first < turned.length; first += slotsPerRank) {
      turned.subarray(first, first + slotsPerRank).reverse();
    }
    const again = runKernel({ ...unlimited, previous: turned });
    if (isValid(phyToLog, problem)) assert.deepEqual(again.phyToLog, turned);
  };
  assertForAll(problemArbitrary, { small: 500, large: 10 }, property);
});

test('experts stay on their node', () => {
  const property = (problem: AdaptiveProblem): void => {
    const { numNodes, numSlots, numExperts } = problem;
    const previous = Int32Array.from({ length: numSlots }, (_, slot) => slot % numExperts);
    if (!isValid(previous, problem)) return;
    const slotsPerNode = numSlots / numNodes;
    // An expert on several nodes may stay on any of them.
    const homes = new Map<number, Set<number>>();
    for (const [slot, expert] of previous.entries()) {
      homes.set(expert, (homes.get(expert) ?? new Set()).add(Math.floor(slot / slotsPerNode)));
    }
    const { phyToLog } = runKernel({ ...problem, previous, fresh: undefined });
    for (const [slot, expert] of phyToLog.entries()) {
      assert.ok(homes.get(expert)!.has(Math.floor(slot / slotsPerNode)), `slot ${slot}`);
    }
  };
  assertForAll(problemArbitrary, { small: 500, large: 10 }, property);
});

test('what is infeasible is repaired with the fewest moves, however dear they are', () => {
  const property = (problem: AdaptiveProblem): void => {
    const { numRanks, numSlots, numExperts, previous } = problem;
    if (numExperts < numSlots / numRanks) return;
    const dear = { ...problem, numNodes: 1, price: 1e6, maxMoves: 0, fresh: undefined };
    const { phyToLog, moves } = runKernel(dear);
    // Each empty slot and each second copy on a rank has to change; each missing expert that finds no such slot, one more.
    const slotsPerRank = numSlots / numRanks;
    const wrong = previous.filter((expert, slot) => {
      const first = slot - (slot % slotsPerRank);
      return expert < 0 || previous.subarray(first, slot).includes(expert);
    }).length;
    const missing = numExperts - new Set(previous.filter((expert) => expert >= 0)).size;
    assert.ok(
      moves <= Math.max(wrong, missing),
      `${moves} moves for ${wrong} wrong slots, ${missing} missing`,
    );
    assert.equal(new Set(phyToLog).size, numExperts);
  };
  assertForAll(problemArbitrary, { small: 1500, large: 20 }, property);
});

interface Window {
  steps: number[][];
  shrink: number;
  prior: number;
  numRanks: number;
}

/** Steps of whole loads, some without any. */
function windowArbitrary(maxExperts: number): fc.Arbitrary<Window> {
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  const load = fc.nat({ max: 1000 });
  return sizeArbitrary(maxExperts).chain((numExperts) => {
    const step = fc.array(load, { minLength: numExperts, maxLength: numExperts });
    const steps = fc.array(fc.oneof(step, fc.constant(new Array<number>(numExperts).fill(0))), {
      minLength: 1,
      maxLength: 9,
    });
    return fc.record({ steps, shrink: share, prior: share, numRanks: fc.constantFrom(1, 2, 3, 8) });
  });
}

test('prepareSamples equals its oracle: each sample has mean rank load 1', () => {
  assertForAll(windowArbitrary, { small: 1000, large: 50 }, ({ steps, shrink, prior, numRanks }) => {
    const numExperts = steps[0]!.length;
    const numSamples = Math.ceil(steps.length / 4) * 4;
    const weights = new Float64Array(steps.length).fill(1 / steps.length);
    arena.reset();
    const samples = arena.output(Float32Array, numExperts * numSamples);
    const spread = arena.output(Float32Array, numExperts);
    const mean = arena.output(Float64Array, numExperts);
    const rows = arena.input(Float32Array.from(steps.flat())).ptr;
    kernels.prepareSamples(
      rows,
      4 * numExperts,
      steps.length,
      numExperts,
      numRanks,
      arena.input(weights).ptr,
      shrink,
      prior,
      samples.ptr,
      spread.ptr,
      mean.ptr,
    );
    arena.check();
    const expected = prepareSamples(steps, weights, numRanks, shrink, prior);
    assertSameNumbers(samples.view, expected.samples, 'samples');
    assertSameNumbers(spread.view, expected.spread, 'spread');
    assertSameNumbers(mean.view, expected.mean, 'mean');
    for (let t = 0; t < numSamples; t++) {
      let sum = 0;
      for (let expert = 0; expert < numExperts; expert++) sum += samples.view[expert * numSamples + t]!;
      assert.ok(Math.abs(sum - numRanks) < 1e-5 * numRanks);
    }
  });
});
