import { loadError } from '../core/checks.ts';
import { EplbError, EplbRangeError } from '../core/errors.ts';
import type { KernelExports, Pointer } from '../memory/kernel-exports.ts';
import { AdaptiveLayers } from '../policy/adaptive/layers.ts';
import { type AdaptiveRequest, carveAdaptiveData, carveAdaptiveScratch } from '../policy/adaptive/request.ts';
import type { JobSamples } from '../policy/adaptive/search.ts';
import { spendMoves } from '../policy/adaptive/spend-moves.ts';
import { isCancelled, JOB_WORDS, type JobLayout, JobWord, layerScratchBytes } from './layout.ts';
import type { PlanTables, SharedTables } from './plan-tables.ts';

/** A policy's kernel and its parameters: all that a worker needs to know of a policy. */
export type KernelRequest =
  | { readonly kernel: 'default' }
  | { readonly kernel: 'locality'; readonly tolerance: number; readonly maxEvaluations: number }
  | AdaptiveRequest;

/** Bytes of scratch a kernel needs for one layer beyond the default policy's. */
export function kernelScratchBytes(request: KernelRequest, sizes: JobLayout['topology']): number {
  if (request.kernel === 'default') return 0;
  if (request.kernel === 'adaptive') return carveAdaptiveScratch(sizes, request, 0).end;
  return 4 * sizes.numLogicalExperts ** 2 + localityScratchBytes(sizes);
}

/** Bytes that all workers of a kernel share, beside what every job has. */
export function kernelDataBytes(request: KernelRequest, sizes: JobLayout['topology']): number {
  return request.kernel === 'adaptive' ? carveAdaptiveData(sizes, request, 0).end : 0;
}

function localityScratchBytes(sizes: JobLayout['topology']): number {
  const { numLogicalExperts: experts, numPhysicalExperts: slots, numRanks, numNodes } = sizes;
  const perNode = 16 * experts + 16 * slots + 8;
  const search = 4 * experts ** 2 + numNodes * perNode + 24 * experts + 8 * (slots + numRanks);
  return search + layerScratchBytes(sizes);
}

/** One planning job, as every thread that works on it sees it. Everything else is in the shared memory. */
export interface PlanJob {
  readonly request: KernelRequest;
  /**
   * Where the loads come from: the weights in the shared memory, the host's own shared matrix, the window's sums with the
   * number of samples in them, or the samples in the kernel's data.
   */
  readonly loads:
    | { readonly from: 'weights' }
    | { readonly from: 'matrix'; readonly data: Float32Array }
    | { readonly from: 'window'; readonly numSamples: number }
    | ({ readonly from: 'samples' } & JobSamples);
  /** Whether the previous mapping is in the shared memory: then experts keep their slots where they can. */
  readonly hasPrevious: boolean;
  /** [layers x logical x logical] */
  readonly coactivation?: Float32Array | undefined;
  /** Where the threads write the tables, if not to the memory of the job: see {@link makeLargeTables}. */
  readonly result?: SharedTables | undefined;
  /** Plan nothing unless the ranks' loads over the window differ by more: see windowImbalance in kernels/rank-loads.ts. */
  readonly imbalanceThreshold?: number | undefined;
}

const MOST_LAYERS_PER_CLAIM = 2;

/**
 * Layers claimed at a time: what the default policy's kernel places at once, one in each half of a vector. Searches take
 * longer than a claim: they are shared out one by one.
 */
function layersPerClaim({ kernel }: KernelRequest): number {
  return kernel === 'adaptive' ? 1 : MOST_LAYERS_PER_CLAIM;
}

/**
 * Claims layers of a job, a few at a time, and plans them, until none is left or the job is cancelled: a layer that is being searched
 * then is dropped. Any number of threads may run this at once on the same memory, each with its own `worker` number, which chooses its scratch.
 *
 * @param out the tables that all threads of the job fill together
 * @returns whether the job's last layer was planned here: then the tables are complete
 */
export function planLayers(
  kernels: KernelExports,
  buffer: ArrayBufferLike,
  layout: JobLayout,
  job: PlanJob,
  worker: number,
  out: PlanTables,
): boolean {
  const { numLayers } = layout.topology;
  const words = jobWords(buffer, layout);
  const planner = new LayerPlanner(kernels, buffer, layout, job, worker, out);
  const claim = layersPerClaim(job.request);
  while (!isCancelled(words)) {
    const first = Atomics.add(words, JobWord.NEXT_LAYER, claim);
    if (first >= numLayers) return false;
    const count = Math.min(claim, numLayers - first);
    planner.plan(first, count);
    if (isCancelled(words)) return false;
    if (Atomics.add(words, JobWord.LAYERS_DONE, count) + count < numLayers) continue;
    planner.finish();
    return true;
  }
  return false;
}

/**
 * Whether a job is not worth planning, because the loads do not differ more than it tells. Every thread of a job finds the
 * same, each for itself.
 */
