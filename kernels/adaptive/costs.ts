// What placements and steps cost. The objective is the sum over samples of the 8-norm of the rank loads; steps are compared
// by its tangent at a recent placement, which is a sum over ranks: a step costs what it changes on the ranks it touches.

import { isOver, spend } from './bounds';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  addTo,
  at32,
  copiesOf,
  copiesOn,
  dot,
  expertAt,
  firstOf,
  headOf,
  heldOn,
  homeOf,
  isMarked,
  lanes,
  link,
  nextElsewhere,
  nextOf,
  power8,
  rankCostOf,
  rankOf,
  root8,
  rowOf,
  setMark,
  wideRow,
} from './state';

/** Lays the samples out with the experts side by side, and takes their means. */
export function turn(s: Adaptive): void {
  const bytes = s.width << 2;
  memory.fill(s.turned, 0, s.width * s.rowBytes);
  let from = s.samples;
  for (let expert = 0; expert < s.numExperts; expert++) {
    let to = s.turned + ((<usize>expert) << 2);
    store<f32>(s.mean + ((<usize>expert) << 2), <f32>dot(s, s.weights, from));
    for (const end = from + s.rowBytes; from < end; from += 4) {
      store<f32>(to, load<f32>(from));
      to += bytes;
    }
  }
}

/** Makes everything anew from the placement and its counts. */
export function rebuild(s: Adaptive): void {
  spend(s, s.numExperts + (s.numSlots >> 1) + ((s.numRanks * <i32>s.width) >> 6));
  memory.fill(s.head, 0xff, (<usize>s.numExperts) << 2);
  // Experts that there are not have nothing to offer.
  for (let at = <usize>s.numExperts; at < s.width; at++) {
    store<f32>(s.relief + (at << 2), Infinity);
    store<f32>(s.moreShare + (at << 2), 0);
    store<f32>(s.morePart + (at << 2), 0);
    store<f32>(s.share + (at << 2), 0);
    store<f32>(s.part + (at << 2), 0);
    store<f32>(s.moreMean + (at << 2), 0);
  }
  for (let expert = 0; expert < s.numExperts; expert++) splitLoad(s, expert);
  for (let rank = 0; rank < s.numRanks; rank++) {
    sumRank(s, rank);
    setFees(s, rank);
  }
  s.moves = 0;
  memory.copy(s.left, s.numHeld, (<usize>s.numRanks) << 2);
  memory.fill(s.strangers, 0, (<usize>s.numRanks) << 2);
  for (let slot = s.numSlots - 1; slot >= 0; slot--) {
    const rank = rankOf(s, slot);
    const expert = expertAt(s, slot);
    link(s, slot, expert);
    if (heldOn(s, rank, expert) === 0) {
      s.moves++;
      addTo(s.strangers, rank, 1);
      // The experts of a rank are in order: doubles lie side by side.
    } else if (slot === firstOf(s, rank) || expertAt(s, slot - 1) !== expert) addTo(s.left, rank, -1);
  }
  refresh(s);
}

export function splitLoad(s: Adaptive, expert: i32): void {
  const count = copiesOf(s, expert);
  const at = (<usize>expert) << 2;
  store<f32>(s.share + at, shareOf(count));
  store<f32>(s.part + at, partOf(s, expert, count));
  store<f32>(s.moreShare + at, shareOf(count + 1));
  store<f32>(s.morePart + at, partOf(s, expert, count + 1));
  store<f32>(s.copyMean + at, at32(s.mean, expert) * shareOf(count) + partOf(s, expert, count));
  store<f32>(s.moreMean + at, at32(s.mean, expert) * shareOf(count + 1) + partOf(s, expert, count + 1));
  const parts = f32x4.splat(shareOf(count));
  const more = f32x4.splat(partOf(s, expert, count));
  const from = rowOf(s, s.samples, expert);
  const to = rowOf(s, s.copyLoad, expert);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    v128.store(to + t, f32x4.add(f32x4.mul(v128.load(from + t), parts), more));
  }
}

