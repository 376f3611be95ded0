// The samples that the adaptive policy plans for. They are themselves a sample of what comes: planned for as
// they are, a placement that is best for these steps is a chance find.
//
// Loads of one domain keep their mean: what steps differ in is mostly the chance of which tokens came. When
// the domain changes, old steps mislead. So runs of steps are compared with the newest run: what is apart by
// more than chance counts less. But domains also pass and come again, and then the mean of all steps is the
// better guess. How much of what runs differ in is gone two runs later tells how far to go by it.
//
// What steps are off the mean of their time is worth as much as the mean: it tells which experts peak
// together, and does so even after a change of domain. docs/notes/adaptive.md has what else was tried.

import { costAt } from './curve';
import { estimateShrinkage } from './noise';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  alikeAt,
  carvePreparation,
  FOUR,
  high,
  low,
  Preparation,
  rowOfRun,
  rowOfStep,
  shareOf,
  sumOfLanes,
} from './preparation';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { AdaptiveTerms } from './terms';

/**
 * Runs this many times as far apart as chance makes them on average are alike: 1 to 3 are the same on
 * recordings, few experts vary more.
 */
const CHANCE: f64 = 1.5;
/** Steps of a run: so many consecutive ones are taken to be of one kind. 8 is the same. */
const RUN: i32 = 4;
/**
 * What differs so many runs later is compared with what does much later. 1, 3 and 4 are 0.002 to 0.004 worse.
 */
const SOON: i32 = 2;
/** Of fewer runs none is much later. */
const LEAST_RUNS: i32 = 3;
/**
 * How much of its variance a copy's load counts as more: (norm - 1) / 2 is 3.5. None loses 0.001 to 0.003, 2
 * is the same.
 */
const SPREAD: f64 = 1;
/** So many times more tokens tell how what slots take grows with them. */
const GROWTH: f32 = 0.125;

/**
 * Scales each step of a layer to a mean rank load of 1, moves it to where the next loads are expected,
 * shrinks it and stores it expert by expert. Steps without load are left out; where none has any, all count
 * as equal loads.
 *
 * @param terms AdaptiveTerms: sizes, steps, stride, their lengths and scratch are read, and these written:
 *
 * - samples f32[numExperts * numSamples]; numSamples is the number of steps made a multiple of 4, with the
 *   newest again
 * - spread f32[numExperts]: what a copy's load counts as more, as its chance variance does not even out with
 * other copies': half the expert's own variance, half what it would be in proportion to its mean
 * - weights f32[numSamples], their sum 1: of the samples in the search; 0 for those that fill up
 * - mean f32[numExperts]: the loads to plan for; middle f32[numExperts]: the same before it is drawn towards
 *   equal loads
 * - likeness f64[numSteps], their sum 1: what each step tells of the loads to come
 * - totalLoad: of all steps
 * - noise: the variance of one step within its run, added up over the experts; numVarying: by how many
 *   experts alike it could be made
 * - numTelling: so many steps of the newest run's kind would tell the middle as well as these do
 * - passing, in [0, 1]: how far the mean of all steps is gone by
 * - forgetting: by how much the loads move on in a step, half the squared distance over all experts
 * - turnover: what loads that pass add to the noise of a step, where its mean over many steps is asked for
 * - shrink, prior and isNoise: see noise.ts
 * - with a curve: tokens, unit and elasticity
 */
export function prepareSamples(terms: usize): void {
  const a = changetype<AdaptiveTerms>(terms);
  const p = carvePreparation(a);
  chooseSteps(a, p);
  scale(a, p);
  estimateShrinkage(a, p);
  averageRuns(p);
  measureNoise(a, p);
  compareRuns(a, p);
  weigh(a, p);
  findCenters(a, p);
  write(a, p);
  measureUnit(a, p);
}

/** Takes the steps that have load, or all. */
export function chooseSteps(a: AdaptiveTerms, p: Preparation): void {
  p.numSteps = 0;
  a.totalLoad = 0;
  for (let i = 0; i < a.numSteps; i++) {
    const row = a.steps + <usize>i * a.stride;
    const sum = sumOfStep(row, a.numExperts);
    a.totalLoad += sum;
    if (sum > 0) keepStep(a, p, i, sum);
  }
  if (p.numSteps === 0) for (let i = 0; i < a.numSteps; i++) keepStep(a, p, i, 0);
  a.numSamples = (p.numSteps + 3) & ~3;
  divideIntoRuns(a, p);
}

