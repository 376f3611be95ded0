import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExpertMapping } from 'expert-load-balancer';
import fc from 'fast-check';
import { NUM_CURVE_POINTS, tokensOfPoint } from '../../src/policy/adaptive/slot-costs.ts';
import { fewestMoves, openSlots } from '../helpers/adaptive.ts';
import { divisors, seededRandom } from '../helpers/arbitraries.ts';
import { loadKernels } from '../helpers/kernels.ts';
import { linksOf } from '../helpers/links.ts';
import { assertForAll } from '../helpers/property.ts';
import { costOfStep, dealFresh, runSearch, type SearchResult } from '../helpers/search-kernel.ts';
import {
  type AdaptiveProblem,
  exposedExperts,
  movesTo,
  objectiveOf,
  openRows,
  type SlotProblem,
  tangentCost,
} from '../oracle/adaptive.ts';
import { dealToRanks } from '../oracle/deal-to-ranks.ts';

const { kernels, arena } = loadKernels();

/** A search without limits, of loads that do not differ from what is told. */
const UNLIMITED = {
  numNodes: 1,
  dealsCopies: true,
  isSharp: false,
  price: 0,
  leastGain: 1e-5,
  maxVisits: 2 ** 31 - 1,
  maxPasses: 4,
  maxIdle: 2 ** 31 - 1,
  maxEvaluations: 1_000_000,
  numKicks: 0,
};

/**
 * Whole slots for ranks of nodes, loads with bursts, and live placements with empty slots, doubles and
 * missing experts.
 */
function problemArbitrary(maxSlots: number, shares = { min: 0, max: 1 }): fc.Arbitrary<AdaptiveProblem> {
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
        shareOfExperts: fc.double({ ...shares, noNaN: true }),
        slotsPerRank: openSlots(numRanks, slotsPerRank).map((sizes) => sizes && Int32Array.from(sizes)),
        numFours: fc.integer({ min: 1, max: 4 }),
        dealsCopies: fc.boolean(),
        isSharp: fc.boolean(),
        price: fc.constantFrom(0, 0.001, 0.01, 0.1),
        leastGain: fc.constantFrom(1e-5, 3e-5, 0.01),
        maxMoves: fc.oneof(fc.constant(numSlots), fc.nat({ max: numSlots })),
        maxVisits: fc.constantFrom(0, 5, 50, 1_000_000),
        maxPasses: fc.constantFrom(1, 4),
        maxIdle: fc.constantFrom(1, 4, 1_000_000),
        maxEvaluations: fc.constantFrom(1, 20, 200, 100_000),
        numKicks: fc.nat({ max: 3 }),
        isBroken: fc.boolean(),
        hasFresh: fc.boolean(),
        hasSpeeds: fc.boolean(),
        hasCurve: fc.boolean(),
      });
    })
    .map(({ seed, numFours, isBroken, hasFresh, hasSpeeds, hasCurve, shareOfExperts, ...given }) => {
      const random = seededRandom(seed);
      const linkPrice = [0, 0, 0.3, 10][seed & 3]!;
      const { numSlots, numRanks, slotsPerRank } = given;
      const numOpen = slotsPerRank?.reduce((sum, size) => sum + size, 0) ?? numSlots;
      const numExperts = Math.max(1, Math.round(shareOfExperts * numOpen));
      const numSamples = 4 * numFours;
      const samples = Float32Array.from({ length: numExperts * numSamples }, () => random() ** 4 + 0.001);
      // A mean rank load of 1, as samples have it.
      for (let t = 0; t < numSamples; t++) {
        let sum = 0;
        for (let i = t; i < samples.length; i += numSamples) sum += samples[i]!;
        for (let i = t; i < samples.length; i += numSamples) samples[i]! *= numRanks / sum;
      }
      const spread = Float32Array.from(
        { length: numExperts },
        () => (0.2 * random() * numRanks) / numExperts,
      );
      const weights = Float32Array.from({ length: numSamples }, () => random());
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      const dealt = Int32Array.from({ length: numSlots }, (_, slot) => slot % numExperts);
      const previous = dealt.map((expert) => {
        if (!isBroken || random() > 0.1) return expert;
        return random() < 0.5 ? -1 : Math.floor(random() * numExperts);
      });
      return {
        ...given,
        numExperts,
        samples,
        spread,
        weights: weights.map((weight) => weight / total),
        slots: hasCurve ? slotsOf(random, numExperts / numRanks, numSamples) : undefined,
        links: linkPrice > 0 ? linksOf(seededRandom(seed), numExperts, numRanks, linkPrice) : undefined,
        walkPatience: (seed & 4) === 0 ? 0 : 20,
        rankSpeed: hasSpeeds ? Float32Array.from({ length: numRanks }, () => 0.3 + 2 * random()) : undefined,
        previous,
        fresh: hasFresh ? dealt.slice().reverse() : undefined,
      };
    });
}

