// What ends the adaptive policy's search however its loads are. All that it does is counted as work, in steps looked at closely, and what
// has a limit of steps has one of work: so no search goes on because what it does is not a step. The word that cancels a search is
// read as the work goes on. Loops that go on while something gains end too when what they gain is but rounding: loads of a sample that are
// nearly all on one rank leave the costs, which are sums of float32, less exact than the least gain.

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, rankCostOf } from './state';

/** Work between two looks at the word that cancels the search; a step's own bookkeeping may come to it. */
const WORK_PER_LOOK: i64 = 8192;
/**
 * Searches that look at all the steps they may do 2 to 10 times as much work, measured on 64 to 2,048 experts; the shorter ones, to which
 * their first looks at everything count more, up to 30 times, and much less than LEAST_WORK.
 */
const WORK_PER_EVALUATION: i64 = 16;
const LEAST_WORK: i64 = 1 << 25;
/** So many steps, rounds or kicks in a row that together gain nothing gain by rounding. */
export const PATIENCE: i32 = 16;
/** Less is rounding. */
export const LEAST_GAIN: f64 = 1e-6;

/** @param cancelled i32: not 0 when the search is to end; 0, no pointer: nothing cancels it */
export function startBounds(s: Adaptive, maxEvaluations: i32, cancelled: usize): void {
  s.maxEvaluations = maxEvaluations;
  s.evaluations = 0;
  s.hasStepped = false;
  s.cancelled = cancelled;
  s.work = 0;
  s.nextLook = 0;
  // The first step is always looked for, and that may take a look at every pair of slots.
  const slots = <i64>s.numSlots;
  const ranks = <i64>s.numRanks;
  const once = (slots * slots) / 64 + ranks * (ranks + <i64>s.width / 8);
  s.maxWork = LEAST_WORK + WORK_PER_EVALUATION * <i64>maxEvaluations + once;
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
  s.nextLook = s.work + WORK_PER_LOOK;
  if (s.cancelled !== 0 && atomic.load<i32>(s.cancelled) !== 0) s.isCancelled = true;
  if (s.isCancelled || s.work >= s.maxWork) s.isOver = true;
}

/** Whether no more rounds or kicks are begun. */
export function isDone(s: Adaptive): bool {
  return isOver(s) || s.evaluations >= s.maxEvaluations;
}

/** Whether no step may be begun: the first always may, so that a limit of 1 tells whether there is one. */
export function isSpent(s: Adaptive): bool {
  return isOver(s) || s.isStalled || (s.hasStepped && s.evaluations >= s.maxEvaluations);
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
  if (--s.stepsLeft > 0) return;
  const cost = costOfRanks(s);
  const gained = s.watchedCost - cost + s.price * <f64>(s.watchedMoves - s.moves);
  // Not a number is no gain either.
  if (!(gained >= LEAST_GAIN)) s.isStalled = true;
  s.stepsLeft = PATIENCE;
  s.watchedCost = cost;
  s.watchedMoves = s.moves;
}

function costOfRanks(s: Adaptive): f64 {
  let cost: f64 = 0;
  for (let rank = 0; rank < s.numRanks; rank++) cost += rankCostOf(s, rank);
  return cost;
}
