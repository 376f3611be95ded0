import { test } from 'node:test';
import fc from 'fast-check';
import {
  divisors,
  FLOAT32_MAX,
  loadsArbitrary,
  seededRandom,
  sizeArbitrary,
} from '../helpers/arbitraries.ts';
import { assertSameNumbers, loadKernels } from '../helpers/kernels.ts';
import { assertForAll } from '../helpers/property.ts';
import { averageLoads, averageSlots, foldLoads, foldSample } from '../oracle/fold.ts';
import { loadImbalance } from '../oracle/imbalance.ts';
import { countReplicas } from '../oracle/inverse.ts';
import { rankLoads, windowImbalance } from '../oracle/rank-loads.ts';

const { kernels, arena } = loadKernels();

interface SlotLoads {
  /** A load for each slot. */
  sample: number[];
  phyToLog: number[];
  /** A load for each expert. */
  weight: number[];
  numRanks: number;
  /** Different for each problem, for what else it takes. */
  seed: number;
}

/** Any slots: experts with many replicas and with none, some slots empty. */
function slotLoadsArbitrary(max: number): fc.Arbitrary<SlotLoads> {
  return fc.tuple(sizeArbitrary(max), sizeArbitrary(max)).chain(([numSlots, numLogical]) =>
    fc
      .record({
        sample: loadsArbitrary(numSlots),
        weight: loadsArbitrary(numLogical),
        numRanks: fc.constantFrom(...divisors(numSlots)),
        seed: fc.integer(),
      })
      .map((problem) => {
        const random = seededRandom(problem.seed);
        const emptyShare = random() < 0.5 ? 0 : 0.3;
        const expertOrNone = () => (random() < emptyShare ? -1 : Math.floor(random() * numLogical));
        return { ...problem, phyToLog: problem.sample.map(expertOrNone) };
      }),
  );
}

function checkRankLoads(weight: number[], phyToLog: number[], numRanks: number): void {
  const counts = countReplicas(phyToLog, weight.length);
  arena.reset();
  const loads = arena.output(Float64Array, numRanks);
  const stats = arena.output(Float64Array, 3);
  kernels.rankLoads(
    arena.input(Float32Array.from(weight)).ptr,
    arena.input(Int32Array.from(phyToLog)).ptr,
    arena.input(Int32Array.from(counts)).ptr,
    phyToLog.length,
    numRanks,
    loads.ptr,
    stats.ptr,
  );
  arena.check();
  const expected = rankLoads(weight, phyToLog, counts, numRanks);
  assertSameNumbers(loads.view, expected.loads, 'loads');
  assertSameNumbers(stats.view, [expected.max, expected.mean, expected.min], 'max, mean, min');
}

/** Of three layers, whose slots hold the same experts in turned order. */
function checkWindowImbalance(weight: number[], phyToLog: number[], numRanks: number): void {
  const numLogical = weight.length;
  const layers = [0, 1, 2].map((turn) => ({
    table: phyToLog.map((_, slot) => phyToLog[(slot + turn) % phyToLog.length]!),
    physical: phyToLog.map((_, slot) => weight[(slot * 3 + turn) % numLogical]!),
    logical: weight.map((load, expert) => (expert % 3 === turn ? load : 0)),
  }));
  // Where slots are odd, ranks are of unequal speed.
  const paces =
    phyToLog.length % 2 === 0 ? undefined : Array.from({ length: numRanks }, (_, r) => 1 / (1 + (r % 3)));
  // Where they are a multiple of three, some have a shared expert.
  const shared =
    phyToLog.length % 3 === 0 ? Array.from({ length: numRanks }, (_, r) => (r % 3) / 8) : undefined;
  arena.reset();
  const result = kernels.windowImbalance(
    arena.input(Float64Array.from(layers.flatMap(({ physical }) => physical))).ptr,
    arena.input(Float64Array.from(layers.flatMap(({ logical }) => logical))).ptr,
    arena.input(Int32Array.from(layers.flatMap(({ table }) => table))).ptr,
    layers.length,
    phyToLog.length,
    numLogical,
    numRanks,
    paces === undefined ? 0 : arena.input(Float64Array.from(paces)).ptr,
    shared === undefined ? 0 : arena.input(Float64Array.from(shared)).ptr,
    arena.scratch(kernels.windowImbalanceScratchBytes(numLogical)),
  );
  arena.check();
  const expected = layers.map(({ physical, logical, table }) =>
    windowImbalance(physical, logical, table, countReplicas(table, numLogical), numRanks, paces, shared),
  );
  assertSameNumbers([result], [Math.max(...expected)], 'imbalance of the window');
}