/** Runs of RUN samples each: of single steps, and of what is joined before them. */
function divideIntoRuns(a: AdaptiveTerms, p: Preparation): void {
  const firstSingle = a.numSteps - a.numSingles;
  let numSingles = 0;
  while (numSingles < p.numSteps && stepAt(p, p.numSteps - 1 - numSingles) >= firstSingle) numSingles++;
  p.numRecent = numSingles > 0 ? numSingles : p.numSteps;
  p.numRecentRuns = (p.numRecent + RUN - 1) / RUN;
  p.numRuns = p.numRecentRuns + (p.numSteps - p.numRecent + RUN - 1) / RUN;
}

/** Which of all steps one of those that are kept is. */
function stepAt(p: Preparation, step: i32): i32 {
  return load<i32>(p.kept + ((<usize>step) << 2));
}

function sumOfStep(row: usize, n: i32): f64 {
  let sums = f64x2.splat(0);
  let at = row;
  for (const end = row + ((<usize>(n & ~1)) << 2); at < end; at += 8) {
    sums = f64x2.add(sums, f64x2.promote_low_f32x4(v128.load64_zero(at)));
  }
  const last: f64 = (n & 1) === 0 ? 0 : <f64>load<f32>(at);
  return f64x2.extract_lane(sums, 0) + last + f64x2.extract_lane(sums, 1);
}

function keepStep(a: AdaptiveTerms, p: Preparation, step: i32, total: f64): void {
  store<i32>(p.kept + ((<usize>p.numSteps) << 2), step);
  store<f64>(p.totals + ((<usize>p.numSteps) << 3), total);
  store<f64>(p.lengths + ((<usize>p.numSteps) << 3), lengthOf(a, step));
  p.numSteps++;
}

/** How many steps one of all steps is the mean of. */
function lengthOf(a: AdaptiveTerms, step: i32): f64 {
  const newestJoined = a.numSteps - a.numSingles - 1;
  if (step > newestJoined) return 1;
  return step === newestJoined ? a.newestLength : a.stepLength;
}

/** Shares of the mean rank load, step by step. */
export function scale(a: AdaptiveTerms, p: Preparation): void {
  const equal = <f32>(<f64>a.numRanks / <f64>a.numExperts);
  const whole = a.numExperts & ~3;
  for (let t = 0; t < p.numSteps; t++) {
    const from = a.steps + <usize>load<i32>(p.kept + ((<usize>t) << 2)) * a.stride;
    const to = rowOfStep(p, t);
    const total = load<f64>(p.totals + ((<usize>t) << 3));
    const factor = <f64>a.numRanks / total;
    const factors = f64x2.splat(factor);
    let e = 0;
    if (total > 0) {
      for (; e < whole; e += 4) {
        const x = v128.load(from + ((<usize>e) << 2));
        const first = f32x4.demote_f64x2_zero(f64x2.mul(low(x), factors));
        const second = f32x4.demote_f64x2_zero(f64x2.mul(high(x), factors));
        v128.store(to + ((<usize>e) << 2), v128.shuffle<f32>(first, second, 0, 1, 4, 5));
      }
    }
    for (; e < p.width; e++) {
      const at = (<usize>e) << 2;
      if (e >= a.numExperts) store<f32>(to + at, 0);
      else store<f32>(to + at, total > 0 ? <f32>(<f64>load<f32>(from + at) * factor) : equal);
    }
  }
}

/** The run of a step: they are numbered from the newest on. The oldest of either kind may be short. */
function runOf(p: Preparation, step: i32): i32 {
  const age = p.numSteps - 1 - step;
  return age < p.numRecent ? age / RUN : p.numRecentRuns + (age - p.numRecent) / RUN;
}

/** The mean of each run, and of how many steps it is. */
export function averageRuns(p: Preparation): void {
  memory.fill(p.sizes, 0, (<usize>p.numRuns) << 3);
  memory.fill(p.runMeans, 0, (<usize>(p.numRuns * p.width)) << 3);
  for (let t = 0; t < p.numSteps; t++) {
    const run = runOf(p, t);
    const length = load<f64>(p.lengths + ((<usize>t) << 3));
    const size = p.sizes + ((<usize>run) << 3);
    store<f64>(size, load<f64>(size) + length);
    addScaled(rowOfStep(p, t), length, rowOfRun(p, p.runMeans, run), p.width);
  }
  let age: f64 = 0;
  for (let run = 0; run < p.numRuns; run++) {
    const length = sizeOf(p, run);
    store<f64>(p.ages + ((<usize>run) << 3), age + length / 2);
    age += length;
    const size = f64x2.splat(length);
    const row = rowOfRun(p, p.runMeans, run);
    for (let at: usize = 0, end = (<usize>p.width) << 3; at < end; at += 16) {
      v128.store(row + at, f64x2.div(v128.load(row + at), size));
    }
  }
}

