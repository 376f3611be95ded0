// The steps of the adaptive policy's search: exchanges of two slots of two ranks, and further copies of an
// expert in slots whose expert has copies to spare. Each is looked at closely only when a bound or an
// estimate says that it may be the best.
//
// An estimate is the gradient's, and half the second derivative of the power times the squares of what the
// loads change: of the mean change, and of half the variances of both copies. Without these four times as
// many steps are looked at closely, for 0.001 less of balancedness.

import { countStep, isOver, spend } from './bounds';
import { exchange, feesOf, hasMoves, movesOf, overwrite } from './changes';
import {
  boundRanks,
  costOfExchange,
  costOfOverwrite,
  dotCopies,
  knowOwn,
  knowsMoreOf,
  lessOf,
  moreOf,
} from './costs';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  copiesOf,
  copiesOn,
  expertAt,
  feeOf,
  firstOf,
  float32At,
  headOf,
  mayCome,
  nextOf,
  rankCostOf,
  rankOf,
  rankRow,
} from './state';
import { leastOf, meanOf, rowOf, varianceOf } from './table';
import { dot, leastOfLanes, sumOf } from './vectors';

/**
 * Ranks that a bound says most of: so many are looked at, and so many more until an exchange is found. All of
 * them are no better.
 */
const FIRST_RANKS: i32 = 2;
const MORE_RANKS: i32 = 4;

/** Takes the best step that is found for the slots of a rank; returns whether there is one. */
export function visit(s: Adaptive, a: i32): bool {
  s.visits++;
  s.bestCost = -s.leastGain;
  s.bestSlot = -1;
  // Not a number is no cost either.
  if (!(rankCostOf(s, a) > 0)) return false;
  knowOwn(s, a);
  lookAtRanks(s, a);
  if (s.numSlots > s.numExperts) lookAtSpares(s, a);
  if (s.bestSlot < 0 || s.isCancelled) return false;
  if (s.isOverwrite) overwrite(s, s.bestSlot, s.bestOther);
  else exchange(s, s.bestSlot, s.bestOther);
  countStep(s);
  return true;
}

/** Looks at exchanges of a rank with the few ranks of least bounds. */
function lookAtRanks(s: Adaptive, a: i32): void {
  const first = s.numNodes === 1 ? 0 : (a / s.ranksPerNode) * s.ranksPerNode;
  const end = s.numNodes === 1 ? s.numRanks : first + s.ranksPerNode;
  boundRanks(s, a, first, end);
  setBound(s, a, Infinity);
  // Read four at a time.
  for (let b = end; b < end + 3; b++) setBound(s, b, Infinity);
  for (let n = 0; n < MORE_RANKS && (n < FIRST_RANKS || s.bestSlot < 0); n++) {
    const b = leastBound(s, first, end);
    if (!(<f64>float32At(s.bound, b) < s.bestCost) || isOver(s)) return;
    setBound(s, b, Infinity);
    lookAtRank(s, a, b);
  }
}

function setBound(s: Adaptive, rank: i32, bound: f32): void {
  store<f32>(s.bound + ((<usize>rank) << 2), bound);
}

/** The first rank of the least bound. */
function leastBound(s: Adaptive, first: i32, end: i32): i32 {
  spend(s, (end - first) >> 5);
  let least = f32x4.splat(Infinity);
  for (let b = first; b < end; b += 4) least = f32x4.pmin(least, v128.load(s.bound + ((<usize>b) << 2)));
  least = f32x4.splat(leastOfLanes(least));
  for (let b = first; b < end; b += 4) {
    const mask = i32x4.bitmask(f32x4.eq(least, v128.load(s.bound + ((<usize>b) << 2))));
    if (mask !== 0) return b + ctz(mask);
  }
  return first;
}