function checkImbalance(loads: number[]): void {
  arena.reset();
  const result = kernels.loadImbalance(arena.input(Float32Array.from(loads)).ptr, loads.length);
  arena.check();
  assertSameNumbers([result], [loadImbalance(loads)], 'imbalance');
}

function checkFold(sample: number[], phyToLog: number[], sign: number, before: number[]): void {
  arena.reset();
  const sums = arena.inOut(Float64Array.from(before));
  kernels.foldSample(
    arena.input(Float32Array.from(sample)).ptr,
    arena.input(Int32Array.from(phyToLog)).ptr,
    sample.length,
    sign,
    sums.ptr,
  );
  arena.check();
  assertSameNumbers(sums.view, foldSample(sample, phyToLog, sign, before), 'sums');
}

function checkFoldLoads(sample: number[], phyToLog: number[], numLogical: number): void {
  arena.reset();
  const loads = arena.output(Float32Array, numLogical);
  const slots = arena.input(Int32Array.from(phyToLog)).ptr;
  kernels.foldLoads(arena.input(Float32Array.from(sample)).ptr, slots, sample.length, loads.ptr, numLogical);
  arena.check();
  assertSameNumbers(loads.view, foldLoads(sample, phyToLog, numLogical), 'loads');
}

function checkAverage(
  physicalSums: number[],
  phyToLog: number[],
  logicalSums: number[],
  numSamples: number,
): void {
  const numSlots = phyToLog.length;
  const numLogical = logicalSums.length;
  const counts = countReplicas(phyToLog, numLogical);
  arena.reset();
  const physical = arena.input(Float64Array.from(physicalSums)).ptr;
  const logical = arena.input(Float64Array.from(logicalSums)).ptr;
  const slots = arena.input(Int32Array.from(phyToLog)).ptr;
  const count = arena.input(Int32Array.from(counts)).ptr;
  const acc = arena.scratch(kernels.averageLoadsScratchBytes(numLogical));
  const sums = arena.inOut(Float64Array.from(logicalSums));
  const byExpert = arena.output(Float32Array, numLogical);
  const bySlot = arena.output(Float32Array, numSlots);
  kernels.foldSums(physical, slots, numSlots, sums.ptr);
  kernels.averageLoads(physical, slots, numSlots, logical, numLogical, numSamples, byExpert.ptr, acc);
  kernels.averageSlots(physical, slots, count, numSlots, logical, numSamples, bySlot.ptr);
  arena.check();
  assertSameNumbers(sums.view, foldSample(physicalSums, phyToLog, 1, logicalSums), 'folded sums');
  const expectedByExpert = averageLoads(physicalSums, phyToLog, logicalSums, numSamples);
  assertSameNumbers(byExpert.view, expectedByExpert, 'averages of the experts');
  const expectedBySlot = averageSlots(physicalSums, phyToLog, counts, logicalSums, numSamples);
  assertSameNumbers(bySlot.view, expectedBySlot, 'averages of the slots');
}

test('rankLoads equals its oracle', () => {
  assertForAll(slotLoadsArbitrary, { small: 5000, large: 800 }, ({ weight, phyToLog, numRanks }) => {
    checkRankLoads(weight, phyToLog, numRanks);
  });
});

