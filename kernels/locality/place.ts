// The locality policy for one layer. Starting from a placement with evenly loaded nodes, a tabu search moves
// copies between nodes so that experts which are routed together share a node. The copies that balance needs
// go to different nodes, where they bring more than a second time on the same node; redundant slots that
// balance can spare go to the experts that bring most.

import { placeLayers } from '../default/hierarchy';
import { placeRow } from '../default/place-row';
import { replicateLayer } from '../default/replicate';
import { keyIndex, makeKey } from '../shared/keys';
import { sortKeysDescending } from '../shared/sort';
import { findMove } from './moves';
import { separateCopies } from './separate';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  carve,
  copiesAt,
  countOf,
  expertIn,
  isCancelled,
  loadOf,
  lookIfCancelled,
  recount,
  Search,
  setExpert,
  sumLoads,
  tabuAt,
} from './state';
import { moveCopy, objective, recountKeptOf, recountKeptOn, revalue } from './values';

/** Steps for which an expert may not come back to a node it left: at 3 and at 20 the results were worse. */
const TENURE: i32 = 8;
/**
 * Packing the nodes' copies to their ranks anew gives loads that block moves a way out. Each 8 or 25 is no
 * better.
 */
const STEPS_PER_REPACK: i32 = 16;
/**
 * After so many steps without an allowed move no expert is kept from coming back, and still none is allowed.
 */
const IDLE_STEPS: i32 = 16;
const HIGHEST_CONNECTION: f64 = 1048576;
/** Four times as many bring a third of a percent more for 64 experts; for 256 the search has converged. */
const EVALUATIONS_PER_EXPERT: i32 = 4000;
/** The nodes of an expert are the bits of one word. */
const MAX_NODES: i32 = 64;

/**
 * Places one layer. The highest rank load is at most that of the default placement / (1 - tolerance). Without
 * anything to tell which experts belong together, or on more than 64 nodes, the result is the default
 * placement.
 *
 * @param weight f32[numExperts], finite and >= 0
 * @param coactivation f32[numExperts * numExperts], or 0: then experts of a group belong together
 * @param tolerance in [0, 1): of the highest rank load, and of the nodes' loads over their mean
 * @param maxEvaluations exchanges to look at, about; 0: as many as suit the number of experts
 * @param cancelled i32: once it is not 0 the search returns at once, and what it was to write is not there;
 * 0, no pointer: nothing cancels it
 * @param phyToLog i32[numSlots], out
 * @param replicaRank i32[numSlots], out: which replica of its expert a slot holds, from 0, in slot order
 * @returns the exchanges looked at
 */
export function placeLocality(
  weight: usize,
  coactivation: usize,
  numExperts: i32,
  numSlots: i32,
  numGroups: i32,
  numNodes: i32,
  numRanks: i32,
  tolerance: f64,
  maxEvaluations: i32,
  cancelled: usize,
  phyToLog: usize,
  replicaRank: usize,
  scratch: usize,
): i32 {
  const s = carve(scratch, weight, numExperts, numSlots, numNodes, numRanks);
  s.evaluations = 0;
  s.cancelled = cancelled;
  s.nextLook = 0;
  s.isCancelled = false;
  const isHierarchical = numGroups % numNodes === 0;
  const groups = isHierarchical ? numGroups : 1;
  const nodes = isHierarchical ? numNodes : 1;
  placeLayers(weight, 1, numExperts, numSlots, groups, nodes, numRanks, phyToLog, replicaRank, s.rest);
  if (numNodes === 1 || numNodes > MAX_NODES || !connect(s, coactivation, numGroups)) return 0;
  chooseStart(s, phyToLog, tolerance);
  improve(s, maxEvaluations > 0 ? maxEvaluations : EVALUATIONS_PER_EXPERT * numExperts);
  if (s.isCancelled) return 0;
  repackAll(s);
  separateCopies(s);
  if (s.isCancelled) return 0;
  memory.copy(phyToLog, s.slots, (<usize>numSlots) << 2);
  numberReplicas(s, replicaRank);
  return <i32>min<i64>(s.evaluations, i32.MAX_VALUE);
}

/** Turns co-activation, or groups, into whole numbers. False when no two experts belong together. */
function connect(s: Search, coactivation: usize, numGroups: i32): bool {
  const n = s.numExperts;
  const groupSize = numGroups === 1 ? 0 : n / numGroups;
  let mean: f64 = 0;
  for (let i = 0; i < n; i++) mean += weightOf(s, i);
  mean /= <f64>n;
  let highest: f64 = 0;
  for (let a = 1; a < n; a++) {
    if (lookIfCancelled(s)) return false;
    for (let b = 0; b < a; b++) highest = max(highest, together(s, coactivation, a, b, groupSize, mean));
  }
  if (highest === 0) return false;
  const scale = HIGHEST_CONNECTION / highest;
  for (let a = 0; a < n; a++) {
    storeConnection(s, a, a, 0);
    for (let b = 0; b < a; b++) {
      const connection = <f32>Math.floor(together(s, coactivation, a, b, groupSize, mean) * scale);
      storeConnection(s, a, b, connection);
      storeConnection(s, b, a, connection);
    }
  }
  return true;
}