/** Slots that wait for weights or tokens, about as many experts on a rank, and few or many tokens. */
function slotsOf(random: () => number, perRank: number, numSamples: number): SlotProblem {
  const points = Array.from({ length: NUM_CURVE_POINTS }, (_, point) => tokensOfPoint(point));
  const floor = 0.5 + random();
  const perToken = 0.02 * random();
  const curve = Float32Array.from(points, (tokens) =>
    Math.max(floor * (1 - Math.exp(-tokens)), tokens * perToken),
  );
  const scale = 4 ** (6 * random());
  const tokens = Float32Array.from({ length: numSamples }, () => scale * (1 + random()));
  return { curve, points, tokens, unit: perRank * (floor + perToken * scale) };
}

const runKernel = (problem: AdaptiveProblem): SearchResult => runSearch({ kernels, arena }, problem);

function assertClose(actual: number, expected: number, what: string): void {
  const most = 2e-5 * Math.max(1, Math.abs(expected));
  assert.ok(Math.abs(actual - expected) <= most, `${what}: ${actual}, not ${expected}`);
}

test('the objective told is that of the placements, and so are the moves and what links save', () => {
  const property = (problem: AdaptiveProblem): void => {
    const { phyToLog, before, after, moves } = runKernel(problem);
    assertClose(after, objectiveOf(openRows(phyToLog, problem), problem), 'after');
    assert.equal(moves, movesTo(phyToLog, problem));
    if (isValid(problem.previous, problem))
      assertClose(before, objectiveOf(openRows(problem.previous, problem), problem), 'before');
  };
  assertForAll(problemArbitrary, { small: 1500, large: 20 }, property);
});

test('a step costs what it changes on the ranks that it touches', () => {
  let numChecked = 0;
  const property = (given: AdaptiveProblem, seed: number): void => {
    const random = seededRandom(seed);
    const { numSlots, numRanks, numExperts } = given;
    const stride = numSlots / numRanks;
    const dealt = Array.from({ length: numSlots }, (_, slot) => slot % numExperts);
    const rows = Array.from({ length: numRanks }, (_, rank) =>
      dealt.slice(rank * stride, (rank + 1) * stride).sort((a, b) => a - b),
    );
    const problem = { ...given, slotsPerRank: undefined, previous: Int32Array.from(rows.flat()) };
    if (!isValid(problem.previous, problem)) return;
    const at = (slot: number): number => problem.previous[slot]!;
    const changed = (changes: Record<number, number>): number[][] => {
      const table = problem.previous.map((expert, slot) => changes[slot] ?? expert);
      return openRows(table, problem);
    };
    for (let n = 0; n < 10; n++) {
      const slot = Math.floor(random() * numSlots);
      const other = Math.floor(random() * numSlots);
      const expert = Math.floor(random() * numExperts);
      const [a, b] = [Math.floor(slot / stride), Math.floor(other / stride)];
      if (a !== b && !rows[a]!.includes(at(other)) && !rows[b]!.includes(at(slot))) {
        const cost = costOfStep({ kernels, arena }, problem, slot, other, false);
        const to = changed({ [slot]: at(other), [other]: at(slot) });
        assertClose(cost, tangentCost(rows, to, problem), `exchange of ${slot} and ${other}`);
        numChecked++;
      }
      if (rows.flat().filter((one) => one === at(slot)).length > 1 && !rows[a]!.includes(expert)) {
        const cost = costOfStep({ kernels, arena }, problem, slot, expert, true);
        assertClose(cost, tangentCost(rows, changed({ [slot]: expert }), problem), `${expert} in ${slot}`);
        numChecked++;
      }
    }
  };
  assertForAll(
    (max) => fc.tuple(problemArbitrary(max), fc.integer()),
    { small: 3000, large: 100 },
    ([problem, seed]) => property(problem, seed),
  );
  assert.ok(numChecked > 1000, `${numChecked} steps`);
});

