// What ends the adaptive policy's search however its loads are. All that it does is counted as work, in steps
// looked at closely, and what has a limit of steps has one of work: so no search goes on because what it does
// is not a step. The word that cancels a search is read as the work goes on. Loops that go on while something
// gains end too when what they gain is but rounding: loads of a sample that are nearly all on one rank leave
// the costs, which are sums of float32, less exact than the least gain.

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, rankCostOf, savedByLinks } from './state';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { AdaptiveTerms } from './terms';

/** Work between two looks at the word that cancels the search; a step's own bookkeeping may come to it. */
const WORK_PER_LOOK: i64 = 8192;
/**
 * Searches that look at all the steps they may do 2 to 10 times as much work; the shorter ones up to 30
 * times, and much less than LEAST_WORK.
 */
const WORK_PER_EVALUATION: i64 = 16;
const LEAST_WORK: i64 = 1 << 25;
/** So many steps in a row that together gain nothing gain by rounding. */
const PATIENCE: i32 = 16;
/** Less is rounding. */
export const ROUNDING: f64 = 1e-6;
/** No gain is as much: an infinite price x 0 moves would not even be a number. */
const MOST_PRICE: f64 = 1e9;

export function startBounds(s: Adaptive, terms: AdaptiveTerms): void {
  s.price = min(terms.price, MOST_PRICE);
  s.leastGain = max(terms.leastGain, ROUNDING);
  s.maxMoves = terms.maxMoves < s.numSlots ? terms.maxMoves : i32.MAX_VALUE;
  s.maxEvaluations = terms.maxEvaluations;
  s.visits = 0;
  s.evaluations = 0;
  s.hasStepped = false;
  s.work = 0;
  s.nextLook = 0;
  // The first step is always looked for, and that may take a look at every pair of slots.
  const slots = <i64>s.numSlots;
  const ranks = <i64>s.numRanks;
  const once = (slots * slots) / 64 + ranks * (ranks + <i64>s.numExperts / 8);
  s.maxWork = LEAST_WORK + WORK_PER_EVALUATION * <i64>s.maxEvaluations + once;
  s.isOver = false;
  s.isCancelled = false;
  s.isStalled = false;
}

export function spend(s: Adaptive, work: i32): void {
  s.work += work;
}

/** Whether the search ends here, with what it has: it was cancelled, or has done all the work it may. */
export function isOver(s: Adaptive): bool {
  if (s.work >= s.nextLook) look(s);
  return s.isOver;
}

function look(s: Adaptive): void {
  s.nextLook = min(s.work + WORK_PER_LOOK, s.maxWork);
  const cancelled = s.terms.cancelled;
  if (cancelled !== 0 && atomic.load<i32>(cancelled) !== 0) s.isCancelled = true;
  if (s.isCancelled || s.work >= s.maxWork) s.isOver = true;
}

/** Read as the work goes on. */
export function isCancelled(s: Adaptive): bool {
  isOver(s);
  return s.isCancelled;
}

/** Whether no more descents or kicks are begun. */
export function isDone(s: Adaptive): bool {
  return isOver(s) || s.evaluations >= s.maxEvaluations;
}

/**
 * Whether no step may be looked for: the first always may, so that a limit of 1 tells whether there is one.
 */
export function isSpent(s: Adaptive): bool {
  return (
    isOver(s) ||
    s.isStalled ||
    (s.hasStepped && (s.evaluations >= s.maxEvaluations || s.visits >= s.maxVisits))
  );
}

/** From here on so many more ranks may be looked at. */
export function allowVisits(s: Adaptive, most: i32): void {
  s.maxVisits = most < i32.MAX_VALUE - s.visits ? s.visits + most : i32.MAX_VALUE;
}

/** From here on steps lower the costs, by the tangent as it is. */
export function watchSteps(s: Adaptive): void {
  s.isStalled = false;
  s.stepsLeft = PATIENCE;
  s.watchedCost = costOfRanks(s);
  s.watchedMoves = s.moves;
}

/** Counts a step. From time to time costs must have fallen, as they do when each step is what it costs. */
export function countStep(s: Adaptive): void {
  s.hasStepped = true;
  if (--s.stepsLeft > 0) return;
  const cost = costOfRanks(s);
  const gained = s.watchedCost - cost + s.price * <f64>(s.watchedMoves - s.moves);
  // Not a number is no gain either.
  if (!(gained >= ROUNDING)) s.isStalled = true;
  s.stepsLeft = PATIENCE;
  s.watchedCost = cost;
  s.watchedMoves = s.moves;
}

function costOfRanks(s: Adaptive): f64 {
  let cost: f64 = 0;
  for (let rank = 0; rank < s.numRanks; rank++) cost += <f64>rankCostOf(s, rank);
  return cost - savedByLinks(s);
}