/** Steps of a run. */
function sizeOf(p: Preparation, run: i32): f64 {
  return load<f64>(p.sizes + ((<usize>run) << 3));
}

/** to f64[n] += factor * from f32[n] */
function addScaled(from: usize, factor: f64, to: usize, n: i32): void {
  const factors = f64x2.splat(factor);
  for (const end = from + ((<usize>n) << 2); from < end; from += 16) {
    const x = v128.load(from);
    v128.store(to, f64x2.add(v128.load(to), f64x2.mul(factors, low(x))));
    v128.store(to, f64x2.add(v128.load(to, 16), f64x2.mul(factors, high(x))), 16);
    to += 32;
  }
}

/**
 * Finds the variance of one step within its run, 0 when no recent run has two steps, and how many experts it
 * is spread over. Loads drift within runs of joined steps: that is no noise.
 */
export function measureNoise(a: AdaptiveTerms, p: Preparation): void {
  const degrees = p.numRecent - p.numRecentRuns;
  const oldest = p.numSteps - p.numRecent;
  a.noise = 0;
  a.numVarying = 1;
  if (degrees === 0) return;
  let sum0 = f64x2.splat(0);
  let sum1 = f64x2.splat(0);
  let squares0 = f64x2.splat(0);
  let squares1 = f64x2.splat(0);
  for (let e = 0; e < p.width; e += FOUR) {
    let own0 = f64x2.splat(0);
    let own1 = f64x2.splat(0);
    for (let t = oldest; t < p.numSteps; t++) {
      const x = v128.load(rowOfStep(p, t) + ((<usize>e) << 2));
      const mean = rowOfRun(p, p.runMeans, runOf(p, t)) + ((<usize>e) << 3);
      const length = f64x2.splat(load<f64>(p.lengths + ((<usize>t) << 3)));
      const off0 = f64x2.sub(low(x), v128.load(mean));
      const off1 = f64x2.sub(high(x), v128.load(mean, 16));
      own0 = f64x2.add(own0, f64x2.mul(length, f64x2.mul(off0, off0)));
      own1 = f64x2.add(own1, f64x2.mul(length, f64x2.mul(off1, off1)));
    }
    sum0 = f64x2.add(sum0, own0);
    sum1 = f64x2.add(sum1, own1);
    squares0 = f64x2.add(squares0, f64x2.mul(own0, own0));
    squares1 = f64x2.add(squares1, f64x2.mul(own1, own1));
  }
  const sum = sumOfLanes(sum0, sum1);
  const squares = sumOfLanes(squares0, squares1);
  a.noise = sum / <f64>degrees;
  if (squares > 0) a.numVarying = (sum * sum) / squares;
}

/**
 * Finds how much a step of run k tells of run j, f64[runs * runs] in [0, 1]: the variance of k's mean by its
 * own noise, as a share of its whole distance from j's true mean. So the best weights of estimates that are
 * off by known amounts. And by how much, beyond noise, recent runs differ that are so many runs apart. What
 * does not pass stays: so much the loads move on in a step, `forgetting`. What passes is drawn anew every
 * SOON runs: `turnover` is the variance of steps drawn each on its own whose mean is as far off.
 */