/** What it adds to the price that a copy comes to the rank. */
export function setFee(s: Adaptive, rank: i32, expert: i32): void {
  const isBarred =
    copiesOn(s, rank, expert) > 0 || (s.numNodes > 1 && homeOf(s, expert) !== rank / s.ranksPerNode);
  const fee: f32 = isBarred ? Infinity : <f32>-(s.price * <f64>heldOn(s, rank, expert));
  store<f32>(wideRow(s, s.fee, rank) + ((<usize>expert) << 2), fee);
}

/** The fees of all experts on a rank. */
function setFees(s: Adaptive, rank: i32): void {
  const held = wideRow(s, s.held, rank);
  const fees = wideRow(s, s.fee, rank);
  const price = f32x4.splat(<f32>-s.price);
  for (let at: usize = 0, end = s.width << 2; at < end; at += 16) {
    v128.store(fees + at, f32x4.mul(price, f32x4.convert_i32x4_s(v128.load(held + at))));
  }
  for (let slot = firstOf(s, rank), end = firstOf(s, rank + 1); slot < end; slot++) {
    store<f32>(fees + ((<usize>expertAt(s, slot)) << 2), Infinity);
  }
  if (s.numNodes === 1) return;
  for (let expert = 0; expert < s.numExperts; expert++) setFee(s, rank, expert);
}

/** Brings up to date what the expert's copies cost on ranks, when their loads have changed. */
export function repull(s: Adaptive, expert: i32): void {
  spend(s, s.numRanks >> 3);
  for (let rank = 0; rank < s.numRanks; rank++) {
    if (isMarked(s.stalePull, rank)) continue;
    const held = <f32>(s.price * <f64>heldOn(s, rank, expert));
    store<f32>(wideRow(s, s.pricedPull, rank) + ((<usize>expert) << 2), pullOfCopy(s, rank, expert) - held);
  }
}

/** What a copy of an expert costs on a rank to first order. */
export function pullOfCopy(s: Adaptive, rank: i32, expert: i32): f32 {
  return (
    at32(wideRow(s, s.pull, rank), expert) * at32(s.share, expert) +
    at32(s.pullSum, rank) * at32(s.part, expert)
  );
}

/** The load of one of `count` copies is its share of the expert's, */
function shareOf(count: i32): f32 {
  return 1 / <f32>count;
}

/** and what its spread adds. */
function partOf(s: Adaptive, expert: i32, count: i32): f32 {
  const share = shareOf(count);
  return at32(s.spread, expert) * (share * share);
}

export function sumRank(s: Adaptive, rank: i32): void {
  spend(s, 1 + ((firstOf(s, rank + 1) - firstOf(s, rank)) >> 2));
  const to = rowOf(s, s.rankLoad, rank);
  const end = firstOf(s, rank + 1);
  memory.fill(to, 0, s.rowBytes);
  for (let slot = firstOf(s, rank); slot < end; slot++) {
    const copy = rowOf(s, s.copyLoad, expertAt(s, slot));
    for (let t: usize = 0; t < s.rowBytes; t += 16) {
      v128.store(to + t, f32x4.add(v128.load(to + t), v128.load(copy + t)));
    }
  }
}

/** The eighth powers of the rank loads, added up, of the four samples at byte `t`. */
function powers(s: Adaptive, t: usize): v128 {
  let sum = f32x4.splat(0);
  let at = s.rankLoad + t;
  for (let rank = 0; rank < s.numRanks; rank++) {
    sum = f32x4.add(sum, power8(v128.load(at)));
    at += s.rowBytes;
  }
  return sum;
}

/** The objective without the price. */
export function objectiveOf(s: Adaptive): f64 {
  let sum = f32x4.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    sum = f32x4.add(sum, f32x4.mul(v128.load(s.weights + t), root8(powers(s, t))));
  }
  return lanes(sum);
}

/** Makes the tangent anew: the root is concave, so what the tangent gains is gained at least. */
export function refresh(s: Adaptive): void {
  spend(s, s.numRanks);
  const eighth = f32x4.splat(0.125);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    const sum = powers(s, t);
    const weight = f32x4.mul(v128.load(s.weights + t), eighth);
    v128.store(s.slope + t, f32x4.div(f32x4.mul(weight, root8(sum)), sum));
  }
  for (let rank = 0; rank < s.numRanks; rank++) revalueRank(s, rank);
}

