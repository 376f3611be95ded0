import { zeros } from '../memory/allocate.ts';
import { type ExpertMapping, mappingOfTables } from './expert-mapping.ts';
import type { MappingTables } from './mapping-tables.ts';
import { numberReplicas } from './number-replicas.ts';

type MappingSizes = Pick<MappingTables, 'numLayers' | 'numLogicalExperts' | 'numPhysicalExperts'>;

/** The mapping of a table, its replicas numbered in slot order. @param slots [layers x physical], valid */
export function mappingOfSlots(sizes: MappingSizes, slots: Int32Array): ExpertMapping {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = sizes;
  const replicaRank = zeros('a mapping', Int32Array, slots.length);
  const replicaCount = zeros('a mapping', Int32Array, numLayers * numLogicalExperts);
  for (let layer = 0; layer < numLayers; layer++) {
    const [first, end] = [layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts];
    const counts = replicaCount.subarray(layer * numLogicalExperts, (layer + 1) * numLogicalExperts);
    numberReplicas(slots.subarray(first, end), replicaRank.subarray(first, end), counts);
  }
  return mappingOfTables({
    numLayers,
    numLogicalExperts,
    numPhysicalExperts,
    phyToLog: slots,
    replicaRank,
    replicaCount,
  });
}
