/**
 * Numbers the replicas of a layer in slot order.
 *
 * @param phyToLog [slots], -1 for an empty slot; every other one is an expert
 * @param replicaRank [slots], out: which replica of its expert each slot is, from 0; 0 for an empty slot
 * @param replicaCount [logical], out: replicas of each expert
 */
export function numberReplicas(
  phyToLog: Int32Array,
  replicaRank: Int32Array,
  replicaCount: Int32Array,
): void {
  replicaCount.fill(0);
  for (let slot = 0; slot < phyToLog.length; slot++) {
    const expert = phyToLog[slot]!;
    replicaRank[slot] = expert < 0 ? 0 : replicaCount[expert]!++;
  }
}
