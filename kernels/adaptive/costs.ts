// What placements and steps cost. The objective is the sum over samples of the norm of the rank loads; steps
// are compared by its tangent at a recent placement, which is a sum over ranks: a step costs what it changes
// on the ranks it touches.

import { spend } from './bounds';
import { ANY_RANK, sparingRank, sumForCeiling } from './ceiling';
import { addFixedLoad } from './shared-expert';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  at32,
  copiesOf,
  copiesOn,
  expertAt,
  feeAt,
  firstOf,
  float32At,
  headOf,
  nextElsewhere,
  nextOf,
  placeOf,
  powerOf,
  rankCostOf,
  rankOf,
  rankRow,
  savedByLinks,
} from './state';
import { rowOf } from './table';
import { power, root, sumOf, sumsOf } from './vectors';

/** Of `known`, a bit each. */
const OWN: u8 = 1;
const LESS: u8 = 2;
const MORE: u8 = 4;
/** Of `knownSums`. */
const LESS_SUM: u8 = 1;
const MORE_SUM: u8 = 2;
const SPARING: u8 = 4;

/** The loads of a rank, and what of its slots' experts is looked up slot by slot. */
export function sumRank(s: Adaptive, rank: i32): void {
  const first = firstOf(s, rank);
  const end = firstOf(s, rank + 1);
  const bytes = s.rowBytes;
  spend(s, 1 + ((end - first) >> 2));
  const to = rankRow(s, s.rankLoad, rank);
  const places = placeOf(s, rank, 0);
  const price = <f32>s.price;
  for (let slot = first; slot < end; slot++) {
    const at = (<usize>slot) << 2;
    const expert = (<usize>expertAt(s, slot)) << 2;
    store<usize>(s.slotRow + at, load<usize>(s.copyRow + expert));
    store<f32>(s.slotMean + at, load<f32>(s.copyMean + expert));
    store<f32>(s.slotVariance + at, load<f32>(s.copyVariance + expert));
    store<f32>(s.slotFee + at, feeAt(load<u16>(places + (expert >> 1)), price));
  }
  if (s.terms.ceilingLoads !== 0) sumForCeiling(s, rank);
  const rows = s.slotRow + ((<usize>first) << 2);
  const rowsEnd = s.slotRow + ((<usize>end) << 2);
  let t: usize = 0;
  for (; t + 64 <= bytes; t += 64) {
    let sum0 = f32x4.splat(0);
    let sum1 = f32x4.splat(0);
    let sum2 = f32x4.splat(0);
    let sum3 = f32x4.splat(0);
    for (let at = rows; at < rowsEnd; at += 4) {
      const row = load<usize>(at) + t;
      sum0 = f32x4.add(sum0, v128.load(row));
      sum1 = f32x4.add(sum1, v128.load(row, 16));
      sum2 = f32x4.add(sum2, v128.load(row, 32));
      sum3 = f32x4.add(sum3, v128.load(row, 48));
    }
    v128.store(to + t, sum0);
    v128.store(to + t, sum1, 16);
    v128.store(to + t, sum2, 32);
    v128.store(to + t, sum3, 48);
  }
  for (; t < bytes; t += 16) {
    let sum = f32x4.splat(0);
    for (let at = rows; at < rowsEnd; at += 4) sum = f32x4.add(sum, v128.load(load<usize>(at) + t));
    v128.store(to + t, sum);
  }
  addFixedLoad(s, rank, to);
}

/** The powers of the rank loads, added up, of the four samples at byte `t`. */
function powersOf(s: Adaptive, t: usize): v128 {
  const bytes = s.rowBytes;
  const isSharp = s.isSharp;
  let sum = f32x4.splat(0);
  let at = s.rankLoad + t;
  let counts = s.rankPower;
  for (const end = counts + ((<usize>s.numRanks) << 2); counts < end; counts += 4) {
    sum = f32x4.add(sum, f32x4.mul(v128.load32_splat(counts), power(v128.load(at), isSharp)));
    at += bytes;
  }
  return sum;
}

/** The objective without the price: what the slowest ranks take, less what links save. */
export function objectiveOf(s: Adaptive): f64 {
  spend(s, s.numRanks);
  let sum = f32x4.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    sum = f32x4.add(sum, f32x4.mul(v128.load(s.terms.weights + t), root(powersOf(s, t), s.isSharp)));
  }
  return <f64>sumOf(sum) / <f64>s.scale - savedByLinks(s);
}

