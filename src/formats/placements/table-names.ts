/**
 * The tables of DeepSeek EPLB under the names of vLLM, of eplb.py, and of this library. The first are
 * written.
 */
export const TABLE_KEYS = {
  phyToLog: ['physical_to_logical_map', 'phy2log', 'phyToLog'],
  logToPhy: ['logical_to_physical_map', 'log2phy', 'logToPhy'],
  replicaCount: ['logical_replica_count', 'logcnt', 'replicaCount'],
} as const;

/** All of them. */
export const TABLE_NAMES: readonly string[] = Object.values(TABLE_KEYS).flat();
