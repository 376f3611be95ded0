// A placement that was made for ranks that are alike, dealt to ranks that are not.

import { startBounds } from './bounds';
import { beginWithoutCosts, markHeld, repair } from './repair';
import { isKept } from './rules';
import { meanFixedLoad, writeFixedLoads } from './shared-expert';
import { giveMissing, loadOf } from './starts';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, addCopies, addCopiesOn, carveAdaptive, expertAt, firstOf, setExpertAt } from './state';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { AdaptiveTerms } from './terms';

/**
 * Takes all copies of `fresh` that are not pinned off their ranks and deals them out anew by what the ranks
 * then take, the heaviest first: a placement that loads all ranks alike is far from a good one where some are
 * slower.
 *
 * @param terms AdaptiveTerms: what {@link searchAdaptive} reads; `fresh` is written. Where the search was
 * cancelled it is as it was.
 */
export function dealToRanks(terms: usize): void {
  const a = changetype<AdaptiveTerms>(terms);
  const s = carveAdaptive(a);
  writeFixedLoads(s);
  startBounds(s, a);
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

/** As many copies are wanted as there were. Pinned ones stay. */
function empty(s: Adaptive): void {
  memory.copy(s.wanted, s.count, (<usize>s.numExperts) << 2);
  for (let rank = 0; rank < s.numRanks; rank++) {
    const first = firstOf(s, rank);
    const end = firstOf(s, rank + 1);
    let numEmpty = 0;
    let sum = meanFixedLoad(s, rank);
    for (let slot = first; slot < end; slot++) {
      const expert = expertAt(s, slot);
      if (isKept(s, rank, expert)) {
        sum += loadOf(s, expert);
        continue;
      }
      addCopiesOn(s, rank, expert, -1);
      addCopies(s, expert, -1);
      setExpertAt(s, slot, -1);
      numEmpty++;
    }
    store<i32>(s.numEmpty + ((<usize>rank) << 2), numEmpty);
    store<f64>(s.dealtLoad + ((<usize>rank) << 3), sum);
  }
}
