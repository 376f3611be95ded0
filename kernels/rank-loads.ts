// What a placement makes of loads: the load of each rank, with the largest, the mean and the smallest.

/**
 * Adds up the load of each rank: over its slots in order, load of the expert / replicas of the expert, in float64.
 *
 * @param weight f32[numLogical]
 * @param phyToLog i32[numPhysical], -1 for an empty slot
 * @param count i32[numLogical]
 * @param loads f64[numRanks], out
 * @param stats f64[3], out: max, mean, min over the ranks
 */
export function rankLoads(
  weight: usize,
  phyToLog: usize,
  count: usize,
  numPhysical: i32,
  numRanks: i32,
  loads: usize,
  stats: usize,
): void {
  const slotsPerRank = (<usize>(numPhysical / numRanks)) << 2;
  let slot = phyToLog;
  let most: f64 = 0;
  let least: f64 = f64.MAX_VALUE;
  let total: f64 = 0;
  for (let rank = 0; rank < numRanks; rank++) {
    let sum: f64 = 0;
    for (const end = slot + slotsPerRank; slot < end; slot += 4) {
      const expert = load<i32>(slot);
      if (expert < 0) continue;
      const at = (<usize>expert) << 2;
      sum += <f64>load<f32>(weight + at) / <f64>load<i32>(count + at);
    }
    store<f64>(loads + ((<usize>rank) << 3), sum);
    most = max(most, sum);
    least = min(least, sum);
    total += sum;
  }
  store<f64>(stats, most);
  store<f64>(stats, total / <f64>numRanks, 8);
  store<f64>(stats, least, 16);
}
