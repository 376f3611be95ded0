// Gives experts that have to survive a copy in a second failure domain, where a placement has none.

import { isCancelled, spend } from './bounds';
import { replace } from './changes';
import { isKept } from './rules';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, copiesOf, copiesOn, expertAt, heldOn, rankOf } from './state';
import { domainOf, isExposed, mayGo, mayLeave } from './survive';
import { meanOf } from './table';

/**
 * There are no more such experts than redundant slots, nor than slots outside the largest domain: so each
 * finds one. Either a copy in another domain can be spared. Or all that can be are in the expert's own
 * domain. Then some expert elsewhere can move there: fewer than there are slots elsewhere have to have a copy
 * both there and here.
 */
export function secure(s: Adaptive): void {
  if (s.terms.survivors === 0) return;
  for (let expert = 0; expert < s.numExperts && !isCancelled(s); expert++) {
    if (isExposed(s, expert)) secureOne(s, expert);
  }
}

function secureOne(s: Adaptive, expert: i32): void {
  const domain = domainOfExpert(s, expert);
  const slot = sparestSlot(s, expert, domain, false);
  if (slot >= 0) {
    replace(s, slot, expert);
    return;
  }
  const free = sparestSlot(s, expert, domain, true);
  if (free < 0) return;
  const from = lightestThatMayGo(s, domain, rankOf(s, free));
  if (from < 0) return;
  replace(s, free, expertAt(s, from));
  replace(s, from, expert);
}

/** The one domain that has the expert. */
function domainOfExpert(s: Adaptive, expert: i32): i32 {
  let rank = 0;
  while (copiesOn(s, rank, expert) === 0) rank++;
  return domainOf(s, rank);
}

/**
 * The slot, within a domain or outside of it, that can best be spared: on a rank that has the expert's
 * weights at hand, if there is one; of these a second copy on its rank, else that of the expert whose other
 * copies then have the least load. -1 when there is none.
 */
function sparestSlot(s: Adaptive, expert: i32, domain: i32, isWithin: bool): i32 {
  spend(s, s.numSlots >> 3);
  let best = -1;
  let isBestHeld = 0;
  let least: f32 = Infinity;
  for (let slot = 0; slot < s.numSlots; slot++) {
    const rank = rankOf(s, slot);
    const other = expertAt(s, slot);
    const copies = copiesOf(s, other);
    if ((domainOf(s, rank) === domain) !== isWithin || copies < 2) continue;
    const isHeld = heldOn(s, rank, expert);
    const left: f32 = copiesOn(s, rank, other) > 1 ? 0 : meanOf(s, other, copies - 1);
    if (best >= 0 && (isHeld < isBestHeld || (isHeld === isBestHeld && left >= least))) continue;
    // One that is exposed itself is so with one copy less as well.
    if (isKept(s, rank, other) || (!mayLeave(s, rank, other) && !isExposed(s, other))) continue;
    best = slot;
    isBestHeld = isHeld;
    least = left;
  }
  return best;
}

/** The slot outside a domain with the least load that may move to a rank in it; -1 when there is none. */
function lightestThatMayGo(s: Adaptive, domain: i32, to: i32): i32 {
  spend(s, s.numSlots >> 3);
  let best = -1;
  let least: f32 = Infinity;
  for (let slot = 0; slot < s.numSlots; slot++) {
    const rank = rankOf(s, slot);
    if (domainOf(s, rank) === domain) continue;
    const expert = expertAt(s, slot);
    const mean = meanOf(s, expert, copiesOf(s, expert));
    if ((best >= 0 && mean >= least) || copiesOn(s, to, expert) > 0) continue;
    if (isKept(s, rank, expert) || (!mayGo(s, rank, expert, to) && !isExposed(s, expert))) continue;
    least = mean;
    best = slot;
  }
  return best;
}
