import type { CostSummary } from '../index.ts';
import type { ReplayConfiguration } from './configuration.ts';
import type { FailureLoss, RankChangeResult } from './rank-change-result.ts';
import type { Advice, BatchSavings } from './savings.ts';
import type { SweepResult } from './sweep-result.ts';
import type { ReplayTraffic } from './traffic-result.ts';

/**
 * What a replay reports, as plain data: numbers, texts, arrays and objects only, so that it can be written as
 * JSON, sent between threads and drawn. Every size is bounded by the shapes and the constants here, not by
 * the steps replayed; only {@link ReplayResult.plans} grows, by one entry a plan.
 *
 * The terms: a rank's load is the sum over its slots of load / replicas of the slot's expert; where ranks
 * differ in speed, that / the rank's speed, and the mean is what all that live would have if they took
 * equally long.
 * **Balancedness** of a layer in a step = mean rank load / largest rank load; **PAR** (peak to average) =
 * largest / mean. A layer without load in a step has 1 of both.
 */
export interface ReplayReport {
  readonly kind: 'replay-report';
  /** Raised when a field changes its meaning. */
  readonly formatVersion: 2;
  readonly versions: Versions;
  readonly recording: RecordingFacts;
  /**
   * One replay, or those that are compared, all of the same recording; of a sweep the best of each policy. At
   * least one.
   */
  readonly replays: readonly ReplayResult[];
  /** What to do, by all replays together; a sweep has its own in {@link sweep}. */
  readonly advice?: Advice;
  /**
   * With the public competition's cost model: 100 x modelled seconds of the reference (the default policy
   * planned anew every 1,024 steps) / those of each of {@link replays}, in their order.
   */
  readonly scores?: { readonly reference: string; readonly values: readonly number[] };
  /** The whole grid, when it was a sweep. */
  readonly sweep?: SweepResult;
}

/** What the numbers were made with. */
export interface Versions {
  /** Of this package, as in package.json. */
  readonly package: string;
  /** `v24.1.0` */
  readonly node: string;
  /** `linux x64` */
  readonly platform: string;
}

/** What was replayed. */
export interface RecordingFacts {
  /** As the user gave it. */
  readonly path: string;
  /** `npy`, `json`, ... */
  readonly format: string;
  readonly numLayers: number;
  readonly numLogicalExperts: number;
  /** The steps that were asked for, half-open; `to` is null where only reading to the end shows it. */
  readonly steps: { readonly from: number; readonly to: number | null };
  /** What the reader had to assume, one sentence each. */
  readonly notes: readonly string[];
  /** Tokens that a step adds up, where the recording holds routes; null for loads. */
  readonly tokensPerStep: number | null;
}

/** A recording replayed under one configuration. */
export interface ReplayResult {
  /**
   * Short and different from the others of the same report: `adaptive`, or `adaptive, 288 slots, 32 ranks,
   * every 64 steps`.
   */
  readonly name: string;
  /** `partial` when it was interrupted: then all that follows is of the steps before. */
  readonly status: 'complete' | 'partial';
  readonly configuration: ReplayConfiguration;
  /** Steps that were scored. */
  readonly numSteps: number;
  /** Under the live mappings. */
  readonly balance: BalanceFigures;
  /** The same steps under the first mapping, never changed. */
  readonly unbalanced: BalanceFigures;
  readonly totals: ReplayTotals;
  /** What the time goes to; left out where the cost is not one of slots. */
  readonly time?: ReplayTime;
  /** What the same placements take with other batches; left out as {@link time} is. */
  readonly batches?: BatchSavings;
  /** Which links tokens took; left out where there are more than 1,024 ranks. */
  readonly traffic?: ReplayTraffic;
  /** One entry a layer, in order. */
  readonly layers: readonly LayerResult[];
  readonly series: StepSeries;
  /** In the order they were started. */
  readonly plans: readonly PlanResult[];
  /** Of each step before which ranks changed, in order; left out where none did. */
  readonly rankChanges?: readonly RankChangeResult[];
  /** What the worst single failure would lose of the last live mapping, by the loads of all steps. */
  readonly failureLosses?: readonly FailureLoss[];
  readonly heatMap: HeatMap;
  /**
   * The hottest experts, the hottest first, at most {@link MAX_HOT_EXPERTS}: over all steps, where after the
   * first 256 every sixteenth stands for sixteen.
   */
  readonly hotExperts: readonly PlacedExpert[];
  readonly rankLoads: RankLoadSamples;
}