/** Makes the tangent anew: the root is concave, so what the tangent gains is gained at least. */
export function refresh(s: Adaptive): void {
  spend(s, s.numRanks);
  // The norm, and what loads are scaled by, to be in the objective's own unit.
  const factor = f32x4.splat((s.isSharp ? 0.0625 : 0.125) / s.scale);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    const sum = powersOf(s, t);
    const weight = f32x4.mul(v128.load(s.terms.weights + t), factor);
    v128.store(s.slope + t, f32x4.div(f32x4.mul(weight, root(sum, s.isSharp)), sum));
  }
  memory.fill(s.knownSums, 0, s.numExperts);
  for (let rank = 0; rank < s.numRanks; rank++) revalueRank(s, rank);
}

/** What a rank's loads cost, to all orders: nothing that was known of its slots is any more. */
export function revalueRank(s: Adaptive, rank: i32): void {
  const first = firstOf(s, rank);
  const end = firstOf(s, rank + 1);
  spend(s, 1 + ((end - first) >> 4));
  const row = rankRow(s, s.rankLoad, rank);
  const gradient = rankRow(s, s.rankGradient, rank);
  const isSharp = s.isSharp;
  const norm = f32x4.splat(isSharp ? 16 : 8);
  const counts = f32x4.splat(powerOf(s, rank));
  let sum = f32x4.splat(0);
  let bends = f32x4.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    const x = v128.load(row + t);
    const square = f32x4.mul(x, x);
    const fourth = f32x4.mul(square, square);
    let bend = f32x4.mul(f32x4.mul(fourth, square), f32x4.mul(v128.load(s.slope + t), counts));
    if (isSharp) bend = f32x4.mul(bend, f32x4.mul(fourth, fourth));
    bends = f32x4.add(bends, bend);
    sum = f32x4.add(sum, f32x4.mul(bend, square));
    v128.store(gradient + t, f32x4.mul(norm, f32x4.mul(bend, x)));
  }
  store<f32>(s.rankCost + ((<usize>rank) << 2), sumOf(sum));
  store<f32>(s.rankBend + ((<usize>rank) << 2), s.bend * sumOf(bends));
  memory.fill(s.known + <usize>first, 0, end - first);
  store<u8>(s.knownBase + <usize>rank, 0);
  for (let slot = first; slot < end; slot++) forgetSums(s, expertAt(s, slot));
}

/** What an expert with copies to spare costs on one rank counts for its slots on all. */
function forgetSums(s: Adaptive, expert: i32): void {
  store<u8>(s.knownSums + <usize>expert, 0);
  if (copiesOf(s, expert) < 2) return;
  for (let slot = headOf(s, expert); slot >= 0; slot = nextOf(s, slot)) {
    store<u8>(s.knownBase + <usize>rankOf(s, slot), 0);
  }
}

/** Sees to it that `own` of a rank's slots is up to date: what each copy costs on the rank to first order. */
export function knowOwn(s: Adaptive, rank: i32): void {
  const first = firstOf(s, rank);
  const end = firstOf(s, rank + 1);
  if (first === end || (load<u8>(s.known + <usize>first) & OWN) !== 0) return;
  dotCopies(s, rankRow(s, s.rankGradient, rank), rank, s.own + ((<usize>first) << 2), end - first);
  for (let slot = first; slot < end; slot++) {
    const at = s.known + <usize>slot;
    store<u8>(at, load<u8>(at) | OWN);
  }
}

/** The products of the copies of a rank with a gradient, f32[]: nothing is written behind them. */
export function dotCopies(s: Adaptive, gradient: usize, rank: i32, to: usize, size: i32): void {
  spend(s, 1 + (size >> 3));
  const bytes = s.rowBytes;
  let rows = s.slotRow + ((<usize>firstOf(s, rank)) << 2);
  let left = size;
  for (; left >= 4; left -= 4) {
    v128.store(
      to,
      dotFour(
        gradient,
        load<usize>(rows),
        load<usize>(rows, 4),
        load<usize>(rows, 8),
        load<usize>(rows, 12),
        bytes,
      ),
    );
    rows += 16;
    to += 16;
  }
  if (left === 0) return;
  const row0 = load<usize>(rows);
  const row1 = left > 1 ? load<usize>(rows, 4) : row0;
  const row2 = left > 2 ? load<usize>(rows, 8) : row0;
  const dots = dotFour(gradient, row0, row1, row2, row0, bytes);
  store<f32>(to, f32x4.extract_lane(dots, 0));
  if (left > 1) store<f32>(to, f32x4.extract_lane(dots, 1), 4);
  if (left > 2) store<f32>(to, f32x4.extract_lane(dots, 2), 8);
}

