// The state of the locality search for one layer: the placement, its counts and loads, and tables for the
// search.

import { placeLayersScratchBytes } from '../default/hierarchy';
import { placeRowScratchBytes } from '../default/place-row';
import { replicateLayerScratchBytes } from '../default/replicate';
import { sortKeysScratchBytes } from '../shared/sort';

/** A view on scratch memory, never allocated. All pointers are byte offsets. */
export class Search {
  weight: usize;
  numExperts: i32;
  numSlots: i32;
  numNodes: i32;
  numRanks: i32;
  slotsPerNode: i32;
  slotsPerRank: i32;
  /** No node and no rank may become heavier than this. */
  maxNodeLoad: f64;
  maxRankLoad: f64;

  /** f32[numExperts * numExperts]: how much two experts belong together, whole numbers up to 2 ** 20. */
  connection: usize;
  /** f64[numNodes * numExperts]: what the expert on the node is worth, be it there or not. */
  value: usize;
  /**
   * f64[numNodes * numSlots]: what the slot's expert shares with experts that are on its node and on the
   * other one.
   */
  kept: usize;
  /** f64[numNodes * numSlots]: the gain of moving the slot's copy to the node, were there room. */
  moveGain: usize;
  /** i32[numNodes * numExperts]: the step until which the expert may not come back to the node. */
  tabu: usize;
  /** i32[numNodes * numExperts]: copies of the expert on the node. */
  copies: usize;
  /** u64[numExperts]: the nodes that have a copy, a bit each. */
  nodes: usize;
  /** f64[numExperts]: load of each copy. */
  loadOf: usize;
  nodeLoad: usize;
  rankLoad: usize;
  /** i32[numExperts]: copies over all nodes. */
  count: usize;
  /** i32[numExperts]: marks for the step at hand. */
  marks: usize;
  /** i32[numSlots]: the expert of each slot. */
  slots: usize;
  bestSlots: usize;
  /** Working space for packing and for the default placement. */
  rest: usize;

  // The best move found in the step at hand.
  gain: f64;
  slot: i32;
  /** The slot it is exchanged with, or -1: then a copy of `expert` replaces it. */
  other: i32;
  expert: i32;
  step: i32;
  /** A move that gains more than this leads past the best placement known. */
  toBest: f64;
  evaluations: i64;
  /**
   * i32: not 0 when the search is cancelled; 0, no pointer, when nothing cancels it. It is read again at so
   * many evaluations.
   */
  cancelled: usize;
  nextLook: i64;
  isCancelled: bool;
}

/** Evaluations between two looks at the word that cancels the search. */
const EVALUATIONS_PER_LOOK: i64 = 8192;

/** The tables begin after the fields, as aligned as their values are. */
const HEADER_BYTES: usize = (offsetof<Search>() + 15) & ~15;

/**
 * Scratch of a search. `rest` comes last: for the default placement, for dealing copies to the nodes, and for
 * packing a node.
 */
export function placeLocalityScratchBytes(
  numExperts: i32,
  numSlots: i32,
  numGroups: i32,
  numNodes: i32,
  numRanks: i32,
): f64 {
  const experts = <f64>numExperts;
  const slots = <f64>numSlots;
  const nodes = <f64>numNodes;
  const tables = 4 * experts * experts + nodes * (16 * experts + 16 * slots + 8) + 24 * experts;
  const isHierarchical = numGroups % numNodes === 0;
  const groups = isHierarchical ? numGroups : 1;
  const placing = placeLayersScratchBytes(numExperts, numSlots, groups, isHierarchical ? numNodes : 1);
  const replicating = max(replicateLayerScratchBytes(numExperts, numSlots), sortKeysScratchBytes(numExperts));
  const slotsPerNode = numSlots / numNodes;
  const packing = 12 * <f64>slotsPerNode + 16 + placeRowScratchBytes(slotsPerNode, slotsPerNode);
  const marking = 4 * (<f64>numRanks / nodes) * <f64>((numExperts + 31) >> 5);
  const rest = max(max(placing, marking), max(8 * slots + max(replicating, 4 * nodes), packing));
  // The state begins, and `rest` too, at a multiple of 16.
  return 32 + <f64>HEADER_BYTES + tables + 8 * slots + 8 * <f64>numRanks + rest;
}

/** Lays the state out from `scratch` on, in {@link placeLocalityScratchBytes}. */
export function carve(
  scratch: usize,
  weight: usize,
  numExperts: i32,
  numSlots: i32,
  numNodes: i32,
  numRanks: i32,
): Search {
  const s = changetype<Search>((scratch + 15) & ~15);
  s.weight = weight;
  s.numExperts = numExperts;
  s.numSlots = numSlots;
  s.numNodes = numNodes;
  s.numRanks = numRanks;
  s.slotsPerNode = numSlots / numNodes;
  s.slotsPerRank = numSlots / numRanks;
  const experts = <usize>numExperts;
  const slots = <usize>numSlots;
  const nodes = <usize>numNodes;
  s.value = changetype<usize>(s) + HEADER_BYTES;
  s.kept = s.value + 8 * nodes * experts;
  s.moveGain = s.kept + 8 * nodes * slots;
  s.nodes = s.moveGain + 8 * nodes * slots;
  s.loadOf = s.nodes + 8 * experts;
  s.nodeLoad = s.loadOf + 8 * experts;
  s.rankLoad = s.nodeLoad + 8 * nodes;
  s.connection = s.rankLoad + 8 * <usize>numRanks;
  s.tabu = s.connection + 4 * experts * experts;
  s.copies = s.tabu + 4 * nodes * experts;
  s.count = s.copies + 4 * nodes * experts;
  s.marks = s.count + 4 * experts;
  s.slots = s.marks + 4 * experts;
  s.bestSlots = s.slots + 4 * slots;
  s.rest = (s.bestSlots + 4 * slots + 15) & ~15;
  return s;
}

