import type { Topology } from './topology.ts';

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

/**
 * Makes times of the loads of a layer's ranks: load / speed. A dead rank that still has load keeps it as it
 * is.
 *
 * @param rankLoads `[ranks]`, written over
 * @param speeds `[ranks]`, 0 for dead ones
 * @returns the longest of them, and what each would take if they all took as long: loads / speeds, each
 *   summed
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
    load += rankLoads[rank]!;
    speed += own;
    if (own !== 0) rankLoads[rank]! /= own;
    if (rankLoads[rank]! > most) most = rankLoads[rank]!;
  }
  return { most, mean: load / speed };
}
