/** The adaptive policy's samples in plain code: see kernels/adaptive/samples.ts and noise.ts. */

const RUN = 4;
const CHANCE = 1.5;
const MOST_SHRINK = 0.15;

export interface PreparedSamples {
  /** [experts x samples], the number of samples a multiple of 4. */
  samples: Float32Array;
  spread: Float32Array;
  mean: Float32Array;
  middle: Float32Array;
  likeness: Float64Array;
  weights: Float32Array;
  noise: number;
  numTelling: number;
  numVarying: number;
  passing: number;
  forgetting: number;
  turnover: number;
  shrink: number;
  prior: number;
  isNoise: boolean;
  totalLoad: number;
}

/**
 * @param lengths how many steps each of `steps` is the mean of
 * @param numSingles how many of the newest are single steps, in runs of their own
 */
export function prepareSamples(
  steps: readonly (readonly number[])[],
  lengths: readonly number[],
  numRanks: number,
  numSingles = 0,
): PreparedSamples {
  const numExperts = steps[0]!.length;
  const all = steps.map((step, chosen) => ({
    step,
    chosen,
    length: lengths[chosen]!,
    total: evenAndOdd(step),
  }));
  const loaded = all.filter(({ total }) => total > 0);
  const kept = loaded.length > 0 ? loaded : all;
  const rows = kept.map(({ step, total }) => sharesOf(step, total, numRanks));
  const sizes = kept.map(({ length }) => length);
  const { shrink, prior, isNoise } =
    loaded.length > 0 ? shrinkageOf(rows, kept, numRanks) : { shrink: 0, prior: 0, isNoise: false };
  const keptSingles = kept.filter(({ chosen }) => chosen >= steps.length - numSingles).length;
  const numRecent = keptSingles > 0 ? keptSingles : kept.length;
  const runOf = (t: number) => runOfAge(rows.length - 1 - t, numRecent);
  const runs = runsOf(rows, sizes, runOf);
  const recent = runs.slice(0, Math.ceil(numRecent / RUN));
  const { noise, numVarying } = noiseWithin(rows.slice(-numRecent), sizes.slice(-numRecent), recent);
  const alike = compareRuns(runs, noise);
  const passingOfRecent = passingOf(recent, noise, 0);
  const passing =
    recent.length < runs.length ? passingOf(recent, noise, longApart(runs, noise)) : passingOfRecent;
  const stepsPerSample = sum(recent.map(({ size }) => size)) / numRecent;
  const { apart, gaps, pairs } = farApart(recent, noise);
  const forgetting =
    gaps === 0 ? 0 : ((1 - passingOfRecent) * Math.max(0, apart)) / (2 * (4 * gaps * stepsPerSample));
  const soon = Math.min(2, Math.floor(recent.length / 2));
  const ofDrift = (soon * pairs) / gaps;
  const beyondDrift = ofDrift < 1 ? Math.max(0, (passingOfRecent - ofDrift) / (1 - ofDrift)) : 0;
  const turnover =
    pairs === 0 ? 0 : (beyondDrift * Math.max(0, apart) * (2 * 4 * stepsPerSample)) / (2 * pairs);

  const toNewest = rows.map((_, t) => alike[0]![runOf(t)]!);
  const total = sum(sizes);
  const sumOfLikes = sum(sizes.map((size, t) => size * toNewest[t]!));
  const sumOfRoots = sum(sizes.map((size, t) => size * Math.sqrt(toNewest[t]!)));
  const numSamples = Math.ceil(rows.length / 4) * 4;
  const likeness = new Float64Array(steps.length);
  const weights = new Float32Array(numSamples);
  for (const [t, { chosen, length }] of kept.entries()) {
    const even = (passing * length) / total;
    likeness[chosen] = even + ((1 - passing) * length * toNewest[t]!) / sumOfLikes;
    weights[t] = even + ((1 - passing) * length * Math.sqrt(toNewest[t]!)) / sumOfRoots;
  }

  const centers = runs.map((_, run) => centerOf(runs, alike[run]!, passing));
  const offs = rows.map((row, t) => {
    const center = centers[runOf(t)]!;
    return Array.from(row, (value, expert) => value - center[expert]!);
  });
  const variances = Array.from({ length: numExperts }, (_, expert) => {
    if (rows.length < 2) return 0;
    const squares = offs.map((off, t) => weights[t]! * (off[expert]! * off[expert]!));
    return sum(squares) * (rows.length / (rows.length - 1));
  });
  const variance = inLanes(variances);
  const means = Array.from(centers[0]!, (center) => center * (1 - prior) + prior * (numRanks / numExperts));
  const samples = means.map((mean, expert) =>
    Array.from({ length: numSamples }, (_, t) => {
      return Math.max(0, mean + (1 - shrink) * offs[Math.min(t, rows.length - 1)]![expert]!);
    }),
  );
  return {
    samples: Float32Array.from(samples.flat()),
    spread: Float32Array.from(variances, (own, expert) => {
      const drawn = own * (1 - prior) + (prior * variance) / numExperts;
      return 0.5 * (drawn + (variance / numRanks) * means[expert]!);
    }),
    mean: Float32Array.from(means),
    middle: Float32Array.from(centers[0]!),
    likeness,
    weights,
    noise,
    numTelling: passing * total + (1 - passing) * sumOfLikes,
    numVarying,
    passing,
    forgetting,
    turnover,
    shrink,
    prior,
    isNoise,
    totalLoad: sum(all.map(({ total: load }) => load)),
  };
}