function storeConnection(s: Search, a: i32, b: i32, connection: f32): void {
  store<f32>(s.connection + ((<usize>(a * s.numExperts + b)) << 2), connection);
}

/**
 * How much two experts belong together. Of a group, the experts with high loads are most often picked
 * together.
 */
function together(s: Search, coactivation: usize, a: i32, b: i32, groupSize: i32, mean: f64): f64 {
  if (coactivation !== 0) {
    const n = s.numExperts;
    const there = load<f32>(coactivation + ((<usize>(a * n + b)) << 2));
    const back = load<f32>(coactivation + ((<usize>(b * n + a)) << 2));
    const both = <f64>there + <f64>back;
    return both > 0 && both < Infinity ? both : 0;
  }
  if (groupSize === 0 || a / groupSize !== b / groupSize) return 0;
  return (weightOf(s, a) + mean) * (weightOf(s, b) + mean);
}

function weightOf(s: Search, expert: i32): f64 {
  return <f64>load<f32>(s.weight + ((<usize>expert) << 2));
}

/**
 * Copies dealt to the nodes by load, or the default placement when that is better or the only one allowed.
 */
function chooseStart(s: Search, usual: usize, tolerance: f64): void {
  const bytes = (<usize>s.numSlots) << 2;
  memory.copy(s.slots, usual, bytes);
  recount(s);
  const usualObjective = objective(s);
  const usualNodeLoad = highestOf(s.nodeLoad, s.numNodes);
  // A hair less than allowed: sums of loads are rounded.
  s.maxRankLoad = (highestOf(s.rankLoad, s.numRanks) / (1 - tolerance)) * (1 - 1 / <f64>((<i64>1) << 40));
  let total: f64 = 0;
  for (let i = 0; i < s.numExperts; i++) total += weightOf(s, i);
  s.maxNodeLoad = (total / <f64>s.numNodes) * (1 + tolerance);

  dealCopies(s);
  recount(s);
  for (let node = 0; node < s.numNodes; node++) repack(s, node);
  sumLoads(s);
  const isAllowed =
    highestOf(s.nodeLoad, s.numNodes) <= s.maxNodeLoad && highestOf(s.rankLoad, s.numRanks) <= s.maxRankLoad;
  const isUsualBetter = usualNodeLoad <= s.maxNodeLoad && usualObjective > objective(s);
  if (isAllowed && !isUsualBetter) return;
  memory.copy(s.slots, usual, bytes);
  recount(s);
  s.maxNodeLoad = max(s.maxNodeLoad, usualNodeLoad);
}

function highestOf(values: usize, n: i32): f64 {
  let most = load<f64>(values);
  for (let i = 1; i < n; i++) most = max(most, load<f64>(values + ((<usize>i) << 3)));
  return most;
}

/**
 * Replicates for balance; then heaviest first, each copy to the node with the fewest of its expert, then the
 * lightest.
 */
function dealCopies(s: Search): void {
  const row = (<usize>s.numSlots) << 2;
  const keys = s.rest;
  const rest = keys + 2 * row;
  replicateLayer(s.weight, s.numExperts, s.numSlots, s.slots, s.bestSlots, s.count, rest);
  for (let expert = 0; expert < s.numExperts; expert++) {
    const copyLoad = load<f32>(s.weight + ((<usize>expert) << 2)) / <f32>countOf(s, expert);
    store<u64>(keys + ((<usize>expert) << 3), makeKey(copyLoad, expert));
  }
  sortKeysDescending(keys, s.numExperts, rest);
  memory.fill(s.copies, 0, (<usize>(s.numNodes * s.numExperts)) << 2);
  memory.fill(s.nodeLoad, 0, (<usize>s.numNodes) << 3);
  const fill = rest; // i32[numNodes]
  memory.fill(fill, 0, (<usize>s.numNodes) << 2);
  for (let i = 0; i < s.numExperts; i++) {
    const expert = keyIndex(load<u64>(keys + ((<usize>i) << 3)));
    const copyLoad = weightOf(s, expert) / <f64>countOf(s, expert);
    for (let left = countOf(s, expert); left > 0; left--) {
      const node = nodeForCopy(s, expert, fill);
      const copies = copiesAt(s, node, expert);
      const used = fill + ((<usize>node) << 2);
      const nodeLoad = s.nodeLoad + ((<usize>node) << 3);
      setExpert(s, node * s.slotsPerNode + load<i32>(used), expert);
      store<i32>(used, load<i32>(used) + 1);
      store<i32>(copies, load<i32>(copies) + 1);
      store<f64>(nodeLoad, load<f64>(nodeLoad) + copyLoad);
    }
  }
}

