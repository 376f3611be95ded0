/**
 * What a replay tells, as plain data: numbers, texts, arrays and objects only, so that it can be written as JSON, sent
 * between threads and drawn. Every size is bounded by the shapes and the constants here, not by the steps replayed; only
 * {@link ReplayResult.plans} grows, by one entry a plan.
 *
 * The words: a rank's load is the sum over its slots of load / replicas of the slot's expert. **Balancedness** of a layer
 * in a step = mean rank load / largest rank load; **PAR** (peak to average) = largest / mean. A layer without load in a
 * step has 1 of both.
 */
export interface ReplayReport {
  readonly kind: 'replay-report';
  /** Raised when a field changes its meaning. */
  readonly formatVersion: 1;
  readonly versions: Versions;
  readonly recording: RecordingFacts;
  /** One replay, or those that are compared, all of the same recording; of a sweep the best of each policy. At least one. */
  readonly replays: readonly ReplayResult[];
  /**
   * With the public competition's cost model: 100 x modelled seconds of the reference (the default policy planned anew every
   * 1,024 steps) / those of each of {@link replays}, in their order.
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
  /** The steps that were asked for, half-open; `to` is null where only reading to the end tells. */
  readonly steps: { readonly from: number; readonly to: number | null };
  /** What the reader had to assume, one sentence each. */
  readonly notes: readonly string[];
  /** Tokens that a step adds up, where the recording holds routes; null for loads. */
  readonly tokensPerStep: number | null;
}

/** A recording replayed under one configuration. */
export interface ReplayResult {
  /** Short and different from the others of the same report: `adaptive`, or `adaptive, 288 slots, 32 ranks, every 64 steps`. */
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
  /** One entry a layer, in order. */
  readonly layers: readonly LayerResult[];
  readonly series: StepSeries;
  /** In the order they were started. */
  readonly plans: readonly PlanResult[];
  readonly heatMap: HeatMap;
  readonly rankLoads: RankLoadSamples;
}

/** All that decides a replay's numbers, beside the recording. */
export interface ReplayConfiguration {
  /** Name or module file of the policy; `static` never plans. */
  readonly policy: string;
  readonly numPhysicalExperts: number;
  readonly numRanks: number;
  readonly numNodes: number;
  readonly numGroups: number;
  /** [ranks]: slots of each rank that may hold an expert; left out when all may. */
  readonly slotsPerRank?: readonly number[];
  /** Steps that plans look back on. */
  readonly windowSize: number;
  readonly trigger: TriggerOptions;
  /** Seconds that every plan is taken to need, or `measured`. */
  readonly planningSeconds: number | 'measured';
  /** Layers that change to the new mapping in one step. */
  readonly layersPerStep: number;
  readonly cost: CostModel;
}

/**
 * When a plan is started. The conditions that are given are looked at after a step, its loads being in the window; while
 * a plan is being made or taking effect, none is. With `require: 'any'` one that holds is enough, with `'all'` every one has to.
 */
export interface TriggerOptions {
  /** Holds when this many steps have passed since the last plan was started, or since the beginning. */
  readonly interval?: number;
  /**
   * Holds when, over the layers, the largest of (largest / smallest rank load) is more than this; rank loads of the live
   * mapping, added over the window. A rank without load beside one with load counts as infinite; one without experts is left out.
   */
  readonly loadThreshold?: number;
  /**
   * Holds when the drift is more than this, in [0, 1]: the mean over layers of half the sum over experts of |a - b|, a the
   * expert's share of the layer's load over the window now, b when the last plan was started (1 / experts before the first).
   */
  readonly drift?: number;
  /** `any` when left out. */
  readonly require?: 'any' | 'all';
  /** `loadThreshold` and `drift` are looked at every so many steps; 1 when left out. */
  readonly checkEvery?: number;
}