test('placements are whole, paid for and within limits; doubles are only where they must be', () => {
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
      assert.ok(after + price * moves <= before, 'the priced objective');
      if (moves === 0) assert.deepEqual(phyToLog, previous);
    }
    if (mayDoWithoutDoubles(problem) && (isValid(previous, problem) || problem.numNodes === 1))
      assert.ok(isValid(phyToLog, problem));
  };
  assertForAll(problemArbitrary, { small: 1500, large: 20 }, property);
});

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

test('without moves the live placement stays', () => {
  const property = (problem: AdaptiveProblem): void => {
    const { phyToLog, moves } = runKernel({ ...problem, maxMoves: 0 });
    if (!isValid(problem.previous, problem)) return;
    assert.equal(moves, 0);
    assert.deepEqual(phyToLog, problem.previous);
  };
  assertForAll(problemArbitrary, { small: 500, large: 20 }, property);
});

test('tiny problems: the best placement is found, or missed by at most 2 %', () => {
  tinyProblems((problem, run) => {
    const { after } = runKernel(problem);
    assert.ok(after <= leastObjective(problem) * 1.02, `run ${run}`);
  });
});

test('tiny problems: so is the best of those where experts survive', () => {
  let numDearer = 0;
  tinyProblems((free, run) => {
    if (run >= 60) return;
    const problem = withSurvivors(free, free.numRanks, run);
    const { after } = runKernel(problem);
    const least = leastObjective(problem);
    assert.ok(after <= least * 1.02, `run ${run}: ${after}, not ${least}`);
    if (least > leastObjective(free) * 1.001) numDearer++;
  });
  assert.ok(numDearer > 3, `${numDearer} problems where that costs balance`);
});

function tinyProblems(take: (problem: AdaptiveProblem, run: number) => void): void {
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
    const problem: AdaptiveProblem = {
      ...UNLIMITED,
      samples: Float32Array.from({ length: numExperts * 4 }, () => random() ** 2 + 0.05),
      spread: new Float32Array(numExperts),
      weights: new Float32Array(4).fill(0.25),
      numExperts,
      numSlots,
      numRanks,
      slotsPerRank,
      previous: Int32Array.from({ length: numSlots }, (_, slot) => slot % numExperts),
      maxMoves: numSlots,
      numKicks: 20,
    };
    take(problem, run);
  }
}

/** The least objective of all placements without doubles, where experts survive that have to. */
function leastObjective(problem: AdaptiveProblem): number {
  let least = Number.POSITIVE_INFINITY;
  for (const table of allPlacements(problem))
    if (exposedExperts(table, problem).length === 0)
      least = Math.min(least, objectiveOf(openRows(table, problem), problem));
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
      ...UNLIMITED,
      samples: Float32Array.from({ length: numExperts * 4 }, () => random() + 0.05),
      spread: new Float32Array(numExperts),
      weights: new Float32Array(4).fill(0.25),
      numExperts,
      numSlots,
      numRanks,
      slotsPerRank,
      previous: Int32Array.from({ length: numSlots }, () => Math.floor(random() * (numExperts + 1)) - 1),
      price: 1e6,
      maxMoves: 0,
    };
    let fewest = Number.POSITIVE_INFINITY;
    for (const table of allPlacements(problem)) fewest = Math.min(fewest, movesTo(table, problem));
    const { phyToLog, moves } = runKernel(problem);
    assert.equal(movesTo(phyToLog, problem), moves);
    assert.equal(moves, fewest, `run ${run}`);
    assert.equal(fewestMoves(problem.previous, problem), fewest, `run ${run}`);
  }
});

