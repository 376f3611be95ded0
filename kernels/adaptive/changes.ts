// Single changes of the adaptive policy's placement: whether they may be, how many moves they are, and making
// them.

import { mayWeigh, mayWeighMore } from './ceiling';
import { revalueRank, sumRank } from './costs';
import { enterNode, hasLinks, leaveNode, nodeOf } from './links';
import { mostCopiesOf } from './rules';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  addCopies,
  addCopiesOn,
  copiesOf,
  expertAt,
  headOf,
  heldOn,
  mayCome,
  nextElsewhere,
  nextOf,
  rankOf,
  setExpertAt,
} from './state';
import { mayGo, mayLeave } from './survive';
import { turnToRow } from './table';

export function mayExchange(s: Adaptive, slot: i32, other: i32): bool {
  const a = rankOf(s, slot);
  const b = rankOf(s, other);
  if (a === b || !mayCome(s, a, expertAt(s, other)) || !mayCome(s, b, expertAt(s, slot))) return false;
  return mayWeigh(s, slot, other) && maySurviveExchange(s, slot, other);
}

/** Whether experts that have to survive do so after an exchange. */
export function maySurviveExchange(s: Adaptive, slot: i32, other: i32): bool {
  const a = rankOf(s, slot);
  const b = rankOf(s, other);
  return mayGo(s, a, expertAt(s, slot), b) && mayGo(s, b, expertAt(s, other), a);
}

export function mayOverwrite(s: Adaptive, slot: i32, expert: i32): bool {
  if (copiesOf(s, expertAt(s, slot)) < 2 || copiesOf(s, expert) >= mostCopiesOf(s, expert)) return false;
  const rank = rankOf(s, slot);
  return mayCome(s, rank, expert) && mayWeighMore(s, slot, expert) && mayLeave(s, rank, expertAt(s, slot));
}

/** How many moves it adds that a copy of expert i leaves a rank, and one of j comes. */
export function movesOf(s: Adaptive, rank: i32, i: i32, j: i32): i32 {
  return heldOn(s, rank, i) - heldOn(s, rank, j);
}

/** Whether so many moves more are within the limit. A placement that is beyond it may still be bettered. */
export function hasMoves(s: Adaptive, moves: i32): bool {
  return moves <= 0 || s.moves + moves <= s.maxMoves;
}

export function exchange(s: Adaptive, slot: i32, other: i32): void {
  const i = expertAt(s, slot);
  put(s, slot, expertAt(s, other));
  put(s, other, i);
  if (hasLinks(s)) exchangeNodes(s, slot, other);
  touch(s, rankOf(s, slot));
  touch(s, rankOf(s, other));
}

/** Two slots have been exchanged. */
function exchangeNodes(s: Adaptive, slot: i32, other: i32): void {
  const a = nodeOf(s, rankOf(s, slot));
  const b = nodeOf(s, rankOf(s, other));
  if (a === b) return;
  leaveNode(s, a, expertAt(s, other));
  enterNode(s, b, expertAt(s, other));
  leaveNode(s, b, expertAt(s, slot));
  enterNode(s, a, expertAt(s, slot));
}

export function overwrite(s: Adaptive, slot: i32, expert: i32): void {
  const old = expertAt(s, slot);
  put(s, slot, expert);
  addCopies(s, old, -1);
  addCopies(s, expert, 1);
  turnToRow(s, old);
  turnToRow(s, expert);
  if (hasLinks(s)) {
    const node = nodeOf(s, rankOf(s, slot));
    leaveNode(s, node, old);
    enterNode(s, node, expert);
  }
  touch(s, rankOf(s, slot));
  touchOthers(s, old, rankOf(s, slot));
  touchOthers(s, expert, rankOf(s, slot));
}

/** The ranks that have the expert, but one. */
function touchOthers(s: Adaptive, expert: i32, except: i32): void {
  for (let slot = headOf(s, expert); slot >= 0; slot = nextElsewhere(s, slot)) {
    if (rankOf(s, slot) !== except) touch(s, rankOf(s, slot));
  }
}

/** Sums up a rank whose loads have changed. */
function touch(s: Adaptive, rank: i32): void {
  sumRank(s, rank);
  revalueRank(s, rank);
  s.time++;
  store<i32>(s.changedAt + ((<usize>rank) << 2), s.time);
}

function put(s: Adaptive, slot: i32, expert: i32): void {
  const rank = rankOf(s, slot);
  const old = expertAt(s, slot);
  s.moves += movesOf(s, rank, old, expert);
  // Of the expert that leaves the rank the sums are of one rank too many.
  store<u8>(s.knownSums + <usize>old, 0);
  addCopiesOn(s, rank, old, -1);
  addCopiesOn(s, rank, expert, 1);
  unlink(s, slot, old);
  link(s, slot, expert);
  setExpertAt(s, slot, expert);
}

/** Puts a slot among those of its expert, which are in order. */
export function link(s: Adaptive, slot: i32, expert: i32): void {
  let at = s.head + ((<usize>expert) << 2);
  let next = load<i32>(at);
  while (next >= 0 && next < slot) {
    at = s.next + ((<usize>next) << 2);
    next = load<i32>(at);
  }
  store<i32>(at, slot);
  store<i32>(s.next + ((<usize>slot) << 2), next);
}

/** Takes a slot from among those of its expert. */
function unlink(s: Adaptive, slot: i32, expert: i32): void {
  let at = s.head + ((<usize>expert) << 2);
  while (load<i32>(at) !== slot) at = s.next + ((<usize>load<i32>(at)) << 2);
  store<i32>(at, nextOf(s, slot));
}

/** Puts an expert into a slot, whatever is in it; all but the counts of copies is to be made anew. */
export function replace(s: Adaptive, slot: i32, expert: i32): void {
  const rank = rankOf(s, slot);
  const old = expertAt(s, slot);
  if (old >= 0) {
    addCopies(s, old, -1);
    addCopiesOn(s, rank, old, -1);
  }
  setExpertAt(s, slot, expert);
  addCopies(s, expert, 1);
  addCopiesOn(s, rank, expert, 1);
}