interface Run {
  readonly size: number;
  readonly mean: readonly number[];
}

interface Shrinkage {
  readonly shrink: number;
  readonly prior: number;
  readonly isNoise: boolean;
}

function shrinkageOf(
  rows: readonly Float32Array[],
  kept: readonly { readonly total: number; readonly length: number }[],
  numRanks: number,
): Shrinkage {
  const n = rows.length;
  const numExperts = rows[0]!.length;
  if (n < 2 || numExperts < 2) return { shrink: 0, prior: 0, isNoise: false };
  const own = kept.map(({ total, length }) => 1 / (total * length));
  const inverse = sum(own.map((variance) => variance / n));
  const squaredInverse = sum(own.map((variance) => (variance * variance) / n));
  const means = Array.from(rows[0]!, (_, expert) => sum(rows.map((row) => row[expert]!)) / n);
  // Each of its lanes is one sum, over one expert's steps after another's.
  const squares = means.flatMap((mean, expert) =>
    rows.map((row) => ({ lane: expert % 4, value: (row[expert]! - mean) ** 2 })),
  );
  const lanes = [0, 1, 2, 3].map((lane) =>
    sum(squares.filter((one) => one.lane === lane).map((one) => one.value)),
  );
  const spread = (lanes[0]! + lanes[2]! + (lanes[1]! + lanes[3]!)) / (numRanks * numRanks * (n - 1));
  const shares = means.map((mean) => mean / numRanks);
  const chance = inLanes(shares.map((share) => share * (1 - share))) * inverse;
  const between = inLanes(shares.map((share) => (share - 1 / numExperts) ** 2));
  const ofMean = spread / n;
  const dispersion = spread / chance;
  const degrees = ((inverse * inverse) / squaredInverse) * (n - 1) * (numExperts - 1);
  const isChance = dispersion > Math.min(0.5, byChance(degrees, -4)) && dispersion < byChance(degrees, 4);
  const ofChance = Math.max(spread, chance) / n;
  const isNoise =
    isChance && (between * numExperts) / (numExperts - 1) < ofChance * byChance(numExperts - 1, 4);
  return {
    shrink: isNoise ? 1 : spread > 0 ? Math.min(MOST_SHRINK, chance / spread) : 0,
    prior: isNoise ? 1 : between > 0 ? Math.min(1, ofMean / between) : 0,
    isNoise,
  };
}

function byChance(degrees: number, errors: number): number {
  const width = 2 / (9 * degrees);
  const root = 1 - width + errors * Math.sqrt(width);
  return root * root * root;
}

function sharesOf(step: readonly number[], total: number, numRanks: number): Float32Array {
  const factor = numRanks / total;
  return Float32Array.from(step, (load) => (total > 0 ? load * factor : numRanks / step.length));
}

/** Runs of recent samples, and of those before them. */
function runOfAge(age: number, numRecent: number): number {
  if (age < numRecent) return Math.floor(age / RUN);
  return Math.ceil(numRecent / RUN) + Math.floor((age - numRecent) / RUN);
}

function runsOf(
  rows: readonly Float32Array[],
  lengths: readonly number[],
  runOf: (t: number) => number,
): Run[] {
  return Array.from({ length: runOf(0) + 1 }, (_, run) => {
    const own = [...rows.keys()].filter((t) => runOf(t) === run);
    const size = sum(own.map((t) => lengths[t]!));
    const mean = Array.from(rows[0]!, (_load, expert) => {
      return sum(own.map((t) => lengths[t]! * rows[t]![expert]!)) / size;
    });
    return { size, mean };
  });
}

