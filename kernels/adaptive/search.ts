// The adaptive policy for one layer: a descent by single steps from the live placement with its copies dealt
// out anew, when asked for from another placement too, and then again from random kicks of the best.

import { keep, keepBetter, worthOf } from './best';
import { allowVisits, isCancelled, isDone, ROUNDING, startBounds } from './bounds';
import { highestRank, isBelow, isRankBelow } from './ceiling';
import { objectiveOf, refresh } from './costs';
import { markAllDirty, rebuild, settle, sweep } from './descent';
import { kick, restartKicks } from './kicks';
import { hasLinks, startLinks } from './links';
import { relieve } from './look';
import { hasFewSlots, polish } from './polish';
import { begin, markHeld, repair, resume } from './repair';
import { writeFixedLoads } from './shared-expert';
import { finish, sortRanks } from './slots';
import { dealCopies } from './starts';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, carveAdaptive } from './state';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { AdaptiveTerms } from './terms';
import { walk } from './walk';

/** Of two starts each is searched from with this part of the visits, and the better one with the rest. */
const TRIAL_SHARE: i32 = 2;
/** So many ranks may stay above the ceiling when they were to come below, or an eighth of all. */
const LEAST_REFUSALS: i32 = 8;
/** Where so many kicks in a row found no step that may be, there is none. */
const MOST_IDLE: i32 = 10_000;

/**
 * Places one layer so that the weighted sum over samples of the norm of the rank loads, and the price of the
 * moves from `previous`, is small, and no larger than that of `previous` itself, repaired. No expert comes
 * twice on a rank unless there is no other way.
 *
 * @param terms AdaptiveTerms: all but what is out is read, see there. `samples`, `spread` and `weights` are
 * as prepareSamples writes them; numRanks is at most 2,048, as powers are in float32. What `previous` or
 * `fresh` has in closed slots is no longer there, but its rank has it at hand: to put it into another slot
 * there is no move. There are at most maxMoves, but for what has to be repaired in `previous`. Where the
 * search was cancelled no table is written; else phyToLog has the result, in which experts that stay on a
 * rank stay in their slots, and replicaRank tells which replica of its expert a slot holds, from 0, in slot
 * order.
 */
export function searchAdaptive(terms: usize): void {
  const a = changetype<AdaptiveTerms>(terms);
  const s = carveAdaptive(a);
  writeFixedLoads(s);
  startBounds(s, a);
  startLinks(s);
  if (search(s, a)) finish(s, a.previous, a.phyToLog, a.replicaRank);
  a.visits = s.visits;
  a.evaluations = <f64>s.evaluations;
  a.work = <f64>s.work;
}

/** Searches from `previous`, and from `fresh`; false when it was cancelled. */
function search(s: Adaptive, a: AdaptiveTerms): bool {
  markHeld(s, a.previous);
  begin(s, a.previous);
  if (s.isCancelled) return false;
  let least = keep(s, objectiveOf(s));
  a.before = a.after;
  a.savedBefore = a.savedAfter;
  if (a.dealsCopies !== 0 && dealCopies(s, movesLeft(s))) {
    if (s.isCancelled) return false;
    // A copy may have had no place but beside another.
    repair(s);
    sortRanks(s);
    rebuild(s);
  }
  const most = a.fresh === 0 ? a.maxVisits : a.maxVisits / TRIAL_SHARE;
  descend(s, most);
  least = keepBetter(s, least);
  if (a.fresh !== 0 && !isDone(s)) {
    begin(s, a.fresh);
    if (s.isCancelled) return false;
    if (s.moves <= a.maxMoves) {
      descend(s, most);
      least = keepBetter(s, least);
    }
    resume(s);
    descend(s, a.maxVisits - most);
    least = keepBetter(s, least);
  }
  if (hasLinks(s) && a.walkPatience > 0) {
    resume(s);
    least = walk(s, least, a.walkPatience);
    resume(s);
    // A walk leaves little to find: once around the ranks is half of the time.
    descend(s, s.numRanks);
    least = keepBetter(s, least);
  }
  if (a.numKicks > 0) kickOn(s, least);
  if (isCancelled(s)) return false;
  memory.copy(s.slots, s.bestSlots, (<usize>s.numSlots) << 2);
  sortRanks(s);
  return true;
}

/** Descends from a start, with so many visits of its own. */
function descend(s: Adaptive, mostVisits: i32): void {
  allowVisits(s, mostVisits);
  if (!isBelow(s)) comeBelow(s);
  settle(s);
  if (!hasFewSlots(s)) return;
  while (!isDone(s) && polish(s)) settle(s);
}

/**
 * Brings ranks below the ceiling, the highest first, each by the step that costs least of those that do. It
 * ends where there is none, and where too many ranks cannot come below by one step: a placement made for
 * quite other loads is no start.
 */
function comeBelow(s: Adaptive): void {
  refresh(s);
  markAllDirty(s);
  let numRefusals = 0;
  for (let left = s.numRanks; left > 0 && !isBelow(s) && !isDone(s); left--) {
    const rank = highestRank(s);
    if (!relieve(s, rank)) return;
    if (!isRankBelow(s, rank) && ++numRefusals > max(LEAST_REFUSALS, s.numRanks >> 3)) return;
  }
}

function movesLeft(s: Adaptive): i32 {
  return max(0, min(s.maxMoves - s.moves, s.numSlots));
}

/** Kicks the best placement until so many kicks in a row have failed. */
function kickOn(s: Adaptive, value: f64): void {
  let least = value;
  const most = s.terms.maxVisits;
  let idle = 0;
  restartKicks(s);
  for (let failed = 0; failed < s.terms.numKicks && idle < MOST_IDLE && !isDone(s); failed++) {
    resume(s);
    idle = kick(s) ? 0 : idle + 1;
    allowVisits(s, most);
    if (hasFewSlots(s)) descend(s, most);
    else sweep(s, s.terms.maxIdle);
    if (!(worthOf(s, objectiveOf(s)) < least - ROUNDING)) continue;
    descend(s, most);
    least = keepBetter(s, least);
    failed = -1;
  }
}
