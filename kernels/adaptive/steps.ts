// The steps of the adaptive policy's search: exchanges of two slots of two ranks, and overwrites of a slot whose expert has
// copies to spare. Each is looked at closely only when a bound says that it may be the best.

import { countStep, isDone, isOver, isSpent, LEAST_GAIN, spend, watchSteps } from './bounds';
import { exchange, mayExchange, mayOverwrite, movesOfExchange, overwrite } from './changes';
import {
  costOfExchange,
  costOfOverwrite,
  leastOffer,
  leastOfRanks,
  objectiveOf,
  offers,
  pullOfCopy,
  pullRank,
  refresh,
  relieve,
} from './costs';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  at32,
  copiesOf,
  copiesOn,
  expertAt,
  firstOf,
  heldOn,
  isDirty,
  isKnown,
  markAllDirty,
  markClean,
  rankCostOf,
  rankOf,
  wideRow,
} from './state';

const FEW_SLOTS: i32 = 16;
const FIRST_RANKS: i32 = 4;
/**
 * The second derivative of the eighth power, by half. What a step changes on a rank is estimated with it, from the mean loads of its
 * copies, before it is looked at exactly: a third of the time at the same balancedness, which falls by 0.001 at 42 and 0.002 at 60.
 */
const BEND: f32 = 28;

/**
 * Takes steps until none is left by the tangent. Overwrites come first: at a price they gain the most for their moves (taken after the exchanges
 * they cost 0.01 of balancedness at a tenth of the default policy's moves). Returns whether there was one.
 */
export function descend(s: Adaptive): bool {
  // By the tangent of another placement a step may lead up.
  refresh(s);
  watchSteps(s);
  markAllDirty(s);
  let isLower = false;
  let isLast = false;
  while (!isLast) {
    isLast = true;
    while (overwriteBest(s)) isLast = false;
    if (sweep(s)) isLast = false;
    if (!isLast) isLower = true;
  }
  return isLower;
}

/**
 * Exchanges slots of each rank that has changed, the most loaded first, while that gains. In the order of their indices first plans take
 * 5 % longer and are 0.001 worse on the steps that follow, for as many moves.
 */
export function sweep(s: Adaptive): bool {
  let isBetter = false;
  for (let rank = heaviestDirty(s); rank >= 0; rank = heaviestDirty(s)) {
    if (exchangeBest(s, rank)) isBetter = true;
    else markClean(s, rank);
  }
  return isBetter;
}

/** The rank that costs most of those whose exchanges are to be looked at; -1 when there is none. */
function heaviestDirty(s: Adaptive): i32 {
  spend(s, s.numRanks >> 4);
  let most: f64 = -1;
  let heaviest = -1;
  for (let rank = 0; rank < s.numRanks; rank++) {
    if (!isDirty(s, rank) || rankCostOf(s, rank) <= most) continue;
    most = rankCostOf(s, rank);
    heaviest = rank;
  }
  return heaviest;
}

/**
 * Takes the best exchange of a slot of rank a with one of the few ranks where a bound says that it can gain the most, else with the first
 * rank where there is one. The best of all ranks takes half as long again and is no better on the steps that follow: 0.7616 against 0.7619
 * of balancedness over six recordings at eleven prices, and 0.7613 with the one rank alone.
 */
function exchangeBest(s: Adaptive, a: i32): bool {
  if (isSpent(s)) return false;
  forget(s);
  const node = a / s.ranksPerNode;
  const from = s.numNodes === 1 ? 0 : node * s.ranksPerNode;
  const end = s.numNodes === 1 ? s.numRanks : from + s.ranksPerNode;
  pullRank(s, a);
  for (let b = from; b < end; b++) {
    setBound(s, b, b === a || isKnown(s, a, b) ? Infinity : leastOfRanks(s, a, b));
  }
  spend(s, end - from);
  for (let n = 0; n < min(FIRST_RANKS, end - from); n++) {
    let b = from;
    for (let other = from + 1; other < end; other++) {
      if (boundOf(s, other) < boundOf(s, b)) b = other;
    }
    lookAtRank(s, a, b);
  }
  for (let b = from; b < end && s.bestSlot < 0 && !isOver(s); b++) lookAtRank(s, a, b);
  if (s.bestSlot < 0) return false;
  exchange(s, s.bestSlot, s.bestOther);
  countStep(s);
  return true;
}

/** There is no best step. */
function forget(s: Adaptive): void {
  s.bestCost = -LEAST_GAIN;
  s.bestSlot = -1;
}

function boundOf(s: Adaptive, rank: i32): f64 {
  return load<f64>(s.bound + ((<usize>rank) << 3));
}

function setBound(s: Adaptive, rank: i32, bound: f64): void {
  store<f64>(s.bound + ((<usize>rank) << 3), bound);
}

