import type { PackedNumbers } from './packed.ts';

/**
 * What the page's charts are drawn from, as it stands in the page. Texts that are only read stand in the page
 * itself.
 */
export interface ReportData {
  readonly numLayers: number;
  /** What is drawn over time: no balancing first, then the replays in order. */
  readonly lines: readonly LineData[];
  readonly runs: readonly RunData[];
  readonly sweep?: SweepData;
}

/** Balancedness over time. */
export interface LineData {
  readonly name: string;
  /** Place in the order of colours; null for no balancing, which has its own. */
  readonly colour: number | null;
  /** The number in the recording of the first step. */
  readonly firstStep: number;
  readonly numSteps: number;
  /** Steps that a point stands for; 1 when every step is a point. */
  readonly stepsPerPoint: number;
  /** [points] each, of a point's steps. */
  readonly mean: PackedNumbers;
  readonly min: PackedNumbers;
  readonly max: PackedNumbers;
  readonly plans: readonly PlanData[];
}

/** A plan as it is marked on the chart. */
interface PlanData {
  readonly startedAfterStep: number;
  /** The step in which its first layer changed; null when none did. */
  readonly appliedFromStep: number | null;
  readonly moves: number;
}

/** One policy's replay. */
export interface RunData {
  readonly name: string;
  /** Index of its {@link LineData}. */
  readonly line: number;
  readonly numRanks: number;
  readonly ranksPerNode: number;
  readonly heatMap: HeatMapData;
  readonly rankLoads: RankLoadsData;
  /** [points of its line]: modelled seconds saved against no balancing, up to the end of the point. */
  readonly savedSeconds: PackedNumbers;
  readonly cost: CostData;
}

/** Mean rank loads over the same steps, in mean rank loads of the layer, before and after. */
interface HeatMapData {
  /** Half-open, in the recording's numbers. */
  readonly fromStep: number;
  readonly toStep: number;
  /** [layers x ranks] each. */
  readonly before: PackedNumbers;
  readonly after: PackedNumbers;
}

/** Rank loads of some steps. */
export interface RankLoadsData {
  /** Ascending, in the recording's numbers. */
  readonly steps: readonly number[];
  /** The step that took longest; one of {@link steps}. */
  readonly slowestStep: number;
  /** [steps x layers x ranks], in tokens. */
  readonly loads: PackedNumbers;
}

/** What a run, and no balancing beside it, takes: modelled seconds and moves. */
interface CostData {
  /** Every rank at the mean load of its layer. */
  readonly idealSeconds: number;
  /** Waiting for the slowest rank. */
  readonly waitingSeconds: number;
  /** Moving weights, and planning where it is counted. */
  readonly changeSeconds: number;
  readonly unbalancedSeconds: number;
  readonly moves: number;
  readonly bytes: number;
}

/** The grid of a sweep. */
export interface SweepData {
  readonly points: readonly SweepPointData[];
  /** One line a number of ranks: indices of {@link points}, by ascending bytes. */
  readonly fronts: readonly { readonly numRanks: number; readonly points: readonly number[] }[];
  /** Index of the point that the advice is for; null when the advice is not to balance. */
  readonly advised: number | null;
}

/** A point of the sweep that was replayed. */
export interface SweepPointData {
  readonly name: string;
  readonly policy: string;
  readonly numRanks: number;
  /** Of all ranks together. */
  readonly redundantBytes: number;
  readonly modelledSeconds: number;
  readonly secondsSaved: number;
  /** Whether no other of its number of ranks is both faster and smaller. */
  readonly onFront: boolean;
}