export function revalueRank(s: Adaptive, rank: i32): void {
  spend(s, 1 + ((firstOf(s, rank + 1) - firstOf(s, rank)) >> 4));
  const row = rowOf(s, s.rankLoad, rank);
  const gradient = rowOf(s, s.rankGradient, rank);
  const eight = f32x4.splat(8);
  let sum = f32x4.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    const x = v128.load(row + t);
    const slope = v128.load(s.slope + t);
    const square = f32x4.mul(x, x);
    const fourth = f32x4.mul(square, square);
    const seventh = f32x4.mul(f32x4.mul(fourth, square), x);
    v128.store(gradient + t, f32x4.mul(f32x4.mul(eight, slope), seventh));
    sum = f32x4.add(sum, f32x4.mul(slope, f32x4.mul(fourth, fourth)));
  }
  store<f64>(s.rankCost + ((<usize>rank) << 3), lanes(sum));
  setMark(s.stalePull, rank, 1);
  const end = firstOf(s, rank + 1);
  for (let slot = firstOf(s, rank); slot < end; slot++) setMark(s.staleRelief, expertAt(s, slot), 1);
}

/** What it changes on a rank when the expert has `count` copies, as many on the rank as now. */
function costWith(s: Adaptive, rank: i32, expert: i32, count: i32): f64 {
  spend(s, 1);
  const old = rowOf(s, s.rankLoad, rank);
  const copy = rowOf(s, s.copyLoad, expert);
  const from = rowOf(s, s.samples, expert);
  const share = f32x4.splat(shareOf(count));
  const part = f32x4.splat(partOf(s, expert, count));
  const copies = f32x4.splat(<f32>copiesOn(s, rank, expert));
  let sum = f32x4.splat(0);
  const slope = s.slope;
  const end = s.rowBytes;
  for (let t: usize = 0; t < end; t += 16) {
    const then = f32x4.add(f32x4.mul(v128.load(from + t), share), part);
    const change = f32x4.mul(copies, f32x4.sub(then, v128.load(copy + t)));
    const x = f32x4.add(v128.load(old + t), change);
    sum = f32x4.add(sum, f32x4.mul(v128.load(slope + t), power8(x)));
  }
  return lanes(sum) - rankCostOf(s, rank);
}

export function costOfExchange(s: Adaptive, a: i32, i: i32, b: i32, j: i32): f64 {
  s.evaluations++;
  spend(s, 1);
  const rowA = rowOf(s, s.rankLoad, a);
  const rowB = rowOf(s, s.rankLoad, b);
  const copyI = rowOf(s, s.copyLoad, i);
  const copyJ = rowOf(s, s.copyLoad, j);
  let sum = f32x4.splat(0);
  const slope = s.slope;
  const end = s.rowBytes;
  for (let t: usize = 0; t < end; t += 16) {
    const shift = f32x4.sub(v128.load(copyI + t), v128.load(copyJ + t));
    const lighter = power8(f32x4.sub(v128.load(rowA + t), shift));
    const heavier = power8(f32x4.add(v128.load(rowB + t), shift));
    sum = f32x4.add(sum, f32x4.mul(v128.load(slope + t), f32x4.add(lighter, heavier)));
  }
  return lanes(sum) - rankCostOf(s, a) - rankCostOf(s, b);
}

/** The least that an exchange between two ranks can cost: if both came to the same loads. */
export function leastOfRanks(s: Adaptive, a: i32, b: i32): f64 {
  const rowA = rowOf(s, s.rankLoad, a);
  const rowB = rowOf(s, s.rankLoad, b);
  const half = f32x4.splat(0.5);
  let sum = f32x4.splat(0);
  const slope = s.slope;
  const end = s.rowBytes;
  for (let t: usize = 0; t < end; t += 16) {
    const middle = f32x4.mul(half, f32x4.add(v128.load(rowA + t), v128.load(rowB + t)));
    sum = f32x4.add(sum, f32x4.mul(v128.load(slope + t), power8(middle)));
  }
  return 2 * lanes(sum) - rankCostOf(s, a) - rankCostOf(s, b);
}

