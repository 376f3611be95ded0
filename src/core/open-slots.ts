import { nodesOfRanks } from './nodes.ts';
import type { Topology } from './topology.ts';

// Which slots may hold an expert: the first ones of each rank, all of them where the topology does not say
// otherwise.

type Ranks = Pick<Topology, 'numPhysicalExperts' | 'numRanks' | 'slotsPerRank'>;

/** Slots of a layer that may hold an expert. */
export function numOpenSlots({ numPhysicalExperts, slotsPerRank }: Ranks): number {
  return slotsPerRank === undefined ? numPhysicalExperts : slotsPerRank.reduce((sum, size) => sum + size, 0);
}

/** `[ranks]`: those of each rank. */
export function openSlotsOfRanks({ numPhysicalExperts, numRanks, slotsPerRank }: Ranks): readonly number[] {
  return slotsPerRank ?? new Array<number>(numRanks).fill(numPhysicalExperts / numRanks);
}

/** Those of each domain. @param domains `[ranks]`: numbered from 0 on */
export function openSlotsOfDomains(topology: Ranks, domains: Int32Array): Int32Array {
  const open = new Int32Array(1 + domains.reduce((most, domain) => Math.max(most, domain), 0));
  openSlotsOfRanks(topology).forEach((slots, rank) => {
    open[domains[rank]!]! += slots;
  });
  return open;
}

/** Those of each node. */
export function openSlotsOfNodes(topology: Ranks & Pick<Topology, 'numNodes' | 'nodeOfRank'>): number[] {
  return [...openSlotsOfDomains(topology, nodesOfRanks(topology))];
}

/** Of each slot of a layer, how many open ones come before it; -1 for a closed slot. */
export function openPlaces({ numPhysicalExperts, numRanks, slotsPerRank }: Ranks): Int32Array {
  const places = new Int32Array(numPhysicalExperts).fill(-1);
  const stride = numPhysicalExperts / numRanks;
  for (let rank = 0, place = 0; rank < numRanks; rank++) {
    const first = rank * stride;
    const end = first + (slotsPerRank?.[rank] ?? stride);
    for (let slot = first; slot < end; slot++) places[slot] = place++;
  }
  return places;
}

/** Puts -1 into the closed slots of each layer. @param table [layers x physical], any number of layers */
export function emptyClosedSlots(table: Int32Array, topology: Ranks): void {
  const { numPhysicalExperts, numRanks, slotsPerRank } = topology;
  if (slotsPerRank === undefined) return;
  const stride = numPhysicalExperts / numRanks;
  for (let first = 0, rank = 0; first < table.length; first += stride, rank = (rank + 1) % numRanks) {
    table.fill(-1, first + slotsPerRank[rank]!, first + stride);
  }
}

/**
 * The first slot of a table [layers x physical] that is closed and holds an expert; -1 when there is none.
 */
export function firstInClosedSlot(table: Int32Array, topology: Ranks): number {
  const { numPhysicalExperts, numRanks, slotsPerRank } = topology;
  if (slotsPerRank === undefined) return -1;
  const stride = numPhysicalExperts / numRanks;
  for (let first = 0, rank = 0; first < table.length; first += stride, rank = (rank + 1) % numRanks) {
    for (let at = first + slotsPerRank[rank]!; at < first + stride; at++) if (table[at]! >= 0) return at;
  }
  return -1;
}