/** Looks, once, for a better exchange of a slot of rank a with one of rank b. */
function lookAtRank(s: Adaptive, a: i32, b: i32): void {
  const bound = boundOf(s, b);
  setBound(s, b, Infinity);
  if (bound + s.price * <f64>(leastMoves(s, a, b) + leastMoves(s, b, a)) >= s.bestCost) return;
  if (isOver(s)) return;
  const most = compareRanks(s, a, b);
  const firstA = firstOf(s, a);
  const sizeA = firstOf(s, a + 1) - firstA;
  const firstB = firstOf(s, b);
  const sizeB = firstOf(s, b + 1) - firstB;
  const bendSum = at32(s.bendSum, a) + at32(s.bendSum, b);
  const curve = f32x4.splat(BEND * bendSum);
  const theres = s.there;
  const theseMeans = s.thereMean;
  let limit = <f32>s.bestCost;
  for (let k = 0; k < sizeA; k++) {
    // Of ranks of many slots: the pair of ranks is counted as a whole.
    if ((k & 63) === 63 && isOver(s)) return;
    const here = at32(s.here, k);
    if (here - most >= limit) continue;
    const i = expertAt(s, firstA + k);
    if (copiesOn(s, b, i) > 0) continue;
    const heres = f32x4.splat(here);
    const mean = f32x4.splat(at32(s.copyMean, i));
    for (let m = 0; m < sizeB; m += 4) {
      const at = (<usize>m) << 2;
      const off = f32x4.sub(mean, v128.load(theseMeans + at));
      const first = f32x4.sub(heres, v128.load(theres + at));
      const costs = f32x4.add(first, f32x4.mul(f32x4.mul(off, off), curve));
      const isLow = f32x4.lt(costs, f32x4.splat(limit));
      if (!v128.any_true(isLow)) continue;
      if (isOver(s)) return;
      v128.store(s.four, costs);
      for (let mask = i32x4.bitmask(isLow); mask !== 0; mask &= mask - 1) {
        const lane = ctz(mask);
        if (at32(s.four, lane) >= limit) continue;
        lookAtExchange(s, a, firstA + k, b, firstB + m + lane);
        limit = <f32>s.bestCost;
      }
    }
  }
}

function lookAtExchange(s: Adaptive, a: i32, slot: i32, b: i32, other: i32): void {
  const i = expertAt(s, slot);
  const j = expertAt(s, other);
  if (copiesOn(s, a, j) > 0) return;
  const moves = movesOfExchange(s, a, i, b, j);
  if (moves > 0 && s.moves + moves > s.maxMoves) return;
  const cost = costOfExchange(s, a, i, b, j) + s.price * <f64>moves;
  if (cost < s.bestCost) setBest(s, cost, slot, other);
}

function setBest(s: Adaptive, cost: f64, slot: i32, other: i32): void {
  s.bestCost = cost;
  s.bestSlot = slot;
  s.bestOther = other;
}

/** The fewest moves that it can add to put a copy from one rank to another that has none of its expert. */
function leastMoves(s: Adaptive, from: i32, to: i32): i32 {
  const stays = load<i32>(s.strangers + ((<usize>from) << 2)) > 0 ? 0 : 1;
  const returns = load<i32>(s.left + ((<usize>to) << 2)) > 0 ? 1 : 0;
  return stays - returns;
}

/**
 * What each copy of ranks a and b costs more on b than on a, to first order, and with the price of the move to the other rank; returns
 * the most of rank b's.
 */
function compareRanks(s: Adaptive, a: i32, b: i32): f32 {
  pullRank(s, b);
  const sizeA = firstOf(s, a + 1) - firstOf(s, a);
  const sizeB = firstOf(s, b + 1) - firstOf(s, b);
  spend(s, 1 + ((sizeA + sizeB) >> 3) + ((sizeA * sizeB) >> 6));
  const pullsA = wideRow(s, s.pricedPull, a);
  const pullsB = wideRow(s, s.pricedPull, b);
  let to = s.here;
  for (let slot = firstOf(s, a), end = firstOf(s, a + 1); slot < end; slot++) {
    const i = expertAt(s, slot);
    store<f32>(to, at32(pullsB, i) - at32(pullsA, i));
    to += 4;
  }
  let most: f32 = -Infinity;
  to = s.there;
  let toMean = s.thereMean;
  for (let slot = firstOf(s, b), end = firstOf(s, b + 1); slot < end; slot++) {
    const j = expertAt(s, slot);
    const there = at32(pullsB, j) - at32(pullsA, j);
    store<f32>(to, there);
    store<f32>(toMean, at32(s.copyMean, j));
    most = max(most, there);
    to += 4;
    toMean += 4;
  }
  // What fills up the last vector is no step.
  for (let m = firstOf(s, b + 1) - firstOf(s, b); (m & 3) !== 0; m++) {
    store<f32>(to, -Infinity);
    store<f32>(toMean, 0);
    to += 4;
    toMean += 4;
  }
  return most;
}

/** Takes the best overwrite. The slot where the most may be gained comes first: few of the others are then worth a look. */
function overwriteBest(s: Adaptive): bool {
  if (isSpent(s)) return false;
  forget(s);
  relieve(s);
  const first = rateSlots(s);
  if (first < 0) return false;
  lookAtSlot(s, first);
  for (let slot = 0; slot < s.numSlots && !isOver(s); slot++) {
    if (slot !== first && copiesOf(s, expertAt(s, slot)) > 1) lookAtSlot(s, slot);
  }
  if (s.bestSlot < 0) return false;
  overwrite(s, s.bestSlot, s.bestOther);
  countStep(s);
  return true;
}

