import { type ExpertMapping, mappingOfTables, tablesOf } from './expert-mapping.ts';

/** The mapping that has the named layers of `next` and all others of `live`. Of the same shape, both. */
export function joinLayers(
  live: ExpertMapping,
  next: ExpertMapping,
  layers: Iterable<number>,
): ExpertMapping {
  const { numLayers, numPhysicalExperts, numLogicalExperts, ...before } = tablesOf(live);
  const after = tablesOf(next);
  const phyToLog = new Int32Array(before.phyToLog);
  const replicaRank = new Int32Array(before.replicaRank);
  for (const layer of layers) {
    const [first, end] = [layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts];
    phyToLog.set(after.phyToLog.subarray(first, end), first);
    replicaRank.set(after.replicaRank.subarray(first, end), first);
  }
  return mappingOfTables({ numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaRank });
}