function nodeForCopy(s: Search, expert: i32, fill: usize): i32 {
  let best = -1;
  let fewest = 0;
  let lightest: f64 = 0;
  for (let node = 0; node < s.numNodes; node++) {
    if (load<i32>(fill + ((<usize>node) << 2)) === s.slotsPerNode) continue;
    const copies = load<i32>(copiesAt(s, node, expert));
    const nodeLoad = load<f64>(s.nodeLoad + ((<usize>node) << 3));
    if (best !== -1 && (copies > fewest || (copies === fewest && nodeLoad >= lightest))) continue;
    best = node;
    fewest = copies;
    lightest = nodeLoad;
  }
  return best;
}

/** Takes the best move of each step, even when it loses, and ends at the best placement met. */
function improve(s: Search, maxEvaluations: i32): void {
  const bytes = (<usize>s.numSlots) << 2;
  revalue(s);
  for (let node = 0; node < s.numNodes && !lookIfCancelled(s); node++) recountKeptOn(s, node);
  memory.fill(s.tabu, 0, (<usize>(s.numNodes * s.numExperts)) << 2);
  memory.copy(s.bestSlots, s.slots, bytes);
  s.toBest = 0;
  let idle = 0;
  for (s.step = 1; s.evaluations < maxEvaluations && idle < IDLE_STEPS && !isCancelled(s); s.step++) {
    if (s.step % STEPS_PER_REPACK === 0) repackAll(s);
    findMove(s);
    if (s.isCancelled) return;
    idle = s.slot === -1 ? idle + 1 : 0;
    if (idle > 0) continue;
    applyMove(s);
    s.toBest -= s.gain;
    if (s.toBest >= 0) continue;
    s.toBest = 0;
    memory.copy(s.bestSlots, s.slots, bytes);
  }
  memory.copy(s.slots, s.bestSlots, bytes);
  recount(s);
}

function applyMove(s: Search): void {
  const expert = expertIn(s, s.slot);
  const node = s.slot / s.slotsPerNode;
  store<i32>(tabuAt(s, node, expert), s.step + TENURE + (s.step % 7));
  if (s.other === -1) {
    moveCopy(s, expert, node, -1);
    moveCopy(s, s.expert, -1, node);
  } else {
    const otherNode = s.other / s.slotsPerNode;
    store<i32>(tabuAt(s, otherNode, s.expert), s.step + TENURE + (s.step % 5));
    moveCopy(s, expert, node, otherNode);
    moveCopy(s, s.expert, otherNode, node);
    setExpert(s, s.other, expert);
  }
  setExpert(s, s.slot, s.expert);
  recountKeptOf(s, expert, s.expert);
  sumLoads(s);
}

/** Packs each node's copies to its ranks anew where that lowers the node's highest rank load. */
function repackAll(s: Search): void {
  const ranksPerNode = s.numRanks / s.numNodes;
  const bytes = (<usize>s.slotsPerNode) << 2;
  for (let node = 0; node < s.numNodes; node++) {
    const ranks = s.rankLoad + ((<usize>(node * ranksPerNode)) << 3);
    const before = highestOf(ranks, ranksPerNode);
    const copies = repack(s, node);
    sumLoads(s);
    if (highestOf(ranks, ranksPerNode) < before) {
      recountKeptOn(s, node);
      continue;
    }
    memory.copy(s.slots + <usize>node * bytes, copies, bytes);
    sumLoads(s);
  }
}

/** Packs a node's copies to its ranks; returns where they are (i32[slotsPerNode]) as they were before. */
function repack(s: Search, node: i32): usize {
  const n = s.slotsPerNode;
  const bytes = (<usize>n) << 2;
  const slots = s.slots + <usize>node * bytes;
  const copies = s.rest;
  const loads = copies + bytes;
  const ranks = loads + bytes;
  memory.copy(copies, slots, bytes);
  for (let i = 0; i < n; i++) {
    const at = (<usize>i) << 2;
    store<f32>(loads + at, <f32>loadOf(s, load<i32>(slots + at)));
  }
  placeRow(loads, n, n, s.numRanks / s.numNodes, slots, ranks, (ranks + bytes + 15) & ~15);
  for (let i = 0; i < n; i++) {
    const slot = slots + ((<usize>i) << 2);
    store<i32>(slot, load<i32>(copies + ((<usize>load<i32>(slot)) << 2)));
  }
  return copies;
}

/** Numbers the replicas of each expert in slot order. */
function numberReplicas(s: Search, replicaRank: usize): void {
  memory.fill(s.count, 0, (<usize>s.numExperts) << 2);
  for (let slot = 0; slot < s.numSlots; slot++) {
    const count = s.count + ((<usize>expertIn(s, slot)) << 2);
    store<i32>(replicaRank + ((<usize>slot) << 2), load<i32>(count));
    store<i32>(count, load<i32>(count) + 1);
  }
}