/** What it costs to put expert j into a slot of rank a that has expert i. */
export function costOfOverwrite(s: Adaptive, a: i32, i: i32, j: i32): f64 {
  s.evaluations++;
  let cost: f64 = 0;
  let slotI = headOf(s, i);
  let slotJ = headOf(s, j);
  while (slotI >= 0 || slotJ >= 0) {
    const rankI = slotI < 0 ? s.numRanks : rankOf(s, slotI);
    const rankJ = slotJ < 0 ? s.numRanks : rankOf(s, slotJ);
    const rank = min(rankI, rankJ);
    cost += costOfBoth(s, rank, rank === a ? 1 : 0, i, j);
    if (rankI === rank) slotI = nextElsewhere(s, slotI);
    if (rankJ === rank) slotJ = nextElsewhere(s, slotJ);
  }
  return cost;
}

/** What it changes on a rank when expert i has one copy less and j one more; `here` copies of each on this rank. */
function costOfBoth(s: Adaptive, rank: i32, here: i32, i: i32, j: i32): f64 {
  spend(s, 1);
  const copiesI = copiesOn(s, rank, i);
  const copiesJ = copiesOn(s, rank, j);
  const oldI = f32x4.splat(<f32>copiesI);
  const oldJ = f32x4.splat(<f32>copiesJ);
  const newI = f32x4.splat(<f32>(copiesI - here));
  const newJ = f32x4.splat(<f32>(copiesJ + here));
  const lessShare = f32x4.splat(shareOf(copiesOf(s, i) - 1));
  const lessPart = f32x4.splat(partOf(s, i, copiesOf(s, i) - 1));
  const moreShare = f32x4.splat(at32(s.moreShare, j));
  const morePart = f32x4.splat(at32(s.morePart, j));
  const row = rowOf(s, s.rankLoad, rank);
  const samplesI = rowOf(s, s.samples, i);
  const samplesJ = rowOf(s, s.samples, j);
  const copyI = rowOf(s, s.copyLoad, i);
  const copyJ = rowOf(s, s.copyLoad, j);
  let sum = f32x4.splat(0);
  const slope = s.slope;
  const end = s.rowBytes;
  for (let t: usize = 0; t < end; t += 16) {
    const less = f32x4.add(f32x4.mul(v128.load(samplesI + t), lessShare), lessPart);
    const more = f32x4.add(f32x4.mul(v128.load(samplesJ + t), moreShare), morePart);
    const changeI = f32x4.sub(f32x4.mul(newI, less), f32x4.mul(oldI, v128.load(copyI + t)));
    const changeJ = f32x4.sub(f32x4.mul(newJ, more), f32x4.mul(oldJ, v128.load(copyJ + t)));
    const x = f32x4.add(v128.load(row + t), f32x4.add(changeI, changeJ));
    sum = f32x4.add(sum, f32x4.mul(v128.load(slope + t), power8(x)));
  }
  return lanes(sum) - rankCostOf(s, rank);
}

/** Brings up to date what one copy more, and one less, of each expert changes on the ranks that have it. */
export function relieve(s: Adaptive): void {
  for (let expert = 0; expert < s.numExperts && !isOver(s); expert++) {
    if (!isMarked(s.staleRelief, expert)) continue;
    setMark(s.staleRelief, expert, 0);
    const count = copiesOf(s, expert);
    let more: f64 = 0;
    let less: f64 = 0;
    for (let slot = headOf(s, expert); slot >= 0; slot = nextElsewhere(s, slot)) {
      const rank = rankOf(s, slot);
      more += costWith(s, rank, expert, count + 1);
      if (count < 2) continue;
      const cost = costWith(s, rank, expert, count - 1);
      less += cost;
      for (let same = slot; same >= 0 && rankOf(s, same) === rank; same = nextOf(s, same)) {
        store<f64>(s.lessCost + ((<usize>same) << 3), cost);
      }
    }
    store<f32>(s.relief + ((<usize>expert) << 2), <f32>more);
    store<f64>(s.lessSum + ((<usize>expert) << 3), less);
  }
}

