// The steps of the adaptive policy's search: exchanges of two slots of two ranks, and further copies of an
// expert in slots whose expert has copies to spare. Each is looked at closely only when a bound or an
// estimate says that it may be the best.
//
// An estimate is the gradient's, and half the second derivative of the power times the squares of what the
// loads change: of the mean change, and of half the variances of both copies. Without these four times as
// many steps are looked at closely, for 0.001 less of balancedness.

import { countStep, isOver, spend } from './bounds';
import { BELOW, mayHold, mayWeigh, mayWeighMore, reliefOfExchange, reliefOfOverwrite } from './ceiling';
import { exchange, hasMoves, maySurviveExchange, movesOf, overwrite } from './changes';
import {
  boundRanks,
  costOfExchange,
  costOfOverwrite,
  dotCopies,
  knowOwn,
  lessOf,
  maySpare,
  moreOf,
  pullsOf,
} from './costs';
import {
  hasLinks,
  isTabu,
  lostByLeaving,
  mostSavedByComing,
  nodeOf,
  savedAbout,
  savedByExchange,
  savedByOverwrite,
} from './links';
import { boundLinks, rateLinks } from './look-links';
import { hasRules, isKept, mostCopiesOf } from './rules';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  copiesOf,
  expertAt,
  feeAt,
  feeOf,
  firstOf,
  float32At,
  headOf,
  isOn,
  lookForRelief,
  lookUsually,
  mayCome,
  nextOf,
  placeOf,
  rankCostOf,
  rankOf,
  rankRow,
  setBound,
} from './state';
import { mayLeave } from './survive';
import { meanOf, rowOf, varianceOf } from './table';
import { indexOfLeast, leastOfLanes } from './vectors';

/** Takes the best step that is found for the slots of a rank; returns whether there is one. */
export function visit(s: Adaptive, a: i32): bool {
  s.visits++;
  look(s, a);
  return take(s);
}

/**
 * The same for a rank above the ceiling: a step that brings it below is looked for where it costs least, and
 * everywhere only when there is none.
 */
export function relieve(s: Adaptive, rank: i32): bool {
  s.visits++;
  lookForRelief(s, rank, false);
  look(s, rank);
  if (!(s.bestCost < BELOW) && !isOver(s)) {
    lookForRelief(s, rank, true);
    if (look(s, rank)) lookAtLighter(s, rank);
  }
  const isRelieved = take(s);
  lookUsually(s);
  return isRelieved;
}

/** Finds the best step for the slots of a rank; returns whether any of them can gain. */
function look(s: Adaptive, a: i32): bool {
  s.bestCost = s.isWalking || s.relieved >= 0 ? Infinity : -s.leastGain;
  s.bestSlot = -1;
  // Not a number is no cost either.
  if (!(rankCostOf(s, a) > 0) && !hasLinks(s)) return false;
  knowOwn(s, a);
  lookAtRanks(s, a);
  if (s.numSlots > s.numExperts) lookAtSpares(s, a);
  return true;
}

