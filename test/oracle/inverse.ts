/** Replicas of each expert; -1 marks an empty slot. */
export function countReplicas(phyToLog: readonly number[], numLogical: number): number[] {
  const count = new Array<number>(numLogical).fill(0);
  for (const expert of phyToLog) {
    if (expert !== -1) count[expert] = count[expert]! + 1;
  }
  return count;
}

/** The slots of each expert, in the order of their replica numbers, padded with -1 to `maxReplicas`. */
export function invertLayer(
  phyToLog: readonly number[],
  replicaRank: readonly number[],
  numLogical: number,
  maxReplicas: number,
): number[][] {
  const logToPhy = Array.from({ length: numLogical }, () => new Array<number>(maxReplicas).fill(-1));
  for (let slot = 0; slot < phyToLog.length; slot++) {
    if (phyToLog[slot]! !== -1) logToPhy[phyToLog[slot]!]![replicaRank[slot]!] = slot;
  }
  return logToPhy;
}