/** The products of a row with the gradients of a rank and the three behind it. */
export function pullsOf(s: Adaptive, rank: i32, row: usize): v128 {
  const bytes = s.rowBytes;
  const gradient = rankRow(s, s.rankGradient, rank);
  return dotFour(row, gradient, gradient + bytes, gradient + 2 * bytes, gradient + 3 * bytes, bytes);
}

function dotFour(gradient: usize, row0: usize, row1: usize, row2: usize, row3: usize, bytes: usize): v128 {
  let sum0 = f32x4.splat(0);
  let sum1 = f32x4.splat(0);
  let sum2 = f32x4.splat(0);
  let sum3 = f32x4.splat(0);
  for (let t: usize = 0; t < bytes; t += 16) {
    const g = v128.load(gradient + t);
    sum0 = f32x4.add(sum0, f32x4.mul(g, v128.load(row0 + t)));
    sum1 = f32x4.add(sum1, f32x4.mul(g, v128.load(row1 + t)));
    sum2 = f32x4.add(sum2, f32x4.mul(g, v128.load(row2 + t)));
    sum3 = f32x4.add(sum3, f32x4.mul(g, v128.load(row3 + t)));
  }
  return sumsOf(sum0, sum1, sum2, sum3);
}

/** What it changes on a rank when the expert has `copies` copies, as many on the rank as now. */
function costWith(s: Adaptive, rank: i32, expert: i32, copies: i32): f32 {
  const now = rowOf(s, expert, copies);
  return changeOf(s, rank, now, load<usize>(s.copyRow + ((<usize>expert) << 2)), copiesOn(s, rank, expert));
}

/** What it changes on a rank to have `copies` times one row in place of another. */
function changeOf(s: Adaptive, rank: i32, now: usize, before: usize, copies: i32): f32 {
  spend(s, 1);
  const loads = rankRow(s, s.rankLoad, rank);
  const slope = s.slope;
  const bytes = s.rowBytes;
  const isSharp = s.isSharp;
  const times = f32x4.splat(<f32>copies);
  let sum = f32x4.splat(0);
  for (let t: usize = 0; t < bytes; t += 16) {
    const off = f32x4.mul(times, f32x4.sub(v128.load(now + t), v128.load(before + t)));
    const x = f32x4.add(v128.load(loads + t), off);
    sum = f32x4.add(sum, f32x4.mul(v128.load(slope + t), power(x, isSharp)));
  }
  return sumOf(sum) * powerOf(s, rank) - rankCostOf(s, rank);
}

/** What one copy less of the expert changes on all the ranks that have it; and in `less` on each. */
export function lessOf(s: Adaptive, expert: i32): f32 {
  const sums = s.knownSums + <usize>expert;
  const to = s.lessSum + ((<usize>expert) << 2);
  if ((load<u8>(sums) & LESS_SUM) !== 0) return load<f32>(to);
  store<u8>(sums, load<u8>(sums) | LESS_SUM);
  const sum = sumOver(s, expert, copiesOf(s, expert) - 1, s.less, LESS);
  store<f32>(to, sum);
  return sum;
}

/** What one copy more changes on all the ranks that have the expert; and in `more` on each. */
export function moreOf(s: Adaptive, expert: i32): f32 {
  const sums = s.knownSums + <usize>expert;
  const to = s.moreSum + ((<usize>expert) << 2);
  if ((load<u8>(sums) & MORE_SUM) !== 0) return load<f32>(to);
  store<u8>(sums, load<u8>(sums) | MORE_SUM);
  const sum = sumOver(s, expert, copiesOf(s, expert) + 1, s.more, MORE);
  store<f32>(to, sum);
  return sum;
}