export function isEven(
  kernels: KernelExports,
  layout: JobLayout,
  { imbalanceThreshold }: Pick<PlanJob, 'imbalanceThreshold'>,
  worker: number,
): boolean {
  if (imbalanceThreshold === undefined) return false;
  const { numLayers, numPhysicalExperts, numLogicalExperts, numRanks } = layout.topology;
  const imbalance = kernels.windowImbalance(
    layout.physicalSums,
    layout.logicalSums,
    layout.previous,
    numLayers,
    numPhysicalExperts,
    numLogicalExperts,
    numRanks,
    layout.scratch + worker * layout.scratchBytes,
  );
  return imbalance <= imbalanceThreshold;
}

/** The words of a job. */
export function jobWords(buffer: ArrayBufferLike, layout: JobLayout): Int32Array {
  return new Int32Array(buffer, layout.words, JOB_WORDS);
}

/** Turns the window's sums of all layers into the weights: for a policy that has no kernel. */
export function foldWindow(kernels: KernelExports, layout: JobLayout, numSamples: number): void {
  for (let layer = 0; layer < layout.topology.numLayers; layer++) {
    foldLayer(kernels, layout, layer, numSamples, layout.scratch);
  }
}

function foldLayer(
  kernels: KernelExports,
  layout: JobLayout,
  layer: number,
  numSamples: number,
  scratch: Pointer,
): void {
  const { topology, weights, physicalSums, logicalSums, previous } = layout;
  const { numLogicalExperts, numPhysicalExperts } = topology;
  kernels.averageLoads(
    physicalSums + layer * numPhysicalExperts * 8,
    previous + layer * numPhysicalExperts * 4,
    numPhysicalExperts,
    logicalSums + layer * numLogicalExperts * 8,
    numLogicalExperts,
    numSamples,
    weights + layer * numLogicalExperts * 4,
    scratch,
  );
}

class LayerPlanner {
  readonly #kernels: KernelExports;
  readonly #buffer: ArrayBufferLike;
  readonly #layout: JobLayout;
  readonly #job: PlanJob;
  readonly #out: PlanTables;
  readonly #scratch: Pointer;
  readonly #words: Int32Array;
  /** The tables of the layers being planned: what the kernels write stays in the first cache until it is copied. */
  readonly #slots: Pointer;
  readonly #ranks: Pointer;
  #adaptive: AdaptiveLayers | undefined;

  constructor(
    kernels: KernelExports,
    buffer: ArrayBufferLike,
    layout: JobLayout,
    job: PlanJob,
    worker: number,
    out: PlanTables,
  ) {
    const tableBytes = 4 * MOST_LAYERS_PER_CLAIM * layout.topology.numPhysicalExperts;
    this.#kernels = kernels;
    this.#buffer = buffer;
    this.#layout = layout;
    this.#job = job;
    this.#out = out;
    this.#scratch = layout.scratch + worker * layout.scratchBytes;
    this.#words = jobWords(buffer, layout);
    this.#slots = layout.tables + worker * 2 * tableBytes;
    this.#ranks = this.#slots + tableBytes;
  }

