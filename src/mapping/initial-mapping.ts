import { openPlaces } from '../core/open-slots.ts';
import type { Topology } from '../core/topology.ts';
import { type ExpertMapping, mappingOfTables } from './expert-mapping.ts';
import { initialSlots, repeatRow } from './initial-slots.ts';
import { mappingOfSlots } from './mapping-of-slots.ts';

/** The mapping of {@link initialSlots}, its replicas numbered in slot order. */
export function initialMapping(topology: Topology): ExpertMapping {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = topology;
  const phyToLog = initialSlots(topology);
  if (topology.rules !== undefined)
    return mappingOfSlots({ numLayers, numPhysicalExperts, numLogicalExperts }, phyToLog);
  const places = openPlaces(topology);
  const replicaAt = (slot: number) => Math.floor(Math.max(places[slot]!, 0) / numLogicalExperts);
  const replicaRank = repeatRow(numLayers, numPhysicalExperts, replicaAt);
  return mappingOfTables({ numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaRank });
}
