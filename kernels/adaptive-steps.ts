// The steps of the adaptive policy's search: exchanges of two slots of two ranks, and overwrites of a slot whose expert has
// copies to spare. Each is looked at closely only when a bound says that it may be the best.

import {
  boundRanks,
  costOfExchange,
  costOfOverwrite,
  costOfReplacing,
  costWith,
  objectiveOf,
  refresh,
  revalueCount,
  revalueExpert,
  revalueRank,
  splitLoad,
  sumRank,
} from './adaptive-costs';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  addCopies,
  addCopiesOn,
  burdenOf,
  copiesOf,
  copiesOn,
  expertAt,
  gradientOf,
  heldOn,
  homeOf,
  ownOf,
  rankCostOf,
  reliefOf,
  setExpertAt,
} from './adaptive-state';

/** The tangent is made anew after so many steps: each 4 brings nothing. */
const STEPS_PER_REFRESH: i32 = 16;
const MAX_EPOCHS: i32 = 6;
/** Less is rounding. */
export const LEAST_GAIN: f64 = 1e-9;
const MOST_POLISHED_SLOTS: i32 = 16;
const EXCHANGES_PER_KICK: i32 = 2;

/** Takes the best step again and again until none is left. */
export function descend(s: Adaptive): void {
  let steps = 0;
  for (let epoch = 0; epoch < MAX_EPOCHS; epoch++) {
    let isBetter = false;
    while (s.evaluations < s.maxEvaluations && step(s)) {
      isBetter = true;
      steps++;
      if (steps % STEPS_PER_REFRESH === 0) refresh(s);
    }
    if (!isBetter || s.evaluations >= s.maxEvaluations) return;
    refresh(s);
  }
}

/**
 * Tries every step at its true cost. The tangent tells too little where a step changes much of all loads, as steps of few slots do;
 * with more slots nothing is left to find this way.
 */
export function polish(s: Adaptive): void {
  if (s.numSlots > MOST_POLISHED_SLOTS) return;
  let value = objectiveOf(s) + s.price * <f64>s.moves;
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
}

function valueWithin(s: Adaptive): f64 {
  s.evaluations++;
  return s.moves > s.maxMoves ? Infinity : objectiveOf(s) + s.price * <f64>s.moves;
}

function mayExchange(s: Adaptive, slot: i32, other: i32): bool {
  const a = slot / s.slotsPerRank;
  const b = other / s.slotsPerRank;
  if (a === b || (s.numNodes > 1 && a / s.ranksPerNode !== b / s.ranksPerNode)) return false;
  return copiesOn(s, a, expertAt(s, other)) === 0 && copiesOn(s, b, expertAt(s, slot)) === 0;
}

function mayOverwrite(s: Adaptive, slot: i32, expert: i32): bool {
  const rank = slot / s.slotsPerRank;
  if (copiesOf(s, expertAt(s, slot)) < 2 || copiesOn(s, rank, expert) > 0) return false;
  return s.numNodes === 1 || homeOf(s, expert) === rank / s.ranksPerNode;
}

function step(s: Adaptive): bool {
  s.bestKind = 0;
  findOverwrite(s, findExchange(s, -LEAST_GAIN));
  if (s.bestKind === 0) return false;
  if (s.bestKind === 1) exchange(s, s.bestSlot, s.bestOther);
  else overwrite(s, s.bestSlot, s.bestOther);
  return true;
}

function findExchange(s: Adaptive, start: f64): f64 {
  let best = start;
  const twoMoves = 2 * s.price;
  boundRanks(s);
  for (let slot = 0; slot < s.numSlots; slot++) {
    const a = slot / s.slotsPerRank;
    const i = expertAt(s, slot);
    const end = s.numNodes === 1 ? s.numRanks : (a / s.ranksPerNode + 1) * s.ranksPerNode;
    for (let b = a + 1; b < end; b++) {
      const base = gradientOf(s, b, i) - ownOf(s, slot);
      const low = load<f64>(s.low + ((<usize>(a * s.numRanks + b)) << 3));
      if (base + low - twoMoves >= best || copiesOn(s, b, i) > 0) continue;
      for (let other = b * s.slotsPerRank; other < (b + 1) * s.slotsPerRank; other++) {
        const j = expertAt(s, other);
        const bound = base + (gradientOf(s, a, j) - ownOf(s, other));
        if (bound - twoMoves >= best || copiesOn(s, a, j) > 0) continue;
        const moves = heldOn(s, a, i) - heldOn(s, a, j) + (heldOn(s, b, j) - heldOn(s, b, i));
        const cost = s.price * <f64>moves;
        if (bound + cost >= best || (moves > 0 && s.moves + moves > s.maxMoves)) continue;
        const total = costOfExchange(s, a, i, b, j) + cost;
        if (total >= best) continue;
        best = total;
        s.bestKind = 1;
        s.bestSlot = slot;
        s.bestOther = other;
      }
    }
  }
  return best;
}

