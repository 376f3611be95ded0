// The working space of samples.ts: the steps of a layer side by side, in vectors over experts. A sum over
// experts is four sums, of every fourth one, that are added up at the end.

import { place } from './layout';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { AdaptiveTerms } from './terms';

/** Experts of a vector pair. */
export const FOUR: i32 = 4;

/**
 * A view on scratch memory, never allocated. All pointers are byte offsets; `width` is numExperts made a
 * multiple of 4.
 */
export class Preparation {
  width: i32;
  numSteps: i32;
  numRuns: i32;
  /** Samples that are recent, and their runs: single steps, or all where none is. */
  numRecent: i32;
  numRecentRuns: i32;
  /** The variances of all experts, added up. */
  variance: f64;
  /** i32[numSteps]: which of the steps it is. */
  kept: usize;
  /** f64[numSteps] each: its load, and how many steps it is the mean of. */
  totals: usize;
  lengths: usize;
  /** f32[numSteps * width]: shares of the mean rank load. */
  shares: usize;
  /**
   * f64[numRuns] each: steps of a run, joined ones counted as all they are the mean of; and from its middle
   * to the newest step's end.
   */
  sizes: usize;
  ages: usize;
  /** f64[numRuns * width], both: the means of runs, and where their steps were to be expected. */
  runMeans: usize;
  centers: usize;
  /** f64[numRuns * numRuns]: see compareRuns. */
  alike: usize;
  /** f64[numRuns]: what each run counts for the center of one of them. */
  runShares: usize;
  /** f64[width] */
  variances: usize;
}

/** Lays the working space out; with no memory, 0, it only tells how many bytes that takes. */
export function placePreparation(p: usize, numExperts: i32, maxSteps: i32): usize {
  const steps = <usize>maxSteps;
  // Single steps and joined ones before them both may have a short one.
  const runs = ((steps + 3) >> 2) + 1;
  const width = (<usize>numExperts + 3) & ~3;
  let end = offsetof<Preparation>();
  end = place(p, offsetof<Preparation>('kept'), end, 4 * steps);
  end = place(p, offsetof<Preparation>('totals'), end, 8 * steps);
  end = place(p, offsetof<Preparation>('lengths'), end, 8 * steps);
  end = place(p, offsetof<Preparation>('shares'), end, 4 * steps * width);
  end = place(p, offsetof<Preparation>('sizes'), end, 8 * runs);
  end = place(p, offsetof<Preparation>('ages'), end, 8 * runs);
  end = place(p, offsetof<Preparation>('runMeans'), end, 8 * runs * width);
  end = place(p, offsetof<Preparation>('centers'), end, 8 * runs * width);
  end = place(p, offsetof<Preparation>('alike'), end, 8 * runs * runs);
  end = place(p, offsetof<Preparation>('runShares'), end, 8 * runs);
  return place(p, offsetof<Preparation>('variances'), end, 8 * width);
}

export function carvePreparation(terms: AdaptiveTerms): Preparation {
  placePreparation(terms.scratch, terms.numExperts, terms.maxSamples);
  const p = changetype<Preparation>(terms.scratch);
  p.width = (terms.numExperts + 3) & ~3;
  return p;
}

export function rowOfStep(p: Preparation, step: i32): usize {
  return p.shares + ((<usize>(step * p.width)) << 2);
}

/** The row of a run in a table f64[numRuns * width]. */
export function rowOfRun(p: Preparation, table: usize, run: i32): usize {
  return table + ((<usize>(run * p.width)) << 3);
}

/** Where it is told how much a step of run k tells of run j. */
export function alikeAt(p: Preparation, j: i32, k: i32): usize {
  return p.alike + ((<usize>(j * p.numRuns + k)) << 3);
}

/** What run k counts for run j. */
export function shareOf(p: Preparation, j: i32, k: i32): f64 {
  return load<f64>(alikeAt(p, j, k)) * load<f64>(p.sizes + ((<usize>k) << 3));
}

/** The first two of four f32, as f64. */
export function low(x: v128): v128 {
  return f64x2.promote_low_f32x4(x);
}

/** And the last two. */
export function high(x: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<u64>(x, x, 1, 1));
}

export function sumOfLanes(first: v128, second: v128): f64 {
  const sum = f64x2.add(first, second);
  return f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
}