/** Looks for a better exchange of a slot of rank a with one of rank b. */
function lookAtRank(s: Adaptive, a: i32, b: i32): void {
  knowOwn(s, b);
  const most = compareRanks(s, a, b);
  const firstA = firstOf(s, a);
  const sizeA = firstOf(s, a + 1) - firstA;
  const firstB = firstOf(s, b);
  const sizeB = firstOf(s, b + 1) - firstB;
  spend(s, (sizeA * sizeB) >> 6);
  const bend = float32At(s.rankBend, a) + float32At(s.rankBend, b);
  const curve = f32x4.splat(bend);
  const half = f32x4.splat(0.5);
  const theres = s.there;
  const means = s.slotMean + ((<usize>firstB) << 2);
  const variances = s.slotVariance + ((<usize>firstB) << 2);
  let limit = <f32>s.bestCost;
  for (let k = 0; k < sizeA; k++) {
    // Of ranks of many slots: the pair of ranks is counted as a whole.
    if ((k & 63) === 63 && isOver(s)) return;
    const own: f32 = 0.5 * float32At(s.slotVariance, firstA + k);
    const here = float32At(s.here, k) + own * bend;
    if (here - most >= limit) continue;
    if (copiesOn(s, b, expertAt(s, firstA + k)) > 0) continue;
    const heres = f32x4.splat(here);
    const mean = f32x4.splat(float32At(s.slotMean, firstA + k));
    for (let m = 0; m < sizeB; m += 4) {
      const at = (<usize>m) << 2;
      const off = f32x4.sub(mean, v128.load(means + at));
      const varying = f32x4.mul(half, v128.load(variances + at));
      const first = f32x4.sub(heres, v128.load(theres + at));
      const costs = f32x4.add(first, f32x4.mul(f32x4.add(f32x4.mul(off, off), varying), curve));
      const isLow = f32x4.lt(costs, f32x4.splat(limit));
      if (!v128.any_true(isLow)) continue;
      if (isOver(s)) return;
      v128.store(s.four, costs);
      for (let mask = i32x4.bitmask(isLow); mask !== 0; mask &= mask - 1) {
        const lane = ctz(mask);
        if (float32At(s.four, lane) >= limit) continue;
        lookAtExchange(s, a, firstA + k, b, firstB + m + lane);
        limit = <f32>s.bestCost;
      }
    }
  }
}

/**
 * What each copy of ranks a and b costs more on b than on a, to first order and in fees; returns the most of
 * rank b's.
 */
function compareRanks(s: Adaptive, a: i32, b: i32): f32 {
  const firstA = firstOf(s, a);
  const sizeA = firstOf(s, a + 1) - firstA;
  const firstB = firstOf(s, b);
  const sizeB = firstOf(s, b + 1) - firstB;
  dotCopies(s, rankRow(s, s.rankGradient, b), a, s.here, sizeA);
  dotCopies(s, rankRow(s, s.rankGradient, a), b, s.there, sizeB);
  for (let k = 0; k < sizeA; k++) {
    const i = expertAt(s, firstA + k);
    const at = s.here + ((<usize>k) << 2);
    store<f32>(at, load<f32>(at) - float32At(s.own, firstA + k) + <f32>(feeOf(s, b, i) - feeOf(s, a, i)));
  }
  let most: f32 = -Infinity;
  for (let m = 0; m < sizeB; m++) {
    const j = expertAt(s, firstB + m);
    const at = s.there + ((<usize>m) << 2);
    let there: f32 = -Infinity;
    if (copiesOn(s, a, j) === 0) {
      there = float32At(s.own, firstB + m) - load<f32>(at) + <f32>(feeOf(s, b, j) - feeOf(s, a, j));
    }
    store<f32>(at, there);
    most = max(most, there);
  }
  // What fills up the last vector is no step.
  const pad = s.there + ((<usize>sizeB) << 2);
  for (let m: usize = 0; m < 12; m += 4) store<f32>(pad + m, -Infinity);
  return most;
}

function lookAtExchange(s: Adaptive, a: i32, slot: i32, b: i32, other: i32): void {
  const i = expertAt(s, slot);
  const j = expertAt(s, other);
  if (!hasMoves(s, movesOf(s, a, i, j) + movesOf(s, b, j, i))) return;
  const cost = costOfExchange(s, a, i, b, j) + feesOf(s, a, i, j) + feesOf(s, b, j, i);
  if (cost < s.bestCost) setBest(s, cost, slot, other, false);
}

function setBest(s: Adaptive, cost: f64, slot: i32, other: i32, isOverwrite: bool): void {
  s.bestCost = cost;
  s.bestSlot = slot;
  s.bestOther = other;
  s.isOverwrite = isOverwrite;
}

