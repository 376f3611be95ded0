import { type ExpertMapping, mappingOfTables } from './expert-mapping.ts';
import { initialSlots, repeatRow } from './initial-slots.ts';
import type { Topology } from './topology.ts';

/** The mapping of {@link initialSlots}, its replicas numbered in slot order. */
export function initialMapping(topology: Topology): ExpertMapping {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = topology;
  const phyToLog = initialSlots(topology);
  const rankOf = (slot: number) => Math.floor(slot / numLogicalExperts);
  const replicaRank = repeatRow(numLayers, numPhysicalExperts, rankOf);
  return mappingOfTables({ numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaRank });
}