/** Whether the search is cancelled: read as evaluations go on. */
export function isCancelled(s: Search): bool {
  return s.evaluations < s.nextLook ? s.isCancelled : lookIfCancelled(s);
}

/** Whether the search is cancelled, read now. */
export function lookIfCancelled(s: Search): bool {
  s.nextLook = s.evaluations + EVALUATIONS_PER_LOOK;
  if (s.cancelled !== 0 && atomic.load<i32>(s.cancelled) !== 0) s.isCancelled = true;
  return s.isCancelled;
}

export function connectionOf(s: Search, a: i32, b: i32): f64 {
  return load<f32>(s.connection + ((<usize>(a * s.numExperts + b)) << 2));
}

export function nodesOf(s: Search, expert: i32): u64 {
  return load<u64>(s.nodes + ((<usize>expert) << 3));
}

export function loadOf(s: Search, expert: i32): f64 {
  return load<f64>(s.loadOf + ((<usize>expert) << 3));
}

export function countOf(s: Search, expert: i32): i32 {
  return load<i32>(s.count + ((<usize>expert) << 2));
}

export function copiesAt(s: Search, node: i32, expert: i32): usize {
  return s.copies + ((<usize>(node * s.numExperts + expert)) << 2);
}

export function valueAt(s: Search, node: i32, expert: i32): usize {
  return s.value + ((<usize>(node * s.numExperts + expert)) << 3);
}

export function tabuAt(s: Search, node: i32, expert: i32): usize {
  return s.tabu + ((<usize>(node * s.numExperts + expert)) << 2);
}

export function expertIn(s: Search, slot: i32): i32 {
  return load<i32>(s.slots + ((<usize>slot) << 2));
}

export function setExpert(s: Search, slot: i32, expert: i32): void {
  store<i32>(s.slots + ((<usize>slot) << 2), expert);
}

/** Counts everything but the values from the slots. */
export function recount(s: Search): void {
  const experts = <usize>s.numExperts;
  memory.fill(s.count, 0, experts << 2);
  memory.fill(s.nodes, 0, experts << 3);
  memory.fill(s.copies, 0, (<usize>s.numNodes * experts) << 2);
  for (let slot = 0; slot < s.numSlots; slot++) {
    const expert = expertIn(s, slot);
    const node = slot / s.slotsPerNode;
    const count = s.count + ((<usize>expert) << 2);
    const copies = copiesAt(s, node, expert);
    const nodes = s.nodes + ((<usize>expert) << 3);
    store<i32>(count, load<i32>(count) + 1);
    store<i32>(copies, load<i32>(copies) + 1);
    store<u64>(nodes, load<u64>(nodes) | ((<u64>1) << node));
  }
  for (let expert = 0; expert < s.numExperts; expert++) setLoadOf(s, expert);
  sumLoads(s);
}

function setLoadOf(s: Search, expert: i32): void {
  const weight = <f64>load<f32>(s.weight + ((<usize>expert) << 2));
  store<f64>(s.loadOf + ((<usize>expert) << 3), weight / <f64>countOf(s, expert));
}

/** Loads of nodes and ranks, each summed in slot order. */
export function sumLoads(s: Search): void {
  for (let node = 0; node < s.numNodes; node++) sumRun(s, s.nodeLoad, node, s.slotsPerNode);
  for (let rank = 0; rank < s.numRanks; rank++) sumRank(s, rank);
}

export function sumRank(s: Search, rank: i32): void {
  sumRun(s, s.rankLoad, rank, s.slotsPerRank);
}

function sumRun(s: Search, sums: usize, run: i32, length: i32): void {
  let slot = s.slots + ((<usize>(run * length)) << 2);
  const end = slot + ((<usize>length) << 2);
  let sum: f64 = 0;
  for (; slot < end; slot += 4) sum += loadOf(s, load<i32>(slot));
  store<f64>(sums + ((<usize>run) << 3), sum);
}

/** Adds to an expert's copies over all nodes. */
export function countCopies(s: Search, expert: i32, by: i32): void {
  const count = s.count + ((<usize>expert) << 2);
  store<i32>(count, load<i32>(count) + by);
  setLoadOf(s, expert);
}

/** Adds to an expert's copies on a node; returns how many there are now. */
export function addCopies(s: Search, node: i32, expert: i32, by: i32): i32 {
  const at = copiesAt(s, node, expert);
  const copies = load<i32>(at) + by;
  store<i32>(at, copies);
  return copies;
}
