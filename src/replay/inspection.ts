import type { RankOptions } from '../core/topology.ts';
import type { CostModel, CostSummary, Dispatch, ExpertMapping } from '../index.ts';
import type { BalanceFigures } from './result.ts';
import type { ReplayTraffic, TrafficFigures } from './traffic-result.ts';

/**
 * What a recording is like, before any placement is thought of. All of whole steps, in memory that does not
 * grow with them.
 */
export interface Inspection {
  readonly numSteps: number;
  readonly numLayers: number;
  readonly numLogicalExperts: number;
  /** Loads of a layer in a step: tokens x topK. Over all layers and steps. */
  readonly loadPerStep: { readonly mean: number; readonly min: number; readonly max: number };
  /** The hottest experts over the whole recording, the hottest first. */
  readonly hottest: readonly HotExpert[];
  readonly layers: readonly LayerSkew[];
  /**
   * Correlation of loads with those some steps later: for each lag, the mean over layers and steps of
   * Pearson's.
   */
  readonly correlations: readonly { readonly lag: number; readonly correlation: number }[];
  /**
   * How shares move, as total variation distance (half the sum of absolute differences), the mean over
   * layers.
   */
  readonly drift: {
    /** Steps of a block. */
    readonly blockSteps: number;
    /** Mean distance from each block to the next; null with fewer than two blocks. */
    readonly nextBlock: number | null;
    /** What sampling noise alone would give. */
    readonly nextBlockByNoise: number | null;
    /** From the first block to the last. */
    readonly firstToLast: number | null;
  };
  /**
   * Variance of loads from step to step / that of independent tokens with the same popularities: 1 is
   * sampling noise alone. Null with fewer than two steps.
   */
  readonly overdispersion: number | null;
  readonly noise: NoiseShare;
  /** What the steps take, when a cost model was given. */
  readonly time?: TimeInspection;
  /** What a placement makes of the steps, when one was asked for. */
  readonly placement?: PlacementInspection;
}

/** A placement to look at the steps under, and the devices that it is on. */
export interface InspectedPlacement extends RankOptions {
  /** When left out, expert i is in slot i, and the redundant slots from expert 0 on again. */
  readonly mapping?: ExpertMapping;
  /** Slots a layer; those of the mapping, or else as many as there are experts, when left out. */
  readonly numPhysicalExperts?: number;
  readonly numRanks: number;
  /** 1 when left out. */
  readonly numNodes?: number;
  /** Which copy of an expert a token takes. Default 'even'. */
  readonly dispatch?: Dispatch;
}

/** Balance and links of all steps under a placement. */
export interface PlacementInspection extends Pick<ReplayTraffic, 'countedFrom' | 'sources'> {
  readonly numRanks: number;
  readonly numNodes: number;
  readonly dispatch: Dispatch;
  readonly balance: BalanceFigures;
  /** Means of a step, added over the layers; null of more than 1,024 ranks. */
  readonly traffic: TrafficFigures | null;
}

/** What layers take by a cost model, the experts in order on the ranks, none replicated. */
export interface TimeInspection extends CostSummary {
  /** Name of the cost model. */
  readonly cost: string;
  readonly numRanks: number;
  /** Means of a layer in a step; {@link CostSummary} has the sums. */
  readonly secondsPerLayer: number;
  readonly secondsPerStep: number;
  readonly secondsAtBalancePerStep: number;
  /** Whether the counts are larger than what was recorded: then active experts are not to be judged. */
  readonly isEnlarged?: true;
}

/** An expert beside the mean of its layer. */
export interface HotExpert {
  readonly layer: number;
  readonly expert: number;
  /** Its load / the mean of its layer's. */
  readonly timesMean: number;
}

/** How unevenly a layer's experts are used over the whole recording. */
export interface LayerSkew {
  readonly layer: number;
  readonly hottestExpert: number;
  /** The hottest expert's load / the mean. */
  readonly hottestTimesMean: number;
  /** Standard deviation of the experts' loads / their mean. */
  readonly variation: number;
  /** Share of the load that the hottest tenth of the experts has. */
  readonly hottestTenthShare: number;
  /** Experts without any load. */
  readonly idleExperts: number;
}

/** How much of a step's imbalance is the chance of sampling, which no placement can foresee. */
export interface NoiseShare {
  readonly numRanks: number;
  /** Mean PAR of steps and layers, the experts in order on the ranks, none replicated. */
  readonly peakToAverage: number;
  /**
   * The least mean PAR that any placement could have: {@link samplingNoisePeak} at the mean load of a rank.
   * Where topK is known, its distance from 1 is taken times sqrt((experts - topK) / (experts - 1)), as a
   * token's experts all differ.
   */
  readonly peakToAverageByNoise: number;
  /** (the second - 1) / (the first - 1): that part of the imbalance stays whatever is balanced. */
  readonly share: number;
}

/** How to look. */
export interface InspectOptions {
  /** Ranks that noise is reckoned for; 8, or as many as there are experts, when left out. */
  readonly numRanks?: number;
  /** Experts of a token in a layer, where it is known. */
  readonly topK?: number;
  /** How many hottest experts are named; 10 when left out. */
  readonly numHottest?: number;
  /** What slots take; with it the inspection has a `time`, dispatch and combine within one node included. */
  readonly cost?: CostModel;
  /** With it the inspection has a `placement`: how it balances the steps, and the links of their tokens. */
  readonly placement?: InspectedPlacement;
  readonly steps?: { readonly from?: number; readonly to?: number };
  /** Called after every step. Returning false ends the reading. */
  readonly onStep?: (progress: {
    readonly numSteps: number;
    readonly bytesRead: number;
  }) => boolean | undefined;
}