/** Takes the step that was found, if any. */
function take(s: Adaptive): bool {
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
  if (hasLinks(s)) boundLinks(s, a, first, end);
  setBound(s, a, Infinity);
  // Read four at a time.
  for (let b = end; b < end + 3; b++) setBound(s, b, Infinity);
  for (let n = 0; n < s.mostRanks && (n < s.leastRanks || s.bestSlot < 0); n++) {
    const b = leastBound(s, first, end);
    if (!(<f64>float32At(s.bound, b) < s.bestCost) || isOver(s)) return;
    setBound(s, b, Infinity);
    lookAtRank(s, a, b);
  }
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
    const here = float32At(s.here, k) + 0.5 * float32At(s.slotVariance, firstA + k) * bend;
    if (here - most >= limit) continue;
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
 * What each copy of ranks a and b costs more on b than on a, to first order and in fees, without end where it
 * may not come; returns the most of rank b's.
 */
function compareRanks(s: Adaptive, a: i32, b: i32): f32 {
  const firstA = firstOf(s, a);
  const sizeA = firstOf(s, a + 1) - firstA;
  const firstB = firstOf(s, b);
  const sizeB = firstOf(s, b + 1) - firstB;
  dotCopies(s, rankRow(s, s.rankGradient, b), a, s.here, sizeA);
  dotCopies(s, rankRow(s, s.rankGradient, a), b, s.there, sizeB);
  const price = <f32>s.price;
  const nodeA = hasLinks(s) ? nodeOf(s, a) : 0;
  const nodeB = hasLinks(s) ? nodeOf(s, b) : 0;
  const onA = placeOf(s, a, 0);
  const onB = placeOf(s, b, 0);
  for (let k = 0; k < sizeA; k++) {
    const slot = (<usize>(firstA + k)) << 2;
    const place = load<u16>(onB + ((<usize>load<i32>(s.slots + slot)) << 1));
    const at = s.here + ((<usize>k) << 2);
    let fees = feeAt(place, price) - load<f32>(s.slotFee + slot);
    if (nodeA !== nodeB) fees -= load<f32>(s.savedGoing + ((<usize>(nodeB * s.stride + k)) << 2));
    store<f32>(at, isOn(place) ? Infinity : load<f32>(at) - load<f32>(s.own + slot) + fees);
  }
  if (hasRules(s)) keepPinned(s, a, s.here, Infinity);
  let most: f32 = -Infinity;
  for (let m = 0; m < sizeB; m++) {
    const slot = (<usize>(firstB + m)) << 2;
    const place = load<u16>(onA + ((<usize>load<i32>(s.slots + slot)) << 1));
    const at = s.there + ((<usize>m) << 2);
    let fees = load<f32>(s.slotFee + slot) - feeAt(place, price);
    if (nodeA !== nodeB) fees += savedAbout(s, load<i32>(s.slots + slot), nodeB, nodeA);
    const there: f32 = isOn(place) ? -Infinity : load<f32>(s.own + slot) - load<f32>(at) + fees;
    store<f32>(at, there);
    most = max(most, there);
  }
  if (hasRules(s)) keepPinned(s, b, s.there, -Infinity);
  // What fills up the last vector is no step.
  const pad = s.there + ((<usize>sizeB) << 2);
  for (let m: usize = 0; m < 12; m += 4) store<f32>(pad + m, -Infinity);
  return most;
}

/** Pinned copies of a rank are in no exchange. */
function keepPinned(s: Adaptive, rank: i32, table: usize, never: f32): void {
  const first = firstOf(s, rank);
  for (let slot = first, end = firstOf(s, rank + 1); slot < end; slot++) {
    if (isKept(s, rank, expertAt(s, slot))) store<f32>(table + ((<usize>(slot - first)) << 2), never);
  }
}

function lookAtExchange(s: Adaptive, a: i32, slot: i32, b: i32, other: i32): void {
  const i = expertAt(s, slot);
  const j = expertAt(s, other);
  const moves = movesOf(s, a, i, j) + movesOf(s, b, j, i);
  if (!hasMoves(s, moves)) return;
  if (!mayWeigh(s, slot, other)) return;
  if (s.isWalking && (isTabu(s, nodeOf(s, b), i) || isTabu(s, nodeOf(s, a), j))) return;
  let cost = costOfExchange(s, a, i, b, j) + s.price * <f64>moves;
  if (hasLinks(s)) cost -= savedByExchange(s, nodeOf(s, a), i, nodeOf(s, b), j);
  if (s.isWalking && nodeOf(s, a) === nodeOf(s, b) && cost >= -s.leastGain) return;
  if (s.relieved >= 0) cost += reliefOfExchange(s, slot, other);
  if (cost < s.bestCost && maySurviveExchange(s, slot, other)) setBest(s, cost, slot, other, false);
}

function setBest(s: Adaptive, cost: f64, slot: i32, other: i32, isOverwrite: bool): void {
  s.bestCost = cost;
  s.bestSlot = slot;
  s.bestOther = other;
  s.isOverwrite = isOverwrite;
}

/** Looks for lighter experts in the place of copies of the rank that can be spared. */
function lookAtLighter(s: Adaptive, a: i32): void {
  for (let slot = firstOf(s, a), end = firstOf(s, a + 1); slot < end; slot++) {
    if (copiesOf(s, expertAt(s, slot)) < 2) continue;
    spend(s, s.numExperts >> 4);
    for (let j = 0; j < s.numExperts && !isOver(s); j++) {
      if (!mayCome(s, a, j) || copiesOf(s, j) >= mostCopiesOf(s, j)) continue;
      if (reliefOfOverwrite(s, slot, j) < s.bestCost && mayWeighMore(s, slot, j)) lookAtOverwrite(s, slot, j);
    }
  }
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
  lookAtCopies(s, a, <f64>leastOfBases(s));
  store<f32>(own, least);
}

/**
 * Looks at further copies of the experts of rank a, those first that may win the most, when each takes the
 * place of a copy that costs so little.
 */
function lookAtCopies(s: Adaptive, a: i32, base: f64): void {
  const first = firstOf(s, a);
  const size = firstOf(s, a + 1) - first;
  spend(s, 1 + (size >> 2));
  for (let k = 0; k < size; k++) {
    const expert = expertAt(s, first + k);
    let most = leastMoreOf(s, expert);
    if (hasLinks(s)) most -= mostSavedByComing(s, expert);
    store<f32>(s.here + ((<usize>k) << 2), most);
  }
  for (let n = min(s.copiedExperts, size); n > 0; n--) {
    const k = indexOfLeast(s.here, size);
    const at = s.here + ((<usize>k) << 2);
    if (!(<f64>load<f32>(at) + base < s.bestCost) || isOver(s)) return;
    store<f32>(at, Infinity);
    const j = expertAt(s, first + k);
    const saved: f32 = hasLinks(s) ? mostSavedByComing(s, j) : 0;
    if (<f64>moreOf(s, j) - <f64>saved + base < s.bestCost) lookAtCopy(s, j);
  }
}

/** Finds what it costs to take the expert out of each slot of a rank. */
function rateSpares(s: Adaptive, rank: i32): void {
  spend(s, 1);
  store<u8>(s.knownBase + <usize>rank, 1);
  let least: f32 = Infinity;
  for (let slot = firstOf(s, rank), end = firstOf(s, rank + 1); slot < end; slot++) {
    const expert = expertAt(s, slot);
    let base: f32 = Infinity;
    if (copiesOf(s, expert) > 1 && !isKept(s, rank, expert) && (!hasLinks(s) || maySpare(s, rank, expert))) {
      knowOwn(s, rank);
      base =
        lessOf(s, expert) - float32At(s.less, slot) - float32At(s.own, slot) - float32At(s.slotFee, slot);
      if (hasLinks(s)) base += lostByLeaving(s, expert, nodeOf(s, rank));
      least = min(least, base);
    }
    store<f32>(s.base + ((<usize>slot) << 2), base);
  }
  store<f32>(s.leastBase + ((<usize>rank) << 2), least);
}

/** The least base of all ranks. */
function leastOfBases(s: Adaptive): f32 {
  let base = f32x4.splat(Infinity);
  for (let at = s.leastBase, end = at + ((<usize>s.numRanks) << 2); at < end; at += 16) {
    base = f32x4.pmin(base, v128.load(at));
  }
  return leastOfLanes(base);
}

/**
 * No more can be won where an expert is than the gradient tells of the load that a further copy takes;
 * infinite where there may be none.
 */
function leastMoreOf(s: Adaptive, expert: i32): f32 {
  const copies = copiesOf(s, expert);
  if (copies >= mostCopiesOf(s, expert)) return Infinity;
  let sum: f32 = 0;
  for (let slot = headOf(s, expert); slot >= 0; slot = nextOf(s, slot)) {
    knowOwn(s, rankOf(s, slot));
    sum -= float32At(s.own, slot);
  }
  return sum / <f32>(copies + 1);
}

/**
 * Looks for a better slot for a further copy of expert j. What the copy costs on a rank to first order is
 * looked up where what is won may pay for it; to second order it is no less than half its variance costs.
 */
function lookAtCopy(s: Adaptive, j: i32): void {
  spend(s, 1 + (s.numRanks >> 3));
  const copies = copiesOf(s, j) + 1;
  const row = rowOf(s, j, copies);
  const mean = meanOf(s, j, copies);
  const varying = f32x4.splat(0.5 * varianceOf(s, j, copies));
  const relief = f32x4.splat(moreOf(s, j));
  if (hasLinks(s)) rateLinks(s, j);
  for (let rank = 0; rank < s.numRanks; rank += 4) {
    const at = (<usize>rank) << 2;
    let firsts = f32x4.add(relief, f32x4.mul(varying, v128.load(s.rankBend + at)));
    if (hasLinks(s)) firsts = f32x4.sub(firsts, v128.load(s.savedOn + at));
    const bases = v128.load(s.leastBase + at);
    const limit = f32x4.splat(<f32>s.bestCost);
    if (!v128.any_true(f32x4.lt(f32x4.add(firsts, bases), limit))) continue;
    const costs = f32x4.add(firsts, pullsOf(s, rank, row));
    let mask = i32x4.bitmask(f32x4.lt(f32x4.add(costs, bases), limit));
    if (mask === 0) continue;
    v128.store(s.fourRanks, costs);
    for (; mask !== 0; mask &= mask - 1) {
      const lane = ctz(mask);
      const b = rank + lane;
      if (b >= s.numRanks || !mayCome(s, b, j)) continue;
      lookAtCopyOn(s, b, j, float32At(s.fourRanks, lane) + <f32>feeOf(s, b, j), mean);
      if (s.isOver) return;
    }
  }
}

/** Looks for a better slot of rank b for a further copy of expert j, which costs so much without the slot. */
function lookAtCopyOn(s: Adaptive, b: i32, j: i32, first: f32, mean: f32): void {
  spend(s, 1);
  if (first + float32At(s.leastBase, b) >= <f32>s.bestCost) return;
  const bend = float32At(s.rankBend, b);
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
  const moves = movesOf(s, rank, i, j);
  if (!hasMoves(s, moves) || (s.isWalking && isTabu(s, nodeOf(s, rank), j))) return;
  if (!mayHold(s, slot, j)) return;
  let cost = costOfOverwrite(s, slot, j) + s.price * <f64>moves;
  if (hasLinks(s)) cost -= savedByOverwrite(s, nodeOf(s, rank), i, j);
  if (s.relieved >= 0) cost += reliefOfOverwrite(s, slot, j);
  if (cost < s.bestCost && mayWeighMore(s, slot, j) && mayLeave(s, rank, i)) setBest(s, cost, slot, j, true);
}
