/**
 * The time of the slowest rank / what all would take at balance; 1 where there is no load. A rank's time is
 * its load / its speed.
 *
 * @param shared [ranks]: the load of a shared expert, as a share of that of all others
 * @param placement [slots], -1 for an empty slot
 */
export function slowestOf(
  step: readonly number[],
  placement: Int32Array,
  numRanks: number,
  speeds: ArrayLike<number> = new Array<number>(numRanks).fill(1),
  shared: ArrayLike<number> = new Array<number>(numRanks).fill(0),
): number {
  const counts = new Map<number, number>();
  for (const expert of placement) counts.set(expert, (counts.get(expert) ?? 0) + 1);
  const slotsPerRank = placement.length / numRanks;
  const all = step.reduce((sum, own) => sum + own, 0);
  let most = 0;
  let total = 0;
  for (let rank = 0; rank < numRanks; rank++) {
    let load = 0;
    for (const expert of placement.subarray(rank * slotsPerRank, (rank + 1) * slotsPerRank)) {
      if (expert >= 0) load += step[expert]! * (1 / counts.get(expert)!);
    }
    most = Math.max(most, (load + shared[rank]! * all) * (1 / speeds[rank]!));
    total += load;
  }
  return total > 0 ? (most * numRanks) / total : 1;
}
