import { zeros } from '../memory/allocate.ts';
import { Carver } from '../memory/carver.ts';
import { copyInts } from '../memory/copies.ts';
import { inlineKernelMemory } from '../memory/kernel-memory.ts';

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
  const { region, layout } = inlineKernelMemory('counting replicas', (start) => {
    const carver = new Carver(start);
    const table = carver.take(4 * phyToLog.length);
    return { table, counts: carver.take(4 * numLayers * numLogicalExperts), end: carver.end };
  });
  const { buffer, kernels } = region;
  new Int32Array(buffer, layout.table, phyToLog.length).set(phyToLog);
  for (let layer = 0; layer < numLayers; layer++) {
    const row = layout.table + 4 * layer * numPhysicalExperts;
    const count = layout.counts + 4 * layer * numLogicalExperts;
    kernels.countReplicas(row, numPhysicalExperts, numLogicalExperts, count);
  }
  return copyInts(buffer, layout.counts, numLayers * numLogicalExperts);
}

/**
 * The slots of each expert by replica, [layers x logical x maxReplicas], padded with -1. In WebAssembly, in
 * this thread.
 */
export function invertTables(tables: ForwardTables, maxReplicas: number): Int32Array {
  const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaRank } = tables;
  const width = numLogicalExperts * maxReplicas;
  const what = `inverting a mapping with up to ${maxReplicas} replicas of an expert`;
  const { region, layout } = inlineKernelMemory(what, (start) => {
    const carver = new Carver(start);
    const table = carver.take(4 * numPhysicalExperts);
    const ranks = carver.take(4 * numPhysicalExperts);
    return { table, ranks, out: carver.take(4 * width), end: carver.end };
  });
  const { buffer, kernels } = region;
  const { table, ranks, out } = layout;
  const logToPhy = zeros(what, Int32Array, numLayers * width);
  const row = new Int32Array(buffer, out, width);
  for (let layer = 0; layer < numLayers; layer++) {
    const first = layer * numPhysicalExperts;
    const end = first + numPhysicalExperts;
    new Int32Array(buffer, table, numPhysicalExperts).set(phyToLog.subarray(first, end));
    new Int32Array(buffer, ranks, numPhysicalExperts).set(replicaRank.subarray(first, end));
    kernels.invertLayer(table, ranks, numPhysicalExperts, numLogicalExperts, maxReplicas, out);
    logToPhy.set(row, layer * width);
  }
  return logToPhy;
}
