import type { Topology } from '../../core/topology.ts';
import type { JobLayout } from '../../engine/layout.ts';
import type { KernelRequest } from '../../engine/plan-job.ts';
import { Carver } from '../../memory/carver.ts';
import type { KernelSizes } from '../../memory/kernel-exports.ts';
import { preserveScratchBytes } from '../preserve-slots.ts';

/**
 * What the adaptive policy asks of a worker. Prices and gains are off the slowest rank, as shares of the mean
 * rank load.
 */
export interface AdaptiveRequest extends KernelRequest {
  readonly kernel: 'adaptive';
  /**
   * What a move has to gain in the mean sample; and what it has to gain beside that, as load, whatever the
   * mean is.
   */
  readonly price: number;
  readonly priceInLoad: number;
  readonly maxMovesPerLayer: number;
  /** Of all layers together. */
  readonly maxMoves: number;
  /** No step of a layer's search is begun after so many were looked at closely. */
  readonly maxEvaluations: number;
  readonly numKicks: number;
  /** Whether groups of experts are bound to a node, when the nodes divide the groups. */
  readonly keepsGroups: boolean;
  /** Whether a layer's plan is tried: made again from every other sample, and measured on the others. */
  readonly hasTrial: boolean;
  /** Samples there is room for. */
  readonly maxSamples: number;
}

/** The numbers a worker leaves of each layer: the index of each in f64[STATS_PER_LAYER]. */
export const LayerStat = {
  /** Slots whose expert was not on that rank, and those of them whose expert was not even on that node. */
  MOVES: 0,
  MOVES_BETWEEN_NODES: 1,
  /** Off the slowest rank in the mean sample, as a share of the mean rank load. */
  GAIN: 2,
  /** Of a sample. */
  MEAN_RANK_LOAD: 3,
  /**
   * Of the trial: samples it was measured on, what it gained on them (sum, and sum of squares), on how many
   * it was planned, and what it gained there.
   */
  TRIAL_SAMPLES: 4,
  TRIAL_GAIN: 5,
  TRIAL_SQUARES: 6,
  TRIAL_OWN_SAMPLES: 7,
  TRIAL_OWN_GAIN: 8,
  /** Where no layer moves: what one step would gain if moves were free, in the first layer where it gains. */
  FREE_GAIN: 9,
  /** 1 where the live placement may not stay as it is. */
  MUST_CHANGE: 10,
  /** Steps looked at closely, by all searches of the layer. */
  EVALUATIONS: 11,
  /** As GAIN, of the smoothed load that the search lowers. */
  SMOOTH_GAIN: 12,
  /** 1 where nothing tells the samples from chance draws out of equal loads. */
  IS_NOISE: 13,
} as const;
export const STATS_PER_LAYER = 16;

/** Dearer and dearer placements of a layer, to choose from where the moves of all layers are limited. */
export const NUM_RUNGS = 6;

/** Where the adaptive policy's job has what all workers read and write, as byte offsets. */
export interface AdaptiveData {
  /** f64[layers x STATS_PER_LAYER]: see {@link LayerStat}. */
  readonly stats: number;
  /**
   * i32[layers x NUM_RUNGS x physical] and f64[layers x NUM_RUNGS x STATS_PER_LAYER], where the job's moves
   * are limited.
   */
  readonly rungs: number;
  readonly rungStats: number;
  readonly end: number;
}

export function carveAdaptiveData(topology: Topology, request: AdaptiveRequest, start: number): AdaptiveData {
  const { numLayers, numPhysicalExperts } = topology;
  const carver = new Carver(start);
  const numRungs = hasRungs(request, topology) ? numLayers * NUM_RUNGS : 0;
  return {
    stats: carver.take(8 * numLayers * STATS_PER_LAYER),
    rungs: carver.take(4 * numRungs * numPhysicalExperts),
    rungStats: carver.take(8 * numRungs * STATS_PER_LAYER),
    end: carver.end,
  };
}

/** Whether the limit on all layers' moves can be reached at all. */
export function hasRungs({ maxMoves }: AdaptiveRequest, topology: Topology): boolean {
  return maxMoves < topology.numLayers * topology.numPhysicalExperts;
}

