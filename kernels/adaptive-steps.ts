// The steps of the adaptive policy's search: exchanges of two slots of two ranks, and overwrites of a slot whose expert has
// copies to spare. Each is looked at closely only when a bound says that it may be the best.

import {
  costElsewhere,
  costOfExchange,
  costOfOverwrite,
  leastOfRanks,
  objectiveOf,
  refresh,
  relieve,
  revalueRank,
  splitInto,
  splitLoad,
  sumRank,
} from './adaptive-costs';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  addCopies,
  addCopiesOn,
  copiesOf,
  copiesOn,
  dot,
  expertAt,
  firstOf,
  heldOn,
  homeOf,
  isDirty,
  rankOf,
  reliefOf,
  rowOf,
  setDirty,
  setExpertAt,
} from './adaptive-state';

/** Less is rounding. */
export const LEAST_GAIN: f64 = 1e-6;
const FEW_SLOTS: i32 = 16;

/**
 * Takes steps until none is left by the tangent. Overwrites come first: at a price they gain the most for their moves (taken after the exchanges
 * they cost 0.01 of balancedness at a tenth of the default policy's moves). Returns whether there was one.
 */
export function descend(s: Adaptive): bool {
  // By the tangent of another placement a step may lead up.
  refresh(s);
  for (let rank = 0; rank < s.numRanks; rank++) setDirty(s, rank, 1);
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

/** Whether no step may be begun: the first always may, so that a limit of 1 tells whether there is one. */
function isSpent(s: Adaptive): bool {
  return s.hasStepped && s.evaluations >= s.maxEvaluations;
}

/** Exchanges slots of each rank that has changed, the best first, while that gains. */
export function sweep(s: Adaptive): bool {
  let isBetter = false;
  for (let rank = 0; rank < s.numRanks; rank++) {
    while (isDirty(s, rank)) {
      if (exchangeBest(s, rank)) isBetter = true;
      else setDirty(s, rank, 0);
    }
  }
  return isBetter;
}

/**
 * Takes the best exchange of a slot of rank a. What an exchange costs to first order is a sum over its two slots, and, as the powers
 * are convex, no more than what it costs. Nor can it cost less than if both ranks came to the same loads, which spares most ranks a look
 * at their slots.
 */
function exchangeBest(s: Adaptive, a: i32): bool {
  if (isSpent(s)) return false;
  const firstA = firstOf(s, a);
  const sizeA = firstOf(s, a + 1) - firstA;
  let best = -LEAST_GAIN;
  let bestSlot = -1;
  let bestOther = 0;
  const node = a / s.ranksPerNode;
  const from = s.numNodes === 1 ? 0 : node * s.ranksPerNode;
  const end = s.numNodes === 1 ? s.numRanks : from + s.ranksPerNode;
  for (let b = from; b < end; b++) {
    if (b === a) continue;
    if (leastOfRanks(s, a, b) + s.price * <f64>leastMoves(s, a, b) >= best) continue;
    const firstB = firstOf(s, b);
    const sizeB = firstOf(s, b + 1) - firstB;
    const most = compareRanks(s, a, b);
    for (let k = 0; k < sizeA; k++) {
      const here = load<f64>(s.here + ((<usize>k) << 3));
      if (here - most >= best) continue;
      const i = expertAt(s, firstA + k);
      if (copiesOn(s, b, i) > 0) continue;
      for (let m = 0; m < sizeB; m++) {
        if (here - load<f64>(s.there + ((<usize>m) << 3)) >= best) continue;
        const j = expertAt(s, firstB + m);
        if (copiesOn(s, a, j) > 0) continue;
        const moves = movesOfExchange(s, a, i, b, j);
        if (moves > 0 && s.moves + moves > s.maxMoves) continue;
        const cost = costOfExchange(s, a, i, b, j) + s.price * <f64>moves;
        if (cost >= best) continue;
        best = cost;
        bestSlot = firstA + k;
        bestOther = firstB + m;
      }
    }
  }
  if (bestSlot < 0) return false;
  exchange(s, bestSlot, bestOther);
  return true;
}

/** The fewest moves that an exchange between two ranks can add. */
function leastMoves(s: Adaptive, a: i32, b: i32): i32 {
  let leastHere = 1;
  let leastThere = 1;
  for (let slot = firstOf(s, a), end = firstOf(s, a + 1); slot < end; slot++) {
    leastHere = min(leastHere, movesTo(s, b, a, expertAt(s, slot)));
  }
  for (let slot = firstOf(s, b), end = firstOf(s, b + 1); slot < end; slot++) {
    leastThere = min(leastThere, movesTo(s, a, b, expertAt(s, slot)));
  }
  return leastHere + leastThere;
}

/** How many moves it adds to put a copy of an expert to rank `to` that is on rank `from`. */
function movesTo(s: Adaptive, to: i32, from: i32, expert: i32): i32 {
  return heldOn(s, from, expert) - heldOn(s, to, expert);
}

/**
 * What each copy of ranks a and b costs more on b than on a, to first order, and with the price of the move to the other rank; returns
 * the most of rank b's.
 */
function compareRanks(s: Adaptive, a: i32, b: i32): f64 {
  const gradientA = rowOf(s, s.rankGradient, a);
  const gradientB = rowOf(s, s.rankGradient, b);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    v128.store(s.difference + t, f32x4.sub(v128.load(gradientB + t), v128.load(gradientA + t)));
  }
  const firstA = firstOf(s, a);
  const firstB = firstOf(s, b);
  const sizeA = firstOf(s, a + 1) - firstA;
  const sizeB = firstOf(s, b + 1) - firstB;
  let most = -Infinity;
  for (let k = 0, size = max(sizeA, sizeB); k < size; k++) {
    const at = (<usize>k) << 3;
    if (k < sizeA) {
      const i = expertAt(s, firstA + k);
      const here = dot(s, s.difference, rowOf(s, s.copyLoad, i)) + s.price * <f64>movesTo(s, b, a, i);
      store<f64>(s.here + at, here);
    }
    if (k >= sizeB) continue;
    const j = expertAt(s, firstB + k);
    const there = dot(s, s.difference, rowOf(s, s.copyLoad, j)) - s.price * <f64>movesTo(s, a, b, j);
    store<f64>(s.there + at, there);
    if (there > most) most = there;
  }
  return most;
}

