// The best placement that a search has met, and what it is worth.

import { ROUNDING } from './bounds';
import { isBelow } from './ceiling';
import { objectiveOf } from './costs';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, savedByLinks } from './state';

/** What it is worse than any price that a rank is above the ceiling. */
const ABOVE: f64 = 1e6;

/** Keeps the placement as the best when it is better than that; returns what the best is worth. */
export function keepBetter(s: Adaptive, least: f64): f64 {
  const objective = objectiveOf(s);
  return worthOf(s, objective) < least - ROUNDING ? keep(s, objective) : least;
}

export function keep(s: Adaptive, objective: f64): f64 {
  memory.copy(s.bestSlots, s.slots, (<usize>s.numSlots) << 2);
  s.terms.after = objective;
  s.terms.savedAfter = savedByLinks(s);
  s.terms.moves = s.moves;
  s.terms.isBelow = <i32>isBelow(s);
  return worthOf(s, objective);
}

/** The objective with the price of the moves, and far more where a rank is above the ceiling. */
export function worthOf(s: Adaptive, objective: f64): f64 {
  const value = objective + s.price * <f64>s.moves;
  return isBelow(s) ? value : value + ABOVE;
}
