/**
 * The default policy in plain TypeScript on typed arrays: a straightforward peer to compare times with, and
 * what every placement of a benchmark is checked against. Loads, loads per replica and sums are float32, ties
 * go to the lowest index, as the policy's rules say.
 */
import type { LoadMatrix, Topology } from 'expert-load-balancer';

/** Tables of a placement, row-major. */
export interface ReferencePlacement {
  /** [layers x physical]: the expert of each slot. */
  readonly phyToLog: Int32Array;
  /** [layers x physical]: which of its expert's replicas each slot holds. */
  readonly replicaRank: Int32Array;
}

/**
 * Plans all layers.
 *
 * @param previous [layers x physical]: an expert that stays on a rank then stays in its slot
 */
export function planReference(
  loads: LoadMatrix,
  topology: Topology,
  previous?: Int32Array,
): ReferencePlacement {
  const { numLayers, numExperts } = loads;
  const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
  const isHierarchical = numGroups % numNodes === 0;
  const phyToLog = new Int32Array(numLayers * numPhysicalExperts);
  const replicaRank = new Int32Array(phyToLog.length);
  for (let layer = 0; layer < numLayers; layer++) {
    const first = layer * numPhysicalExperts;
    const weight = loads.data.subarray(layer * numExperts, (layer + 1) * numExperts);
    const slots = phyToLog.subarray(first, first + numPhysicalExperts);
    const ranks = replicaRank.subarray(first, first + numPhysicalExperts);
    placeLayer(weight, isHierarchical ? numGroups : 1, isHierarchical ? numNodes : 1, numRanks, slots, ranks);
    if (previous === undefined) continue;
    keepSlots(previous.subarray(first, first + numPhysicalExperts), slots, ranks, numRanks);
  }
  return { phyToLog, replicaRank };
}

/** Packs groups to nodes, then every node's experts to its ranks. */
function placeLayer(
  weight: Float32Array,
  numGroups: number,
  numNodes: number,
  numRanks: number,
  slots: Int32Array,
  ranks: Int32Array,
): void {
  const groupSize = weight.length / numGroups;
  const groupsPerNode = numGroups / numNodes;
  const groupLoads = new Float32Array(numGroups);
  weight.forEach((load, expert) => {
    groupLoads[Math.floor(expert / groupSize)]! += load;
  });
  const { packIndex, rankInPack } = pack(groupLoads, numNodes);

  // The experts in order of node, and within a node in the order its groups were packed.
  const experts = new Int32Array(weight.length);
  for (let group = 0; group < numGroups; group++) {
    const place = packIndex[group]! * groupsPerNode + rankInPack[group]!;
    for (let i = 0; i < groupSize; i++) experts[place * groupSize + i] = group * groupSize + i;
  }
  const expertsPerNode = weight.length / numNodes;
  const slotsPerNode = slots.length / numNodes;
  for (let node = 0; node < numNodes; node++) {
    const members = experts.subarray(node * expertsPerNode, (node + 1) * expertsPerNode);
    const [from, to] = [node * slotsPerNode, (node + 1) * slotsPerNode];
    placeNode(weight, members, numRanks / numNodes, slots.subarray(from, to), ranks.subarray(from, to));
  }
}

/** Replicates the experts of a node to its slots and packs the copies to its ranks. */
function placeNode(
  weight: Float32Array,
  experts: Int32Array,
  numRanks: number,
  slots: Int32Array,
  ranks: Int32Array,
): void {
  const loads = new Float32Array(experts.length);
  experts.forEach((expert, item) => {
    loads[item] = weight[expert]!;
  });
  const { itemOf, rankOf, count } = replicate(loads, slots.length);
  const copyLoads = new Float32Array(slots.length);
  for (let copy = 0; copy < slots.length; copy++) {
    const item = itemOf[copy]!;
    copyLoads[copy] = loads[item]! / count[item]!;
  }
  const { packIndex, rankInPack } = pack(copyLoads, numRanks);
  const slotsPerRank = slots.length / numRanks;
  for (let copy = 0; copy < slots.length; copy++) {
    const slot = packIndex[copy]! * slotsPerRank + rankInPack[copy]!;
    slots[slot] = experts[itemOf[copy]!]!;
    ranks[slot] = rankOf[copy]!;
  }
}

interface Replication {
  itemOf: Int32Array;
  rankOf: Int32Array;
  count: Int32Array;
}

/** Every item once; then each further copy to the item with the most load per copy. */
function replicate(loads: Float32Array, numCopies: number): Replication {
  const itemOf = Int32Array.from({ length: numCopies }, (_, copy) => copy);
  const rankOf = new Int32Array(numCopies);
  const count = new Int32Array(loads.length).fill(1);
  const loadPerCopy = loads.slice();
  for (let copy = loads.length; copy < numCopies; copy++) {
    let heaviest = 0;
    for (let item = 1; item < loads.length; item++) {
      if (loadPerCopy[item]! > loadPerCopy[heaviest]!) heaviest = item;
    }
    itemOf[copy] = heaviest;
    rankOf[copy] = count[heaviest]!;
    count[heaviest]!++;
    loadPerCopy[heaviest] = loads[heaviest]! / count[heaviest]!;
  }
  return { itemOf, rankOf, count };
}

interface Packing {
  packIndex: Int32Array;
  rankInPack: Int32Array;
}

/** Spreads items over packs of equal size: heaviest first, each to the lightest pack that has room. */
function pack(loads: Float32Array, numPacks: number): Packing {
  const packSize = loads.length / numPacks;
  const packIndex = Int32Array.from({ length: loads.length }, (_, item) => item);
  const rankInPack = new Int32Array(loads.length);
  if (packSize === 1) return { packIndex, rankInPack };
  const order = packIndex.slice().sort((a, b) => loads[b]! - loads[a]! || a - b);
  const sums = new Float32Array(numPacks);
  const sizes = new Int32Array(numPacks);
  for (const item of order) {
    let lightest = -1;
    for (let candidate = 0; candidate < numPacks; candidate++) {
      if (sizes[candidate] === packSize) continue;
      if (lightest < 0 || sums[candidate]! < sums[lightest]!) lightest = candidate;
    }
    packIndex[item] = lightest;
    rankInPack[item] = sizes[lightest]!;
    sums[lightest]! += loads[item]!;
    sizes[lightest]!++;
  }
  return { packIndex, rankInPack };
}

/** Reorders the copies of each rank so that an expert that was on the rank gets its old slot back. */
function keepSlots(previous: Int32Array, slots: Int32Array, ranks: Int32Array, numRanks: number): void {
  const size = slots.length / numRanks;
  for (let first = 0; first < slots.length; first += size) {
    const copies = Array.from({ length: size }, (_, i) => ({
      expert: slots[first + i]!,
      rank: ranks[first + i]!,
    }));
    const kept = Array.from({ length: size }, (_, i) => {
      const at = copies.findIndex(({ expert }) => expert === previous[first + i]);
      return at < 0 ? undefined : copies.splice(at, 1)[0];
    });
    kept.forEach((copy, i) => {
      const { expert, rank } = copy ?? copies.shift()!;
      slots[first + i] = expert;
      ranks[first + i] = rank;
    });
  }
}
