// A placement that was made for ranks that are alike, dealt to ranks that are not.

import { startBounds } from './bounds';
import { startLinks } from './links';
import { beginWithoutCosts, markHeld, repair } from './repair';
import { giveMissing } from './starts';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, addCopiesOn, carveAdaptive, expertAt, firstOf } from './state';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { AdaptiveTerms } from './terms';

/**
 * Takes all copies of `fresh` off their ranks and deals them out anew by what the ranks then take, the
 * heaviest first: a placement that loads all ranks alike is far from a good one where some are slower.
 *
 * @param terms AdaptiveTerms: what {@link searchAdaptive} reads; `fresh` is written. Where the search was
 * cancelled it is as it was.
 */
export function dealToRanks(terms: usize): void {
  const a = changetype<AdaptiveTerms>(terms);
  const s = carveAdaptive(a);
  startBounds(s, a);
  startLinks(s);
  markHeld(s, a.fresh);
  beginWithoutCosts(s, a.fresh);
  if (s.isCancelled) return;
  empty(s);
  giveMissing(s);
  // A copy may have had no place but beside another.
  repair(s);
  if (s.isCancelled) return;
  for (let rank = 0; rank < s.numRanks; rank++) {
    const first = firstOf(s, rank);
    const row = a.fresh + ((<usize>(rank * s.stride)) << 2);
    memory.fill(row, 0xff, (<usize>s.stride) << 2);
    memory.copy(row, s.slots + ((<usize>first) << 2), (<usize>(firstOf(s, rank + 1) - first)) << 2);
  }
}

/** As many copies are wanted as there were. */
function empty(s: Adaptive): void {
  memory.copy(s.wanted, s.count, (<usize>s.numExperts) << 2);
  for (let rank = 0; rank < s.numRanks; rank++) {
    const first = firstOf(s, rank);
    const end = firstOf(s, rank + 1);
    for (let slot = first; slot < end; slot++) addCopiesOn(s, rank, expertAt(s, slot), -1);
    store<i32>(s.numEmpty + ((<usize>rank) << 2), end - first);
    store<f64>(s.dealtLoad + ((<usize>rank) << 3), 0);
  }
  memory.fill(s.slots, 0xff, (<usize>s.numSlots) << 2);
  memory.fill(s.count, 0, (<usize>s.numExperts) << 2);
}
