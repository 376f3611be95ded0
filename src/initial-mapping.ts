import { type ExpertMapping, mappingOfTables } from './expert-mapping.ts';
import type { Topology } from './topology.ts';

/** Expert i in slot i, and the redundant slots from expert 0 on again. One row is made and copied: cold code is slow. */
export function initialMapping(topology: Topology): ExpertMapping {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = topology;
  const phyToLog = new Int32Array(numLayers * numPhysicalExperts);
  const replicaRank = new Int32Array(numLayers * numPhysicalExperts);
  for (let slot = 0; slot < numPhysicalExperts; slot++) {
    phyToLog[slot] = slot % numLogicalExperts;
    replicaRank[slot] = Math.floor(slot / numLogicalExperts);
  }
  for (let layer = 1; layer < numLayers; layer++) {
    phyToLog.copyWithin(layer * numPhysicalExperts, 0, numPhysicalExperts);
    replicaRank.copyWithin(layer * numPhysicalExperts, 0, numPhysicalExperts);
  }
  return mappingOfTables({ numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaRank });
}
