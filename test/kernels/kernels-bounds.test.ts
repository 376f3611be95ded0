import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { divisors, FLOAT32_MAX, loadsArbitrary, seededRandom } from '../helpers/arbitraries.ts';
import { type Buffer, loadKernels } from '../helpers/kernels.ts';
import { assertForAll } from '../helpers/property.ts';
import { runSearch } from '../helpers/search-kernel.ts';
import type { AdaptiveProblem } from '../oracle/adaptive.ts';
import { prepareSamples } from '../oracle/adaptive-samples.ts';

const { kernels, arena } = loadKernels();

const MANY = 2 ** 31 - 1;
/** More than any test is to look at, and soon spent where one does. */
const BUDGET = 1_000_000;
/** Without a budget for more, a search may do this much work: see kernels/adaptive/bounds.ts. */
const LEAST_WORK = 2 ** 25;
const WORK_PER_EVALUATION = 16;

const UNLIMITED = {
  numNodes: 1,
  dealsCopies: true,
  isSharp: false,
  price: 0,
  leastGain: 1e-6,
  maxVisits: MANY,
  maxPasses: MANY,
  maxIdle: MANY,
  maxEvaluations: BUDGET,
  numKicks: 0,
};

/**
 * Experts on ranks where most have no load in a sample: then one rank has nearly all of it, and costs are
 * much larger than gains.
 */
function sparseProblem(
  numExperts: number,
  numSlots: number,
  numRanks: number,
  numSamples: number,
  seed: number,
): AdaptiveProblem {
  const random = seededRandom(seed);
  const steps = Array.from({ length: numSamples }, () =>
    Array.from({ length: numExperts }, () => (random() < 0.1 ? Math.floor(100 * random()) : 0)),
  );
  const lengths = new Array<number>(numSamples).fill(1);
  const { samples, spread, weights } = prepareSamples(steps, lengths, numRanks);
  const previous = Int32Array.from({ length: numSlots }, (_, slot) =>
    slot < numExperts ? slot : Math.floor(random() * numExperts),
  );
  return {
    samples,
    spread,
    weights,
    numExperts,
    numSlots,
    numRanks,
    ...UNLIMITED,
    previous,
    maxMoves: numSlots,
  };
}

/** Loads as experts of a warm layer have them. */
function smoothProblem(numExperts: number, numSlots: number, numRanks: number): AdaptiveProblem {
  const random = seededRandom(7);
  const samples = Float32Array.from({ length: numExperts * 8 }, () => random() ** 3 + 0.01);
  return {
    samples,
    spread: new Float32Array(numExperts),
    weights: new Float32Array(8).fill(1 / 8),
    numExperts,
    numSlots,
    numRanks,
    ...UNLIMITED,
    previous: Int32Array.from({ length: numSlots }, (_, slot) => slot % numExperts),
    maxMoves: numSlots,
    numKicks: MANY,
  };
}

/** All work that a search may do before it ends. */
function mostWork({ numSlots, numRanks, numExperts, maxEvaluations }: AdaptiveProblem): number {
  const once = numSlots ** 2 / 64 + numRanks * (numRanks + numExperts / 8);
  return LEAST_WORK + WORK_PER_EVALUATION * maxEvaluations + once;
}

/**
 * The steps that one look at all of them may be: none is begun after `maxEvaluations`, but one may be looked
 * for then.
 */
function mostAtOnce({ numSlots, numExperts }: AdaptiveProblem): number {
  return numSlots * (numSlots + numExperts);
}

test('steps that gain by rounding alone come to an end, and not only with the budget', () => {
  for (const numRanks of [8, 16, 32]) {
    for (let seed = 0; seed < 40; seed++) {
      const problem = sparseProblem(16, 32, numRanks, 4 + 4 * (seed % 3), seed);
      const { evaluations } = runSearch({ kernels, arena }, { ...problem, numKicks: 50 * (seed % 3) });
      assert.ok(evaluations < 200_000, `${numRanks} ranks, seed ${seed}: ${evaluations} evaluations`);
    }
  }
});