  /** Plans layers; where the job is cancelled meanwhile, nothing may be made of them. */
  plan(first: number, count: number): void {
    const { request } = this.#job;
    if (request.kernel === 'adaptive') {
      this.#adaptive ??= this.#searcher(request);
      this.#adaptive.plan(first, this.#slots, this.#ranks);
    } else this.#place(first, count, request);
    // The tables of a search that was cancelled are not there.
    if (!isCancelled(this.#words)) this.#writeOut(first, count);
  }

  #place(first: number, count: number, request: Exclude<KernelRequest, AdaptiveRequest>): void {
    for (let i = 0; i < count; i++) this.#readLoads(first + i);
    if (request.kernel === 'default') this.#placeByDefault(first, count);
    else for (let i = 0; i < count; i++) this.#placeByLocality(first, i, request);
    if (!this.#job.hasPrevious || isCancelled(this.#words)) return;
    for (let i = 0; i < count; i++) this.#preserveSlots(first, i);
  }

  /** What is left to do for all layers together when the last one is planned. */
  finish(): void {
    const { request, hasPrevious } = this.#job;
    if (request.kernel !== 'adaptive' || !hasPrevious) return;
    spendMoves(this.#buffer, this.#layout, request, this.#out);
    this.#adaptive?.findFreeGain();
  }

  #writeOut(first: number, count: number): void {
    const { numPhysicalExperts, numLogicalExperts } = this.#layout.topology;
    const { phyToLog, replicaRank, replicaCount } = this.#out;
    const length = count * numPhysicalExperts;
    phyToLog.set(new Int32Array(this.#buffer, this.#slots, length), first * numPhysicalExperts);
    replicaRank.set(new Int32Array(this.#buffer, this.#ranks, length), first * numPhysicalExperts);
    if (replicaCount === undefined) return;
    const counts = new Int32Array(this.#buffer, this.#scratch, numLogicalExperts);
    for (let i = 0; i < count; i++) {
      const slots = this.#slots + 4 * i * numPhysicalExperts;
      this.#kernels.countReplicas(slots, numPhysicalExperts, numLogicalExperts, this.#scratch);
      replicaCount.set(counts, (first + i) * numLogicalExperts);
    }
  }

  #searcher(request: AdaptiveRequest): AdaptiveLayers {
    const { loads, hasPrevious } = this.#job;
    if (loads.from !== 'samples') throw new EplbError('EPLB_INTERNAL', 'a search without samples');
    return new AdaptiveLayers(
      this.#kernels,
      this.#buffer,
      this.#layout,
      request,
      loads,
      hasPrevious,
      this.#scratch,
    );
  }

  /** Keeps experts in their slots where they stay on their rank. */
  #preserveSlots(first: number, i: number): void {
    const { topology, previous } = this.#layout;
    const { numLogicalExperts, numPhysicalExperts, numRanks } = topology;
    const rowBytes = 4 * numPhysicalExperts;
    this.#kernels.preserveSlots(
      previous + (first + i) * rowBytes,
      this.#slots + i * rowBytes,
      this.#ranks + i * rowBytes,
      numPhysicalExperts,
      numRanks,
      numLogicalExperts,
      this.#scratch,
    );
  }

  /** Brings the layer's loads into the memory where they are not. */
  #readLoads(layer: number): void {
    const { topology, weights } = this.#layout;
    const { numLogicalExperts } = topology;
    const { loads } = this.#job;
    if (loads.from === 'window')
      foldLayer(this.#kernels, this.#layout, layer, loads.numSamples, this.#scratch);
    if (loads.from !== 'matrix') return;
    const first = layer * numLogicalExperts;
    const row = weights + first * 4;
    const values = new Float32Array(this.#buffer, row, numLogicalExperts);
    checkLength('weight.data', loads.data, topology.numLayers * numLogicalExperts);
    values.set(loads.data.subarray(first, first + numLogicalExperts));
    const bad = this.#kernels.firstInvalid(row, numLogicalExperts);
    if (bad < numLogicalExperts) throw loadError('weight', layer, bad, values[bad]);
  }

  #placeByDefault(first: number, count: number): void {
    const { topology, weights } = this.#layout;
    const { numLogicalExperts, numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
    // Groups that cannot be dealt evenly to the nodes are given up, and the nodes with them.
    const isHierarchical = numGroups % numNodes === 0;
    this.#kernels.placeLayers(
      weights + first * numLogicalExperts * 4,
      count,
      numLogicalExperts,
      numPhysicalExperts,
      isHierarchical ? numGroups : 1,
      isHierarchical ? numNodes : 1,
      numRanks,
      this.#slots,
      this.#ranks,
      this.#scratch,
    );
  }

  #placeByLocality(first: number, i: number, request: Extract<KernelRequest, { kernel: 'locality' }>): void {
    const { topology, weights } = this.#layout;
    const { numLogicalExperts, numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
    const layer = first + i;
    const rowBytes = 4 * numPhysicalExperts;
    const coactivation = this.#readCoactivation(layer);
    this.#kernels.placeLocality(
      weights + layer * numLogicalExperts * 4,
      coactivation,
      numLogicalExperts,
      numPhysicalExperts,
      numGroups,
      numNodes,
      numRanks,
      request.tolerance,
      request.maxEvaluations,
      this.#layout.words + 4 * JobWord.CANCELLED,
      this.#slots + i * rowBytes,
      this.#ranks + i * rowBytes,
      this.#scratch + 4 * numLogicalExperts ** 2,
    );
  }

  /** Copies the layer's co-activation to scratch, and checks it there: 0, no pointer, when there is none. */
  #readCoactivation(layer: number): Pointer {
    const { coactivation } = this.#job;
    if (coactivation === undefined) return 0;
    const { numLayers, numLogicalExperts: n } = this.#layout.topology;
    checkLength('coactivation.data', coactivation, numLayers * n * n);
    const values = new Float32Array(this.#buffer, this.#scratch, n * n);
    values.set(coactivation.subarray(layer * n * n, (layer + 1) * n * n));
    // The diagonal may hold anything.
    for (let expert = 0; expert < n; expert++) values[expert * (n + 1)] = 0;
    const bad = this.#kernels.firstInvalid(this.#scratch, n * n);
    if (bad === n * n) return this.#scratch;
    const where = `coactivation: layer ${layer}, experts ${Math.floor(bad / n)} and ${bad % n}`;
    throw new EplbRangeError('EPLB_RANGE', `${where}: ${values[bad]} is not a finite number >= 0`);
  }
}

/** The memory of what a plan reads in place may have shrunk since it was looked at. */
function checkLength(title: string, { length }: Float32Array, wanted: number): void {
  if (length !== wanted)
    throw new EplbRangeError('EPLB_SHAPE', `${title}: has ${length} values, not ${wanted}`);
}
