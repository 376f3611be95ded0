// Experts that are to keep copies in two failure domains. What a domain has is not counted: it follows from
// the ranks that have a copy, which are looked through for the few steps that would be the best so far.

import { isKept, isPinned, pinsOf } from './rules';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, at32, copiesOf, copiesOn } from './state';

const NO_RANK: i32 = -1;
/** In place of the one domain that has an expert. */
export const NO_DOMAIN: i32 = -1;
const SEVERAL: i32 = -2;

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
  return exposedDomain(s, expert) !== NO_DOMAIN;
}

/** The one domain that has an expert that has to survive; NO_DOMAIN where there is no such one. */
export function exposedDomain(s: Adaptive, expert: i32): i32 {
  if (!mustSurvive(s, expert)) return NO_DOMAIN;
  return max(NO_DOMAIN, domainsOf(s, expert, NO_RANK, NO_DOMAIN));
}

/** Whether an expert that is exposed would not be with a copy on the rank. */
export function isSecuredOn(s: Adaptive, rank: i32, expert: i32): bool {
  const domain = exposedDomain(s, expert);
  return domain !== NO_DOMAIN && domain !== domainOf(s, rank);
}

/** Whether a copy of the expert may leave the rank for another one. */
export function mayGo(s: Adaptive, from: i32, expert: i32, to: i32): bool {
  if (isKept(s, from, expert)) return false;
  if (!mustSurvive(s, expert)) return true;
  return domainsOf(s, expert, from, to === NO_RANK ? NO_DOMAIN : domainOf(s, to)) === SEVERAL;
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

/**
 * The domain that has all copies of the expert with one less on a rank, and one more in a domain: SEVERAL
 * where several have some, NO_DOMAIN where none is left.
 */
function domainsOf(s: Adaptive, expert: i32, without: i32, added: i32): i32 {
  let found = added;
  // The ranks behind the last copy have none.
  let left = copiesOf(s, expert);
  for (let rank = 0; left > 0; rank++) {
    const copies = copiesOn(s, rank, expert);
    if (copies === 0) continue;
    left -= copies;
    if (rank === without && copies === 1) continue;
    const domain = domainOf(s, rank);
    if (found === NO_DOMAIN) found = domain;
    else if (domain !== found) return SEVERAL;
  }
  return found;
}
