import { countReplicas } from './inverse';

// What a placement makes of loads: the load of each rank, with the largest, the mean and the smallest.

/**
 * Adds up the load of each rank: over its slots in order, load of the expert / replicas of the expert, in
 * float64.
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

/**
 * How unevenly the ranks were loaded over the window: the largest rank load of a layer / its smallest, of the
 * layer where that is greatest. Infinite when a rank has no load beside one that has, 1 when none has any;
 * ranks without experts, whose slots are all empty, are left out. A slot's load is what it recorded, plus an
 * even share of what was recorded for its expert under other mappings.
 *
 * @param physical f64[numLayers x numPhysical]: sums of the samples of this mapping
 * @param logical f64[numLayers x numLogical]: sums of the other samples
 * @param phyToLog i32[numLayers x numPhysical], -1 for an empty slot; every expert has a slot
 * @param paces f64[numRanks]: what a rank takes for a load of 1: then times are compared, not loads; 0, no
 * pointer: all take the same
 * @param shared f64[numRanks]: what a shared expert adds to a rank, as a share of the layer's load; 0, no
 * pointer: there is none
 * @param scratch {@link windowImbalanceScratchBytes}, aligned to 8
 */
export function windowImbalance(
  physical: usize,
  logical: usize,
  phyToLog: usize,
  numLayers: i32,
  numPhysical: i32,
  numLogical: i32,
  numRanks: i32,
  paces: usize,
  shared: usize,
  scratch: usize,
): f64 {
  let worst: f64 = 1;
  for (let layer = 0; layer < numLayers; layer++) {
    const slots = <usize>(layer * numPhysical);
    const sums = logical + ((<usize>(layer * numLogical)) << 3);
    const table = phyToLog + (slots << 2);
    const recorded = physical + (slots << 3);
    worst = max(
      worst,
      layerImbalance(recorded, sums, table, numPhysical, numLogical, numRanks, paces, shared, scratch),
    );
  }
  return worst;
}

function layerImbalance(
  physical: usize,
  logical: usize,
  phyToLog: usize,
  numPhysical: i32,
  numLogical: i32,
  numRanks: i32,
  paces: usize,
  shared: usize,
  share: usize,
): f64 {
  const count = share + ((<usize>numLogical) << 3);
  countReplicas(phyToLog, numPhysical, numLogical, count);
  for (let expert = 0; expert < numLogical; expert++) {
    const at = (<usize>expert) << 3;
    const sum = load<f64>(logical + at);
    // Mostly nothing was recorded under other mappings, and no division is needed.
    store<f64>(share + at, sum === 0 ? 0 : sum / <f64>load<i32>(count + ((<usize>expert) << 2)));
  }
  const slotsPerRank = numPhysical / numRanks;
  let total: f64 = 0;
  if (shared !== 0)
    for (let slot = 0; slot < numPhysical; slot++) total += slotLoad(phyToLog, physical, share, slot);
  let most: f64 = 0;
  let least: f64 = f64.MAX_VALUE;
  for (let rank = 0; rank < numRanks; rank++) {
    const start = rank * slotsPerRank;
    let sum: f64 = 0;
    let isEmpty = true;
    for (let slot = start; slot < start + slotsPerRank; slot++) {
      if (load<i32>(phyToLog + ((<usize>slot) << 2)) < 0) continue;
      isEmpty = false;
      sum += slotLoad(phyToLog, physical, share, slot);
    }
    if (shared !== 0) {
      const own = load<f64>(shared + ((<usize>rank) << 3));
      if (own > 0) isEmpty = false;
      sum += own * total;
    }
    if (isEmpty) continue;
    if (paces !== 0) sum *= load<f64>(paces + ((<usize>rank) << 3));
    most = max(most, sum);
    least = min(least, sum);
  }
  return most > 0 ? most / least : 1;
}

/** What a slot recorded, and its expert's share of other samples; 0 of an empty one. */
function slotLoad(phyToLog: usize, physical: usize, share: usize, slot: i32): f64 {
  const expert = load<i32>(phyToLog + ((<usize>slot) << 2));
  if (expert < 0) return 0;
  return max(load<f64>(physical + ((<usize>slot) << 3)) + load<f64>(share + ((<usize>expert) << 3)), 0);
}

/** Scratch of {@link windowImbalance}: a share and a count of every expert. */
export function windowImbalanceScratchBytes(numLogical: i32): f64 {
  return 12 * <f64>numLogical;
}