function noiseWithin(
  rows: readonly Float32Array[],
  lengths: readonly number[],
  runs: readonly Run[],
): { noise: number; numVarying: number } {
  const runOf = (t: number) => runOfAge(rows.length - 1 - t, rows.length);
  const degrees = rows.length - runs.length;
  if (degrees === 0) return { noise: 0, numVarying: 1 };
  const own = Array.from(rows[0]!, (_, expert) =>
    sum(
      rows.map((row, t) => {
        const off = row[expert]! - runs[runOf(t)]!.mean[expert]!;
        return lengths[t]! * (off * off);
      }),
    ),
  );
  const all = inLanes(own);
  const squares = inLanes(own.map((value) => value * value));
  return { noise: all / degrees, numVarying: squares > 0 ? (all * all) / squares : 1 };
}

function compareRuns(runs: readonly Run[], noise: number): number[][] {
  return runs.map((to, j) =>
    runs.map((from, k) => {
      const [older, newer] = j > k ? [to, from] : [from, to];
      const apart = distance(older, newer) - CHANCE * (noise / older.size + noise / newer.size);
      if (j === k || !(apart > 0)) return 1;
      return noise / from.size / (noise / from.size + apart);
    }),
  );
}

/**
 * How much of what runs differ in is gone two runs later: by the mean of how far runs are apart, without
 * their noise.
 *
 * @param longAgo how far runs are apart that are long apart, if that is more
 */
function passingOf(runs: readonly Run[], noise: number, longAgo: number): number {
  const n = runs.length;
  if (n < 3) return 0;
  const soon = Math.min(2, Math.floor(n / 2));
  const far = Math.max(soon, Math.ceil(n / 2));
  const apart = runs.flatMap((older, j) =>
    runs.slice(0, j).map((newer, k) => ({
      gap: j - k,
      value: distance(older, newer) - (noise / older.size + noise / newer.size),
    })),
  );
  const ofSoon = apart.filter(({ gap }) => gap === soon).map(({ value }) => value);
  const ofFar = apart.filter(({ gap }) => gap >= far).map(({ value }) => value);
  const late = Math.max(Math.max(0, sum(ofFar)) / ofFar.length, longAgo);
  return late > 0 ? Math.min(1, Math.max(0, sum(ofSoon) / ofSoon.length) / late) : 1;
}

/** How far runs are apart, beyond noise, whose middles are half of all steps apart and more. */
function longApart(runs: readonly Run[], noise: number): number {
  const all = sum(runs.map(({ size }) => size));
  const ages = runs.map(({ size }, run) => sum(runs.slice(0, run).map((newer) => newer.size)) + size / 2);
  const apart = runs.flatMap((older, j) =>
    runs
      .slice(0, j)
      .map((newer, k) => ({
        gap: ages[j]! - ages[k]!,
        value: distance(older, newer) - (noise / older.size + noise / newer.size),
      }))
      .filter(({ gap }) => gap >= all / 2)
      .map(({ value }) => value),
  );
  return apart.length === 0 ? 0 : sum(apart) / apart.length;
}

/** By how much all runs that are far apart differ, without their noise, and by how many runs. */
function farApart(runs: readonly Run[], noise: number): { apart: number; gaps: number; pairs: number } {
  const n = runs.length;
  const far = Math.max(Math.min(2, Math.floor(n / 2)), Math.ceil(n / 2));
  let apart = 0;
  let gaps = 0;
  let pairs = 0;
  for (const [j, older] of runs.entries()) {
    for (const [k, newer] of runs.slice(0, j).entries()) {
      if (j - k < far) continue;
      apart += distance(older, newer) - (noise / older.size + noise / newer.size);
      gaps += j - k;
      pairs++;
    }
  }
  return { apart, gaps, pairs };
}

function centerOf(runs: readonly Run[], alike: readonly number[], passing: number): number[] {
  const shares = runs.map(({ size }, k) => alike[k]! * size);
  const all = sum(shares);
  const total = sum(runs.map(({ size }) => size));
  const factors = runs.map(({ size }, k) => (passing * size) / total + ((1 - passing) * shares[k]!) / all);
  return runs[0]!.mean.map((_, expert) => sum(runs.map(({ mean }, k) => factors[k]! * mean[expert]!)));
}

function distance(a: Run, b: Run): number {
  return inLanes(a.mean.map((load, expert) => (load - b.mean[expert]!) * (load - b.mean[expert]!)));
}

/** One after the other, from 0. */
function sum(values: readonly number[]): number {
  let all = 0;
  for (const value of values) all += value;
  return all;
}

/** As the kernel's vectors add up: the sums of every fourth value, added up at the end. */
function inLanes(values: readonly number[]): number {
  const lanes = [0, 0, 0, 0];
  for (const [i, value] of values.entries()) lanes[i % 4]! += value;
  return lanes[0]! + lanes[2]! + (lanes[1]! + lanes[3]!);
}

function evenAndOdd(values: readonly number[]): number {
  const sums = [0, 0];
  for (const [i, value] of values.entries()) sums[i % 2]! += value;
  return sums[0]! + sums[1]!;
}
