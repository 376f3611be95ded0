// A walk from a placement that no single step betters: where links count, single steps get stuck early, as
// an expert alone gains nothing on a node that its partners are not on. Each step is the best that a rank
// has, be it one that costs more, and an expert may not soon come back to a node that it left: a tabu search.

import { keepBetter } from './best';
import { isDone, ROUNDING } from './bounds';
import { isBelow } from './ceiling';
import { objectiveOf, refresh } from './costs';
import { markAllDirty } from './descent';
import { visit } from './look';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive } from './state';

/** Steps for which an expert may not come back to a node. */
const TENURE: i32 = 5;
/** The tangent is made anew after so many steps. */
const STEPS_PER_TANGENT: i32 = 16;

/** Walks on until so many steps in a row have led to nothing better than `value`; returns whether any did. */
export function walk(s: Adaptive, value: f64, patience: i32): f64 {
  memory.fill(s.tabu, 0, (<usize>(s.terms.numLinkNodes * s.numExperts)) << 2);
  s.isWalking = true;
  markAllDirty(s);
  let least = value;
  let rank = 0;
  s.step = 1;
  for (let idle = 0; idle < patience && !isDone(s); idle++, s.step++) {
    if (s.step % STEPS_PER_TANGENT === 1) refresh(s);
    s.tenure = s.step + TENURE + (s.step % 5);
    if (!visit(s, rank)) {
      rank = (rank + 1) % s.numRanks;
      continue;
    }
    rank = (rank + 1) % s.numRanks;
    const now = objectiveOf(s) + s.price * <f64>s.moves;
    if (!(now < least - ROUNDING) || !isBelow(s)) continue;
    least = keepBetter(s, least);
    idle = -1;
  }
  s.isWalking = false;
  return least;
}
