import type { Topology } from '../core/topology.ts';
import type { JobLayout } from '../engine/layout.ts';
import { type PlanTables, shareTables } from '../engine/plan-tables.ts';
import { type ExpertMapping, mappingOfTables, replicaCountOf, tablesOf } from '../mapping/expert-mapping.ts';

/** Writes the mapping before to where a job reads it. */
export function writePrevious(buffer: ArrayBufferLike, layout: JobLayout, previous: ExpertMapping): void {
  const { phyToLog } = tablesOf(previous);
  new Int32Array(buffer, layout.previous, phyToLog.length).set(phyToLog);
}

/**
 * The mapping of the tables that a job has filled: it takes them over, and nobody may write them any more.
 */
export function plannedMapping(topology: Topology, tables: PlanTables): ExpertMapping {
  const { numLayers, numPhysicalExperts, numLogicalExperts } = topology;
  return mappingOfTables({ numLayers, numPhysicalExperts, numLogicalExperts, ...tables });
}

/** Shared tables with a mapping: what a worker answers for a policy that has no kernel. */
export function shareMapping(mapping: ExpertMapping): PlanTables {
  const { phyToLog, replicaRank } = tablesOf(mapping);
  return shareTables({ phyToLog, replicaRank, replicaCount: replicaCountOf(mapping) });
}
