import { copyInts } from '../engine/copies.ts';
import type { JobLayout } from '../engine/layout.ts';
import { type ExpertMapping, mappingOfTables, tablesOf } from '../expert-mapping.ts';

/** Writes the mapping before to where a job reads it. */
export function writePrevious(buffer: ArrayBufferLike, layout: JobLayout, previous: ExpertMapping): void {
  const { phyToLog } = tablesOf(previous);
  new Int32Array(buffer, layout.previous, phyToLog.length).set(phyToLog);
}

/** Copies the result of a finished job out of the shared memory. */
export function readMapping(buffer: ArrayBufferLike, layout: JobLayout): ExpertMapping {
  const { numLayers, numPhysicalExperts, numLogicalExperts } = layout.topology;
  const numSlots = numLayers * numPhysicalExperts;
  const phyToLog = copyInts(buffer, layout.phyToLog, numSlots);
  const replicaRank = copyInts(buffer, layout.replicaRank, numSlots);
  return mappingOfTables({ numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaRank });
}

/** Writes a mapping to where the result of a job is read: for policies that have no kernel. */
export function writeMapping(buffer: ArrayBufferLike, layout: JobLayout, mapping: ExpertMapping): void {
  const { phyToLog, replicaRank } = tablesOf(mapping);
  new Int32Array(buffer, layout.phyToLog, phyToLog.length).set(phyToLog);
  new Int32Array(buffer, layout.replicaRank, replicaRank.length).set(replicaRank);
}