/** Popular experts and others, dealt out as if all were alike. */
function skewedProblem(numExperts: number, numSlots: number, numRanks: number): AdaptiveProblem {
  const random = seededRandom(numSlots);
  const means = Float64Array.from({ length: numExperts }, () => Math.exp(2 * random()));
  const total = means.reduce((sum, mean) => sum + mean, 0);
  const numSamples = 16;
  return {
    ...UNLIMITED,
    samples: Float32Array.from(
      { length: numExperts * numSamples },
      (_, i) => ((means[Math.floor(i / numSamples)]! * numRanks) / total) * (0.8 + 0.4 * random()),
    ),
    spread: new Float32Array(numExperts),
    weights: new Float32Array(numSamples).fill(1 / numSamples),
    numExperts,
    numSlots,
    numRanks,
    previous: Int32Array.from({ length: numSlots }, (_, slot) => slot % numExperts),
    maxMoves: numSlots,
  };
}

test('tables of what copies cost are bounded, and what is found does not depend on it', () => {
  const problem = skewedProblem(256, 320, 32);
  const large = loadKernels(640);
  // Room for so many samples leaves 4 rows an expert, of the 33 that there may be.
  const many = 4096;
  const { adaptiveScratchBytes } = large.kernels;
  assert.ok(
    adaptiveScratchBytes(256, 320, 32, many, 0) < 2 * adaptiveScratchBytes(256, 320, 32, many / 4, 0),
  );
  const alone = runSearch(large, problem);
  assert.deepEqual(runSearch(large, problem, undefined, many), alone);
  assert.ok(alone.moves > 0);
});

test('a search looks at no more ranks than it may, and takes more of them for a better placement', () => {
  const problem = { ...skewedProblem(64, 80, 16), dealsCopies: false };
  let last = Number.POSITIVE_INFINITY;
  for (const maxVisits of [0, 10, 40, 2 ** 31 - 1]) {
    const { visits, after, moves } = runKernel({ ...problem, maxVisits });
    // One step is always looked for.
    assert.ok(visits <= Math.max(1, maxVisits), `${visits} visits`);
    assert.ok(after < last || moves === 0);
    last = after;
  }
});

test('copies are dealt to ranks of any speed as by the oracle', () => {
  let numChecked = 0;
  const property = (seed: number, numRanks: number, stride: number, hasClosed: boolean): void => {
    const random = seededRandom(seed);
    const numSlots = numRanks * stride;
    const slotsPerRank = hasClosed
      ? Int32Array.from({ length: numRanks }, () => 1 + Math.floor(random() * stride))
      : undefined;
    const numOpen = slotsPerRank?.reduce((sum, size) => sum + size, 0) ?? numSlots;
    const numExperts = 1 + Math.floor(random() * numOpen);
    // Numbers that float32 adds up exactly, whatever the order.
    const loads = Array.from({ length: numExperts }, () => 2 ** Math.floor(8 * random()));
    const fresh = new Int32Array(numSlots).fill(-1);
    let expert = 0;
    for (let slot = 0; slot < numSlots; slot++)
      if (slot % stride < (slotsPerRank?.[Math.floor(slot / stride)] ?? stride))
        fresh[slot] = expert++ % numExperts;
    const problem = {
      ...skewedProblem(numExperts, numSlots, numRanks),
      samples: Float32Array.from(loads.flatMap((load) => [load, load, load, load])),
      weights: new Float32Array(4).fill(0.25),
      spread: new Float32Array(numExperts),
      rankSpeed: Float32Array.from({ length: numRanks }, () => 2 ** (Math.floor(3 * random()) - 1)),
      slotsPerRank,
      previous: fresh,
      fresh,
    };
    const expected = dealToRanks(fresh, problem);
    const counts = new Set(loads.map((_, e) => fresh.filter((other) => other === e).length));
    // Thirds are not exact.
    if (expected === undefined || ![...counts].every((n) => n <= 2 || n === 4)) return;
    const dealt = openRows(dealFresh({ kernels, arena }, problem), problem);
    const sorted = (rows: number[][]) => rows.map((row) => row.toSorted((a, b) => a - b));
    assert.deepEqual(sorted(dealt), sorted(expected));
    numChecked++;
  };
  const sizes = [fc.nat(), fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 6 })] as const;
  fc.assert(fc.property(...sizes, fc.boolean(), property), { numRuns: 300, seed: 20_240_607 });
  assert.ok(numChecked > 100, `${numChecked}`);
});