function compareRuns(a: AdaptiveTerms, p: Preparation): void {
  const recent = p.numRecentRuns;
  const soon = min(SOON, recent >> 1);
  const far = max(soon, (recent + 1) >> 1);
  const longAgo = stepsOf(p, p.numRuns) / 2;
  let apartSoon: f64 = 0;
  let apartFar: f64 = 0;
  let numFar = 0;
  let farGaps = 0;
  let apartLong: f64 = 0;
  let numLong = 0;
  for (let j = 0; j < p.numRuns; j++) {
    store<f64>(alikeAt(p, j, j), 1);
    for (let k = 0; k < j; k++) {
      const real = compare(a, p, j, k);
      if (ageOf(p, j) - ageOf(p, k) >= longAgo) {
        apartLong += real;
        numLong++;
      }
      if (j >= recent) continue;
      if (j - k === soon) apartSoon += real;
      if (j - k >= far) {
        apartFar += real;
        numFar++;
        farGaps += j - k;
      }
    }
  }
  apartFar = max<f64>(0, apartFar);
  const meanSoon = max<f64>(0, apartSoon / <f64>(recent - soon));
  const meanFar = apartFar / <f64>max(numFar, 1);
  a.passing = recent < LEAST_RUNS ? 0 : passingOf(meanSoon, meanFar);
  const stepsPerSample = stepsOf(p, recent) / <f64>p.numRecent;
  const farSteps = <f64>(farGaps * RUN) * stepsPerSample;
  a.forgetting = farGaps === 0 ? 0 : ((1 - a.passing) * apartFar) / (2 * farSteps);
  const visit = <f64>(SOON * RUN) * stepsPerSample;
  a.turnover =
    numFar === 0 ? 0 : (passingBeyondDrift(a, soon, farGaps, numFar) * apartFar * visit) / <f64>(2 * numFar);
  // What differs more from what was long before than recent runs do has not passed.
  const meanLong = apartLong / <f64>max(numLong, 1);
  if (p.numRuns > recent && recent >= LEAST_RUNS) a.passing = passingOf(meanSoon, max(meanFar, meanLong));
}

/** What differs soon, as a share of what differs much later: so much of it passes. */
function passingOf(soon: f64, late: f64): f64 {
  return late > 0 ? min<f64>(1, soon / late) : 1;
}

/** Stores what two runs tell of each other. @returns how far apart they are beyond noise, squared */
function compare(a: AdaptiveTerms, p: Preparation, j: i32, k: i32): f64 {
  const noiseOfJ = a.noise / sizeOf(p, j);
  const noiseOfK = a.noise / sizeOf(p, k);
  const distance = distanceOf(p, j, k);
  const apart = distance - CHANCE * (noiseOfJ + noiseOfK);
  store<f64>(alikeAt(p, j, k), apart > 0 ? noiseOfK / (noiseOfK + apart) : 1);
  store<f64>(alikeAt(p, k, j), apart > 0 ? noiseOfJ / (noiseOfJ + apart) : 1);
  return distance - (noiseOfJ + noiseOfK);
}

/** Of a run: from its middle to the end of the newest step. */
function ageOf(p: Preparation, run: i32): f64 {
  return load<f64>(p.ages + ((<usize>run) << 3));
}

/** Steps of the newest `numRuns` runs. */
function stepsOf(p: Preparation, numRuns: i32): f64 {
  let steps: f64 = 0;
  for (let run = 0; run < numRuns; run++) steps += sizeOf(p, run);
  return steps;
}

/** What passes beyond drift: loads that only move on differ by more the longer they are apart. */
function passingBeyondDrift(a: AdaptiveTerms, soon: i32, farGaps: i32, numFar: i32): f64 {
  const ofDrift = <f64>(soon * numFar) / <f64>farGaps;
  return ofDrift < 1 ? max<f64>(0, (a.passing - ofDrift) / (1 - ofDrift)) : 0;
}

function distanceOf(p: Preparation, j: i32, k: i32): f64 {
  const inJ = rowOfRun(p, p.runMeans, j);
  const inK = rowOfRun(p, p.runMeans, k);
  let sum0 = f64x2.splat(0);
  let sum1 = f64x2.splat(0);
  for (let at: usize = 0, end = (<usize>p.width) << 3; at < end; at += 32) {
    const off0 = f64x2.sub(v128.load(inJ + at), v128.load(inK + at));
    const off1 = f64x2.sub(v128.load(inJ + at, 16), v128.load(inK + at, 16));
    sum0 = f64x2.add(sum0, f64x2.mul(off0, off0));
    sum1 = f64x2.add(sum1, f64x2.mul(off1, off1));
  }
  return sumOfLanes(sum0, sum1);
}

/** Weighs each step by how like its run is to the newest; of its deviations the root counts. */
function weigh(a: AdaptiveTerms, p: Preparation): void {
  let total: f64 = 0;
  let sum: f64 = 0;
  let sumOfRoots: f64 = 0;
  for (let t = 0; t < p.numSteps; t++) {
    const length = load<f64>(p.lengths + ((<usize>t) << 3));
    const alike = load<f64>(p.alike + ((<usize>runOf(p, t)) << 3));
    total += length;
    sum += length * alike;
    sumOfRoots += length * Math.sqrt(alike);
  }
  memory.fill(a.likeness, 0, (<usize>a.numSteps) << 3);
  memory.fill(a.weights, 0, (<usize>a.numSamples) << 2);
  for (let t = 0; t < p.numSteps; t++) {
    const length = load<f64>(p.lengths + ((<usize>t) << 3));
    const alike = load<f64>(p.alike + ((<usize>runOf(p, t)) << 3));
    const even = (a.passing * length) / total;
    const likeness = a.likeness + ((<usize>load<i32>(p.kept + ((<usize>t) << 2))) << 3);
    store<f64>(likeness, even + ((1 - a.passing) * length * alike) / sum);
    const weight = even + ((1 - a.passing) * length * Math.sqrt(alike)) / sumOfRoots;
    store<f32>(a.weights + ((<usize>t) << 2), <f32>weight);
  }
  a.numTelling = a.passing * total + (1 - a.passing) * sum;
}