function movesOfExchange(s: Adaptive, a: i32, i: i32, b: i32, j: i32): i32 {
  return movesTo(s, b, a, i) + movesTo(s, a, b, j);
}

/** Takes the best overwrite. */
function overwriteBest(s: Adaptive): bool {
  if (isSpent(s)) return false;
  let best = -LEAST_GAIN;
  let bestSlot = -1;
  let bestExpert = 0;
  relieve(s);
  let returnsTo = -1;
  let returning = 0;
  for (let slot = 0; slot < s.numSlots; slot++) {
    const i = expertAt(s, slot);
    const count = copiesOf(s, i);
    if (count < 2) continue;
    const a = rankOf(s, slot);
    const own = dot(s, rowOf(s, s.rankGradient, a), rowOf(s, s.copyLoad, i));
    splitInto(s, i, count - 1, s.less);
    const base = costElsewhere(s, a, i, s.less) - own;
    // Rounds otherwise than the bound of one expert does: hence the gain that is none.
    const least = base + load<f64>(s.leastFit + ((<usize>a) << 3)) - LEAST_GAIN;
    if (least + s.price * <f64>(heldOn(s, a, i) - 1) >= best) continue;
    if (least + s.price * <f64>heldOn(s, a, i) >= best) {
      // Only an expert that comes back to the rank may make it worth a look; mostly there is none.
      if (returnsTo !== a) returning = hasLeft(s, a) ? 1 : 0;
      returnsTo = a;
      if (returning === 0) continue;
    }
    const fits = s.fit + ((<usize>(a * s.numExperts)) << 3);
    // What is not below this, in neither of two experts, is no step, whether an expert comes back or not.
    const limit = f64x2.splat(best - base + LEAST_GAIN - s.price * <f64>(heldOn(s, a, i) - 1));
    for (let j = 0; j < s.numExperts; j++) {
      if ((j & 1) === 0 && j + 1 < s.numExperts) {
        const at = (<usize>j) << 3;
        const sums = f64x2.add(v128.load(s.relief + at), v128.load(fits + at));
        if (!v128.any_true(f64x2.lt(sums, limit))) {
          j++;
          continue;
        }
      }
      if (copiesOn(s, a, j) > 0 || (s.numNodes > 1 && homeOf(s, j) !== a / s.ranksPerNode)) continue;
      const moves = heldOn(s, a, i) - heldOn(s, a, j);
      const price = s.price * <f64>moves;
      const bound = base + reliefOf(s, j) + price;
      if (bound >= best || (moves > 0 && s.moves + moves > s.maxMoves)) continue;
      if (bound + load<f64>(fits + ((<usize>j) << 3)) >= best) continue;
      const cost = costOfOverwrite(s, a, i, j, rowOf(s, s.morePer, j)) + price;
      if (cost >= best) continue;
      best = cost;
      bestSlot = slot;
      bestExpert = j;
    }
  }
  if (bestSlot < 0) return false;
  overwrite(s, bestSlot, bestExpert);
  return true;
}