/** Whether the ceiling lets a rank spare its copy of an expert that has several: see {@link sparingRank}. */
export function maySpare(s: Adaptive, rank: i32, expert: i32): bool {
  const sums = s.knownSums + <usize>expert;
  const to = s.sparing + ((<usize>expert) << 2);
  if ((load<u8>(sums) & SPARING) === 0) {
    store<u8>(sums, load<u8>(sums) | SPARING);
    store<i32>(to, sparingRank(s, expert));
  }
  const sparing = load<i32>(to);
  return sparing === ANY_RANK || sparing === rank;
}

/** Of ranks that have not changed the costs are known: only those of the others are made anew. */
function sumOver(s: Adaptive, expert: i32, copies: i32, costs: usize, bit: u8): f32 {
  let sum: f32 = 0;
  for (let slot = headOf(s, expert); slot >= 0; slot = nextElsewhere(s, slot)) {
    const known = s.known + <usize>slot;
    const at = costs + ((<usize>slot) << 2);
    if ((load<u8>(known) & bit) === 0) {
      const cost = costWith(s, rankOf(s, slot), expert, copies);
      store<f32>(at, cost);
      store<u8>(known, load<u8>(known) | bit);
      copyToDoubles(s, slot, costs, cost);
    }
    sum += load<f32>(at);
  }
  return sum;
}

/** Other slots of the rank with the same expert cost the same. */
function copyToDoubles(s: Adaptive, slot: i32, costs: usize, cost: f32): void {
  for (let same = nextOf(s, slot); same >= 0 && rankOf(s, same) === rankOf(s, slot); same = nextOf(s, same)) {
    store<f32>(costs + ((<usize>same) << 2), cost);
  }
}

/** What it costs to exchange expert i of rank a and expert j of rank b. */
export function costOfExchange(s: Adaptive, a: i32, i: i32, b: i32, j: i32): f64 {
  s.evaluations++;
  spend(s, 1);
  const loadA = rankRow(s, s.rankLoad, a);
  const loadB = rankRow(s, s.rankLoad, b);
  const rowI = load<usize>(s.copyRow + ((<usize>i) << 2));
  const rowJ = load<usize>(s.copyRow + ((<usize>j) << 2));
  const slope = s.slope;
  const bytes = s.rowBytes;
  const isSharp = s.isSharp;
  let sumA = f32x4.splat(0);
  let sumB = f32x4.splat(0);
  for (let t: usize = 0; t < bytes; t += 16) {
    const shift = f32x4.sub(v128.load(rowI + t), v128.load(rowJ + t));
    const slopes = v128.load(slope + t);
    sumA = f32x4.add(sumA, f32x4.mul(slopes, power(f32x4.sub(v128.load(loadA + t), shift), isSharp)));
    sumB = f32x4.add(sumB, f32x4.mul(slopes, power(f32x4.add(v128.load(loadB + t), shift), isSharp)));
  }
  const costA = <f64>(sumOf(sumA) * powerOf(s, a)) - <f64>rankCostOf(s, a);
  return costA + (<f64>(sumOf(sumB) * powerOf(s, b)) - <f64>rankCostOf(s, b));
}

/**
 * What it costs to put expert j into a slot whose expert i has copies to spare. On ranks that have but one of
 * both it is known what one copy less of i, and one more of j, changes.
 */
export function costOfOverwrite(s: Adaptive, slot: i32, j: i32): f64 {
  s.evaluations++;
  const i = expertAt(s, slot);
  const a = rankOf(s, slot);
  let cost = <f64>lessOf(s, i) + <f64>moreOf(s, j) - <f64>float32At(s.less, slot);
  cost += <f64>costOfBoth(s, a, 1, i, j);
  for (let other = headOf(s, j); other >= 0; other = nextElsewhere(s, other)) {
    const rank = rankOf(s, other);
    if (copiesOn(s, rank, i) === 0) continue;
    cost += <f64>(
      (costOfBoth(s, rank, 0, i, j) - costWith(s, rank, i, copiesOf(s, i) - 1) - float32At(s.more, other))
    );
  }
  return cost;
}

