// Has a placement keep the user's own rules, before it is repaired.

import { isCancelled, spend } from './bounds';
import { replace } from './changes';
import { hasRules, isKept, isPinned, pinsOf } from './rules';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  addCopies,
  addCopiesOn,
  at32,
  copiesOf,
  copiesOn,
  expertAt,
  firstOf,
  rankOf,
  setExpertAt,
} from './state';
import { meanOf } from './table';

/** What a slot of a rank is given up for: the least is taken first. */
const EMPTY: i32 = 0;
const DOUBLE: i32 = 1;
const SPARE: i32 = 2;
const ONLY_ONE: i32 = 3;

/**
 * Has a placement keep the rules: copies that may not be leave their slots, which are then empty, and pinned
 * ones come. An expert whose only copy has to make room for one is missing then.
 */
export function obey(s: Adaptive): void {
  if (!hasRules(s)) return;
  spend(s, s.numSlots >> 3);
  // From the last slot on: of copies that are too many the first stays.
  for (let slot = s.numSlots - 1; slot >= 0; slot--) {
    const expert = expertAt(s, slot);
    if (expert >= 0 && isTooMuch(s, rankOf(s, slot), expert)) vacate(s, slot);
  }
  for (let rank = 0; rank < s.numRanks && !isCancelled(s); rank++) {
    spend(s, s.numExperts >> 4);
    for (let expert = 0; expert < s.numExperts; expert++) {
      if (!isPinned(s, rank, expert) || copiesOn(s, rank, expert) > 0) continue;
      replace(s, slotToGive(s, rank), expert);
    }
  }
}

function isTooMuch(s: Adaptive, rank: i32, expert: i32): bool {
  const most = at32(s.terms.mostCopies, expert);
  // Copies elsewhere than where it is pinned to are none of its own.
  if (pinsOf(s, expert) === most) return !isPinned(s, rank, expert) || copiesOn(s, rank, expert) > 1;
  return copiesOf(s, expert) > most;
}

function vacate(s: Adaptive, slot: i32): void {
  const expert = expertAt(s, slot);
  setExpertAt(s, slot, -1);
  addCopies(s, expert, -1);
  addCopiesOn(s, rankOf(s, slot), expert, -1);
}

/**
 * The slot of a rank that can best be given to a pinned expert: an empty one, one of a second copy on the
 * rank, one of the copy with the least load that has others, else the one with the least load. There is one,
 * as no more experts are pinned to a rank than it has slots.
 */
function slotToGive(s: Adaptive, rank: i32): i32 {
  let best = -1;
  let bestKind = ONLY_ONE;
  let least: f32 = Infinity;
  for (let slot = firstOf(s, rank), end = firstOf(s, rank + 1); slot < end; slot++) {
    const expert = expertAt(s, slot);
    if (expert >= 0 && isKept(s, rank, expert)) continue;
    const kind = expert < 0 ? EMPTY : kindOf(s, rank, expert);
    const mean: f32 = expert < 0 ? 0 : meanOf(s, expert, copiesOf(s, expert));
    if (best >= 0 && (kind > bestKind || (kind === bestKind && !(mean < least)))) continue;
    best = slot;
    bestKind = kind;
    least = mean;
  }
  return best;
}

function kindOf(s: Adaptive, rank: i32, expert: i32): i32 {
  if (copiesOn(s, rank, expert) > 1) return DOUBLE;
  return copiesOf(s, expert) > 1 ? SPARE : ONLY_ONE;
}
