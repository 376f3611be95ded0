import { checkMultiple, checkWhole, loadError } from '../core/checks.ts';
import { MAX_SIZE } from '../core/topology.ts';
import {
  copyRow,
  type LoadMatrix,
  type LoadRow,
  type LoadsInput,
  rowLength,
  toLoadMatrix,
} from '../loads/load-matrix.ts';
import { zeros } from '../memory/allocate.ts';
import { Carver } from '../memory/carver.ts';
import { inlineKernelMemory, kernelSizes } from '../memory/kernel-memory.ts';
import type { KernelRegion } from '../memory/memory-arena.ts';

/** More have no room in a kernel's memory beside anything else. */
const MOST_LOADS = 2 ** 28;

/** Where balanced packing puts each item; both tables are [rows x items], row-major, the caller's own. */
export interface BalancedPacking {
  /** The pack of each item. */
  readonly packIndex: Int32Array;
  /** The place of each item in its pack. */
  readonly rankInPack: Int32Array;
}

/** What replication gives each slot; the tables are row-major and the caller's own. */
export interface ExpertReplication {
  /** `[layers x physical]`: the expert of each slot. The first slots hold every expert once, in order. */
  readonly phyToLog: Int32Array;
  /** `[layers x physical]`: which replica of its expert a slot is, from 0. */
  readonly rank: Int32Array;
  /** `[layers x logical]`: replicas of each expert. */
  readonly logCount: Int32Array;
}

/**
 * Packs the items of each row into `numPacks` packs of equally many items: in descending order, each into the
 * lightest pack with room (DeepSeek EPLB, balanced_packing). Runs in WebAssembly, in the calling thread.
 *
 * @param weight [rows x items], finite and >= 0
 * @param numPacks the number of items has to be a multiple of it
 * @throws EplbTypeError, EplbRangeError: `EPLB_KIND`, `EPLB_SHAPE`, `EPLB_LOAD`, `EPLB_TOPOLOGY`,
 *   `EPLB_MEMORY`
 * @example
 * ```ts
 * computeBalancedPacking([[4, 3, 2, 1]], 2); // packIndex [0, 1, 1, 0], rankInPack [0, 0, 1, 1]
 * ```
 */
export function computeBalancedPacking(weight: LoadsInput, numPacks: number): BalancedPacking {
  const matrix = toLoadMatrix('weight', weight);
  const { numLayers, numExperts: n } = matrix;
  checkWhole('numPacks', numPacks, 1);
  checkMultiple('items', n, 'numPacks', numPacks);
  const what = `packing ${numLayers} rows of ${n} items`;
  const scratchBytes = kernelSizes().packLayerScratchBytes(n);
  const { region, layout } = inlineKernelMemory(what, (start) => {
    const carver = new Carver(start);
    const row = carver.take(4 * n);
    const pack = carver.take(4 * n);
    const rank = carver.take(4 * n);
    return { row, pack, rank, scratch: carver.take(scratchBytes), end: carver.end };
  });
  const { buffer, kernels } = region;
  const { row, pack, rank, scratch } = layout;
  const packIndex = zeros(what, Int32Array, numLayers * n);
  const rankInPack = zeros(what, Int32Array, numLayers * n);
  for (let layer = 0; layer < numLayers; layer++) {
    loadRow(region, matrix, layer, row);
    kernels.packLayer(row, n, numPacks, pack, rank, scratch);
    packIndex.set(new Int32Array(buffer, pack, n), layer * n);
    rankInPack.set(new Int32Array(buffer, rank, n), layer * n);
  }
  return { packIndex, rankInPack };
}

/**
 * Gives each slot beyond the first copies to the expert with the greatest load per replica, or to the lowest
 * index of equal ones (DeepSeek EPLB, replicate_experts). Runs in WebAssembly, in the calling thread.
 *
 * @param weight [layers x logical], finite and >= 0
 * @param numPhysical slots per layer, at least as many as experts
 * @throws EplbTypeError, EplbRangeError: `EPLB_KIND`, `EPLB_SHAPE`, `EPLB_LOAD`, `EPLB_RANGE`, `EPLB_MEMORY`
 * @example
 * ```ts
 * computeExpertReplication([[9, 1, 4]], 5);
 * // phyToLog [0, 1, 2, 0, 0], rank [0, 0, 0, 1, 2], logCount [3, 1, 1]
 * ```
 */
