import type { Placement } from './default-policy.ts';

/**
 * Reorders each rank's slots so that an expert that stays on the rank stays in its old slot: old slots, in
 * index order, each take the first copy of their expert that is left on the rank; the other copies fill the
 * other slots in order.
 */
export function preserveSlots(previous: readonly number[], placed: Placement, numRanks: number): Placement {
  const slotsPerRank = previous.length / numRanks;
  const result: Placement = { phyToLog: [], replicaRank: [] };
  for (let rank = 0; rank < numRanks; rank++) {
    const start = rank * slotsPerRank;
    const copies = Array.from({ length: slotsPerRank }, (_, i) => ({
      expert: placed.phyToLog[start + i]!,
      replica: placed.replicaRank[start + i]!,
    }));
    const kept = Array.from({ length: slotsPerRank }, (_, i) => {
      const old = previous[start + i]!;
      const match = copies.findIndex((copy) => old !== -1 && copy.expert === old);
      return match === -1 ? undefined : copies.splice(match, 1)[0];
    });
    for (const copy of kept) {
      const { expert, replica } = copy ?? copies.shift()!;
      result.phyToLog.push(expert);
      result.replicaRank.push(replica);
    }
  }
  return result;
}
