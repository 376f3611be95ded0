// The default policy (DeepSeek EPLB, rebalance_experts_hierarchical): groups are packed to nodes by their
// sums, then each node replicates its experts and packs the copies to its ranks. With one group and one node
// this is the global policy. A row is a node of a layer; two rows are placed at a time.

import { sizeClass } from '../shared/keys';
import { copyWords, countWords } from '../shared/words';
import { placePair, placeRowScratchBytes } from './place-row';

/**
 * Places consecutive layers, two at a time. `numGroups` must divide the experts, `numNodes` the groups, the
 * ranks and the slots.
 *
 * @param weight f32[numLayers x numLogical], finite and >= 0
 * @param phyToLog i32[numLayers x numPhysical], out
 * @param replicaRank i32[numLayers x numPhysical], out: which replica of its expert a slot holds, from 0
 * @param scratch {@link placeLayersScratchBytes}
 */
export function placeLayers(
  weight: usize,
  numLayers: i32,
  numLogical: i32,
  numPhysical: i32,
  numGroups: i32,
  numNodes: i32,
  numRanks: i32,
  phyToLog: usize,
  replicaRank: usize,
  scratch: usize,
): void {
  const logicalBytes = (<usize>numLogical) << 2;
  const physicalBytes = (<usize>numPhysical) << 2;
  for (let layer = 0; layer < numLayers; layer += 2) {
    // The last of an odd number of layers is placed beside itself.
    const second = layer + 1 < numLayers ? <usize>1 : 0;
    placeTwoLayers(
      weight + <usize>layer * logicalBytes,
      second * logicalBytes,
      numLogical,
      numPhysical,
      numGroups,
      numNodes,
      numRanks,
      phyToLog + <usize>layer * physicalBytes,
      replicaRank + <usize>layer * physicalBytes,
      second * physicalBytes,
      scratch,
    );
  }
}

/** Places the layers at `weight` and at `weight + nextWeight`, whose tables are `nextTable` bytes apart. */
function placeTwoLayers(
  weight: usize,
  nextWeight: usize,
  numLogical: i32,
  numPhysical: i32,
  numGroups: i32,
  numNodes: i32,
  numRanks: i32,
  phyToLog: usize,
  replicaRank: usize,
  nextTable: usize,
  scratch: usize,
): void {
  const ranks = replicaRank + nextTable;
  const table = phyToLog + nextTable;
  if (numGroups === 1) {
    // Not so with several groups on one node: packing them to it orders them by their sums, and ties follow
    // that order.
    const next = weight + nextWeight;
    placePair(
      weight,
      next,
      0,
      0,
      numLogical,
      numPhysical,
      numRanks,
      phyToLog,
      table,
      replicaRank,
      ranks,
      scratch,
    );
    return;
  }
  const unit = (<usize>sizeClass(numPhysical)) << 2;
  const experts = scratch; // two units of i32[numLogical]: the experts of node 0, of node 1, ...
  const weights = scratch + 2 * unit; // two units of f32[numLogical], in that order
  const rest = scratch + 4 * unit;
  assignGroups(weight, weight + nextWeight, numLogical, numGroups, numNodes, experts, weights, unit, rest);
  const expertBytes = ((<usize>numLogical) << 2) / <usize>numNodes;
  const slotBytes = ((<usize>numPhysical) << 2) / <usize>numNodes;
  // Each node beside the same node of the other layer.
  for (let node: usize = 0; node < <usize>numNodes; node++) {
    const from = node * expertBytes;
    const to = node * slotBytes;
    placePair(
      weights + from,
      weights + from + unit,
      experts + from,
      experts + from + unit,
      numLogical / numNodes,
      numPhysical / numNodes,
      numRanks / numNodes,
      phyToLog + to,
      table + to,
      replicaRank + to,
      ranks + to,
      rest,
    );
  }
}

/**
 * Packs the groups of two layers to nodes and writes the experts and weights of each node, group by group.
 */
function assignGroups(
  weightA: usize,
  weightB: usize,
  numLogical: i32,
  numGroups: i32,
  numNodes: i32,
  experts: usize,
  weights: usize,
  unit: usize,
  scratch: usize,
): void {
  const sumsA = scratch;
  const sumsB = sumsA + unit;
  const orderA = sumsB + unit;
  const orderB = orderA + unit;
  const unusedA = orderB + unit;
  const unusedB = unusedA + unit;
  const rest = unusedB + unit;
  const groupSize = numLogical / numGroups;
  sumGroups(weightA, numGroups, groupSize, sumsA);
  sumGroups(weightB, numGroups, groupSize, sumsB);
  // Packing groups to nodes is placing them without replicas: slot after slot, the groups of node 0, of node
  // 1, ...
  placePair(sumsA, sumsB, 0, 0, numGroups, numGroups, numNodes, orderA, orderB, unusedA, unusedB, rest);
  gatherGroups(weightA, orderA, numGroups, groupSize, experts, weights);
  gatherGroups(weightB, orderB, numGroups, groupSize, experts + unit, weights + unit);
}

/** Four groups at a time: a sum waits for the one before it, and in order it has to be. */
function sumGroups(weight: usize, numGroups: i32, groupSize: i32, sums: usize): void {
  const bytes = (<usize>groupSize) << 2;
  let from = weight;
  let group = 0;
  for (; group + 3 < numGroups; group += 4, from += 3 * bytes) {
    let sum0: f32 = 0;
    let sum1: f32 = 0;
    let sum2: f32 = 0;
    let sum3: f32 = 0;
    for (const end = from + bytes; from < end; from += 4) {
      sum0 += load<f32>(from);
      sum1 += load<f32>(from + bytes);
      sum2 += load<f32>(from + 2 * bytes);
      sum3 += load<f32>(from + 3 * bytes);
    }
    const to = sums + ((<usize>group) << 2);
    store<f32>(to, sum0);
    store<f32>(to, sum1, 4);
    store<f32>(to, sum2, 8);
    store<f32>(to, sum3, 12);
  }
  for (; group < numGroups; group++) {
    let sum: f32 = 0;
    for (const end = from + bytes; from < end; from += 4) sum += load<f32>(from);
    store<f32>(sums + ((<usize>group) << 2), sum);
  }
}

function gatherGroups(
  weight: usize,
  order: usize,
  numGroups: i32,
  groupSize: i32,
  experts: usize,
  weights: usize,
): void {
  const bytes = (<usize>groupSize) << 2;
  let to: usize = 0;
  for (let place = 0; place < numGroups; place++) {
    const first = load<i32>(order + ((<usize>place) << 2)) * groupSize;
    copyWords(weights + to, weight + ((<usize>first) << 2), groupSize);
    countWords(experts + to, groupSize, first);
    to += bytes;
  }
}

/**
 * Scratch of {@link placeLayers}: with groups, their experts and weights lie before what packing groups
 * takes, and then each node.
 */
export function placeLayersScratchBytes(
  numLogical: i32,
  numPhysical: i32,
  numGroups: i32,
  numNodes: i32,
): f64 {
  if (numGroups === 1) return placeRowScratchBytes(numLogical, numPhysical);
  const size = <f64>sizeClass(numPhysical);
  const groups = 24 * size + placeRowScratchBytes(numGroups, numGroups);
  const node = placeRowScratchBytes(numLogical / numNodes, numPhysical / numNodes);
  return 16 * size + max(groups, node);
}