/** Looks for a further copy of an expert of rank a in a slot of another rank. */
function lookAtSpares(s: Adaptive, a: i32): void {
  if (isOver(s)) return;
  for (let rank = 0; rank < s.numRanks; rank += 16) {
    const known = v128.load(s.knownBase + <usize>rank);
    for (let mask = i8x16.bitmask(i8x16.eq(known, i8x16.splat(0))); mask !== 0; mask &= mask - 1) {
      if (rank + ctz(mask) < s.numRanks) rateSpares(s, rank + ctz(mask));
    }
  }
  // Slots of the rank itself are none.
  const own = s.leastBase + ((<usize>a) << 2);
  const least = load<f32>(own);
  store<f32>(own, Infinity);
  const bound = boundSpares(s);
  for (let slot = firstOf(s, a), end = firstOf(s, a + 1); slot < end; slot++) {
    const j = expertAt(s, slot);
    if (copiesOf(s, j) >= s.mostCopies) continue;
    if (!knowsMoreOf(s, j) && leastMoreOf(s, j) + bound >= s.bestCost) continue;
    if (<f64>moreOf(s, j) + bound + leastPullOf(s, j) < s.bestCost) lookAtCopy(s, j);
  }
  store<f32>(own, least);
}

/** Finds what it costs to take the expert out of each slot of a rank. */
function rateSpares(s: Adaptive, rank: i32): void {
  spend(s, 1);
  store<u8>(s.knownBase + <usize>rank, 1);
  let least: f32 = Infinity;
  for (let slot = firstOf(s, rank), end = firstOf(s, rank + 1); slot < end; slot++) {
    const expert = expertAt(s, slot);
    let base: f32 = Infinity;
    if (copiesOf(s, expert) > 1) {
      knowOwn(s, rank);
      base =
        lessOf(s, expert) - float32At(s.less, slot) - float32At(s.own, slot) - <f32>feeOf(s, rank, expert);
      least = min(least, base);
    }
    store<f32>(s.base + ((<usize>slot) << 2), base);
  }
  store<f32>(s.leastBase + ((<usize>rank) << 2), least);
}

/** The least base of all ranks; and in `leastSums` the least of their gradients, added up in each lane. */
function boundSpares(s: Adaptive): f64 {
  const stride = s.rankStride;
  let base = f32x4.splat(Infinity);
  let sum0 = base;
  let sum1 = base;
  let sum2 = base;
  let sum3 = base;
  for (let at: usize = 0, end = (<usize>s.numRanks) << 2; at < end; at += 16) {
    const sums = s.gradientSums + at;
    base = f32x4.pmin(base, v128.load(s.leastBase + at));
    sum0 = f32x4.pmin(sum0, v128.load(sums));
    sum1 = f32x4.pmin(sum1, v128.load(sums + stride));
    sum2 = f32x4.pmin(sum2, v128.load(sums + 2 * stride));
    sum3 = f32x4.pmin(sum3, v128.load(sums + 3 * stride));
  }
  store<f32>(s.leastSums, leastOfLanes(sum0));
  store<f32>(s.leastSums, leastOfLanes(sum1), 4);
  store<f32>(s.leastSums, leastOfLanes(sum2), 8);
  store<f32>(s.leastSums, leastOfLanes(sum3), 12);
  return <f64>leastOfLanes(base);
}

/** The least that a further copy costs on any rank to first order. */
function leastPullOf(s: Adaptive, expert: i32): f64 {
  const leasts = leastOf(s, expert, copiesOf(s, expert) + 1);
  return <f64>sumOf(f32x4.mul(v128.load(leasts), v128.load(s.leastSums)));
}

/** No more can be won where an expert is than the gradient tells of the load that a further copy takes. */
function leastMoreOf(s: Adaptive, expert: i32): f64 {
  let sum: f32 = 0;
  for (let slot = headOf(s, expert); slot >= 0; slot = nextOf(s, slot)) {
    knowOwn(s, rankOf(s, slot));
    sum -= float32At(s.own, slot);
  }
  return <f64>sum / <f64>(copiesOf(s, expert) + 1);
}

