export interface RankLoads {
  loads: number[];
  max: number;
  mean: number;
  min: number;
}

/**
 * Load of each rank in float64: the sum over its slots, in index order, of load / replicas of the slot's
 * expert.
 */
export function rankLoads(
  weight: readonly number[],
  phyToLog: readonly number[],
  count: readonly number[],
  numRanks: number,
): RankLoads {
  const slotsPerRank = phyToLog.length / numRanks;
  const loads: number[] = [];
  for (let rank = 0; rank < numRanks; rank++) {
    let load = 0;
    for (const expert of phyToLog.slice(rank * slotsPerRank, (rank + 1) * slotsPerRank)) {
      if (expert !== -1) load += weight[expert]! / count[expert]!;
    }
    loads.push(load);
  }
  const total = loads.reduce((sum, load) => sum + load, 0);
  return { loads, max: Math.max(...loads), mean: total / numRanks, min: Math.min(...loads) };
}

/**
 * The largest rank load / the smallest, or times of ranks of these speeds, of loads per slot plus even
 * shares of loads per expert, and shares of the layer's load that a shared expert adds; 1 without any load.
 * Ranks without experts are left out.
 */
export function windowImbalance(
  physical: readonly number[],
  logical: readonly number[],
  phyToLog: readonly number[],
  count: readonly number[],
  numRanks: number,
  paces = new Array<number>(numRanks).fill(1),
  shared = new Array<number>(numRanks).fill(0),
): number {
  const slotsPerRank = phyToLog.length / numRanks;
  const loads = new Array<number>(numRanks).fill(0);
  let total = 0;
  phyToLog.forEach((expert, slot) => {
    if (expert === -1) return;
    const load = Math.max(physical[slot]! + logical[expert]! / count[expert]!, 0);
    loads[Math.floor(slot / slotsPerRank)]! += load;
    total += load;
  });
  const times = loads.map((load, rank) => (load + shared[rank]! * total) * paces[rank]!);
  const held = times.filter((_, rank) => {
    const slots = phyToLog.slice(rank * slotsPerRank, (rank + 1) * slotsPerRank);
    return shared[rank]! > 0 || slots.some((expert) => expert !== -1);
  });
  return Math.max(0, ...held) === 0 ? 1 : Math.max(...held) / Math.min(...held);
}