/**
 * Where the loads of each run were to be expected: the mean of the runs that it is like, blended with that of
 * all.
 */
function findCenters(a: AdaptiveTerms, p: Preparation): void {
  const numRuns = p.numRuns;
  let total: f64 = 0;
  for (let k = 0; k < numRuns; k++) total += load<f64>(p.sizes + ((<usize>k) << 3));
  const shares = p.runShares;
  for (let run = 0; run < numRuns; run++) {
    let size: f64 = 0;
    for (let k = 0; k < numRuns; k++) size += shareOf(p, run, k);
    for (let k = 0; k < numRuns; k++) {
      const even = (a.passing * load<f64>(p.sizes + ((<usize>k) << 3))) / total;
      store<f64>(shares + ((<usize>k) << 3), even + ((1 - a.passing) * shareOf(p, run, k)) / size);
    }
    blendRuns(p, shares, rowOfRun(p, p.centers, run));
  }
}

/** to f64[width] = the rows of all runs, each by its share. */
function blendRuns(p: Preparation, shares: usize, to: usize): void {
  const stride = (<usize>p.width) << 3;
  const end = shares + ((<usize>p.numRuns) << 3);
  for (let at: usize = 0; at < stride; at += 32) {
    let sum0 = f64x2.splat(0);
    let sum1 = f64x2.splat(0);
    let from = p.runMeans + at;
    for (let share = shares; share < end; share += 8) {
      const factors = v128.load64_splat(share);
      sum0 = f64x2.add(sum0, f64x2.mul(factors, v128.load(from)));
      sum1 = f64x2.add(sum1, f64x2.mul(factors, v128.load(from, 16)));
      from += stride;
    }
    v128.store(to + at, sum0);
    v128.store(to + at, sum1, 16);
  }
}

/** Writes the samples, their mean and what they spread. */
function write(a: AdaptiveTerms, p: Preparation): void {
  measureVariances(a, p);
  const equal = <f64>a.numRanks / <f64>a.numExperts;
  for (let e = 0; e < a.numExperts; e++) {
    const at = (<usize>e) << 2;
    const center = load<f64>(p.centers + 2 * at);
    const variance =
      load<f64>(p.variances + 2 * at) * (1 - a.prior) + (a.prior * p.variance) / <f64>a.numExperts;
    const middle = center * (1 - a.prior) + a.prior * equal;
    store<f32>(a.middle + at, <f32>center);
    store<f32>(a.mean + at, <f32>middle);
    store<f32>(a.spread + at, <f32>(SPREAD * 0.5 * (variance + (p.variance / <f64>a.numRanks) * middle)));
    store<f64>(p.variances + 2 * at, middle);
  }
  for (let t = 0; t < a.numSamples; t += 4) writeFour(a, p, t);
}

/** Writes four samples, side by side; the newest step again in place of those that there are not. */
function writeFour(a: AdaptiveTerms, p: Preparation, t: i32): void {
  const last = p.numSteps - 1;
  const step0 = rowOfStep(p, min(t, last));
  const step1 = rowOfStep(p, min(t + 1, last));
  const step2 = rowOfStep(p, min(t + 2, last));
  const step3 = rowOfStep(p, min(t + 3, last));
  const center0 = centerOf(p, min(t, last));
  const center1 = centerOf(p, min(t + 1, last));
  const center2 = centerOf(p, min(t + 2, last));
  const center3 = centerOf(p, min(t + 3, last));
  const rest = f64x2.splat(1 - a.shrink);
  const rowBytes = (<usize>a.numSamples) << 2;
  let to = a.samples + ((<usize>t) << 2);
  for (let e = 0; e < a.numExperts; e += 2) {
    const at = (<usize>e) << 2;
    const middles = v128.load(p.variances + 2 * at);
    const sample0 = sampleOf(step0 + at, center0 + 2 * at, middles, rest);
    const sample1 = sampleOf(step1 + at, center1 + 2 * at, middles, rest);
    const sample2 = sampleOf(step2 + at, center2 + 2 * at, middles, rest);
    const sample3 = sampleOf(step3 + at, center3 + 2 * at, middles, rest);
    const early = v128.shuffle<f32>(sample0, sample1, 0, 4, 1, 5);
    const late = v128.shuffle<f32>(sample2, sample3, 0, 4, 1, 5);
    v128.store(to, v128.shuffle<u64>(early, late, 0, 2));
    if (e + 1 < a.numExperts) v128.store(to + rowBytes, v128.shuffle<u64>(early, late, 1, 3));
    to += 2 * rowBytes;
  }
}