/**
 * Looks for a better slot for a further copy of expert j. What the copy costs on a rank to first order is no
 * less than the least of its loads costs, lane by lane, and to second order no less than half its variance
 * does: so many ranks are passed over.
 */
function lookAtCopy(s: Adaptive, j: i32): void {
  spend(s, 1 + (s.numRanks >> 4));
  const copies = copiesOf(s, j) + 1;
  const row = rowOf(s, j, copies);
  const mean = meanOf(s, j, copies);
  const variance: f32 = 0.5 * varianceOf(s, j, copies);
  const leasts = leastOf(s, j, copies);
  const least0 = v128.load32_splat(leasts);
  const least1 = v128.load32_splat(leasts, 4);
  const least2 = v128.load32_splat(leasts, 8);
  const least3 = v128.load32_splat(leasts, 12);
  const stride = s.rankStride;
  const more = moreOf(s, j);
  const relief = f32x4.splat(more);
  const varying = f32x4.splat(variance);
  for (let rank = 0; rank < s.numRanks; rank += 4) {
    const at = (<usize>rank) << 2;
    const sums = s.gradientSums + at;
    const second = f32x4.mul(varying, v128.load(s.rankBend + at));
    const bases = f32x4.add(f32x4.add(relief, second), v128.load(s.leastBase + at));
    const pull01 = f32x4.add(f32x4.mul(least0, v128.load(sums)), f32x4.mul(least1, v128.load(sums + stride)));
    const at2 = sums + 2 * stride;
    const pull23 = f32x4.add(f32x4.mul(least2, v128.load(at2)), f32x4.mul(least3, v128.load(at2 + stride)));
    const bounds = f32x4.add(bases, f32x4.add(pull01, pull23));
    let mask = i32x4.bitmask(f32x4.lt(bounds, f32x4.splat(<f32>s.bestCost)));
    for (; mask !== 0; mask &= mask - 1) {
      const b = rank + ctz(mask);
      if (b >= s.numRanks || !mayCome(s, b, j)) continue;
      lookAtCopyOn(s, b, j, more, row, mean, variance);
      if (s.isOver) return;
    }
  }
}

/**
 * Looks for a better slot of rank b for a further copy of expert j: its row, its mean and half its variance.
 */
function lookAtCopyOn(s: Adaptive, b: i32, j: i32, relief: f32, row: usize, mean: f32, variance: f32): void {
  spend(s, 1);
  const bend = float32At(s.rankBend, b);
  const pull = dot(rankRow(s, s.rankGradient, b), row, s.rowBytes);
  const first = relief + <f32>feeOf(s, b, j) + pull + variance * bend;
  if (first + float32At(s.leastBase, b) >= <f32>s.bestCost) return;
  const firsts = f32x4.splat(first);
  const means = f32x4.splat(mean);
  const half = f32x4.splat(0.5);
  const bends = f32x4.splat(bend);
  const end = firstOf(s, b + 1);
  for (let slot = firstOf(s, b); slot < end; slot += 4) {
    const at = (<usize>slot) << 2;
    const off = f32x4.sub(means, v128.load(s.slotMean + at));
    const varying = f32x4.mul(half, v128.load(s.slotVariance + at));
    const second = f32x4.mul(f32x4.add(f32x4.mul(off, off), varying), bends);
    const costs = f32x4.add(f32x4.add(firsts, v128.load(s.base + at)), second);
    let mask = i32x4.bitmask(f32x4.lt(costs, f32x4.splat(<f32>s.bestCost)));
    if (mask === 0) continue;
    if (isOver(s)) return;
    v128.store(s.four, costs);
    for (; mask !== 0; mask &= mask - 1) {
      const lane = ctz(mask);
      if (slot + lane >= end || <f64>float32At(s.four, lane) >= s.bestCost) continue;
      lookAtOverwrite(s, slot + lane, j);
    }
  }
}

function lookAtOverwrite(s: Adaptive, slot: i32, j: i32): void {
  const rank = rankOf(s, slot);
  const i = expertAt(s, slot);
  if (!hasMoves(s, movesOf(s, rank, i, j))) return;
  const cost = costOfOverwrite(s, slot, j) + feesOf(s, rank, i, j);
  if (cost < s.bestCost) setBest(s, cost, slot, j, true);
}
