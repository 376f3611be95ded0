import type { Topology } from '../core/topology.ts';
import { zeros } from '../memory/allocate.ts';

/** How a row of a table is cut into ranks: as many slots for each, open or closed. */
export interface RankLayout {
  readonly numRanks: number;
  /** Slots of each rank in the table, closed ones among them. */
  readonly slotsPerRank: number;
}

/** How the tables of a topology are laid out. */
export function rankLayoutOf({ numRanks, numPhysicalExperts }: Topology): RankLayout {
  return { numRanks, slotsPerRank: numPhysicalExperts / numRanks };
}

/**
 * A table laid out for other ranks: what rank r has in its slot s stays there. Ranks and slots that are new
 * are empty, -1; what was in ranks or slots that are gone is left out, so that experts may be missing.
 *
 * @param phyToLog `[layers x physical]` of the ranks before: read only
 * @returns a new table, `[layers x physical]` of the ranks after
 * @throws EplbRangeError `EPLB_MEMORY`
 */
export function relayRanks(
  phyToLog: Int32Array,
  numLayers: number,
  before: RankLayout,
  after: RankLayout,
): Int32Array {
  const numSlotsAfter = numLayers * after.numRanks * after.slotsPerRank;
  const laidOut = zeros('a mapping for other ranks', Int32Array, numSlotsAfter).fill(-1);
  const numRanks = Math.min(before.numRanks, after.numRanks);
  const numSlots = Math.min(before.slotsPerRank, after.slotsPerRank);
  for (let layer = 0; layer < numLayers; layer++) {
    for (let rank = 0; rank < numRanks; rank++) {
      const from = (layer * before.numRanks + rank) * before.slotsPerRank;
      const to = (layer * after.numRanks + rank) * after.slotsPerRank;
      laidOut.set(phyToLog.subarray(from, from + numSlots), to);
    }
  }
  return laidOut;
}
