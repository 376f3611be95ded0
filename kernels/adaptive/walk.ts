// A walk from a placement that no single step betters: where links count, single steps get stuck early, as
// an expert alone gains nothing on a node that its partners are not on. Each step is the best that a rank
// has, be it one that costs more, and an expert may not soon come back to a node that it left: a tabu search.

import { keepBetter } from './best';
import { isDone } from './bounds';
import { refresh } from './costs';
import { markAllDirty } from './descent';
import { visit } from './look';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, lookOnWalk, lookUsually } from './state';

/** Steps for which an expert may not come back to a node. */
const TENURE: i32 = 5;
/** The tangent is made anew after so many steps. */
const STEPS_PER_TANGENT: i32 = 16;

/** Walks on until so many steps in a row have led to nothing better; returns what the best is worth. */
export function walk(s: Adaptive, value: f64, patience: i32): f64 {
  memory.fill(s.tabu, 0, (<usize>(s.terms.numLinkNodes * s.numExperts)) << 2);
  lookOnWalk(s);
  markAllDirty(s);
  let least = value;
  let idle = 0;
  for (s.step = 1; idle < patience && !isDone(s); s.step++) {
    if (s.step % STEPS_PER_TANGENT === 1) refresh(s);
    s.tenure = s.step + TENURE + (s.step % 5);
    const best = visit(s, (s.step - 1) % s.numRanks) ? keepBetter(s, least) : least;
    idle = best < least ? 0 : idle + 1;
    least = best;
  }
  lookUsually(s);
  return least;
}