function centerOf(p: Preparation, step: i32): usize {
  return rowOfRun(p, p.centers, runOf(p, step));
}

/** What a step's two experts are written as: f32, in the first two lanes. */
function sampleOf(step: usize, center: usize, middles: v128, rest: v128): v128 {
  const off = f64x2.sub(f64x2.promote_low_f32x4(v128.load64_zero(step)), v128.load(center));
  return f32x4.demote_f64x2_zero(f64x2.pmax(f64x2.splat(0), f64x2.add(middles, f64x2.mul(rest, off))));
}

/** What the slots of a rank take in the mean, and by what share of the tokens' growth that grows. */
function measureUnit(a: AdaptiveTerms, p: Preparation): void {
  a.unit = 1;
  a.elasticity = 1;
  if (a.curve === 0) return;
  for (let t = 0; t < a.numSamples; t++) {
    const total = load<f64>(p.totals + ((<usize>min(t, p.numSteps - 1)) << 3));
    store<f32>(a.tokens + ((<usize>t) << 2), <f32>(total / <f64>a.numRanks));
  }
  const unit = meanOfRanks(a, 1);
  if (!(unit > 0)) return;
  a.unit = unit;
  a.elasticity = (meanOfRanks(a, 1 + GROWTH) / unit - 1) / <f64>GROWTH;
}

/** What the slots of a rank take in the mean over ranks and samples, were there so many times the tokens. */
function meanOfRanks(a: AdaptiveTerms, times: f32): f64 {
  let sum: f64 = 0;
  let sample = a.samples;
  for (let e = 0; e < a.numExperts; e++) {
    for (let t: usize = 0, end = (<usize>a.numSamples) << 2; t < end; t += 4) {
      const tokens = load<f32>(sample + t) * load<f32>(a.tokens + t) * times;
      sum += <f64>load<f32>(a.weights + t) * <f64>costAt(a.curve, tokens);
    }
    sample += (<usize>a.numSamples) << 2;
  }
  return sum / <f64>a.numRanks;
}

/** Of what steps are off their centers, f64[width]; 0 for a single step. Their sum is `variance`. */
function measureVariances(a: AdaptiveTerms, p: Preparation): void {
  p.variance = 0;
  memory.fill(p.variances, 0, (<usize>p.width) << 3);
  if (p.numSteps < 2) return;
  const factor = f64x2.splat(<f64>p.numSteps / <f64>(p.numSteps - 1));
  let all0 = f64x2.splat(0);
  let all1 = f64x2.splat(0);
  for (let e = 0; e < p.width; e += FOUR) {
    let own0 = f64x2.splat(0);
    let own1 = f64x2.splat(0);
    for (let t = 0; t < p.numSteps; t++) {
      const x = v128.load(rowOfStep(p, t) + ((<usize>e) << 2));
      const center = rowOfRun(p, p.centers, runOf(p, t)) + ((<usize>e) << 3);
      const weight = f64x2.splat(<f64>load<f32>(a.weights + ((<usize>t) << 2)));
      const off0 = f64x2.sub(low(x), v128.load(center));
      const off1 = f64x2.sub(high(x), v128.load(center, 16));
      own0 = f64x2.add(own0, f64x2.mul(weight, f64x2.mul(off0, off0)));
      own1 = f64x2.add(own1, f64x2.mul(weight, f64x2.mul(off1, off1)));
    }
    own0 = f64x2.mul(own0, factor);
    own1 = f64x2.mul(own1, factor);
    v128.store(p.variances + ((<usize>e) << 3), own0);
    v128.store(p.variances + ((<usize>e) << 3), own1, 16);
    all0 = f64x2.add(all0, own0);
    all1 = f64x2.add(all1, own1);
  }
  p.variance = sumOfLanes(all0, all1);
}
