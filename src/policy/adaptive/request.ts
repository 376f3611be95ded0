import type { Dispatch } from '../../core/dispatch.ts';
import { ruleBookOf } from '../../core/rule-book.ts';
import { sharedLoads } from '../../core/rules.ts';
import type { Topology } from '../../core/topology.ts';
import type { JobLayout } from '../../engine/layout.ts';
import type { KernelRequest } from '../../engine/plan-job.ts';
import { alignUp, Carver } from '../../memory/carver.ts';
import type { KernelSizes } from '../../memory/kernel-exports.ts';
import { preserveScratchBytes } from '../preserve-slots.ts';
import { adaptiveExports } from './kernel-exports.ts';
import { numLinkNodes, pairsPerRow } from './link-sizes.ts';
import { NUM_CURVE_POINTS, type SlotCosts } from './slot-costs.ts';

/** The most that a kernel's whole numbers can tell: more than any search comes to. */
export const NO_LIMIT = 2 ** 31 - 1;

/** How much a search is to do: see the option of that name. */
export type AdaptiveEffort = 'quick' | 'usual' | 'thorough';

/** What a move takes, in steps of what it is to gain: shares of the mean rank load, and load. */
export interface AdaptiveMoveCost {
  readonly shareSteps: number;
  readonly loadSteps: number;
}

/**
 * What the adaptive policy asks of a worker. Prices and gains are off the slowest rank, as shares of the mean
 * rank load.
 */
export interface AdaptiveRequest extends KernelRequest {
  readonly kernel: 'adaptive';
  /** What every move has to gain in the mean sample; -1 where the loads and what moves cost decide. */
  readonly fixedPrice: number;
  /** Whether `moveCost` is known. */
  readonly hasCost: boolean;
  readonly moveCost: AdaptiveMoveCost;
  /** What slots take of a rank's time; undefined where that is in proportion to their tokens. */
  readonly slotCosts: SlotCosts | undefined;
  /** Steps that a placement stays good for; undefined where the loads tell. */
  readonly stayingSteps: number | undefined;
  /** How sure it has to be that loads have changed, in standard errors; 0: not at all. */
  readonly confidence: number;
  readonly effort: AdaptiveEffort;
  readonly maxMovesPerLayer: number;
  /** Of all layers together. */
  readonly maxMoves: number;
  /** No step of a layer's search is begun after so many were looked at closely. */
  readonly maxEvaluations: number;
  readonly numKicks: number;
  /** Whether groups of experts are bound to a node, when the nodes divide the groups. */
  readonly keepsGroups: boolean;
  /** What it costs that no pair of experts shares a node, as a share of the mean rank load; 0: nothing. */
  readonly linkPrice: number;
  /** How much worse than the default policy's the highest rank load may be; undefined: as it comes. */
  readonly tolerance: number | undefined;
  /** The level of failures that as much load as can is to survive; undefined: none. */
  readonly survive: string | undefined;
  /** Which copy of an expert a token takes. */
  readonly dispatch: Dispatch;
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
  /** Of a sample, by the mean speed of the ranks; where slots have costs the mean seconds of a rank. */
  MEAN_RANK_LOAD: 3,
  /** Where no layer moves: what one step would gain if moves were free, in the first layer where it gains. */
  FREE_GAIN: 4,
  /** 1 where the live placement may not stay as it is. */
  MUST_CHANGE: 5,
  /** Steps looked at closely, by all searches of the layer. */
  EVALUATIONS: 6,
  /** As GAIN, of the smoothed load that the search lowers. */
  SMOOTH_GAIN: 7,
  /** 1 where nothing tells the samples from chance draws out of equal loads. */
  IS_NOISE: 8,
  /** 1 where nothing was planned, as the loads have not changed. */
  IS_UNCHANGED: 9,
  /** Steps that the placement is expected to stay good for. */
  STAYING_STEPS: 10,
  /** What chance alone seems to gain by a move. */
  CHANCE: 11,
  /** What links save more than under the live placement, as a share of the mean rank load. */
  LINK_GAIN: 12,
  /** How much of what a move seems to gain is not to be expected of it. */
  DOUBT: 13,
} as const;
export const STATS_PER_LAYER = 16;

/**
 * What a layer is expected to gain: without some of what seems to be gained by chance.
 *
 * @param stats f64[STATS_PER_LAYER]
 */
export function expectedGain(stats: Float64Array): number {
  const gain = stats[LayerStat.GAIN]! + stats[LayerStat.LINK_GAIN]!;
  return gain - stats[LayerStat.DOUBT]! * stats[LayerStat.MOVES]!;
}

