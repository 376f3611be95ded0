// A placement taken over for the adaptive policy's search, with what makes it infeasible repaired in as few
// moves as that takes.

import { isCancelled, spend } from './bounds';
import { replace } from './changes';
import { rebuild, recount } from './descent';
import { obey } from './obey';
import { hasRules, isAtMost, isKept, isPinned } from './rules';
import { secure } from './secure';
import { sortRanks } from './slots';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  at32,
  clearPlaces,
  copiesOf,
  copiesOn,
  expertAt,
  firstOf,
  heldOn,
  homeOf,
  rankOf,
  setHeld,
} from './state';
import { isSecuredOn } from './survive';
import { meanOf } from './table';

/** Of a rank on the way to a free slot: not looked at, and the first. */
const NOT_SEEN: i32 = -1;
const START: i32 = -2;

/** The live placement is one of the tables from outside. */
export function markHeld(s: Adaptive, table: usize): void {
  clearPlaces(s);
  for (let rank = 0; rank < s.numRanks; rank++) {
    for (const end = table + ((<usize>s.stride) << 2); table < end; table += 4) {
      const expert = load<i32>(table);
      if (expert >= 0) setHeld(s, rank, expert);
    }
  }
}

/**
 * Takes over a placement, repaired, and finds the node of each expert. Where the search is cancelled
 * meanwhile, nothing may follow.
 */
export function begin(s: Adaptive, placement: usize): void {
  beginWithoutCosts(s, placement);
  if (!s.isCancelled) rebuild(s);
}

/** The same, but what follows from the slots is not made: nothing may be looked up but copies and homes. */
export function beginWithoutCosts(s: Adaptive, placement: usize): void {
  takeOver(s, placement);
  recount(s);
  obey(s);
  // Where all slots are open, a rank has no expert at hand that it has not in a slot.
  if (s.numSlots < s.numRanks * s.stride) reseat(s);
  repair(s);
  secure(s);
  if (!s.isCancelled) settleIn(s);
}

/** Orders the ranks, and has each expert stay on the node of its first slot. */
function settleIn(s: Adaptive): void {
  sortRanks(s);
  for (let slot = s.numSlots - 1; slot >= 0; slot--) setHome(s, expertAt(s, slot), rankOf(s, slot));
}

/** Leaves out what is in closed slots, but for the node it was on; -1 for an expert that is nowhere. */
function takeOver(s: Adaptive, placement: usize): void {
  memory.fill(s.home, 0xff, (<usize>s.numExperts) << 2);
  for (let rank = s.numRanks - 1; rank >= 0; rank--) {
    const first = firstOf(s, rank);
    const size = firstOf(s, rank + 1) - first;
    const row = placement + ((<usize>(rank * s.stride)) << 2);
    memory.copy(s.slots + ((<usize>first) << 2), row, (<usize>size) << 2);
    for (let k = s.stride - 1; k >= 0; k--) {
      const expert = load<i32>(row + ((<usize>k) << 2));
      if (expert >= 0) setHome(s, expert, rank);
    }
  }
}

function setHome(s: Adaptive, expert: i32, rank: i32): void {
  store<i32>(s.home + ((<usize>expert) << 2), rank / s.ranksPerNode);
}

/** Goes back to the best placement. */
export function resume(s: Adaptive): void {
  memory.copy(s.slots, s.bestSlots, (<usize>s.numSlots) << 2);
  recount(s);
  settleIn(s);
  rebuild(s);
}

/**
 * Brings experts of closed slots into open slots of ranks that have them at hand, which is no move: first
 * those that are in no open slot, as many as can be, then any to where nothing of use is. What is left to
 * move is then the fewest moves there can be.
 */
function reseat(s: Adaptive): void {
  for (let expert = 0; expert < s.numExperts && !isCancelled(s); expert++) {
    if (copiesOf(s, expert) === 0) findSeat(s, expert);
  }
  for (let slot = 0; slot < s.numSlots && !isCancelled(s); slot++) {
    const rank = rankOf(s, slot);
    if (expertAt(s, slot) >= 0 && copiesOn(s, rank, expertAt(s, slot)) < 2) continue;
    const expert = neediest(s, rank, true);
    if (expert >= 0) replace(s, slot, expert);
  }
}