function findOverwrite(s: Adaptive, start: f64): f64 {
  let best = start;
  for (let slot = 0; slot < s.numSlots; slot++) {
    const a = slot / s.slotsPerRank;
    const i = expertAt(s, slot);
    const count = copiesOf(s, i);
    if (count < 2) continue;
    const copies = <f64>copiesOn(s, a, i);
    const here = costWith(s, a, i, copies / <f64>(count - 1) - copies / <f64>count) - rankCostOf(s, a);
    const elsewhere = burdenOf(s, i) - here;
    const base = elsewhere - ownOf(s, slot);
    for (let j = 0; j < s.numExperts; j++) {
      if (copiesOn(s, a, j) > 0 || (s.numNodes > 1 && homeOf(s, j) !== a / s.ranksPerNode)) continue;
      const moves = heldOn(s, a, i) - heldOn(s, a, j);
      const cost = s.price * <f64>moves;
      const after = <f64>copiesOf(s, j) / <f64>(copiesOf(s, j) + 1);
      const bound = base + reliefOf(s, j) + gradientOf(s, a, j) * after + cost;
      if (bound >= best || (moves > 0 && s.moves + moves > s.maxMoves)) continue;
      // All but where both have copies on another rank: what that adds is less than nothing, and little.
      if (elsewhere + reliefOf(s, j) + costOfReplacing(s, a, i, j) + cost >= best) continue;
      const total = costOfOverwrite(s, a, i, j) + cost;
      if (total >= best) continue;
      best = total;
      s.bestKind = 2;
      s.bestSlot = slot;
      s.bestOther = j;
    }
  }
  return best;
}

function exchange(s: Adaptive, slot: i32, other: i32): void {
  const i = expertAt(s, slot);
  const j = expertAt(s, other);
  put(s, slot, j);
  put(s, other, i);
  revalue(s, i, j, slot / s.slotsPerRank, other / s.slotsPerRank);
}

function overwrite(s: Adaptive, slot: i32, expert: i32): void {
  const old = expertAt(s, slot);
  put(s, slot, expert);
  addCopies(s, old, -1);
  addCopies(s, expert, 1);
  splitLoad(s, old);
  splitLoad(s, expert);
  revalue(s, old, expert, slot / s.slotsPerRank, -1);
}

function put(s: Adaptive, slot: i32, expert: i32): void {
  const rank = slot / s.slotsPerRank;
  const old = expertAt(s, slot);
  s.moves += heldOn(s, rank, old) - heldOn(s, rank, expert);
  addCopiesOn(s, rank, old, -1);
  addCopiesOn(s, rank, expert, 1);
  setExpertAt(s, slot, expert);
}

/** Brings all up to date after experts i and j changed: on ranks a and b, or, when b is -1, on all that have them. */
function revalue(s: Adaptive, i: i32, j: i32, a: i32, b: i32): void {
  for (let rank = 0; rank < s.numRanks; rank++) {
    const has = b === -1 && (copiesOn(s, rank, i) > 0 || copiesOn(s, rank, j) > 0);
    const isChanged = rank === a || rank === b || has;
    store<i32>(s.marks + ((<usize>rank) << 2), isChanged ? 1 : 0);
    if (isChanged) {
      sumRank(s, rank);
      revalueRank(s, rank);
      for (let expert = 0; expert < s.numExperts; expert++) revalueExpert(s, rank, expert);
    } else if (b === -1) {
      revalueExpert(s, rank, i);
      revalueExpert(s, rank, j);
    }
  }
  for (let expert = 0; expert < s.numExperts; expert++) {
    let isStale = expert === i || expert === j;
    for (let rank = 0; rank < s.numRanks && !isStale; rank++) {
      isStale = load<i32>(s.marks + ((<usize>rank) << 2)) === 1 && copiesOn(s, rank, expert) > 0;
    }
    if (isStale) revalueCount(s, expert);
  }
}

/** An overwrite and a few exchanges at random, to leave a placement that no single step betters. */
export function kick(s: Adaptive): void {
  const first = nextRandom(s, s.numSlots);
  const expert = nextRandom(s, s.numExperts);
  if (s.moves < s.maxMoves && mayOverwrite(s, first, expert)) overwrite(s, first, expert);
  for (let n = 0; n < EXCHANGES_PER_KICK; n++) {
    const slot = nextRandom(s, s.numSlots);
    const other = nextRandom(s, s.numSlots);
    if (s.moves + 2 <= s.maxMoves && mayExchange(s, slot, other)) exchange(s, slot, other);
  }
}

function nextRandom(s: Adaptive, end: i32): i32 {
  s.random = s.random * 1664525 + 1013904223;
  return <i32>((s.random >>> 8) % <u32>end);
}
