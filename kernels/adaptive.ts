// The adaptive policy for one layer: a descent by single steps from the live placement, and, when asked for, from a placement
// made afresh, then again from random kicks of the best.

import { objectiveOf, rebuild } from './adaptive-costs';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  addCopies,
  addCopiesOn,
  carveAdaptive,
  copiesOf,
  copiesOn,
  expertAt,
  lanes,
  rowOf,
  setExpertAt,
} from './adaptive-state';
import { descend, kick, LEAST_GAIN, polish } from './adaptive-steps';

const FIRST_RANDOM: u32 = 0x9e3779b9;

/**
 * Places one layer so that the weighted sum over samples of the 8-norm of the rank loads, and the price of the moves from
 * `previous`, is small. No expert comes twice on a rank unless there is no other way.
 *
 * @param samples f64[numExperts * numSamples], numSamples even, see prepareSamples
 * @param weights f64[numSamples]
 * @param numNodes experts stay on the node they start on; 1: they may go anywhere
 * @param previous i32[numSlots], -1 where a slot is empty
 * @param fresh i32[numSlots], or 0: a placement to start from as well
 * @param maxMoves at most so many moves, but for what has to be repaired in `previous`
 * @param maxEvaluations no step is begun after so many
 * @param numKicks so many random kicks of the best placement have to fail before the search ends
 * @param phyToLog i32[numSlots], out: experts that stay on a rank stay in their slots
 * @param replicaRank i32[numSlots], out: which replica of its expert a slot holds, from 0, in slot order
 * @param stats f64[4], out: the objective without the price of `previous`, repaired, and of the result; moves; evaluations
 */
export function searchAdaptive(
  samples: usize,
  weights: usize,
  numExperts: i32,
  numSlots: i32,
  numRanks: i32,
  numNodes: i32,
  numSamples: i32,
  previous: usize,
  fresh: usize,
  price: f64,
  maxMoves: i32,
  maxEvaluations: i32,
  numKicks: i32,
  phyToLog: usize,
  replicaRank: usize,
  stats: usize,
  scratch: usize,
): void {
  const s = carveAdaptive(scratch, numExperts, numSlots, numRanks, numSamples);
  s.samples = samples;
  s.weights = weights;
  s.numNodes = numNodes;
  s.slotsPerRank = numSlots / numRanks;
  s.ranksPerNode = numRanks / numNodes;
  s.price = price;
  s.maxMoves = maxMoves;
  s.maxEvaluations = maxEvaluations;
  s.evaluations = 0;
  markHeld(s, previous);
  const bytes = (<usize>numSlots) << 2;
  begin(s, previous);
  store<f64>(stats, objectiveOf(s));
  descend(s);
  polish(s);
  let best = objectiveOf(s) + price * <f64>s.moves;
  memory.copy(s.bestSlots, s.slots, bytes);
  if (fresh !== 0) {
    begin(s, fresh);
    if (s.moves <= maxMoves) {
      descend(s);
      polish(s);
      best = keepBetter(s, best);
    }
  }
  // The kicks begin anew at each success, so that as many of them have failed at the result: a search that starts there finds
  // nothing, and on loads that stay the same nothing moves again.
  for (let failed = 0; failed < numKicks && s.evaluations < maxEvaluations; ) {
    if (failed === 0) s.random = FIRST_RANDOM;
    resume(s);
    kick(s);
    descend(s);
    polish(s);
    const value = keepBetter(s, best);
    failed = value < best ? 0 : failed + 1;
    best = value;
  }
  if (fresh !== 0 || numKicks > 0) resume(s);
  store<f64>(stats, objectiveOf(s), 8);
  store<f64>(stats, <f64>s.moves, 16);
  store<f64>(stats, <f64>s.evaluations, 24);
  finish(s, previous, phyToLog, replicaRank);
}

function markHeld(s: Adaptive, previous: usize): void {
  memory.fill(s.held, 0, (<usize>(s.numRanks * s.numExperts)) << 2);
  for (let slot = 0; slot < s.numSlots; slot++) {
    const expert = load<i32>(previous + ((<usize>slot) << 2));
    if (expert < 0) continue;
    store<i32>(s.held + ((<usize>((slot / s.slotsPerRank) * s.numExperts + expert)) << 2), 1);
  }
}

function keepBetter(s: Adaptive, best: f64): f64 {
  const value = objectiveOf(s) + s.price * <f64>s.moves;
  if (value >= best - LEAST_GAIN) return best;
  memory.copy(s.bestSlots, s.slots, (<usize>s.numSlots) << 2);
  return value;
}

/** Goes back to the best placement. */
function resume(s: Adaptive): void {
  memory.copy(s.slots, s.bestSlots, (<usize>s.numSlots) << 2);
  sortRanks(s);
  recount(s);
  rebuild(s);
}

/** Orders the experts of each rank: what a search finds must not depend on which slots of a rank they are in. */
function sortRanks(s: Adaptive): void {
  for (let slot = 1; slot < s.numSlots; slot++) {
    const first = (slot / s.slotsPerRank) * s.slotsPerRank;
    const expert = expertAt(s, slot);
    let to = slot;
    for (; to > first && expertAt(s, to - 1) > expert; to--) setExpertAt(s, to, expertAt(s, to - 1));
    setExpertAt(s, to, expert);
  }
}

