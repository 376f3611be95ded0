// What the search takes one step to cost: for tests, which make the same sum from nothing.

import { startBounds } from './bounds';
import { costOfExchange, costOfOverwrite, refresh } from './costs';
import { begin, markHeld } from './repair';
import { writeFixedLoads } from './shared-expert';
import { carveAdaptive, expertAt, rankOf } from './state';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { AdaptiveTerms } from './terms';

/**
 * What it costs by the tangent at `previous`, without fees, to exchange the experts of two slots, or to put
 * an expert into a slot whose own has copies to spare.
 *
 * @param slot of the open slots, which lie one after the other, with the experts of each rank in order
 * @param other slot of another rank, or an expert that is not on the slot's rank
 */
export function adaptiveStepCost(terms: usize, slot: i32, other: i32, isOverwrite: i32): f64 {
  const a = changetype<AdaptiveTerms>(terms);
  const s = carveAdaptive(a);
  writeFixedLoads(s);
  startBounds(s, a);
  markHeld(s, a.previous);
  begin(s, a.previous);
  refresh(s);
  if (isOverwrite !== 0) return costOfOverwrite(s, slot, other);
  return costOfExchange(s, rankOf(s, slot), expertAt(s, slot), rankOf(s, other), expertAt(s, other));
}
