// Single changes of the adaptive policy's placement: whether they may be, what they cost with the price of their moves, and making them.

import { costOfExchange, costOfOverwrite, repull, revalueRank, setFee, splitLoad, sumRank } from './costs';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  addCopies,
  addCopiesOn,
  addTo,
  copiesOf,
  copiesOn,
  expertAt,
  headOf,
  heldOn,
  homeOf,
  link,
  markChanged,
  nextElsewhere,
  rankOf,
  setExpertAt,
  unlink,
} from './state';

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
  return costOfOverwrite(s, a, i, expert) + s.price * <f64>moves;
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
  repull(s, old);
  repull(s, expert);
  revalue(s, rankOf(s, slot));
  revalueOthers(s, old, rankOf(s, slot));
  revalueOthers(s, expert, rankOf(s, slot));
}

/** Revalues the ranks that have the expert, but one. */
function revalueOthers(s: Adaptive, expert: i32, except: i32): void {
  for (let slot = headOf(s, expert); slot >= 0; slot = nextElsewhere(s, slot)) {
    if (rankOf(s, slot) !== except) revalue(s, rankOf(s, slot));
  }
}

function put(s: Adaptive, slot: i32, expert: i32): void {
  s.hasStepped = true;
  const rank = rankOf(s, slot);
  const old = expertAt(s, slot);
  const moves = heldOn(s, rank, old) - heldOn(s, rank, expert);
  s.moves += moves;
  addTo(s.strangers, rank, moves);
  addCopiesOn(s, rank, old, -1);
  addLeft(s, rank, old, 1);
  addLeft(s, rank, expert, -1);
  addCopiesOn(s, rank, expert, 1);
  unlink(s, slot, old);
  link(s, slot, expert);
  setExpertAt(s, slot, expert);
  setFee(s, rank, old);
  setFee(s, rank, expert);
}

/** An expert with no copy on the rank leaves, or comes back. */
function addLeft(s: Adaptive, rank: i32, expert: i32, number: i32): void {
  if (heldOn(s, rank, expert) > 0 && copiesOn(s, rank, expert) === 0) addTo(s.left, rank, number);
}

function revalue(s: Adaptive, rank: i32): void {
  sumRank(s, rank);
  revalueRank(s, rank);
  markChanged(s, rank);
}

export function movesOfExchange(s: Adaptive, a: i32, i: i32, b: i32, j: i32): i32 {
  return movesTo(s, b, a, i) + movesTo(s, a, b, j);
}

/** How many moves it adds to put a copy of an expert to rank `to` that is on rank `from`. */
function movesTo(s: Adaptive, to: i32, from: i32, expert: i32): i32 {
  return heldOn(s, from, expert) - heldOn(s, to, expert);
}