test('a rank that is twice as fast gets more load', () => {
  const problem = skewedProblem(64, 80, 16);
  const rankSpeed = new Float32Array(16).fill(1);
  rankSpeed[3] = 2;
  const { phyToLog } = runKernel({ ...problem, rankSpeed });
  const rows = openRows(phyToLog, problem);
  const counts = Array.from(
    { length: 64 },
    (_, expert) => phyToLog.filter((other) => other === expert).length,
  );
  const loads = rows.map((row) =>
    row.reduce((sum, expert) => sum + problem.samples[expert * 16]! / counts[expert]!, 0),
  );
  const others = loads.filter((_, rank) => rank !== 3);
  assert.ok(loads[3]! > 1.3 * Math.max(...others), `${loads[3]} on the fast rank, ${Math.max(...others)}`);
});

/** As many experts as can have copies in two domains, any of them, or fewer. */
function withSurvivors(problem: AdaptiveProblem, numDomains: number, seed: number): AdaptiveProblem {
  const random = seededRandom(seed);
  const { numExperts, numRanks, numSlots, slotsPerRank } = problem;
  const domains = Int32Array.from({ length: numRanks }, () => Math.floor(random() * numDomains));
  const open = new Array<number>(numDomains).fill(0);
  for (const [rank, domain] of domains.entries())
    open[domain]! += slotsPerRank?.[rank] ?? numSlots / numRanks;
  const numOpen = open.reduce((sum, slots) => sum + slots, 0);
  const most = Math.min(numExperts, numOpen - numExperts, numOpen - Math.max(...open));
  const count = random() < 0.7 ? most : Math.floor(random() * (most + 1));
  const order = Array.from({ length: numExperts }, (_, expert) => expert)
    .map((expert) => [random(), expert] as const)
    .sort(([a], [b]) => a - b)
    .map(([, expert]) => expert);
  const survivors = new Uint8Array(numExperts);
  for (const expert of order.slice(0, count)) survivors[expert] = 1;
  // Half of the searches go on for as long as they find anything.
  const free = { price: 0, leastGain: 1e-5, maxMoves: numSlots, dealsCopies: true };
  const unlimited = { maxVisits: 1_000_000, maxPasses: 4, maxIdle: 1_000_000, maxEvaluations: 100_000 };
  const isFree = random() < 0.5;
  return { ...problem, ...(isFree ? { ...free, ...unlimited } : {}), numNodes: 1, domains, survivors };
}

test('experts that have to survive have copies in two domains, as many as the slots allow', () => {
  let numTold = 0;
  const property = (problem: AdaptiveProblem): void => {
    const { numExperts, survivors } = problem;
    const { phyToLog, after, before, moves } = runKernel(problem);
    const ranks = openRows(phyToLog, problem);
    assert.equal(new Set(ranks.flat()).size, numExperts);
    assert.ok(!ranks.flat().includes(-1), 'no open slot is empty');
    assert.ok(isClosedEmpty(phyToLog, problem));
    assert.deepEqual(exposedExperts(phyToLog, problem), []);
    assertClose(after, objectiveOf(ranks, problem), 'after');
    assert.equal(moves, movesTo(phyToLog, problem));
    numTold += survivors!.reduce((sum, one) => sum + one, 0);
    const isWhole =
      isValid(problem.previous, problem) && exposedExperts(problem.previous, problem).length === 0;
    if (!isWhole) return;
    assertClose(before, objectiveOf(openRows(problem.previous, problem), problem), 'before');
    assert.ok(moves <= problem.maxMoves, 'a placement that may stay keeps to the limit');
  };
  assertForAll(
    (max) =>
      fc
        .tuple(problemArbitrary(max, { min: 0.5, max: 0.9 }), fc.integer({ min: 2, max: 6 }), fc.integer())
        .map(([problem, numDomains, seed]) => withSurvivors(problem, numDomains, seed)),
    { small: 300, large: 40 },
    property,
  );
  assert.ok(numTold > 600, `${numTold} experts`);
});