/**
 * Finds a way for an expert into a slot of a rank that has it at hand: to a free slot, or to the slot of an
 * expert that itself finds a way to another such rank. It is an augmenting path of Kuhn's algorithm for
 * matchings, the shortest one.
 */
function findSeat(s: Adaptive, expert: i32): void {
  memory.fill(s.cameFrom, 0xff, (<usize>s.numRanks) << 2);
  memory.fill(s.head, 0, (<usize>s.numExperts) << 2);
  spend(s, (s.numRanks + s.numExperts) >> 6);
  let numSeen = seeRanks(s, expert, START, 0);
  for (let i = 0; i < numSeen; i++) {
    const rank = load<i32>(s.queue + ((<usize>i) << 2));
    const free = sparest(s, firstOf(s, rank), firstOf(s, rank + 1));
    if (free >= 0) {
      shift(s, free, expert);
      return;
    }
    for (let slot = firstOf(s, rank), end = firstOf(s, rank + 1); slot < end; slot++) {
      // The ranks of an expert are all seen at once: `head`, made anew afterwards, marks those that were.
      if (at32(s.head, expertAt(s, slot)) === 1 || isKept(s, rank, expertAt(s, slot))) continue;
      numSeen = seeRanks(s, expertAt(s, slot), slot, numSeen);
    }
  }
}

/**
 * Puts ranks of its node that have the expert at hand, and are not in it yet, into the queue; returns how
 * long it then is.
 */
function seeRanks(s: Adaptive, expert: i32, slot: i32, numSeen: i32): i32 {
  store<i32>(s.head + ((<usize>expert) << 2), 1);
  spend(s, s.numRanks >> 4);
  for (let rank = 0; rank < s.numRanks; rank++) {
    const at = s.cameFrom + ((<usize>rank) << 2);
    if (heldOn(s, rank, expert) === 0 || load<i32>(at) !== NOT_SEEN) continue;
    if (s.numNodes > 1 && homeOf(s, expert) !== rank / s.ranksPerNode) continue;
    store<i32>(at, slot);
    store<i32>(s.queue + ((<usize>numSeen) << 2), rank);
    numSeen++;
  }
  return numSeen;
}

/**
 * Moves the experts along the way that ends at a free slot on by one, and the expert into the first slot of
 * it.
 */
function shift(s: Adaptive, free: i32, expert: i32): void {
  let slot = free;
  for (;;) {
    const from = load<i32>(s.cameFrom + ((<usize>rankOf(s, slot)) << 2));
    if (from === START) break;
    replace(s, slot, expertAt(s, from));
    slot = from;
  }
  replace(s, slot, expert);
}

/**
 * Empty slots, then slots of second copies on a rank, get missing experts first, then the heaviest copies
 * there are; of second copies no more are left than have to be.
 */
export function repair(s: Adaptive): void {
  for (let slot = 0; slot < s.numSlots && !isCancelled(s); slot++) {
    if (expertAt(s, slot) < 0) replace(s, slot, neediestOrAny(s, rankOf(s, slot)));
  }
  for (let expert = 0; expert < s.numExperts && !isCancelled(s); expert++) {
    if (copiesOf(s, expert) === 0) replace(s, slotFor(s, expert), expert);
  }
  for (let slot = 0; slot < s.numSlots && !isCancelled(s); slot++) {
    const rank = rankOf(s, slot);
    if (copiesOn(s, rank, expertAt(s, slot)) < 2) continue;
    const expert = neediest(s, rank, false);
    if (expert >= 0) replace(s, slot, expert);
    else if (hasRules(s)) partDoubles(s, slot);
  }
}