/** How loads, moves and planning turn into seconds. All times are modelled, none is measured on a device. */
export interface CostModel {
  /** Name of the preset, or the file's. */
  readonly name: string;
  /**
   * `load`: a step takes, summed over layers, `secondsPerLoad` x the largest rank load. `peak-to-average`: the whole
   * replay takes `secondsAtBalance` x the mean over steps and layers of PAR, whatever the loads add up to.
   */
  readonly time:
    | { readonly kind: 'load'; readonly secondsPerLoad: number }
    | { readonly kind: 'peak-to-average'; readonly secondsAtBalance: number };
  /** Weights of one expert of one layer, in bytes. */
  readonly bytesPerExpert: number;
  /** Of a link between two ranks of a node. */
  readonly intraNodeBytesPerSecond: number;
  /** Of a rank's link to other nodes. */
  readonly interNodeBytesPerSecond: number;
  /**
   * `rank`: the slots of a rank are filled one after the other and the ranks at once, so that a layer takes as long as the
   * rank that receives most. `none`: every move of a layer waits for the one before.
   */
  readonly concurrentTransfers: 'rank' | 'none';
  /** What is paid for: slots whose expert was not on the rank before (`rank`), or every slot whose expert changed (`slot`). */
  readonly countedMoves: 'rank' | 'slot';
  /**
   * How long a step takes for the clock that planning time is measured against: a plan takes effect after
   * ceil(planning seconds / this) steps. `modelled`: the mean of the steps so far, by this model (without moving weights).
   */
  readonly stepSeconds: number | 'modelled';
  /** Loads of 0 are read as 1 when scored, as the public competition does. */
  readonly zeroLoadsCountAsOne: boolean;
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
  /** Of the balancedness of steps (ratio of sums over layers): a share p of the steps has at most this. To 0.0001. */
  readonly balancednessPercentiles: Percentiles;
  /** Of the PAR of steps (ratio of sums over layers): a share p of the steps has at most this. To 0.0001 of its inverse. */
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
  /** Bytes that the cost model charges, by its `countedMoves`. */
  readonly bytes: number;
  readonly bytesBetweenNodes: number;
  readonly numPlans: number;
  /** Plans that changed something and took effect whole. */
  readonly numAppliedPlans: number;
  /** Of all plans together, as measured or as fixed. */
  readonly planningSeconds: number;
  /** What the steps took, without moving weights. */
  readonly stepSeconds: number;
  /** What moving weights took. */
  readonly moveSeconds: number;
  /** {@link stepSeconds} + {@link moveSeconds}. */
  readonly modelledSeconds: number;
  /** The same steps under the first mapping. */
  readonly unbalancedSeconds: number;
  /** {@link unbalancedSeconds} - {@link modelledSeconds}; negative when balancing cost more than it gave. */
  readonly secondsSaved: number;
  /** If every rank had the mean load of its layer in every step: no placement can take less. */
  readonly idealSeconds: number;
  /** Bytes of a rank's redundant experts over all layers: (slots - experts) / ranks x layers x bytes an expert. */
  readonly redundantBytesPerRank: number;
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
 * Values over time, as columns of equal length. A point stands for `stepsPerPoint` steps in a row (the last one for as many
 * as are left); `stepsPerPoint` is a power of two, 1 while there are at most {@link MAX_SERIES_POINTS} steps. Means hide
 * nothing: the lowest and the highest step of every point are kept beside them. Balancedness is that of a whole step, as
 * ratio of sums over layers; PAR of a step is its inverse.
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
   * `applied`: it took effect whole. `unchanged`: it put every expert where it was, so there was nothing to apply.
   * `unfinished`: the recording ended before all layers had changed; what had is counted.
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
  readonly changedSlots: number;
  readonly bytes: number;
  readonly moveSeconds: number;
  /**
   * Seconds a step that it promised: on the mean loads of its window, modelled seconds of the mapping it replaces less
   * those of its own.
   */
  readonly predictedGainSecondsPerStep: number;
  /**
   * Seconds a step that it gave: the mean of the same difference over the steps from its last layer's change to the next
   * plan's first (or the end), on the loads that came. Null when there were none.
   */
  readonly realisedGainSecondsPerStep: number | null;
  /** Steps that {@link realisedGainSecondsPerStep} is the mean of. */
  readonly realisedOverSteps: number;
  /** Balancedness, ratio of sums over layers, on the mean loads of its window: before, and as promised. */
  readonly predictedBalancednessBefore: number;
  readonly predictedBalancednessAfter: number;
}