/** What it changes on a rank when expert i has one copy less and j one more; `here` of them on this rank. */
function costOfBoth(s: Adaptive, rank: i32, here: i32, i: i32, j: i32): f32 {
  spend(s, 1);
  const copiesI = copiesOn(s, rank, i);
  const copiesJ = copiesOn(s, rank, j);
  const oldI = f32x4.splat(<f32>copiesI);
  const oldJ = f32x4.splat(<f32>copiesJ);
  const newI = f32x4.splat(<f32>(copiesI - here));
  const newJ = f32x4.splat(<f32>(copiesJ + here));
  const rowI = load<usize>(s.copyRow + ((<usize>i) << 2));
  const rowJ = load<usize>(s.copyRow + ((<usize>j) << 2));
  const lessI = rowOf(s, i, copiesOf(s, i) - 1);
  const moreJ = rowOf(s, j, copiesOf(s, j) + 1);
  const loads = rankRow(s, s.rankLoad, rank);
  const isSharp = s.isSharp;
  const slope = s.slope;
  let sum = f32x4.splat(0);
  for (let t: usize = 0, end = s.rowBytes; t < end; t += 16) {
    const changeI = f32x4.sub(f32x4.mul(newI, v128.load(lessI + t)), f32x4.mul(oldI, v128.load(rowI + t)));
    const changeJ = f32x4.sub(f32x4.mul(newJ, v128.load(moreJ + t)), f32x4.mul(oldJ, v128.load(rowJ + t)));
    const x = f32x4.add(v128.load(loads + t), f32x4.add(changeI, changeJ));
    sum = f32x4.add(sum, f32x4.mul(v128.load(slope + t), power(x, isSharp)));
  }
  return sumOf(sum) * powerOf(s, rank) - rankCostOf(s, rank);
}

/** What the power of the mean load of a rank and each of four counts as: 2 where all are alike. */
function countsOfBoth(s: Adaptive, speed: f32, fourAt: usize): v128 {
  if (s.terms.rankSpeed === 0) return f32x4.splat(2);
  const mean = f32x4.mul(f32x4.splat(0.5), f32x4.add(f32x4.splat(speed), v128.load(s.rankSpeed + fourAt)));
  return f32x4.div(f32x4.mul(f32x4.splat(2), mean), power(mean, s.isSharp));
}

/**
 * Finds the least that exchanges of rank a with each rank from `first` to before `end` can cost: if both came
 * to the same time. Infinite for ranks whose own look found no step, where neither has changed since.
 */
export function boundRanks(s: Adaptive, a: i32, first: i32, end: i32): void {
  spend(s, 1 + ((end - first) >> 1));
  const bytes = s.rowBytes;
  const loadA = rankRow(s, s.rankLoad, a);
  const isSharp = s.isSharp;
  const slope = s.slope;
  const half = f32x4.splat(0.5);
  const costA = f32x4.splat(rankCostOf(s, a));
  const speedA = float32At(s.rankSpeed, a);
  const changedA = i32x4.splat(at32(s.changedAt, a));
  for (let b = first; b < end; b += 4) {
    let sum0 = f32x4.splat(0);
    let sum1 = f32x4.splat(0);
    let sum2 = f32x4.splat(0);
    let sum3 = f32x4.splat(0);
    let row = rankRow(s, s.rankLoad, b);
    for (let t: usize = 0; t < bytes; t += 16, row += 16) {
      const x = v128.load(loadA + t);
      const slopes = v128.load(slope + t);
      const at1 = row + bytes;
      const at2 = at1 + bytes;
      sum0 = f32x4.add(
        sum0,
        f32x4.mul(slopes, power(f32x4.mul(half, f32x4.add(x, v128.load(row))), isSharp)),
      );
      sum1 = f32x4.add(
        sum1,
        f32x4.mul(slopes, power(f32x4.mul(half, f32x4.add(x, v128.load(at1))), isSharp)),
      );
      sum2 = f32x4.add(
        sum2,
        f32x4.mul(slopes, power(f32x4.mul(half, f32x4.add(x, v128.load(at2))), isSharp)),
      );
      sum3 = f32x4.add(
        sum3,
        f32x4.mul(slopes, power(f32x4.mul(half, f32x4.add(x, v128.load(at2 + bytes))), isSharp)),
      );
    }
    const at = (<usize>b) << 2;
    const least = f32x4.mul(countsOfBoth(s, speedA, at), sumsOf(sum0, sum1, sum2, sum3));
    const bounds = f32x4.sub(f32x4.sub(least, costA), v128.load(s.rankCost + at));
    const clean = v128.load(s.cleanAt + at);
    const isKnown = v128.and(i32x4.ge_s(clean, v128.load(s.changedAt + at)), i32x4.ge_s(clean, changedA));
    v128.store(s.bound + at, v128.bitselect(f32x4.splat(Infinity), bounds, isKnown));
  }
}
