import { openSlotsOfRanks } from '../../core/open-slots.ts';
import { type ExpertMapping, repair } from '../../index.ts';
import { type Damage, ranksWithExperts } from './damage.ts';

/**
 * The mapping that makes up for ranks that are dead, empty or slow: see `repair`. Beyond what has to be it
 * moves no more experts than the ranks that are empty, or one that is slow, have slots.
 *
 * @throws EplbRangeError `EPLB_TOPOLOGY` when the ranks that live have too few slots
 */
export function repairOf(damage: Damage): ExpertMapping {
  const { live, whole, deadRanks, servingRanks, speed, forSpeed, loads } = damage;
  const { numRanks, numNodes, nodeOfRank, numLayers, numPhysicalExperts, slotsPerRank, rules } = whole;
  const holders = ranksWithExperts(live, numRanks);
  const open = openSlotsOfRanks({ numPhysicalExperts, numRanks, ...(slotsPerRank && { slotsPerRank }) });
  const emptySlots = servingRanks
    .filter((rank) => !holders.has(rank) && !deadRanks.includes(rank))
    .reduce((sum, rank) => sum + open[rank]!, 0);
  const slotsToMove = Math.max(emptySlots, forSpeed ? Math.max(...open) : 0);
  return repair(live, {
    ...{ numRanks, numNodes, deadRanks, slotsPerRank: open, maxMoves: numLayers * slotsToMove },
    ...(nodeOfRank && { nodeOfRank }),
    ...(speed && { rankSpeed: speed }),
    ...(rules && { rules }),
    ...(loads?.data.some((load) => load > 0) && { loads }),
  }).mapping;
}
