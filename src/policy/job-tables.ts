import type { JobLayout } from '../engine/layout.ts';
import { makeSharedTables, type PlanTables } from '../engine/plan-tables.ts';
import { type ExpertMapping, mappingOfTables, tablesOf } from '../expert-mapping.ts';
import type { Topology } from '../topology.ts';

/** Writes the mapping before to where a job reads it. */
export function writePrevious(buffer: ArrayBufferLike, layout: JobLayout, previous: ExpertMapping): void {
  const { phyToLog } = tablesOf(previous);
  new Int32Array(buffer, layout.previous, phyToLog.length).set(phyToLog);
}

/** The mapping of the tables that a job has filled: it takes them over, and nobody may write them any more. */
export function mappingOf(topology: Topology, { phyToLog, replicaRank }: PlanTables): ExpertMapping {
  const { numLayers, numPhysicalExperts, numLogicalExperts } = topology;
  return mappingOfTables({ numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaRank });
}

/** Shared tables with a mapping: what a worker answers for a policy that has no kernel. */
export function shareMapping(mapping: ExpertMapping): PlanTables {
  const { phyToLog, replicaRank } = tablesOf(mapping);
  const tables = makeSharedTables(phyToLog.length);
  tables.phyToLog.set(phyToLog);
  tables.replicaRank.set(replicaRank);
  return tables;
}
