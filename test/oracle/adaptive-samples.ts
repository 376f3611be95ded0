/** The adaptive policy's samples in plain code: see kernels/adaptive-samples.ts. */

const RUN = 4;
const CHANCE = 1.5;

export interface PreparedSamples {
  /** [experts x samples], the number of samples a multiple of 4. */
  samples: Float32Array;
  spread: Float32Array;
  mean: Float64Array;
  likeness: Float64Array;
  weights: Float32Array;
}

/** @param lengths how many steps each of `steps` is the mean of */
export function prepareSamples(
  steps: readonly (readonly number[])[],
  lengths: readonly number[],
  numRanks: number,
  shrink: number,
  prior: number,
): PreparedSamples {
  const numExperts = steps[0]!.length;
  const rows = steps.map((step) => sharesOf(step, numRanks));
  const runs = runsOf(rows, lengths);
  const alike = compareRuns(runs, noiseWithin(rows, lengths, runs));
  const toNewest = rows.map((_, t) => alike[0]![runOf(t, rows.length)]!);
  const likeness = Float64Array.from(lengths, (length, t) => length * toNewest[t]!);
  const roots = Float64Array.from(lengths, (length, t) => length * Math.sqrt(toNewest[t]!));
  const numSamples = Math.ceil(rows.length / 4) * 4;
  const weights = new Float32Array(numSamples);
  weights.set(roots.map((root) => root / total(roots)));

  const centers = runs.map((_, run) => centerOf(runs, alike[run]!));
  const offs = rows.map((row, t) => {
    const center = centers[runOf(t, rows.length)]!;
    return Float32Array.from(row, (value, expert) => value - center[expert]!);
  });
  const own = Array.from({ length: numExperts }, (_, expert) => {
    const squares = offs.map((off, t) => weights[t]! * off[expert]! * off[expert]!);
    return rows.length < 2 ? 0 : (total(squares) * rows.length) / (rows.length - 1);
  });
  const mean = centers[0]!.map((load) => load * (1 - prior) + prior * (numRanks / numExperts));
  const samples = Array.from(mean, (middle, expert) =>
    Array.from({ length: numSamples }, (_, t) => {
      const off = offs[Math.min(t, rows.length - 1)]![expert]!;
      return Math.max(0, middle + (1 - shrink) * off);
    }),
  );
  return {
    samples: Float32Array.from(samples.flat()),
    spread: Float32Array.from(own, (v, expert) => {
      const variance = v * (1 - prior) + (prior * total(own)) / numExperts;
      return 0.5 * (variance + (total(own) / numRanks) * mean[expert]!);
    }),
    mean,
    likeness: likeness.map((share) => share / total(likeness)),
    weights,
  };
}

interface Run {
  readonly size: number;
  readonly mean: Float64Array;
}

function sharesOf(step: readonly number[], numRanks: number): Float32Array {
  const sum = total(step);
  return Float32Array.from(step, (load) => (sum > 0 ? load / sum : 1 / step.length) * numRanks);
}

function runOf(sample: number, numSamples: number): number {
  return Math.floor((numSamples - 1 - sample) / RUN);
}

function runsOf(rows: readonly Float32Array[], lengths: readonly number[]): Run[] {
  return Array.from({ length: Math.ceil(rows.length / RUN) }, (_, run) => {
    const own = [...rows.keys()].filter((t) => runOf(t, rows.length) === run);
    const size = total(own.map((t) => lengths[t]!));
    const mean = Float64Array.from(rows[0]!, (_load, expert) => {
      return total(own.map((t) => lengths[t]! * rows[t]![expert]!)) / size;
    });
    return { size, mean };
  });
}

function noiseWithin(
  rows: readonly Float32Array[],
  lengths: readonly number[],
  runs: readonly Run[],
): number {
  const degrees = rows.length - runs.length;
  if (degrees === 0) return 0;
  const squares = rows.map((row, t) => lengths[t]! * distance(row, runs[runOf(t, rows.length)]!.mean));
  return total(squares) / degrees;
}

function compareRuns(runs: readonly Run[], noise: number): number[][] {
  return runs.map((to, j) =>
    runs.map((from, k) => {
      const [older, newer] = j > k ? [to, from] : [from, to];
      const apart = distance(older.mean, newer.mean) - CHANCE * (noise / older.size + noise / newer.size);
      if (j === k || apart <= 0) return 1;
      return noise / from.size / (noise / from.size + apart);
    }),
  );
}

function centerOf(runs: readonly Run[], alike: readonly number[]): Float64Array {
  const shares = runs.map(({ size }, k) => alike[k]! * size);
  return Float64Array.from(runs[0]!.mean, (_load, expert) => {
    return total(runs.map(({ mean }, k) => shares[k]! * mean[expert]!)) / total(shares);
  });
}

function distance(a: Float32Array | Float64Array, b: Float64Array): number {
  return total(Array.from(a, (load, expert) => (load - b[expert]!) * (load - b[expert]!)));
}

/** One after the other, from 0. */
function total(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
}
