// The inverse tables of a placement: replica counts, and the slots of each expert.

/**
 * Counts the replicas of each expert.
 *
 * @param phyToLog i32[numPhysical], -1 for an empty slot
 * @param count i32[numLogical], out
 * @returns the greatest count
 */
export function countReplicas(phyToLog: usize, numPhysical: i32, numLogical: i32, count: usize): i32 {
  memory.fill(count, 0, (<usize>numLogical) << 2);
  let most = 0;
  const end = phyToLog + ((<usize>numPhysical) << 2);
  for (let slot = phyToLog; slot < end; slot += 4) {
    const expert = load<i32>(slot);
    if (expert < 0) continue;
    const at = count + ((<usize>expert) << 2);
    const replicas = load<i32>(at) + 1;
    store<i32>(at, replicas);
    most = max(most, replicas);
  }
  return most;
}

/**
 * Writes the slot of every replica: logToPhy[expert][replicaRank[slot]] = slot, -1 where there is no such
 * replica.
 *
 * @param logToPhy i32[numLogical x maxReplicas], out
 */
export function invertLayer(
  phyToLog: usize,
  replicaRank: usize,
  numPhysical: i32,
  numLogical: i32,
  maxReplicas: i32,
  logToPhy: usize,
): void {
  memory.fill(logToPhy, 0xff, (<usize>(numLogical * maxReplicas)) << 2);
  for (let slot = 0; slot < numPhysical; slot++) {
    const at = (<usize>slot) << 2;
    const expert = load<i32>(phyToLog + at);
    if (expert < 0) continue;
    store<i32>(logToPhy + ((<usize>(expert * maxReplicas + load<i32>(replicaRank + at))) << 2), slot);
  }
}