/** What tells of the placement that a layer gets. */
export const CHOSEN_STATS = [
  LayerStat.MOVES,
  LayerStat.MOVES_BETWEEN_NODES,
  LayerStat.GAIN,
  LayerStat.SMOOTH_GAIN,
  LayerStat.LINK_GAIN,
] as const;

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
  /** Of the kernels for whole layers, which also run between searches: nothing stays in it. */
  readonly layer: number;
  /** See kernels/adaptive/terms.ts. */
  readonly terms: number;
  /** f64[samples] each; f32[samples in whole vectors]. */
  readonly slowest: number;
  readonly likeness: number;
  readonly weights: number;
  readonly tokens: number;
  /** f32[NUM_CURVE_POINTS] */
  readonly curve: number;
  /** f32[logical x samples in whole vectors]; f32[logical] each. */
  readonly samples: number;
  readonly spread: number;
  readonly mean: number;
  readonly middle: number;
  /** i32[physical] each. */
  readonly fresh: number;
  readonly table: number;
  readonly ranks: number;
  /** i32[ranks]: how many slots of each rank are open; f32[ranks]: how fast each is. */
  readonly slotsPerRank: number;
  /** u8[logical] and i32[ranks]: see kernels/adaptive/terms.ts. */
  readonly survivors: number;
  readonly domains: number;
  readonly rankSpeed: number;
  /** f32[logical]: the mean of the samples. */
  readonly ceilingLoads: number;
  /** i32[physical]: the placement that the ceiling is by, where there is one. */
  readonly reference: number;
  /** Where links count: f32[logical x logical], rows of pairs made a multiple of four, and i32[ranks]. */
  readonly coactivation: number;
  readonly pairs: number;
  readonly nodeOfRank: number;
  /** Of rules, where there are some: see kernels/adaptive/terms.ts. */
  readonly pinned: number;
  readonly numPins: number;
  readonly mostCopies: number;
  readonly fixedShare: number;
  readonly fixedLoad: number;
  /** What the kernels say they need. */
  readonly search: number;
  readonly end: number;
}

export function carveAdaptiveScratch(
  topology: Topology,
  request: Pick<AdaptiveRequest, 'maxSamples' | 'linkPrice' | 'tolerance'>,
  sizes: KernelSizes,
  start: number,
): AdaptiveScratch {
  const { numLogicalExperts: experts, numPhysicalExperts: slots, numRanks } = topology;
  const { maxSamples } = request;
  const numNodes = numLinkNodes(request, topology);
  const linked = numNodes > 0 ? experts : 0;
  // Samples lie four by four in the kernels' vectors.
  const numSamples = alignUp(maxSamples, 4);
  const carver = new Carver(start);
  const own = adaptiveExports(sizes);
  return {
    layer: carver.take(layerBytes(topology, sizes)),
    terms: carver.take(own.adaptiveTermsBytes.value),
    slowest: carver.take(8 * maxSamples),
    likeness: carver.take(8 * maxSamples),
    weights: carver.take(4 * numSamples),
    tokens: carver.take(4 * numSamples),
    curve: carver.take(4 * NUM_CURVE_POINTS),
    samples: carver.take(4 * numSamples * experts),
    spread: carver.take(4 * experts),
    mean: carver.take(4 * experts),
    middle: carver.take(4 * experts),
    fresh: carver.take(4 * slots),
    table: carver.take(4 * slots),
    ranks: carver.take(4 * slots),
    slotsPerRank: carver.take(4 * numRanks),
    survivors: carver.take(experts),
    domains: carver.take(4 * numRanks),
    rankSpeed: carver.take(4 * numRanks),
    ceilingLoads: carver.take(4 * experts),
    reference: carver.take(request.tolerance === undefined ? 0 : 4 * slots),
    coactivation: carver.take(4 * linked * experts),
    pairs: carver.take(4 * Math.max(linked, numNodes) * pairsPerRow(experts)),
    nodeOfRank: carver.take(4 * numRanks),
    ...carveRules(topology, carver, numSamples),
    search: carver.take(own.adaptiveScratchBytes(experts, slots, numRanks, maxSamples, numNodes)),
    end: carver.end,
  };
}

/** Nothing is taken of what the topology has no rules for. */
function carveRules(
  topology: Topology,
  carver: Carver,
  numSamples: number,
): Pick<AdaptiveScratch, 'pinned' | 'numPins' | 'mostCopies' | 'fixedShare' | 'fixedLoad'> {
  const { numLogicalExperts, numRanks } = topology;
  const experts = topology.rules === undefined || ruleBookOf(topology) === undefined ? 0 : numLogicalExperts;
  const ranks = topology.rules === undefined || sharedLoads(topology) === undefined ? 0 : numRanks;
  return {
    pinned: carver.take(experts * numRanks),
    numPins: carver.take(4 * experts),
    mostCopies: carver.take(4 * experts),
    fixedShare: carver.take(4 * ranks),
    fixedLoad: carver.take(4 * ranks * numSamples),
  };
}

/** Of the kernels for whole layers: groups may stay on nodes, or not. And for a number of each expert. */
function layerBytes(topology: Topology, sizes: KernelSizes): number {
  const { numLogicalExperts: experts, numPhysicalExperts: slots, numGroups, numNodes } = topology;
  const freely = sizes.placeLayersScratchBytes(experts, slots, 1, 1);
  const inGroups =
    numGroups % numNodes === 0 ? sizes.placeLayersScratchBytes(experts, slots, numGroups, numNodes) : 0;
  return Math.max(freely, inGroups, preserveScratchBytes(topology, sizes), 4 * alignUp(experts, 4));
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
