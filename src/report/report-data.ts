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
  /** The first rank of each node. */
  readonly nodeStarts: readonly number[];
  readonly heatMap: HeatMapData;
  readonly moved: MovedData;
  readonly hotExperts: readonly HotExpertData[];
  readonly rankLoads: RankLoadsData;
  /** [points of its line]: modelled seconds saved against no balancing, up to the end of the point. */
  readonly savedSeconds: PackedNumbers;
  readonly cost: CostData;
}

/** Rank loads over the same steps, in mean rank loads of the layer, before and after. */
interface HeatMapData {
  /** Half-open, in the recording's numbers. */
  readonly fromStep: number;
  readonly toStep: number;
  readonly before: LoadMapData;
  readonly after: LoadMapData;
}

/** Rank loads over steps under one mapping after the other. */
export interface LoadMapData {
  /** [layers x ranks] */
  readonly mean: PackedNumbers;
  /** [layers x ranks]: what 95 of 100 steps do not exceed. */
  readonly p95: PackedNumbers;
  /** [layers]: mean over steps of the largest rank load, which is what the layer waits for. */
  readonly maximum: PackedNumbers;
}

/** An expert beside the mean of its layer, and where its copies are at the end. */
interface HotExpertData {
  readonly layer: number;
  readonly expert: number;
  readonly timesMean: number;
  readonly ranks: readonly number[];
}

/** What a run moves. */
export interface MovedData {
  readonly numPlans: number;
  /** [from node][to node]: moves of all plans. */
  readonly nodeMoves: readonly (readonly number[])[];
  /** The first plans that move anything. */
  readonly plans: readonly MovedByPlan[];
  /** Moves of {@link plans}, one plan after the other: {@link MovedByPlan.numListed} each. */
  readonly layers: PackedNumbers;
  readonly experts: PackedNumbers;
  readonly fromRanks: PackedNumbers;
  readonly toRanks: PackedNumbers;
  /** Tokens a step that the copy is to take. */
  readonly loads: PackedNumbers;
}

/** A plan that moves something. */
export interface MovedByPlan {
  readonly startedAfterStep: number;
  readonly moves: number;
  readonly nodeMoves: readonly (readonly number[])[];
  readonly numListed: number;
}

/** Rank loads of some steps. */
export interface RankLoadsData {
  /** Ascending, in the recording's numbers. */
  readonly steps: readonly number[];
  /** The step that took longest; one of {@link steps}. */
  readonly slowestStep: number;
  /** [steps x layers x ranks], in tokens. */
  readonly loads: PackedNumbers;
  /** [steps x layers], where it is not that of all ranks. */
  readonly means?: PackedNumbers;
}

/** What a run, and no balancing beside it, takes: modelled seconds and moves. */
interface CostData {
  /** Every rank at the mean load of its layer. */
  readonly idealSeconds: number;
  /** Waiting for the slowest rank. */
  readonly waitingSeconds: number;
  readonly moveSeconds: number;
  readonly planningSeconds: number;
  /** In all: with planning or without, as the replay counts it. */
  readonly modelledSeconds: number;
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
