// What the search takes one step to cost: for tests, which make the same sum from nothing.

import { startBounds } from './bounds';
import { costOfExchange, costOfOverwrite, refresh } from './costs';
import { hasLinks, nodeOf, savedByExchange, savedByOverwrite, startLinks } from './links';
import { begin, markHeld } from './repair';
import { writeFixedLoads } from './shared-expert';
import { carveAdaptive, expertAt, rankOf } from './state';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { AdaptiveTerms } from './terms';

/**
 * What it costs by the tangent at `previous` and on links, without fees, to exchange the experts of two
 * slots, or to put an expert into a slot whose own has copies to spare.
 *
 * @param slot of the open slots, which lie one after the other, with the experts of each rank in order
 * @param other slot of another rank, or an expert that is not on the slot's rank
 */
export function adaptiveStepCost(terms: usize, slot: i32, other: i32, isOverwrite: i32): f64 {
  const a = changetype<AdaptiveTerms>(terms);
  const s = carveAdaptive(a);
  writeFixedLoads(s);
  startBounds(s, a);
  startLinks(s);
  markHeld(s, a.previous);
  begin(s, a.previous);
  refresh(s);
  const i = expertAt(s, slot);
  const rank = rankOf(s, slot);
  if (isOverwrite !== 0) {
    const saved = hasLinks(s) ? savedByOverwrite(s, nodeOf(s, rank), i, other) : 0;
    return costOfOverwrite(s, slot, other) - saved;
  }
  const j = expertAt(s, other);
  const b = rankOf(s, other);
  const saved = hasLinks(s) ? savedByExchange(s, nodeOf(s, rank), i, nodeOf(s, b), j) : 0;
  return costOfExchange(s, rank, i, b, j) - saved;
}
