/**
 * The default policy in the simplest code that gives its results: the reference that kernels are compared
 * with. Loads, quotients and sums are float32 (`Math.fround`), ties go to the lowest index, sums run in index
 * order.
 */

export interface Packing {
  packIndex: number[];
  rankInPack: number[];
}

export interface Replication {
  phyToLog: number[];
  rank: number[];
  count: number[];
}

/** The items of each slot, and which of its item's replicas (0, 1, ...) a slot holds. */
export interface Placement {
  phyToLog: number[];
  replicaRank: number[];
}

export interface Topology {
  numLogicalExperts: number;
  numReplicas: number;
  numGroups: number;
  numNodes: number;
  numRanks: number;
}

/** Spreads items over packs of equal size: heaviest first, each to the lightest pack that has room. */
export function balancedPacking(weight: readonly number[], numPacks: number): Packing {
  const capacity = weight.length / numPacks;
  if (capacity === 1) {
    return { packIndex: weight.map((_, item) => item), rankInPack: weight.map(() => 0) };
  }
  // Array.prototype.sort is stable, and -0 equals 0 in a subtraction's sign. Infinity - Infinity is no
  // number, so the comparison is spelled out.
  const order = weight.map((_, item) => item);
  order.sort((a, b) => (weight[a]! > weight[b]! ? -1 : weight[a]! < weight[b]! ? 1 : 0));

  const packIndex = weight.map(() => -1);
  const rankInPack = weight.map(() => -1);
  const sums = new Array<number>(numPacks).fill(0);
  const sizes = new Array<number>(numPacks).fill(0);
  for (const item of order) {
    let lightest = -1;
    for (let pack = 0; pack < numPacks; pack++) {
      if (sizes[pack]! === capacity) continue;
      if (lightest === -1 || sums[pack]! < sums[lightest]!) lightest = pack;
    }
    packIndex[item] = lightest;
    rankInPack[item] = sizes[lightest]!;
    sums[lightest] = Math.fround(sums[lightest]! + weight[item]!);
    sizes[lightest] = sizes[lightest]! + 1;
  }
  return { packIndex, rankInPack };
}

/** Gives each redundant slot, one after the other, to the item with the largest load per replica. */
export function replicateExperts(weight: readonly number[], numPhysical: number): Replication {
  const phyToLog = weight.map((_, item) => item);
  const rank = weight.map(() => 0);
  const count = weight.map(() => 1);
  for (let slot = weight.length; slot < numPhysical; slot++) {
    let heaviest = 0;
    for (let item = 1; item < weight.length; item++) {
      const quotient = Math.fround(weight[item]! / count[item]!);
      if (quotient > Math.fround(weight[heaviest]! / count[heaviest]!)) heaviest = item;
    }
    phyToLog.push(heaviest);
    rank.push(count[heaviest]!);
    count[heaviest] = count[heaviest]! + 1;
  }
  return { phyToLog, rank, count };
}

/** Replicates items to `numSlots` copies and packs the copies: pack p owns the p-th run of slots. */
export function placeRow(weight: readonly number[], numSlots: number, numPacks: number): Placement {
  const { phyToLog, rank, count } = replicateExperts(weight, numSlots);
  const copyLoads = phyToLog.map((item) => Math.fround(weight[item]! / count[item]!));
  const { packIndex, rankInPack } = balancedPacking(copyLoads, numPacks);
  const placed: Placement = { phyToLog: new Array(numSlots), replicaRank: new Array(numSlots) };
  for (let copy = 0; copy < numSlots; copy++) {
    const slot = packIndex[copy]! * (numSlots / numPacks) + rankInPack[copy]!;
    placed.phyToLog[slot] = phyToLog[copy]!;
    placed.replicaRank[slot] = rank[copy]!;
  }
  return placed;
}

/**
 * Packs whole groups to nodes, then places each node's experts on that node's ranks. Nodes divide the groups.
 */
export function placeHierarchical(weight: readonly number[], topology: Topology): Placement {
  const { numReplicas, numGroups, numNodes, numRanks } = topology;
  const groupSize = weight.length / numGroups;
  const groupLoads: number[] = [];
  for (let group = 0; group < numGroups; group++) {
    let sum = 0;
    for (let i = 0; i < groupSize; i++) sum = Math.fround(sum + weight[group * groupSize + i]!);
    groupLoads.push(sum);
  }
  const { packIndex, rankInPack } = balancedPacking(groupLoads, numNodes);

  const placed: Placement = { phyToLog: [], replicaRank: [] };
  for (let node = 0; node < numNodes; node++) {
    const groupsOfNode = groupLoads.map((_, group) => group).filter((group) => packIndex[group] === node);
    groupsOfNode.sort((a, b) => rankInPack[a]! - rankInPack[b]!);
    const experts = groupsOfNode.flatMap((group) => range(group * groupSize, groupSize));
    const row = placeRow(
      experts.map((expert) => weight[expert]!),
      numReplicas / numNodes,
      numRanks / numNodes,
    );
    placed.phyToLog.push(...row.phyToLog.map((item) => experts[item]!));
    placed.replicaRank.push(...row.replicaRank);
  }
  return placed;
}

/** One layer of the default policy: hierarchical when the nodes divide the groups, else global. */
export function rebalanceLayer(weight: readonly number[], topology: Topology): Placement {
  const loads = weight.map(Math.fround);
  if (topology.numGroups % topology.numNodes === 0) return placeHierarchical(loads, topology);
  return placeHierarchical(loads, { ...topology, numGroups: 1, numNodes: 1 });
}

function range(start: number, length: number): number[] {
  return Array.from({ length }, (_, i) => start + i);
}