test('loads that are all on one expert of hundreds of ranks leave no cost that is not a number', () => {
  const large = loadKernels(640);
  const [numExperts, numSlots, numRanks] = [600, 1024, 512];
  const cases = [false, true].flatMap((isSharp) => [0, 7].map((gap) => ({ isSharp, gap })));
  for (const { isSharp, gap } of cases) {
    // The expert is the same in all steps, or another in each.
    const steps = Array.from({ length: 4 }, (_, t) =>
      Array.from({ length: numExperts }, (_, expert) => (expert === gap * t ? 1e30 : 1e-3)),
    );
    const { samples, spread, weights } = prepareSamples(steps, [1, 1, 1, 1], numRanks);
    const problem: AdaptiveProblem = {
      ...UNLIMITED,
      samples,
      spread,
      weights,
      numExperts,
      numSlots,
      numRanks,
      isSharp,
      leastGain: 1e-5,
      maxVisits: 2 * numRanks,
      previous: Int32Array.from({ length: numSlots }, (_, slot) => slot % numExperts),
      maxMoves: numSlots,
    };
    const { before, after, phyToLog } = runSearch(large, problem);
    assert.ok(Number.isFinite(before) && Number.isFinite(after), `${before} to ${after}`);
    assert.ok(after < 0.8 * before, `${before} to ${after}`);
    if (gap === 0)
      assert.ok(phyToLog.filter((expert) => expert === 0).length > 300, 'it gets the spare slots');
  }
});

test('kicks that find nothing to change come to an end, however many are asked for', () => {
  // On one rank there is no exchange, and no overwrite where all experts are.
  const { evaluations, work } = runSearch({ kernels, arena }, smoothProblem(4, 20, 1));
  assert.equal(evaluations, 0);
  assert.ok(work < 10_000_000, `${work}`);
});

test('a search does no more work than it may, and places every expert, whatever its options', () => {
  assertForAll(hostileProblems, { small: 300, large: 10 }, (problem) => {
    const { phyToLog, evaluations, work } = runSearch({ kernels, arena }, problem);
    const atOnce = mostAtOnce(problem);
    assert.ok(evaluations <= problem.maxEvaluations + atOnce, `${evaluations} evaluations`);
    // A kick that has begun is made, and what it left is read.
    const atLast = 20 * (problem.numSlots + problem.numRanks);
    assert.ok(work <= mostWork(problem) + atOnce + atLast, `work ${work}`);
    const { numSlots, numRanks, numExperts, slotsPerRank } = problem;
    const stride = numSlots / numRanks;
    const isOpen = (slot: number): boolean =>
      slot % stride < (slotsPerRank?.[Math.floor(slot / stride)] ?? stride);
    for (const [slot, expert] of phyToLog.entries()) assert.equal(expert >= 0, isOpen(slot), `slot ${slot}`);
    assert.equal(new Set(phyToLog.filter((expert) => expert >= 0)).size, numExperts);
  });
});

/**
 * Any loads, prices up to what floats hold, closed slots with experts in them, and budgets from nothing to
 * more than can be spent.
 */
