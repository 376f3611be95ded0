import type { JobLayout } from '../engine/layout.ts';
import type { PlanTables } from '../engine/plan-layers.ts';
import { type ExpertMapping, mappingOfTables, tablesOf } from '../expert-mapping.ts';
import type { Topology } from '../topology.ts';

/** Writes the mapping before to where a job reads it. */
export function writePrevious(buffer: ArrayBufferLike, layout: JobLayout, previous: ExpertMapping): void {
  const { phyToLog } = tablesOf(previous);
  new Int32Array(buffer, layout.previous, phyToLog.length).set(phyToLog);
}

/** Tables for a job to fill. @param shared whether other threads are to fill them */
export function makeTables({ numLayers, numPhysicalExperts }: Topology, shared: boolean): PlanTables {
  const length = numLayers * numPhysicalExperts;
  const buffer = shared ? new SharedArrayBuffer(8 * length) : new ArrayBuffer(8 * length);
  return {
    phyToLog: new Int32Array(buffer, 0, length),
    replicaRank: new Int32Array(buffer, 4 * length, length),
  };
}

/** The mapping of the tables that a job has filled: it takes them over, and nobody may write them any more. */
export function mappingOf(topology: Topology, { phyToLog, replicaRank }: PlanTables): ExpertMapping {
  const { numLayers, numPhysicalExperts, numLogicalExperts } = topology;
  return mappingOfTables({ numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaRank });
}

/** Fills a job's tables with a mapping: for policies that have no kernel. */
export function writeMapping(result: PlanTables, mapping: ExpertMapping): void {
  const { phyToLog, replicaRank } = tablesOf(mapping);
  result.phyToLog.set(phyToLog);
  result.replicaRank.set(replicaRank);
}