test('rankLoads: zero loads, an empty rank, the greatest loads', () => {
  checkRankLoads([0, 0], [0, 1, 1, 0], 2);
  checkRankLoads([-0, 5], [0, 0, 0, 1], 4);
  checkRankLoads([3, 4], [-1, -1, 0, 1], 2);
  checkRankLoads([FLOAT32_MAX, FLOAT32_MAX], [0, 1, 0, 1], 1);
  checkRankLoads([10], [0, 0, 0], 3);
});

test('windowImbalance equals its oracle', () => {
  assertForAll(slotLoadsArbitrary, { small: 5000, large: 800 }, ({ weight, phyToLog, numRanks }) => {
    checkWindowImbalance(weight, phyToLog, numRanks);
  });
  checkWindowImbalance([0, 0], [0, 1, 1, 0], 2);
  checkWindowImbalance([0, 5], [0, 0, 1, 1], 2);
});

test('loadImbalance equals its oracle', () => {
  const rows = (max: number) => sizeArbitrary(max).chain(loadsArbitrary);
  assertForAll(rows, { small: 5000, large: 800 }, checkImbalance);
});

test('loadImbalance: nothing positive, one positive load, positive loads anywhere in a row', () => {
  for (let size = 1; size <= 13; size++) {
    checkImbalance(new Array<number>(size).fill(0));
    checkImbalance(new Array<number>(size).fill(-0));
    for (let at = 0; at < size; at++) {
      const row = new Array<number>(size).fill(0);
      row[at] = 6;
      checkImbalance(row);
      row[size - 1 - at] = 0.25;
      checkImbalance(row);
    }
  }
  checkImbalance([FLOAT32_MAX, 2 ** -149]);
});

test('foldSample equals its oracle', () => {
  assertForAll(slotLoadsArbitrary, { small: 5000, large: 800 }, ({ sample, phyToLog, weight, seed }) => {
    checkFold(sample, phyToLog, seed % 2 === 0 ? 1 : -1, weight);
  });
});

test('foldLoads equals its oracle, also where loads add up to more than the largest float32', () => {
  assertForAll(slotLoadsArbitrary, { small: 2000, large: 200 }, ({ sample, phyToLog, weight, seed }) => {
    const scale = seed % 3 === 0 ? FLOAT32_MAX / Math.max(...sample, 1) : 1;
    checkFoldLoads(
      sample.map((load) => Math.fround(load * scale)),
      phyToLog,
      weight.length,
    );
  });
});

test('foldSample: taking a sample back leaves whole sums as they were', () => {
  const phyToLog = [2, 0, 1, 2, 0, -1];
  const sums = foldSample([1, 2, 3, 4, 5, 6], phyToLog, 1, [10, 20, 30]);
  checkFold([1, 2, 3, 4, 5, 6], phyToLog, 1, [10, 20, 30]);
  checkFold([1, 2, 3, 4, 5, 6], phyToLog, -1, sums);
});

test('averageLoads, averageSlots and foldSums equal their oracles', () => {
  assertForAll(slotLoadsArbitrary, { small: 5000, large: 800 }, ({ sample, phyToLog, weight, seed }) => {
    const random = seededRandom(seed + 1);
    // Sums in float64, some a little below zero, as sums are from which samples were taken back.
    const physicalSums = sample.map((load) => load * (1 + random()));
    const logicalSums = weight.map((load) => (random() < 0.2 ? -1e-9 * random() : load * (1 + random())));
    checkAverage(physicalSums, phyToLog, logicalSums, 1 + Math.floor(random() * 1000));
  });
});

test('averageLoads and averageSlots: never below zero, nor the zero that is negative', () => {
  checkAverage([-1e-12, 0], [0, 1], [0, -1e-12], 3);
  checkAverage([-0, -0], [0, 1], [-0, -0], 1);
  checkAverage([7, 8], [-1, -1], [1, 2], 3);
});