/** A condition that held, with its value beside what it had to exceed. */
export interface TriggerReason {
  readonly kind: 'interval' | 'loadThreshold' | 'drift';
  /** Steps, ratio or drift; null stands for infinity (a rank without load). */
  readonly value: number | null;
  readonly limit: number;
}

/**
 * Mean rank loads, layers x ranks, each divided by the layer's mean: 1 is balanced. Both over the same steps: those after
 * the first plan took effect whole, or all when none did.
 */
export interface HeatMap {
  /** Half-open, in the recording's numbers. */
  readonly fromStep: number;
  readonly toStep: number;
  /** [layers][ranks] under the first mapping, never changed. */
  readonly before: readonly (readonly number[])[];
  /** [layers][ranks] under the live mappings. */
  readonly after: readonly (readonly number[])[];
}

/** At most this many numbers in {@link RankLoadSamples.loads}; but always two steps at least. */
export const MAX_RANK_LOADS = 65_536;

/**
 * The rank loads of some steps: of every `stride`-th, and of the one that took longest. To pick a layer and a step from.
 */
export interface RankLoadSamples {
  readonly stride: number;
  /** Numbers in the recording, ascending. */
  readonly steps: readonly number[];
  /** The step that took longest, without moving weights; one of {@link steps}. */
  readonly slowestStep: number;
  /** [steps][layers][ranks], of the live mapping, rounded to five digits. */
  readonly loads: readonly (readonly (readonly number[])[])[];
}

/** The outcome of a sweep over a grid of configurations. */
export interface SweepResult {
  /** The values of each axis, as given. */
  readonly axes: {
    readonly policies: readonly string[];
    readonly replicas: readonly number[];
    readonly ranks: readonly number[];
    /** Empty when no interval was given. */
    readonly intervals: readonly number[];
  };
  /** One entry a point of the grid, in the order of the axes, policies last. */
  readonly points: readonly SweepPoint[];
  /**
   * Names of the points that no other beats in modelled seconds without more {@link SweepPoint.redundantBytes}, by ascending
   * bytes: the Pareto front.
   */
  readonly front: readonly string[];
  /** The same among points of one number of ranks each: more ranks are faster, but not free. */
  readonly frontsByRanks: readonly { readonly numRanks: number; readonly names: readonly string[] }[];
  /** One sentence, with the numbers behind it. */
  readonly advice: string;
  /** The name of the point that the advice is for; null when the advice is not to balance. */
  readonly advisedPoint: string | null;
  /** `partial` when it was interrupted: {@link points} holds what was done. */
  readonly status: 'complete' | 'partial';
}

/** One configuration of the grid. */
export type SweepPoint = SweepPointDone | SweepPointFailed;

/** What tells a point. */
export interface SweepPointKey {
  /** `adaptive, 288 slots, 32 ranks, every 64 steps` */
  readonly name: string;
  readonly policy: string;
  readonly numPhysicalExperts: number;
  readonly numRanks: number;
  /** Null when no interval was given, and for `static`. */
  readonly interval: number | null;
}

/** A point that was replayed. */
export interface SweepPointDone extends SweepPointKey {
  readonly status: 'done';
  readonly modelledSeconds: number;
  /** No balancing, the same number of slots and ranks. */
  readonly unbalancedSeconds: number;
  readonly secondsSaved: number;
  readonly moveSeconds: number;
  readonly planningSeconds: number;
  readonly balancednessRatioOfSums: number;
  readonly balancednessMeanOfRatios: number;
  readonly peakToAverageMeanOfRatios: number;
  readonly numPlans: number;
  readonly moves: number;
  readonly bytes: number;
  /** Of all ranks together: what redundant experts cost in memory. */
  readonly redundantBytes: number;
  readonly redundantBytesPerRank: number;
}

/** A point that could not be replayed, such as 288 slots on 7 ranks, with the reason. */
export interface SweepPointFailed extends SweepPointKey {
  readonly status: 'failed';
  readonly code: string;
  readonly message: string;
}
