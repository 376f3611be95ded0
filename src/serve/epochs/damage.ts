import { openSlotsOfRanks } from '../../core/open-slots.ts';
import type { Topology } from '../../core/topology.ts';
import type { LoadMatrix } from '../../loads/load-matrix.ts';
import { type ExpertMapping, tablesOf } from '../../mapping/expert-mapping.ts';

/** What a repair is made from. */
export interface Damage {
  readonly live: ExpertMapping;
  /** As declared: no rank of it is dead, and all are as fast as they were then. */
  readonly whole: Topology;
  readonly deadRanks: readonly number[];
  /** Ranks that serve and may be filled where they hold nothing. */
  readonly servingRanks: readonly number[];
  /** [ranks] */
  readonly speed: readonly number[] | null;
  /** Whether moves may go where a rank's speed has changed. */
  readonly forSpeed: boolean;
  /** What experts are expected to get; all alike when left out. */
  readonly loads: LoadMatrix | undefined;
}

/** Ranks of which a mapping holds experts, in any layer. */
export function ranksWithExperts(mapping: ExpertMapping, numRanks: number): Set<number> {
  const { phyToLog, numPhysicalExperts } = tablesOf(mapping);
  const stride = numPhysicalExperts / numRanks;
  const ranks = new Set<number>();
  for (let i = 0; i < phyToLog.length; i++) {
    if (phyToLog[i]! >= 0) ranks.add(Math.floor((i % numPhysicalExperts) / stride));
  }
  return ranks;
}

/** Whether a mapping has an expert on a rank, in any layer. */
export function holdsExperts(mapping: ExpertMapping, rank: number, numRanks: number): boolean {
  const { phyToLog, numPhysicalExperts } = tablesOf(mapping);
  const stride = numPhysicalExperts / numRanks;
  for (let first = rank * stride; first < phyToLog.length; first += numPhysicalExperts) {
    for (let slot = first; slot < first + stride; slot++) if (phyToLog[slot]! >= 0) return true;
  }
  return false;
}

/** The layers in which two mappings of one shape differ. */
export function layersBetween(before: ExpertMapping, after: ExpertMapping): readonly number[] {
  const { phyToLog: from, numLayers, numPhysicalExperts } = tablesOf(before);
  const { phyToLog: to } = tablesOf(after);
  const layers: number[] = [];
  for (let layer = 0; layer < numLayers; layer++) {
    const [first, end] = [layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts];
    if (from.subarray(first, end).some((expert, slot) => expert !== to[first + slot])) layers.push(layer);
  }
  return layers;
}

/** Why a live mapping is to be repaired; empty when it is whole. */
export function damageOf({ live, whole, deadRanks, servingRanks, forSpeed }: Damage): readonly string[] {
  const holders = ranksWithExperts(live, whole.numRanks);
  const open = openSlotsOfRanks(whole);
  const lost = deadRanks.filter((rank) => holders.has(rank));
  const empty = servingRanks.filter((rank) => !holders.has(rank) && open[rank]! > 0);
  return [
    ...lost.map((rank) => `rank ${rank} is dead`),
    ...empty.map((rank) => `rank ${rank} is empty`),
    ...(forSpeed ? ['speeds of ranks have changed'] : []),
  ];
}