/**
 * Where rules let no other expert have one copy more on a rank, the slot of a second copy is for an expert of
 * another rank, which makes room there for one that may have one more.
 */
function partDoubles(s: Adaptive, slot: i32): void {
  const rank = rankOf(s, slot);
  for (let other = 0; other < s.numSlots; other++) {
    const there = expertAt(s, other);
    const to = rankOf(s, other);
    if (copiesOn(s, rank, there) > 0 || isPinned(s, to, there)) continue;
    const coming = neediest(s, to, false);
    if (coming < 0) continue;
    replace(s, slot, there);
    replace(s, other, coming);
    return;
  }
}

/** The slot that can best be spared for a missing expert, on the node it was on if there is one. */
function slotFor(s: Adaptive, expert: i32): i32 {
  const node = homeOf(s, expert);
  if (s.numNodes > 1 && node >= 0) {
    const first = node * s.ranksPerNode;
    const slot = sparest(s, firstOf(s, first), firstOf(s, first + s.ranksPerNode));
    if (slot >= 0) return slot;
  }
  return sparest(s, 0, s.numSlots);
}

/**
 * Of some slots an empty one, else one of a second copy on a rank, which would have to go anyway, else that
 * of the expert with the most copies; -1 when each has the only one.
 */
function sparest(s: Adaptive, first: i32, end: i32): i32 {
  spend(s, (end - first) >> 4);
  let best = -1;
  let most = 1;
  for (let slot = first; slot < end; slot++) {
    const expert = expertAt(s, slot);
    if (expert < 0) return slot;
    if (isKept(s, rankOf(s, slot), expert)) continue;
    const copies = copiesOn(s, rankOf(s, slot), expert) > 1 ? i32.MAX_VALUE : copiesOf(s, expert);
    if (copies <= most) continue;
    most = copies;
    best = slot;
  }
  return best;
}

/**
 * A missing expert, else one that has to survive and would by a copy here, else any: of these that with the
 * most load a copy, that is not on the rank; -1 when there is none.
 */
function neediest(s: Adaptive, rank: i32, isAtHand: bool): i32 {
  spend(s, s.numExperts >> 4);
  let best = -1;
  let most: f32 = -1;
  let isMostSecured = false;
  for (let expert = 0; expert < s.numExperts; expert++) {
    if (isAtHand && heldOn(s, rank, expert) === 0) continue;
    if (copiesOf(s, expert) === 0) {
      if (s.numNodes === 1 || homeOf(s, expert) < 0 || homeOf(s, expert) === rank / s.ranksPerNode)
        return expert;
      continue;
    }
    if (isAtMost(s, expert)) continue;
    if (copiesOn(s, rank, expert) > 0 || (s.numNodes > 1 && !isOnNode(s, rank, expert))) continue;
    const mean = meanOf(s, expert, copiesOf(s, expert));
    const isSecured = isSecuredOn(s, rank, expert);
    if (isSecured === isMostSecured ? mean > most : isSecured) {
      most = mean;
      isMostSecured = isSecured;
      best = expert;
    }
  }
  return best;
}

/** For a slot that must not stay empty: a second copy on the rank where there is no other expert for it. */
function neediestOrAny(s: Adaptive, rank: i32): i32 {
  const expert = neediest(s, rank, false);
  if (expert >= 0) return expert;
  for (let slot = firstOf(s, rank), end = firstOf(s, rank + 1); slot < end; slot++) {
    if (expertAt(s, slot) >= 0 && !isAtMost(s, expertAt(s, slot))) return expertAt(s, slot);
  }
  for (let other = 0; other < s.numExperts; other++) if (!isAtMost(s, other)) return other;
  return 0;
}

/** Whether any rank of the node has the expert. */
function isOnNode(s: Adaptive, rank: i32, expert: i32): bool {
  const first = rank - (rank % s.ranksPerNode);
  spend(s, 1);
  for (let other = first; other < first + s.ranksPerNode; other++) {
    if (copiesOn(s, other, expert) > 0) return true;
  }
  return false;
}
