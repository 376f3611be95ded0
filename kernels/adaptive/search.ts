// The adaptive policy for one layer: a descent by single steps from the live placement, and, when asked for, from a placement
// made afresh, then again from random kicks of the best.
//
// Measured on four recordings of two models, in steps of 64, 128 and 256 tokens, with 72, 80 and 96 slots: on the window that follows,
// half of what the search gains on its own window is left, however deep it goes. In 26 layers of 64 experts in 80 slots of 16 ranks over
// three domains a descent leads to a balancedness of 0.746, a hundred kicks that fail in a row to 0.752, and more of them to 0.751 to
// 0.754: searches that are alike good differ by 0.003. Norms of 4 and 16 in place of 8 are 0.002 worse. Annealing needs three times the
// work of the kicks. Cheaper moves at the first plan and where the domain changes gain nothing for the same number of moves.

import { isDone, LEAST_GAIN, PATIENCE, startBounds } from './bounds';
import { objectiveOf, rebuild, turn } from './costs';
import { kick, restartKicks } from './kicks';
import { begin, resume } from './repair';
import { finish, sortRanks } from './slots';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, carveAdaptive, rankOf, setHeld } from './state';
import { descend, hasFewSlots, polish, sweep } from './steps';

/** A descent that moves less than this share of the slots, 1 / so much, started near the best there is: no other start is tried. */
const FAR: i32 = 8;
/**
 * The first descent from another start finds nearly all there is: where it ends this much above the best it is left, for a fifteenth of a first
 * plan's time and no loss on the steps that follow.
 */
const NEAR: f64 = 0.003;
/** Where so many kicks in a row found no step that may be, there is none. */
const MOST_IDLE: i32 = 10_000;

/**
 * Places one layer so that the weighted sum over samples of the 8-norm of the rank loads, and the price of the moves from
 * `previous`, is small. No expert comes twice on a rank unless there is no other way. A search that starts at the result, with the
 * same samples and limits and nothing afresh, finds nothing better: on loads that stay the same nothing moves again.
 *
 * @param samples f32[numExperts * numSamples], numSamples a multiple of 4, see prepareSamples
 * @param spread f32[numExperts], see prepareSamples
 * @param weights f32[numSamples], their sum 1; a sample that fills up has 0
 * @param numRanks at most 32,768: eighth powers are in float32
 * @param numNodes experts stay on the node they start on; 1: they may go anywhere
 * @param slotsPerRank i32[numRanks]: how many slots of a rank are open, its first ones; 0: all are. The others stay empty, and what
 * `previous` or `fresh` has in them is no longer there, but its rank has it at hand: to put it into another slot there is no move.
 * @param previous i32[numSlots], -1 where a slot is empty
 * @param fresh i32[numSlots], or 0: a placement to start from as well, when that from `previous` went far
 * @param maxMoves at most so many moves, but for what has to be repaired in `previous`
 * @param maxEvaluations no step but the first is begun after so many steps were looked at
 * @param numKicks so many random kicks of the best placement have to fail before the search ends
 * @param cancelled i32: once it is not 0 the search returns at once, and writes no more than what it has done to `stats`; 0, no pointer:
 * nothing cancels it
 * @param phyToLog i32[numSlots], out: experts that stay on a rank stay in their slots
 * @param replicaRank i32[numSlots], out: which replica of its expert a slot holds, from 0, in slot order
 * @param stats f64[5], out: the objective without the price of `previous`, repaired, and of the result; moves; steps looked at closely,
 * and all work in such steps, see adaptive-bounds.ts
 */
export function searchAdaptive(
  samples: usize,
  spread: usize,
  weights: usize,
  numExperts: i32,
  numSlots: i32,
  numRanks: i32,
  numNodes: i32,
  numSamples: i32,
  slotsPerRank: usize,
  previous: usize,
  fresh: usize,
  price: f64,
  maxMoves: i32,
  maxEvaluations: i32,
  numKicks: i32,
  cancelled: usize,
  phyToLog: usize,
  replicaRank: usize,
  stats: usize,
  scratch: usize,
): void {
  const s = carveAdaptive(scratch, numExperts, numSlots, numRanks, numSamples, slotsPerRank);
  s.samples = samples;
  s.spread = spread;
  s.weights = weights;
  s.numNodes = numNodes;
  s.ranksPerNode = numRanks / numNodes;
  s.price = price;
  s.maxMoves = maxMoves < s.numSlots ? maxMoves : i32.MAX_VALUE;
  startBounds(s, maxEvaluations, cancelled);
  turn(s);
  if (search(s, previous, fresh, maxMoves, numKicks, stats)) finish(s, previous, phyToLog, replicaRank);
  store<f64>(stats, <f64>s.evaluations, 24);
  store<f64>(stats, <f64>s.work, 32);
}