export function computeExpertReplication(weight: LoadsInput, numPhysical: number): ExpertReplication {
  const matrix = toLoadMatrix('weight', weight);
  const { numLayers, numExperts } = matrix;
  checkWhole('numPhysical', numPhysical, numExperts, MAX_SIZE);
  const what = `replicating ${numExperts} experts to ${numPhysical} slots in ${numLayers} layers`;
  const scratchBytes = kernelSizes().replicateLayerScratchBytes(numExperts, numPhysical);
  const { region, layout } = inlineKernelMemory(what, (start) => {
    const carver = new Carver(start);
    const row = carver.take(4 * numExperts);
    const slots = carver.take(4 * numPhysical);
    const ranks = carver.take(4 * numPhysical);
    const counts = carver.take(4 * numExperts);
    return { row, slots, ranks, counts, scratch: carver.take(scratchBytes), end: carver.end };
  });
  const { buffer, kernels } = region;
  const { row, slots, ranks, counts, scratch } = layout;
  const phyToLog = zeros(what, Int32Array, numLayers * numPhysical);
  const rank = zeros(what, Int32Array, numLayers * numPhysical);
  const logCount = zeros(what, Int32Array, numLayers * numExperts);
  for (let layer = 0; layer < numLayers; layer++) {
    loadRow(region, matrix, layer, row);
    kernels.replicateLayer(row, numExperts, numPhysical, slots, ranks, counts, scratch);
    phyToLog.set(new Int32Array(buffer, slots, numPhysical), layer * numPhysical);
    rank.set(new Int32Array(buffer, ranks, numPhysical), layer * numPhysical);
    logCount.set(new Int32Array(buffer, counts, numExperts), layer * numExperts);
  }
  return { phyToLog, rank, logCount };
}

/**
 * The largest load / the smallest positive load, of one row or over all layers; 1 if no load is positive.
 * Runs in WebAssembly.
 *
 * @param loads one row, or [layers x experts], nested or flat; finite and >= 0
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE`, `EPLB_LOAD`, `EPLB_MEMORY`
 * @example
 * ```ts
 * computeLoadImbalance([[100, 10], [1, 5]]); // 100
 * ```
 */
export function computeLoadImbalance(loads: LoadRow | LoadsInput): number {
  const { data, numExperts } = takeLoads(loads);
  const n = data.length;
  const { region, layout } = inlineKernelMemory(`${n} loads`, (start) => ({ start, end: start + 4 * n }));
  const { buffer, kernels } = region;
  const copy = new Float32Array(buffer, layout.start, n);
  copy.set(data);
  const bad = kernels.firstInvalid(layout.start, n);
  if (bad < n) throw loadError('loads', Math.floor(bad / numExperts), bad % numExperts, copy[bad]);
  return kernels.loadImbalance(layout.start, n);
}

/** A row as the one layer there is, or a matrix. Each entry is read once. */
function takeLoads(loads: LoadRow | LoadsInput): LoadMatrix {
  if (typeof loads === 'object' && loads !== null && 'data' in loads) return toLoadMatrix('loads', loads);
  const n = checkWhole('loads: length', rowLength('loads', 0, loads as LoadRow), 1, MOST_LOADS, 'EPLB_SHAPE');
  const entries = Array.isArray(loads) ? takeEntries(loads, n) : (loads as LoadRow);
  if (typeof entries[0] === 'object') return toLoadMatrix('loads', entries as number[][]);
  const data = zeros('loads', Float32Array, n);
  copyRow('loads', 0, entries as LoadRow, data, n);
  return { data, numLayers: 1, numExperts: n };
}

function takeEntries(loads: readonly unknown[], n: number): unknown[] {
  const entries: unknown[] = [];
  for (let i = 0; i < n; i++) {
    const entry = loads[i];
    // What claims to be long may be empty.
    if (entry === undefined) throw loadError('loads', 0, i, entry);
    entries.push(entry);
  }
  return entries;
}

/** Copies a row to the kernels' memory and checks it. */
function loadRow({ buffer, kernels }: KernelRegion, matrix: LoadMatrix, layer: number, to: number): void {
  const n = matrix.numExperts;
  const row = new Float32Array(buffer, to, n);
  row.set(matrix.data.subarray(layer * n, (layer + 1) * n));
  const bad = kernels.firstInvalid(to, n);
  if (bad < n) throw loadError('weight', layer, bad, row[bad]);
}