/**
 * Brings up to date what the loads of all experts cost on a rank. Sixteen experts are taken at a time, a cache line of each sample: no
 * sum goes across a vector.
 */
export function pullRank(s: Adaptive, rank: i32): void {
  if (!isMarked(s.stalePull, rank)) return;
  setMark(s.stalePull, rank, 0);
  spend(s, 1 + (<i32>s.width >> 3));
  const loads = rowOf(s, s.rankLoad, rank);
  const gradient = rowOf(s, s.rankGradient, rank);
  let pullSum: f32 = 0;
  let bendSum: f32 = 0;
  for (let t: usize = 0; t < s.rowBytes; t += 4) {
    const x = load<f32>(loads + t);
    const square = x * x;
    pullSum += load<f32>(gradient + t);
    bendSum += load<f32>(s.slope + t) * (square * square * square);
  }
  const at = (<usize>rank) << 2;
  store<f32>(s.pullSum + at, pullSum);
  store<f32>(s.bendSum + at, bendSum);
  const bytes = s.width << 2;
  const to = wideRow(s, s.pull, rank);
  for (let e: usize = 0; e < bytes; e += 64) {
    let from = s.turned + e;
    let pull0 = f32x4.splat(0);
    let pull1 = f32x4.splat(0);
    let pull2 = f32x4.splat(0);
    let pull3 = f32x4.splat(0);
    for (let t: usize = 0; t < s.rowBytes; t += 4) {
      const g = v128.load32_splat(gradient + t);
      pull0 = f32x4.add(pull0, f32x4.mul(g, v128.load(from)));
      pull1 = f32x4.add(pull1, f32x4.mul(g, v128.load(from, 16)));
      pull2 = f32x4.add(pull2, f32x4.mul(g, v128.load(from, 32)));
      pull3 = f32x4.add(pull3, f32x4.mul(g, v128.load(from, 48)));
      from += bytes;
    }
    v128.store(to + e, pull0);
    v128.store(to + e, pull1, 16);
    v128.store(to + e, pull2, 32);
    v128.store(to + e, pull3, 48);
  }
  const held = wideRow(s, s.held, rank);
  const priced = wideRow(s, s.pricedPull, rank);
  const price = f32x4.splat(<f32>s.price);
  const sum = f32x4.splat(pullSum);
  for (let e: usize = 0; e < bytes; e += 16) {
    const first = f32x4.mul(v128.load(to + e), v128.load(s.share + e));
    const pull = f32x4.add(first, f32x4.mul(sum, v128.load(s.part + e)));
    v128.store(priced + e, f32x4.sub(pull, f32x4.mul(price, f32x4.convert_i32x4_s(v128.load(held + e)))));
  }
}

/**
 * What the rank gets with one copy more of an expert, to first order, what that changes on the other ranks, and its fee: of the four
 * experts at byte `at`.
 */
export function offers(s: Adaptive, pulls: usize, fees: usize, pullSum: v128, at: usize): v128 {
  const first = f32x4.mul(v128.load(pulls + at), v128.load(s.moreShare + at));
  const second = f32x4.mul(pullSum, v128.load(s.morePart + at));
  return f32x4.add(f32x4.add(v128.load(s.relief + at), f32x4.add(first, second)), v128.load(fees + at));
}

export function leastOffer(s: Adaptive, rank: i32): f32 {
  const pulls = wideRow(s, s.pull, rank);
  const fees = wideRow(s, s.fee, rank);
  const pullSum = f32x4.splat(at32(s.pullSum, rank));
  let least = f32x4.splat(Infinity);
  for (let at: usize = 0, end = s.width << 2; at < end; at += 16) {
    // One instruction, as min is not. It passes over the NaN of a price beyond float32.
    least = f32x4.pmin(least, offers(s, pulls, fees, pullSum, at));
  }
  const pair = f32x4.pmin(least, v128.shuffle<f32>(least, least, 2, 3, 0, 1));
  return min(f32x4.extract_lane(pair, 0), f32x4.extract_lane(pair, 1));
}