/** Whether an expert that the rank held is not on it. */
function hasLeft(s: Adaptive, rank: i32): bool {
  for (let expert = 0; expert < s.numExperts; expert++) {
    if (heldOn(s, rank, expert) > 0 && copiesOn(s, rank, expert) === 0) return true;
  }
  return false;
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
  while (isBetter && s.evaluations < s.maxEvaluations) {
    isBetter = false;
    for (let slot = 0; slot < s.numSlots; slot++) {
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

export function mayExchange(s: Adaptive, slot: i32, other: i32): bool {
  const a = rankOf(s, slot);
  const b = rankOf(s, other);
  if (a === b || (s.numNodes > 1 && a / s.ranksPerNode !== b / s.ranksPerNode)) return false;
  return copiesOn(s, a, expertAt(s, other)) === 0 && copiesOn(s, b, expertAt(s, slot)) === 0;
}

export function mayOverwrite(s: Adaptive, slot: i32, expert: i32): bool {
  const rank = rankOf(s, slot);
  if (copiesOf(s, expertAt(s, slot)) < 2 || copiesOn(s, rank, expert) > 0) return false;
  return s.numNodes === 1 || homeOf(s, expert) === rank / s.ranksPerNode;
}

/** Infinite when there are not moves enough left. */
export function pricedExchange(s: Adaptive, slot: i32, other: i32): f64 {
  const a = rankOf(s, slot);
  const b = rankOf(s, other);
  const i = expertAt(s, slot);
  const j = expertAt(s, other);
  const moves = movesOfExchange(s, a, i, b, j);
  if (moves > 0 && s.moves + moves > s.maxMoves) return Infinity;
  return costOfExchange(s, a, i, b, j) + s.price * <f64>moves;
}

/** Infinite when there are not moves enough left. */
export function pricedOverwrite(s: Adaptive, slot: i32, expert: i32): f64 {
  const a = rankOf(s, slot);
  const i = expertAt(s, slot);
  const moves = heldOn(s, a, i) - heldOn(s, a, expert);
  if (moves > 0 && s.moves + moves > s.maxMoves) return Infinity;
  splitInto(s, i, copiesOf(s, i) - 1, s.less);
  splitInto(s, expert, copiesOf(s, expert) + 1, s.more);
  return costOfOverwrite(s, a, i, expert, s.more) + s.price * <f64>moves;
}

export function exchange(s: Adaptive, slot: i32, other: i32): void {
  const i = expertAt(s, slot);
  put(s, slot, expertAt(s, other));
  put(s, other, i);
  revalue(s, rankOf(s, slot));
  revalue(s, rankOf(s, other));
}

export function overwrite(s: Adaptive, slot: i32, expert: i32): void {
  const old = expertAt(s, slot);
  put(s, slot, expert);
  addCopies(s, old, -1);
  addCopies(s, expert, 1);
  splitLoad(s, old);
  splitLoad(s, expert);
  const changed = rankOf(s, slot);
  for (let rank = 0; rank < s.numRanks; rank++) {
    if (rank === changed || copiesOn(s, rank, old) > 0 || copiesOn(s, rank, expert) > 0) revalue(s, rank);
  }
}

function put(s: Adaptive, slot: i32, expert: i32): void {
  s.hasStepped = true;
  const rank = rankOf(s, slot);
  const old = expertAt(s, slot);
  s.moves += heldOn(s, rank, old) - heldOn(s, rank, expert);
  addCopiesOn(s, rank, old, -1);
  addCopiesOn(s, rank, expert, 1);
  setExpertAt(s, slot, expert);
}

function revalue(s: Adaptive, rank: i32): void {
  sumRank(s, rank);
  revalueRank(s, rank);
  setDirty(s, rank, 1);
}
