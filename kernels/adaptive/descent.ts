// Descents by single steps, from a placement to one from which few steps or none lead any further.

import { isDone, isSpent, spend, watchSteps } from './bounds';
import { link } from './changes';
import { objectiveOf, refresh, sumRank } from './costs';
import { followSlots, hasLinks } from './links';
import { visit } from './look';
import { sortRanks } from './slots';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, addCopies, addCopiesOn, at32, expertAt, heldOn, rankCostOf, rankOf } from './state';
import { turnToRow } from './table';

/** A later descent finds little, and ends sooner: after half as many ranks without a step, or so many. */
const LEAST_IDLE: i32 = 4;

/** Descends, each time by a new tangent, until that finds nothing more or was done often enough. */
export function settle(s: Adaptive): void {
  for (let pass = 0; pass < s.terms.maxPasses && !isDone(s); pass++) {
    // By the tangent of another placement a step may lead up.
    refresh(s);
    markAllDirty(s);
    if (!sweep(s, pass === 0 ? s.terms.maxIdle : max(LEAST_IDLE, s.terms.maxIdle >> 1))) return;
    sortRanks(s);
    relink(s);
    if (s.isStalled) return;
  }
}

/**
 * Takes steps at each rank that has changed, the costliest first, while that gains, and until so many in a
 * row have none. Returns whether there was one.
 */
export function sweep(s: Adaptive, maxIdle: i32): bool {
  watchSteps(s);
  let isLower = false;
  let idle = 0;
  for (let rank = costliestDirty(s); rank >= 0 && !isSpent(s); rank = costliestDirty(s)) {
    if (visit(s, rank)) {
      isLower = true;
      idle = 0;
      continue;
    }
    // The ranks that are left cost less, and so less can be gained on them.
    if (++idle >= maxIdle) break;
    store<i32>(s.cleanAt + ((<usize>rank) << 2), s.time);
  }
  return isLower;
}

/** The rank that costs most of those whose steps are to be looked at; -1 when there is none. */
function costliestDirty(s: Adaptive): i32 {
  spend(s, s.numRanks >> 4);
  let most: f32 = -1;
  let costliest = -1;
  for (let rank = 0; rank < s.numRanks; rank++) {
    if (at32(s.cleanAt, rank) >= at32(s.changedAt, rank)) continue;
    const cost = rankCostOf(s, rank);
    if (!(cost > most)) continue;
    most = cost;
    costliest = rank;
  }
  return costliest;
}

/** The steps of all ranks are to be looked at. */
export function markAllDirty(s: Adaptive): void {
  markAllClean(s);
  memory.fill(s.cleanAt, 0xff, (<usize>s.numRanks) << 2);
}

/** No step is left, until ranks change. */
export function markAllClean(s: Adaptive): void {
  s.time = 0;
  memory.fill(s.changedAt, 0, (<usize>s.numRanks) << 2);
  memory.fill(s.cleanAt, 0, (<usize>s.numRanks) << 2);
}

/** Makes anew what follows from how many copies there are, and from the slots, where ranks are in order. */
export function rebuild(s: Adaptive): void {
  spend(s, 1 + (s.numExperts >> 3));
  for (let expert = 0; expert < s.numExperts; expert++) turnToRow(s, expert);
  relink(s);
}

/** Makes anew what follows from the slots alone. */
function relink(s: Adaptive): void {
  spend(s, 1 + (s.numSlots >> 3));
  s.moves = 0;
  memory.fill(s.head, 0xff, (<usize>s.numExperts) << 2);
  for (let slot = s.numSlots - 1; slot >= 0; slot--) {
    const expert = expertAt(s, slot);
    link(s, slot, expert);
    s.moves += 1 - heldOn(s, rankOf(s, slot), expert);
  }
  for (let rank = 0; rank < s.numRanks; rank++) sumRank(s, rank);
  if (hasLinks(s)) followSlots(s);
}

/** Counts copies anew, of all experts and on all ranks. */
export function recount(s: Adaptive): void {
  spend(s, 1 + ((s.numRanks * s.numExperts) >> 5) + (s.numSlots >> 3));
  memory.fill(s.count, 0, (<usize>s.numExperts) << 2);
  const held = i16x8.splat(-0x8000);
  for (let at = s.places, end = at + ((<usize>(s.numRanks * s.numExperts)) << 1); at < end; at += 16) {
    v128.store(at, v128.and(v128.load(at), held));
  }
  for (let slot = 0; slot < s.numSlots; slot++) {
    const expert = expertAt(s, slot);
    if (expert < 0) continue;
    addCopies(s, expert, 1);
    addCopiesOn(s, rankOf(s, slot), expert, 1);
  }
}

/** The objective with the price of the moves. */
export function pricedValue(s: Adaptive): f64 {
  return objectiveOf(s) + s.price * <f64>s.moves;
}