/** Searches from `previous`, and from `fresh`; false when it was cancelled. */
function search(
  s: Adaptive,
  previous: usize,
  fresh: usize,
  maxMoves: i32,
  numKicks: i32,
  stats: usize,
): bool {
  markHeld(s, previous);
  begin(s, previous);
  if (s.isCancelled) return false;
  store<f64>(stats, objectiveOf(s));
  settle(s);
  const best = keep(s);
  if (fresh !== 0 && s.moves * FAR >= s.numRanks * s.stride) {
    begin(s, fresh);
    if (s.isCancelled) return false;
    if (s.moves <= maxMoves) {
      settleOnce(s);
      if (pricedValue(s) < best + NEAR) settle(s);
      if (pricedValue(s) < best - LEAST_GAIN) keep(s);
    }
  }
  if (numKicks > 0) kickOn(s, numKicks);
  if (s.isCancelled) return false;
  markHeld(s, previous);
  resume(s);
  store<f64>(stats, objectiveOf(s), 8);
  store<f64>(stats, <f64>s.moves, 16);
  return true;
}

function clearHeld(s: Adaptive): void {
  memory.fill(s.held, 0, (<usize>s.numRanks * s.width) << 2);
  memory.fill(s.numHeld, 0, (<usize>s.numRanks) << 2);
}

/** The live placement is one of the tables from outside. */
function markHeld(s: Adaptive, table: usize): void {
  clearHeld(s);
  for (let rank = 0; rank < s.numRanks; rank++) {
    for (const end = table + ((<usize>s.stride) << 2); table < end; table += 4) {
      const expert = load<i32>(table);
      if (expert >= 0) setHeld(s, rank, expert);
    }
  }
}

/** The live placement is the best one. */
function markBest(s: Adaptive): void {
  clearHeld(s);
  for (let slot = 0; slot < s.numSlots; slot++) {
    setHeld(s, rankOf(s, slot), load<i32>(s.bestSlots + ((<usize>slot) << 2)));
  }
}

/** Descends, each time by a new tangent, to a placement from which, its ranks in order, no descent leads any further. */
function settle(s: Adaptive): void {
  let objective = Infinity;
  let moves = 0;
  let inVain = 0;
  while (!isDone(s) && inVain < PATIENCE && settleOnce(s) && !s.isStalled) {
    const now = objectiveOf(s);
    inVain++;
    if (!(now - objective + s.price * <f64>(s.moves - moves) < 0)) continue;
    objective = now;
    moves = s.moves;
    inVain = 0;
  }
}

function settleOnce(s: Adaptive): bool {
  const isLower = descend(s);
  const isPolished = polish(s);
  sortRanks(s);
  rebuild(s);
  return isLower || isPolished;
}

/**
 * Kicks the best placement, first with moves counted from the live one, to which a kick may bring slots back; then with moves counted
 * from the placement that is kicked, and no less than from the live one, beginning anew at each success: so a search that starts at
 * the result does just what here failed. Without the first round the kicks bring half as much at a price.
 */
function kickOn(s: Adaptive, numKicks: i32): void {
  resume(s);
  if (s.price > 0 || s.maxMoves < s.numSlots) {
    kickUntil(s, numKicks, false);
    if (s.moves === 0) return;
  }
  rebase(s);
  kickUntil(s, numKicks, true);
}

/** Kicks until so many in a row have failed; ends with the best placement. */
function kickUntil(s: Adaptive, numKicks: i32, isRebased: bool): void {
  let least = pricedValue(s);
  let lowest = least;
  let inVain = 0;
  let idle = 0;
  for (let failed = 0; failed < numKicks && inVain < PATIENCE && idle < MOST_IDLE && !isDone(s); failed++) {
    if (failed === 0) restartKicks(s);
    resume(s);
    idle = kick(s) ? 0 : idle + 1;
    if (hasFewSlots(s)) settle(s);
    else sweep(s);
    if (!(pricedValue(s) < least - LEAST_GAIN)) continue;
    keep(s);
    resume(s);
    settle(s);
    keep(s);
    if (isRebased) rebase(s);
    else resume(s);
    least = pricedValue(s);
    failed = -1;
    inVain = least < lowest ? 0 : inVain + 1;
    lowest = min(lowest, least);
  }
  resume(s);
}

/** From here on moves count from the best placement. */
function rebase(s: Adaptive): void {
  resume(s);
  if (s.maxMoves < s.numSlots) s.maxMoves -= s.moves;
  markBest(s);
}

function pricedValue(s: Adaptive): f64 {
  return objectiveOf(s) + s.price * <f64>s.moves;
}

function keep(s: Adaptive): f64 {
  memory.copy(s.bestSlots, s.slots, (<usize>s.numSlots) << 2);
  return pricedValue(s);
}