function hostileProblems(maxSlots: number): fc.Arbitrary<AdaptiveProblem> {
  return fc
    .record({ numRanks: fc.constantFrom(1, 2, 4, 8, 16), slotsPerRank: fc.integer({ min: 1, max: 8 }) })
    .filter(({ numRanks, slotsPerRank }) => numRanks * slotsPerRank <= Math.min(maxSlots, 96))
    .chain(({ numRanks, slotsPerRank: stride }) => {
      const size = fc.integer({ min: 0, max: stride });
      const sizes = fc.array(size, { minLength: numRanks, maxLength: numRanks });
      return fc.record({
        numRanks: fc.constant(numRanks),
        numSlots: fc.constant(numRanks * stride),
        numNodes: fc.constantFrom(1, ...divisors(numRanks)),
        open: fc.option(sizes.filter((all) => all.some((slots) => slots > 0))),
        share: fc.constantFrom(0, 0.3, 0.7, 1),
        steps: fc
          .integer({ min: 1, max: 5 })
          .chain((numSteps) =>
            fc.array(loadsArbitrary(numRanks * stride), { minLength: numSteps, maxLength: numSteps }),
          ),
        seed: fc.integer(),
        hasFresh: fc.boolean(),
        price: fc.constantFrom(0, 1e-30, 0.002, 1, 1e30, FLOAT32_MAX, 1e308, Number.MAX_VALUE),
        maxMoves: fc.oneof(fc.constant(numRanks * stride), fc.nat({ max: numRanks * stride })),
        dealsCopies: fc.boolean(),
        isSharp: fc.boolean(),
        leastGain: fc.constantFrom(0, 1e-5, 1),
        maxVisits: fc.constantFrom(0, 10, MANY),
        maxPasses: fc.constantFrom(0, 1, 4, MANY),
        maxIdle: fc.constantFrom(0, 1, 4, MANY),
        maxEvaluations: fc.constantFrom(1, 2, 100, 5000),
        // Those without end take most of the time.
        numKicks: fc.constantFrom(0, 1, 20, 0, 1, 20, MANY),
        hasSpeeds: fc.boolean(),
      });
    })
    .map(({ open, share, steps, seed, hasFresh, hasSpeeds, ...sizes }) => {
      const random = seededRandom(seed);
      const { numSlots, numRanks } = sizes;
      const numOpen = open?.reduce((sum, slots) => sum + slots, 0) ?? numSlots;
      const numExperts = Math.max(1, Math.round(share * numOpen));
      const rows = steps.map((step) => step.slice(0, numExperts));
      const lengths = steps.map(() => 1);
      const { samples, spread, weights } = prepareSamples(rows, lengths, numRanks);
      const table = () =>
        Int32Array.from({ length: numSlots }, () => Math.floor(random() * (numExperts + 1)) - 1);
      return {
        ...sizes,
        samples,
        spread,
        weights,
        numExperts,
        slotsPerRank: open === null ? undefined : Int32Array.from(open),
        previous: table(),
        fresh: hasFresh ? table() : undefined,
        rankSpeed: hasSpeeds ? anySpeeds(numRanks, random) : undefined,
      };
    });
}

/** Speeds up to a million times as fast as each other, 1 in the mean. */
function anySpeeds(numRanks: number, random: () => number): Float32Array {
  const speeds = Array.from({ length: numRanks }, () => 10 ** (6 * random() - 3));
  const total = speeds.reduce((sum, speed) => sum + speed, 0);
  return Float32Array.from(speeds, (speed) => (speed * numRanks) / total);
}

/** Sets a word of shared memory to 1 from another thread, a moment after it was told to. */
async function withCanceller(work: (cancelSoon: (word: Int32Array) => void) => void): Promise<void> {
  const code = `
    const { parentPort } = require('node:worker_threads');
    parentPort.on('message', ({ buffer, offset }) => {
      setTimeout(() => Atomics.store(new Int32Array(buffer, offset, 1), 0, 1), 100);
    });
    parentPort.postMessage('ready');`;
  const worker = new Worker(code, { eval: true });
  try {
    await once(worker, 'message');
    work(({ buffer, byteOffset }) => worker.postMessage({ buffer, offset: byteOffset }));
  } finally {
    await worker.terminate();
  }
}

/** A word of the kernels' memory. */
function word(value: number): Buffer<Int32Array> {
  const buffer = arena.output(Int32Array, 1);
  buffer.view[0] = value;
  return buffer;
}

const UNWRITTEN = new Int32Array(new Uint8Array(4).fill(0xa5).buffer)[0];

test('an adaptive search that is cancelled looks at 10,000 steps at most, and writes no table', () => {
  const { phyToLog, replicaRank, work } = runSearch({ kernels, arena }, smoothProblem(64, 80, 16), () =>
    word(1),
  );
  assert.ok(work <= 10_000, `${work}`);
  assert.ok([...phyToLog, ...replicaRank].every((entry) => entry === UNWRITTEN));
});

test('an adaptive search that is cancelled on its way ends long before its budget', async () => {
  await withCanceller((cancelSoon) => {
    const problem = { ...smoothProblem(64, 80, 16), maxEvaluations: 100_000_000 };
    const { phyToLog, evaluations } = runSearch({ kernels, arena }, problem, () => {
      const cancelled = word(0);
      cancelSoon(cancelled.view);
      return cancelled;
    });
    assert.ok(evaluations > 10_000 && evaluations < 100_000_000, `${evaluations}`);
    assert.ok(phyToLog.every((entry) => entry === UNWRITTEN));
  });
});

test('a word that stays 0 changes nothing', () => {
  const problem = { ...smoothProblem(64, 80, 16), numKicks: 20 };
  const watched = runSearch({ kernels, arena }, problem, () => word(0));
  assert.deepEqual(watched, runSearch({ kernels, arena }, problem));
});