/** Where one worker's search has its scratch. */
export interface AdaptiveScratch {
  /** f32[samples x logical]: the rows that are searched for. */
  readonly rows: number;
  /** f64[samples] each; f32[samples in whole vectors]. */
  readonly lengths: number;
  readonly likeness: number;
  readonly weights: number;
  /** f32[logical x samples in whole vectors]; f32[logical]; f64[logical]. */
  readonly prepared: number;
  readonly spread: number;
  readonly mean: number;
  /** f32[logical] */
  readonly loads: number;
  /** i32[physical] each. */
  readonly fresh: number;
  readonly table: number;
  readonly ranks: number;
  /** i32[ranks]: how many slots of each rank are open. */
  readonly slotsPerRank: number;
  /** f64[5] */
  readonly result: number;
  readonly search: number;
  readonly end: number;
}

export function carveAdaptiveScratch(
  topology: Topology,
  { maxSamples }: Pick<AdaptiveRequest, 'maxSamples'>,
  sizes: KernelSizes,
  start: number,
): AdaptiveScratch {
  const { numLogicalExperts: experts, numPhysicalExperts: slots } = topology;
  const numSamples = wholeVectors(maxSamples);
  const carver = new Carver(start);
  return {
    rows: carver.take(4 * maxSamples * experts),
    lengths: carver.take(8 * maxSamples),
    likeness: carver.take(8 * maxSamples),
    weights: carver.take(4 * numSamples),
    prepared: carver.take(4 * numSamples * experts),
    spread: carver.take(4 * experts),
    mean: carver.take(8 * experts),
    loads: carver.take(4 * experts),
    fresh: carver.take(4 * slots),
    table: carver.take(4 * slots),
    ranks: carver.take(4 * slots),
    slotsPerRank: carver.take(4 * topology.numRanks),
    result: carver.take(40),
    search: carver.take(
      Math.max(
        searchScratchBytes(topology, numSamples),
        placeAfreshBytes(topology, sizes),
        preserveScratchBytes(topology, sizes),
        sampleScratchBytes(experts, numSamples),
      ),
    ),
    end: carver.end,
  };
}

/** What the kernel left of each layer: f64[layers x STATS_PER_LAYER], a copy. */
export function takeStats(
  request: AdaptiveRequest,
  buffer: ArrayBufferLike,
  layout: JobLayout,
): Float64Array {
  const { stats } = carveAdaptiveData(layout.topology, request, layout.kernelData);
  const length = layout.topology.numLayers * STATS_PER_LAYER;
  return new Float64Array(new Float64Array(buffer, stats, length)); // not slice(): see copies.ts
}

/** Samples lie four by four in the kernel's vectors. */
export function wholeVectors(numSamples: number): number {
  return Math.ceil(numSamples / 4) * 4;
}

/** Groups may stay on their nodes, or not. */
function placeAfreshBytes(topology: Topology, sizes: KernelSizes): number {
  const { numLogicalExperts: experts, numPhysicalExperts: slots, numGroups, numNodes } = topology;
  const freely = sizes.placeLayersScratchBytes(experts, slots, 1, 1);
  if (numGroups % numNodes !== 0) return freely;
  return Math.max(freely, sizes.placeLayersScratchBytes(experts, slots, numGroups, numNodes));
}

/** As prepareSamples in kernels/adaptive-samples.ts. */
function sampleScratchBytes(numExperts: number, numSamples: number): number {
  const numRuns = numSamples / 4;
  return 8 * numRuns * (numExperts + numRuns + 1);
}

/** As carveAdaptive in kernels/adaptive-state.ts. */
function searchScratchBytes(topology: Topology, numSamples: number): number {
  const { numLogicalExperts: experts, numPhysicalExperts: slots, numRanks: ranks } = topology;
  const width = Math.ceil(experts / 16) * 16;
  const rows = 4 * numSamples * (experts + width + 2 * ranks + 1);
  const costs = 4 * ranks * (4 * width + experts) + 32 * width + 12 * wholeVectors(slots / ranks);
  return rows + costs + 24 * experts + 32 * slots + 64 * ranks + 448;
}