/** Finds what it costs to take the expert out of each slot that can spare it; returns the slot where an overwrite can gain the most. */
function rateSlots(s: Adaptive): i32 {
  spend(s, s.numSlots >> 3);
  let least = Infinity;
  let best = -1;
  let last = -1;
  for (let slot = 0; slot < s.numSlots; slot++) {
    const expert = expertAt(s, slot);
    if (copiesOf(s, expert) < 2) continue;
    const rank = rankOf(s, slot);
    const offer = s.leastOffer + ((<usize>rank) << 2);
    if (rank !== last) {
      pullRank(s, rank);
      store<f32>(offer, leastOffer(s, rank));
      last = rank;
    }
    const at = (<usize>slot) << 3;
    const elsewhere = load<f64>(s.lessSum + ((<usize>expert) << 3)) - load<f64>(s.lessCost + at);
    const base = elsewhere - <f64>pullOfCopy(s, rank, expert);
    store<f64>(s.base + at, base);
    const value = base + <f64>load<f32>(offer) + s.price * <f64>heldOn(s, rank, expert);
    if (value >= least) continue;
    least = value;
    best = slot;
  }
  return best;
}

/** Looks for a better overwrite of a slot. What its rank's power costs to second order is added, for loads as even as their means are. */
function lookAtSlot(s: Adaptive, slot: i32): void {
  const i = expertAt(s, slot);
  const a = rankOf(s, slot);
  const base = load<f64>(s.base + ((<usize>slot) << 3)) + s.price * <f64>heldOn(s, a, i);
  if (base + <f64>at32(s.leastOffer, a) >= s.bestCost) return;
  spend(s, 1 + (<i32>s.width >> 5));
  const pulls = wideRow(s, s.pull, a);
  const fees = wideRow(s, s.fee, a);
  const pullSum = f32x4.splat(at32(s.pullSum, a));
  const curve = f32x4.splat(BEND * at32(s.bendSum, a));
  const mean = f32x4.splat(at32(s.copyMean, i));
  let limit = <f32>(s.bestCost - base);
  for (let at: usize = 0, end = s.width << 2; at < end; at += 16) {
    const first = offers(s, pulls, fees, pullSum, at);
    const off = f32x4.sub(v128.load(s.moreMean + at), mean);
    const costs = f32x4.add(first, f32x4.mul(f32x4.mul(off, off), curve));
    const isLow = f32x4.lt(costs, f32x4.splat(limit));
    if (!v128.any_true(isLow)) continue;
    if (isOver(s)) return;
    v128.store(s.four, costs);
    for (let mask = i32x4.bitmask(isLow); mask !== 0; mask &= mask - 1) {
      const lane = ctz(mask);
      if (at32(s.four, lane) >= limit) continue;
      lookAtOverwrite(s, slot, a, i, <i32>(at >> 2) + lane);
      limit = <f32>(s.bestCost - base);
    }
  }
}

function lookAtOverwrite(s: Adaptive, slot: i32, a: i32, i: i32, j: i32): void {
  const moves = heldOn(s, a, i) - heldOn(s, a, j);
  if (moves > 0 && s.moves + moves > s.maxMoves) return;
  const cost = costOfOverwrite(s, a, i, j) + s.price * <f64>moves;
  if (cost < s.bestCost) setBest(s, cost, slot, j);
}

/** Whether the search goes beyond what the tangent tells. */
export function hasFewSlots(s: Adaptive): bool {
  return s.numSlots <= FEW_SLOTS;
}

/**
 * Tries every step at its true cost. The tangent tells too little where a step changes much of all loads, as steps of few slots do;
 * with more slots nothing is left to find this way. Returns whether there was one.
 */
export function polish(s: Adaptive): bool {
  if (!hasFewSlots(s)) return false;
  let value = objectiveOf(s) + s.price * <f64>s.moves;
  const start = value;
  let isBetter = true;
  while (isBetter && !isDone(s)) {
    isBetter = false;
    for (let slot = 0; slot < s.numSlots && !isOver(s); slot++) {
      for (let other = slot + 1; other < s.numSlots; other++) {
        if (!mayExchange(s, slot, other)) continue;
        exchange(s, slot, other);
        const now = valueWithin(s);
        if (now < value - LEAST_GAIN) {
          value = now;
          isBetter = true;
        } else exchange(s, slot, other);
      }
      for (let expert = 0; expert < s.numExperts; expert++) {
        if (!mayOverwrite(s, slot, expert)) continue;
        const old = expertAt(s, slot);
        overwrite(s, slot, expert);
        const now = valueWithin(s);
        if (now < value - LEAST_GAIN) {
          value = now;
          isBetter = true;
        } else overwrite(s, slot, old);
      }
    }
  }
  return value < start;
}

function valueWithin(s: Adaptive): f64 {
  s.evaluations++;
  return s.moves > s.maxMoves ? Infinity : objectiveOf(s) + s.price * <f64>s.moves;
}
