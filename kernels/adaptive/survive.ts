// Experts that are to keep copies in two failure domains. What a domain has is not counted: it follows from
// the ranks that have a copy, which are looked through for the few steps that would be the best so far.

import { isKept, isPinned, pinsOf } from './rules';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, at32, copiesOf, copiesOn } from './state';

const NO_RANK: i32 = -1;

/** Whether an expert is one that has to survive any single failure. */
function mustSurvive(s: Adaptive, expert: i32): bool {
  const survivors = s.terms.survivors;
  return survivors !== 0 && load<u8>(survivors + <usize>expert) !== 0;
}

export function domainOf(s: Adaptive, rank: i32): i32 {
  return at32(s.terms.domains, rank);
}

/** Whether an expert that has to survive has copies in one domain only. */
export function isExposed(s: Adaptive, expert: i32): bool {
  return mustSurvive(s, expert) && copiesOf(s, expert) > 0 && !isSpread(s, expert, NO_RANK, NO_RANK);
}

/** Whether an expert that is exposed would not be with a copy on the rank. */
export function isSecuredOn(s: Adaptive, rank: i32, expert: i32): bool {
  return isExposed(s, expert) && isSpread(s, expert, NO_RANK, rank);
}

/** Whether a copy of the expert may leave the rank for another one. */
export function mayGo(s: Adaptive, from: i32, expert: i32, to: i32): bool {
  if (isKept(s, from, expert)) return false;
  return !mustSurvive(s, expert) || isSpread(s, expert, from, to);
}

/** Whether a copy of the expert may leave the rank, and come nowhere. */
export function mayLeave(s: Adaptive, from: i32, expert: i32): bool {
  return mayGo(s, from, expert, NO_RANK);
}

/** The fewest copies that an expert may have. */
export function leastCopiesOf(s: Adaptive, expert: i32): i32 {
  const pins = pinsOf(s, expert);
  if (!mustSurvive(s, expert)) return max(1, pins);
  return pins > 0 && arePinsSpread(s, expert) ? pins : max(2, pins + 1);
}

/** Whether an expert is pinned to ranks of two domains. */
function arePinsSpread(s: Adaptive, expert: i32): bool {
  let found = -1;
  for (let rank = 0; rank < s.numRanks; rank++) {
    if (!isPinned(s, rank, expert)) continue;
    const domain = domainOf(s, rank);
    if (found >= 0 && domain !== found) return true;
    found = domain;
  }
  return false;
}

/** Whether the expert has copies in two domains with one less on a rank, and one more on another. */
function isSpread(s: Adaptive, expert: i32, without: i32, added: i32): bool {
  let found = added < 0 ? -1 : domainOf(s, added);
  for (let rank = 0; rank < s.numRanks; rank++) {
    if (copiesOn(s, rank, expert) <= (rank === without ? 1 : 0)) continue;
    const domain = domainOf(s, rank);
    if (found >= 0 && domain !== found) return true;
    found = domain;
  }
  return false;
}
