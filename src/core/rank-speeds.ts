import type { Topology } from './topology.ts';

// How fast ranks are. What a rank takes is its load / its speed, and what all take at balance is the load of
// all / the speed of all.

type Speeds = Pick<Topology, 'numRanks' | 'rankSpeed'>;

/** What ranks differ in where they are balanced: how fast, which are dead, what a shared expert adds. */
type RankDifferences = Pick<Topology, 'rankSpeed' | 'deadRanks' | 'rules'>;

/** What a topology says of that. */
export function differencesOfRanks({ rankSpeed, deadRanks, rules }: RankDifferences): RankDifferences {
  return { ...(rankSpeed && { rankSpeed }), ...(deadRanks && { deadRanks }), ...(rules && { rules }) };
}

/** The mean speed of the ranks: 1 where none is given. */
export function meanSpeed({ numRanks, rankSpeed }: Speeds): number {
  if (rankSpeed === undefined) return 1;
  return rankSpeed.reduce((sum, speed) => sum + speed, 0) / numRanks;
}

/** `[ranks]`: how fast each is, 1 in the mean; undefined where all are as fast as each other. */
export function relativeSpeeds(topology: Speeds): number[] | undefined {
  const { rankSpeed } = topology;
  if (rankSpeed === undefined || rankSpeed.every((speed) => speed === rankSpeed[0])) return undefined;
  const mean = meanSpeed(topology);
  return rankSpeed.map((speed) => speed / mean);
}

/** `[ranks]`: what each takes for a load of 1; undefined where all take 1. */
export function ranksPaces({ rankSpeed }: Speeds): number[] | undefined {
  return rankSpeed?.map((speed) => 1 / speed);
}

/**
 * `[ranks]`: how fast each rank is, 0 where it is dead; undefined where all of them live and are alike, so
 * that nothing has to be weighed.
 */
export function rankSpeedsOf({
  numRanks,
  rankSpeed,
  deadRanks,
}: Pick<Topology, 'numRanks' | 'rankSpeed' | 'deadRanks'>): Float64Array | undefined {
  if (rankSpeed === undefined && deadRanks === undefined) return undefined;
  const speeds = Float64Array.from({ length: numRanks }, (_, rank) => rankSpeed?.[rank] ?? 1);
  for (const rank of deadRanks ?? []) speeds[rank] = 0;
  return speeds;
}

/** Adds what a shared expert has to the loads of a layer's ranks. @param shared `[ranks]`: shares of all */
export function addShared(rankLoads: Float64Array, shared: readonly number[]): void {
  let total = 0;
  for (const load of rankLoads) total += load;
  for (let rank = 0; rank < rankLoads.length; rank++) rankLoads[rank]! += shared[rank]! * total;
}

/**
 * Makes times of the loads of a layer's ranks: load / speed. What a dead rank still holds is lost, not
 * served: it counts in neither figure, and stays as it is.
 *
 * @param rankLoads `[ranks]`, written over
 * @param speeds `[ranks]`, 0 for dead ones
 * @returns of those that live the longest, and what each would take if they all took as long: loads / speeds,
 *   each summed
 */
export function weighRanks(
  rankLoads: Float64Array,
  speeds: Float64Array,
): { readonly most: number; readonly mean: number } {
  let load = 0;
  let speed = 0;
  let most = 0;
  for (let rank = 0; rank < rankLoads.length; rank++) {
    const own = speeds[rank]!;
    if (own === 0) continue;
    load += rankLoads[rank]!;
    speed += own;
    rankLoads[rank]! /= own;
    if (rankLoads[rank]! > most) most = rankLoads[rank]!;
  }
  // Where no rank lives none serves anything.
  return { most, mean: speed === 0 ? 0 : load / speed };
}
