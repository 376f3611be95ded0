// Which experts are picked together, as the search's link term counts it.

import { sumOf } from './vectors';

/**
 * What all pairs of an expert come to at most: sums of whole numbers up to it, and of their sixteenths, are
 * exact in float32, in any order.
 */
const MOST_OF_EXPERT: f64 = <f64>((1 << 19) - (1 << 8));
/** Of which as many as there are experts come to no more than float32 can hold. */
const MOST_OF_PAIR: f32 = 1e34;

/**
 * How much is left out of what chance alone makes of two experts: as many of a token's experts are on a node
 * by chance wherever experts are, as nodes have as much load. 0.25 to 0.7 are alike, 0 and 0.9 worse.
 */
const CHANCE: f64 = 0.5;

/**
 * Turns co-activation, or groups, into whole numbers, symmetric and with nothing on the diagonal.
 *
 * @param coactivation f32[numExperts * numExperts], finite and >= 0, or 0: then experts of a group belong
 * together, those with high loads most, as they are most often picked together
 * @param weight f32[numExperts], finite and >= 0; read where there is no co-activation
 * @param pairs f32[numExperts * numExperts made a multiple of 4 each], out
 * @param sums f32[numExperts made a multiple of 4], working space
 * @returns the sum over all pairs; 0 when no two experts belong together
 */
export function preparePairs(
  coactivation: usize,
  weight: usize,
  numExperts: i32,
  numGroups: i32,
  pairs: usize,
  sums: usize,
): f64 {
  const rowBytes = pairsRowBytes(numExperts);
  memory.fill(pairs, 0, <usize>numExperts * rowBytes);
  let most: f64;
  if (coactivation === 0) most = addGroups(weight, numExperts, numGroups, pairs, rowBytes);
  else {
    addBothWays(coactivation, numExperts, pairs, rowBytes);
    most = lessenByChance(pairs, numExperts, rowBytes, sums);
  }
  // What is less than the least float32 is nothing.
  if (!(most > 1e-30)) return 0;
  return scalePairs(pairs, numExperts, rowBytes, <f32>(MOST_OF_EXPERT / most));
}

/** Makes whole numbers of pairs, in place; returns the sum over all pairs. */
function scalePairs(pairs: usize, numExperts: i32, rowBytes: usize, scale: f32): f64 {
  const scales = f32x4.splat(scale);
  let total: f64 = 0;
  for (let a = 0; a < numExperts; a++) {
    let sum = f32x4.splat(0);
    const end = pairs + <usize>(a + 1) * rowBytes;
    for (let at = pairs + <usize>a * rowBytes; at < end; at += 16) {
      const whole = f32x4.floor(f32x4.mul(v128.load(at), scales));
      v128.store(at, whole);
      sum = f32x4.add(sum, whole);
    }
    total += <f64>sumOf(sum);
  }
  return total / 2;
}

/** Bytes of a row of `pairs`. */
export function pairsRowBytes(numExperts: i32): usize {
  return (<usize>((numExperts + 3) & ~3)) << 2;
}

/** Adds a matrix to itself the other way round, by tiles of four by four. Its diagonal is left out. */
function addBothWays(coactivation: usize, numExperts: i32, pairs: usize, rowBytes: usize): void {
  const bytes = (<usize>numExperts) << 2;
  for (let a = 0; a < numExperts; a++)
    memory.copy(pairs + <usize>a * rowBytes, coactivation + <usize>a * bytes, bytes);
  for (let a = 0; a < numExperts; a += 4) {
    for (let b = 0; b <= a; b += 4) addTiles(pairs, rowBytes, a, b, min(4, numExperts - a));
  }
  for (let a = 0; a < numExperts; a++) store<f32>(pairs + <usize>a * rowBytes + ((<usize>a) << 2), 0);
}

/**
 * Leaves some of what experts picked as often would be together by chance out of pairs.
 *
 * @returns the most that the pairs of one expert come to
 */
function lessenByChance(pairs: usize, numExperts: i32, rowBytes: usize, sums: usize): f64 {
  let total: f64 = 0;
  for (let a = 0; a < numExperts; a++) {
    const sum = sumOfRow(pairs + <usize>a * rowBytes, rowBytes);
    store<f32>(sums + ((<usize>a) << 2), sum);
    total += <f64>sum;
  }
  if (!(total > 0)) return 0;
  // So that the product of two is the same either way.
  const root = <f32>Math.sqrt(CHANCE / total);
  const end = (<usize>numExperts) << 2;
  for (let at: usize = 0; at < rowBytes; at += 4)
    store<f32>(sums + at, at < end ? load<f32>(sums + at) * root : 0);
  const zero = f32x4.splat(0);
  let most: f32 = 0;
  for (let a = 0; a < numExperts; a++) {
    const row = pairs + <usize>a * rowBytes;
    const shares = f32x4.splat(load<f32>(sums + ((<usize>a) << 2)));
    let left = zero;
    for (let at: usize = 0; at < rowBytes; at += 16) {
      const chance = f32x4.mul(shares, v128.load(sums + at));
      const pair = f32x4.pmax(zero, f32x4.sub(v128.load(row + at), chance));
      v128.store(row + at, pair);
      left = f32x4.add(left, pair);
    }
    most = max(most, sumOf(left));
  }
  return <f64>most;
}

function sumOfRow(row: usize, rowBytes: usize): f32 {
  let sum = f32x4.splat(0);
  for (let at = row, end = row + rowBytes; at < end; at += 16) sum = f32x4.add(sum, v128.load(at));
  return sumOf(sum);
}

/** Of `numRows` rows from a on, and four columns from b on: what is added is written both ways. */
function addTiles(pairs: usize, rowBytes: usize, a: i32, b: i32, numRows: i32): void {
  const there = pairs + <usize>a * rowBytes + ((<usize>b) << 2);
  const back = pairs + <usize>b * rowBytes + ((<usize>a) << 2);
  for (let i = 0; i < numRows; i++) {
    for (let j = 0; j < 4; j++) {
      if (a === b && j > i) break;
      const at = there + <usize>i * rowBytes + ((<usize>j) << 2);
      const other = back + <usize>j * rowBytes + ((<usize>i) << 2);
      // Two float32 may come to more than one can hold: no pair is more often together than this.
      const both = min(load<f32>(at) + load<f32>(other), MOST_OF_PAIR);
      store<f32>(at, both);
      store<f32>(other, both);
    }
  }
}

/** As {@link addBothWays}, of the experts of each group. */
function addGroups(weight: usize, numExperts: i32, numGroups: i32, pairs: usize, rowBytes: usize): f64 {
  if (numGroups === 1 || numExperts % numGroups !== 0) return 0;
  const size = numExperts / numGroups;
  let mean: f64 = 0;
  for (let e = 0; e < numExperts; e++) mean += <f64>load<f32>(weight + ((<usize>e) << 2));
  mean /= <f64>numExperts;
  // In units of the mean, so that no product leaves float32.
  const unit = mean > 0 ? 1 / mean : 0;
  let most: f64 = 0;
  for (let a = 0; a < numExperts; a++) {
    const first = a - (a % size);
    const heavy = 1 + <f64>load<f32>(weight + ((<usize>a) << 2)) * unit;
    let sum: f64 = 0;
    for (let b = first; b < first + size; b++) {
      if (b === a) continue;
      const both = heavy * (1 + <f64>load<f32>(weight + ((<usize>b) << 2)) * unit);
      store<f32>(pairs + <usize>a * rowBytes + ((<usize>b) << 2), <f32>both);
      sum += both;
    }
    most = max(most, sum);
  }
  return most;
}
