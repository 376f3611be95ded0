import { copyInts } from './copies.ts';
import { inlineKernelMemory } from './kernel-memory.ts';
import { Carver } from './layout.ts';

/** The tables to invert, row-major. */
export interface ForwardTables {
  readonly numLayers: number;
  readonly numPhysicalExperts: number;
  readonly numLogicalExperts: number;
  /** [layers x physical]: the expert of each slot, -1 when empty. */
  readonly phyToLog: Int32Array;
  /** [layers x physical]: which replica of its expert a slot holds, from 0. */
  readonly replicaRank: Int32Array;
  /** [layers x logical]: replicas of each expert, where they have been counted on the way. */
  readonly replicaCount?: Int32Array;
}

/** Counts the replicas of each expert, [layers x logical]. In WebAssembly, in this thread. */
export function countReplicas(tables: ForwardTables): Int32Array {
  const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog } = tables;
  const carver = new Carver();
  const table = carver.take(4 * phyToLog.length);
  const counts = carver.take(4 * numLayers * numLogicalExperts);
  const { memory, kernels } = inlineKernelMemory(carver.end, 'counting replicas');
  new Int32Array(memory.buffer, table, phyToLog.length).set(phyToLog);
  for (let layer = 0; layer < numLayers; layer++) {
    const row = table + 4 * layer * numPhysicalExperts;
    const count = counts + 4 * layer * numLogicalExperts;
    kernels.countReplicas(row, numPhysicalExperts, numLogicalExperts, count);
  }
  return copyInts(memory.buffer, counts, numLayers * numLogicalExperts);
}

/** The slots of each expert by replica, [layers x logical x maxReplicas], padded with -1. In WebAssembly, in this thread. */
export function invertTables(tables: ForwardTables, maxReplicas: number): Int32Array {
  const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaRank } = tables;
  const width = numLogicalExperts * maxReplicas;
  const logToPhy = new Int32Array(numLayers * width);
  const carver = new Carver();
  const table = carver.take(4 * numPhysicalExperts);
  const ranks = carver.take(4 * numPhysicalExperts);
  const out = carver.take(4 * width);
  const { memory, kernels } = inlineKernelMemory(carver.end, 'inverting a mapping');
  const row = new Int32Array(memory.buffer, out, width);
  for (let layer = 0; layer < numLayers; layer++) {
    const first = layer * numPhysicalExperts;
    const end = first + numPhysicalExperts;
    new Int32Array(memory.buffer, table, numPhysicalExperts).set(phyToLog.subarray(first, end));
    new Int32Array(memory.buffer, ranks, numPhysicalExperts).set(replicaRank.subarray(first, end));
    kernels.invertLayer(table, ranks, numPhysicalExperts, numLogicalExperts, maxReplicas, out);
    logToPhy.set(row, layer * width);
  }
  return logToPhy;
}