/** Takes over a placement, with what makes it infeasible repaired, and finds the node of each expert. */
function begin(s: Adaptive, placement: usize): void {
  memory.copy(s.slots, placement, (<usize>s.numSlots) << 2);
  recount(s);
  repair(s);
  sortRanks(s);
  const slotsPerNode = s.slotsPerRank * s.ranksPerNode;
  for (let slot = s.numSlots - 1; slot >= 0; slot--) {
    store<i32>(s.home + ((<usize>expertAt(s, slot)) << 2), slot / slotsPerNode);
  }
  rebuild(s);
}

function recount(s: Adaptive): void {
  memory.fill(s.count, 0, (<usize>s.numExperts) << 2);
  memory.fill(s.on, 0, (<usize>(s.numRanks * s.numExperts)) << 2);
  for (let slot = 0; slot < s.numSlots; slot++) {
    const expert = expertAt(s, slot);
    if (expert < 0) continue;
    addCopies(s, expert, 1);
    addCopiesOn(s, slot / s.slotsPerRank, expert, 1);
  }
}

/** Empty slots, then slots of second copies on a rank, get missing experts first, then the heaviest copies there are. */
function repair(s: Adaptive): void {
  for (let slot = 0; slot < s.numSlots; slot++) {
    if (expertAt(s, slot) < 0) fill(s, slot, -1);
  }
  for (let expert = 0; expert < s.numExperts; expert++) {
    if (copiesOf(s, expert) === 0) fill(s, sparest(s), expert);
  }
  for (let slot = 0; slot < s.numSlots; slot++) {
    if (copiesOn(s, slot / s.slotsPerRank, expertAt(s, slot)) > 1) fill(s, slot, -1);
  }
}

/** The slot of the expert with the most copies. */
function sparest(s: Adaptive): i32 {
  let best = 0;
  for (let slot = 1; slot < s.numSlots; slot++) {
    if (copiesOf(s, expertAt(s, slot)) > copiesOf(s, expertAt(s, best))) best = slot;
  }
  return best;
}

function fill(s: Adaptive, slot: i32, wanted: i32): void {
  const rank = slot / s.slotsPerRank;
  const old = expertAt(s, slot);
  const expert = wanted >= 0 ? wanted : neediest(s, rank, old);
  if (expert < 0) return;
  if (old >= 0) {
    addCopies(s, old, -1);
    addCopiesOn(s, rank, old, -1);
  }
  setExpertAt(s, slot, expert);
  addCopies(s, expert, 1);
  addCopiesOn(s, rank, expert, 1);
}

/** A missing expert, else the one with the most load a copy that is not on the rank; -1 when a full slot need not change. */
function neediest(s: Adaptive, rank: i32, old: i32): i32 {
  let best = -1;
  let most: f64 = -1;
  for (let expert = 0; expert < s.numExperts; expert++) {
    if (copiesOf(s, expert) === 0) return expert;
    if (copiesOn(s, rank, expert) > 0 || (s.numNodes > 1 && !isOnNode(s, rank, expert))) continue;
    const load = totalLoad(s, expert) / <f64>copiesOf(s, expert);
    if (load > most) {
      most = load;
      best = expert;
    }
  }
  if (best !== -1 || old >= 0) return best;
  return max(expertAt(s, rank * s.slotsPerRank), 0);
}

function isOnNode(s: Adaptive, rank: i32, expert: i32): bool {
  const first = (rank / s.ranksPerNode) * s.ranksPerNode;
  for (let r = first; r < first + s.ranksPerNode; r++) {
    if (copiesOn(s, r, expert) > 0) return true;
  }
  return false;
}

function totalLoad(s: Adaptive, expert: i32): f64 {
  const row = rowOf(s, s.samples, expert);
  let sum = f64x2.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    sum = f64x2.add(sum, f64x2.mul(v128.load(s.weights + t), v128.load(row + t)));
  }
  return lanes(sum);
}

/** Experts that stay on a rank go back to their slots; replicas are numbered in slot order. */
function finish(s: Adaptive, previous: usize, phyToLog: usize, replicaRank: usize): void {
  for (let slot = 0; slot < s.numSlots; slot++) {
    const before = load<i32>(previous + ((<usize>slot) << 2));
    if (before < 0 || expertAt(s, slot) === before) continue;
    const first = (slot / s.slotsPerRank) * s.slotsPerRank;
    for (let k = first; k < first + s.slotsPerRank; k++) {
      if (expertAt(s, k) !== before || load<i32>(previous + ((<usize>k) << 2)) === before) continue;
      setExpertAt(s, k, expertAt(s, slot));
      setExpertAt(s, slot, before);
      break;
    }
  }
  memory.copy(phyToLog, s.slots, (<usize>s.numSlots) << 2);
  memory.fill(s.count, 0, (<usize>s.numExperts) << 2);
  for (let slot = 0; slot < s.numSlots; slot++) {
    const expert = expertAt(s, slot);
    store<i32>(replicaRank + ((<usize>slot) << 2), copiesOf(s, expert));
    addCopies(s, expert, 1);
  }
}