/** Balancedness and PAR over all steps and layers, each under its own name. */
export interface BalanceFigures {
  /** Sum over steps and layers of mean rank loads / sum of largest rank loads. */
  readonly balancednessRatioOfSums: number;
  /** Mean over steps and layers of mean / largest rank load. */
  readonly balancednessMeanOfRatios: number;
  /** Sum of largest rank loads / sum of mean rank loads. */
  readonly peakToAverageRatioOfSums: number;
  /** Mean over steps and layers of largest / mean rank load. */
  readonly peakToAverageMeanOfRatios: number;
  /** The layer with the lowest balancedness as ratio of sums over steps; the lowest index of equal ones. */
  readonly worstLayer: {
    readonly layer: number;
    readonly balancednessRatioOfSums: number;
    readonly peakToAverageRatioOfSums: number;
  };
  /**
   * Of the balancedness of steps (ratio of sums over layers): a share p of the steps has at most this. To
   * 0.0001.
   */
  readonly balancednessPercentiles: Percentiles;
  /**
   * Of the PAR of steps (ratio of sums over layers): a share p of the steps has at most this. To 0.0001 of
   * its inverse.
   */
  readonly peakToAveragePercentiles: Percentiles;
}

/** `min` and `max` are exact. */
export interface Percentiles {
  readonly min: number;
  readonly p5: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** Sums over the whole replay. */
export interface ReplayTotals {
  /** Slots that received weights from another rank. */
  readonly moves: number;
  /** Slots whose expert changed, wherever the weights came from. */
  readonly changedSlots: number;
  /** Of the slots that the cost model counts, by its `countedMoves`. */
  readonly bytes: number;
  /** Of those of them whose expert no rank of the node had. */
  readonly bytesBetweenNodes: number;
  readonly numPlans: number;
  /** Plans that changed something and took effect whole. */
  readonly numAppliedPlans: number;
  /** Of all plans together, as measured or as fixed. */
  readonly planningSeconds: number;
  /** What the steps took, without moving weights. */
  readonly stepSeconds: number;
  /** What moving weights took: by transfer plans, where the cost is a model of slots. */
  readonly moveSeconds: number;
  /**
   * {@link stepSeconds} + {@link moveSeconds} + {@link planningSeconds}. Planning is counted as if the steps
   * waited for it, though an engine may plan beside them. By the competition's cost it is not counted, but
   * for the steps that pass before a plan takes effect.
   */
  readonly modelledSeconds: number;
  /** The same steps under the first mapping, with its repairs where ranks die. */
  readonly unbalancedSeconds: number;
  /** {@link unbalancedSeconds} - {@link modelledSeconds}; negative when balancing cost more than it gave. */
  readonly secondsSaved: number;
  /** If every rank had the mean load of its layer in every step: no placement can take less. */
  readonly idealSeconds: number;
  /**
   * Bytes of a rank's redundant experts over all layers: (slots - experts) / ranks x layers x bytes an
   * expert.
   */
  readonly redundantBytesPerRank: number;
}

/** What a replay's time goes to, by a cost of slots. */
export interface ReplayTime {
  /**
   * What dispatch and combine were counted by. 'routes': a rank gets a token once, however many of the
   * token's experts it has. 'loads': every token and expert is a transfer of its own.
   */
  readonly sentFrom: 'routes' | 'loads';
  /** Where steps have many tokens, one in so many was looked at for that; all when left out. */
  readonly tokenStride?: number;
  /** Under the live mappings. */
  readonly live: CostSummary;
  /** Under the first mapping, never changed. */
  readonly unbalanced: CostSummary;
  /**
   * What the time follows without balancing; null where that can't be judged: counts that were enlarged leave
   * experts without tokens that would have some.
   */
  readonly boundBy: CostSummary['boundBy'] | null;
  /** Whether the counts are larger than what was recorded: then active experts are not to be judged. */
  readonly isEnlarged: boolean;
}

/** One layer over all steps. */
export interface LayerResult {
  readonly layer: number;
  readonly balancednessRatioOfSums: number;
  readonly balancednessMeanOfRatios: number;
  readonly peakToAverageRatioOfSums: number;
  readonly peakToAverageMeanOfRatios: number;
  /** Largest PAR of any step. */
  readonly peakToAverageMax: number;
  /** As {@link balancednessRatioOfSums} under the first mapping, never changed. */
  readonly unbalancedBalancednessRatioOfSums: number;
  readonly moves: number;
  readonly changedSlots: number;
  readonly bytes: number;
  readonly stepSeconds: number;
  readonly moveSeconds: number;
}

/** At most this many points in a {@link StepSeries}. */
export const MAX_SERIES_POINTS = 1024;

/**
 * Values over time, as columns of equal length. A point stands for `stepsPerPoint` steps in a row (the last
 * one for as many as are left); `stepsPerPoint` is a power of two, 1 while there are at most {@link
 * MAX_SERIES_POINTS} steps. Means hide nothing: the lowest and the highest step of every point are kept
 * beside them. Balancedness is that of a whole step, as ratio of sums over layers; PAR of a step is its
 * inverse.
 */
export interface StepSeries {
  readonly stepsPerPoint: number;
  /** The number in the recording of a point's first step. */
  readonly firstStep: readonly number[];
  readonly balancedness: SpreadColumn;
  /** Under the first mapping, never changed. */
  readonly unbalancedBalancedness: SpreadColumn;
  /** The largest PAR that any layer had in any step of the point. */
  readonly worstLayerPeakToAverage: readonly number[];
  /** Modelled seconds of a step, without moving weights. */
  readonly stepSeconds: SpreadColumn;
  /** The same under the first mapping. */
  readonly unbalancedStepSeconds: SpreadColumn;
  /** Sums over a point's steps. */
  readonly moves: readonly number[];
  readonly bytes: readonly number[];
  readonly moveSeconds: readonly number[];
}

/** Of a point's steps. */
export interface SpreadColumn {
  readonly mean: readonly number[];
  readonly min: readonly number[];
  readonly max: readonly number[];
}

/** One plan, from what started it to what it gave. */
export interface PlanResult {
  /** It was started after this step of the recording, from the window up to and with it. */
  readonly startedAfterStep: number;
  /** The conditions that held. */
  readonly reasons: readonly TriggerReason[];
  /** Steps in the window. */
  readonly numSamples: number;
  /** As measured, or as fixed. */
  readonly planningSeconds: number;
  /**
   * `applied`: it took effect whole. `unchanged`: it put every expert where it was, so there was nothing to
   * apply. `unfinished`: the recording ended, or ranks changed, before all layers had changed; what had is
   * counted.
   */
  readonly status: 'applied' | 'unchanged' | 'unfinished';
  /** Why the policy chose to change nothing, where it says so. */
  readonly keptReason?: string;
  /** The steps in which its first and its last layer changed; null when none did. */
  readonly appliedFromStep: number | null;
  readonly appliedToStep: number | null;
  /** Layers in the order they changed, or would have. */
  readonly layerOrder: readonly number[];
  readonly moves: number;
  /** Which experts went where. */
  readonly moved: PlanMoves;
  readonly changedSlots: number;
  readonly bytes: number;
  readonly moveSeconds: number;
  /**
   * Seconds a step that it promised: on the mean loads of its window, modelled seconds of the mapping it
   * replaces less those of its own.
   */
  readonly predictedGainSecondsPerStep: number;
  /**
   * Seconds a step that it gave: the mean of the same difference over the steps from its last layer's change
   * to the next plan's first (or the end), on the loads that came. Null when there were none.
   */
  readonly realisedGainSecondsPerStep: number | null;
  /** Steps that {@link realisedGainSecondsPerStep} is the mean of. */
  readonly realisedOverSteps: number;
  /** The steps from its start to that of the next plan, or the end. */
  readonly period: PlanPeriod;
  /** Balancedness, ratio of sums over layers, on the mean loads of its window: before, and as promised. */
  readonly predictedBalancednessBefore: number;
  readonly predictedBalancednessAfter: number;
}

/** The steps that a plan answers for: what {@link savedSpread} draws from. */
export interface PlanPeriod {
  readonly numSteps: number;
  /** What they took, without moving weights. */
  readonly stepSeconds: number;
  /** The same steps under the first mapping. */
  readonly unbalancedSeconds: number;
}

/** At most this many moves in the columns of a {@link PlanMoves}: those with the most load. */
export const MAX_PLAN_MOVES = 256;

/**
 * The moves of a plan: each brings an expert's weights to a slot of a rank that did not have them. They come
 * from a rank of the same node that had them, else from another; of several from the one that has sent least
 * in that layer.
 */
export interface PlanMoves {
  /** [from node][to node]: all moves. */
  readonly nodeMoves: readonly (readonly number[])[];
  /** Columns of equal length, the copies with the most load first. */
  readonly layers: readonly number[];
  readonly experts: readonly number[];
  readonly fromRanks: readonly number[];
  readonly toRanks: readonly number[];
  /** Tokens a step that the copy is to take, on the mean loads of the plan's window. */
  readonly loads: readonly number[];
}

/** A condition that held, with its value beside what it had to exceed; of ranks, that lived before. */
export interface TriggerReason {
  readonly kind: 'interval' | 'loadThreshold' | 'drift' | 'ranks';
  /** Steps, ratio, drift or ranks that live; null stands for infinity (a rank without load). */
  readonly value: number | null;
  readonly limit: number;
}

/**
 * Rank loads, layers x ranks, in means of the layer: 1 is balanced. All over the same steps: those after the
 * first plan took effect whole, or all when none did. A layer waits for its highest rank in every step, and
 * that is another one each time: means over steps hide it, the maxima do not.
 */
export interface HeatMap {
  /** Half-open, in the recording's numbers. */
  readonly fromStep: number;
  readonly toStep: number;
  /** [layers][ranks], means over steps, under the first mapping, never changed. */
  readonly before: readonly (readonly number[])[];
  /** [layers][ranks], the same under the live mappings. */
  readonly after: readonly (readonly number[])[];
  /**
   * [layers][ranks]: in 95 of 100 steps the rank's load is at most so many times the mean of the layer in
   * that step. Of many steps every second, fourth, ... is looked at.
   */
  readonly p95Before: readonly (readonly number[])[];
  readonly p95After: readonly (readonly number[])[];
  /** `[layers]`: the mean over steps of the largest rank load. */
  readonly maximumBefore: readonly number[];
  readonly maximumAfter: readonly number[];
}

/** At most this many hot experts. */
export const MAX_HOT_EXPERTS = 20;

/** An expert beside the mean of its layer, and where it was at the end. */
export interface PlacedExpert {
  readonly layer: number;
  readonly expert: number;
  /** Its load / the mean of its layer's experts. */
  readonly timesMean: number;
  /** The rank of each copy in the last live mapping, ascending. */
  readonly ranks: readonly number[];
}

/** At most this many numbers in {@link RankLoadSamples.loads}; but always two steps at least. */
export const MAX_RANK_LOADS = 65_536;

/**
 * The rank loads of some steps: of every `stride`-th, and of the one that took longest. To pick a layer and a
 * step from.
 */
export interface RankLoadSamples {
  readonly stride: number;
  /** Numbers in the recording, ascending. */
  readonly steps: readonly number[];
  /** The step that took longest, without moving weights; one of {@link steps}. */
  readonly slowestStep: number;
  /** [steps][layers][ranks], of the live mapping, rounded to five digits. */
  readonly loads: readonly (readonly (readonly number[])[])[];
  /** `[steps][layers]`: the mean of ranks that live; left out where all do, and are alike. */
  readonly means?: readonly (readonly number[])[];
}
