import { unpackNumbers } from '../packed.ts';
import type {
  LineData,
  LoadMapData,
  MovedByPlan,
  MovedData,
  ReportData,
  RunData,
  SweepData,
} from '../report-data.ts';

/** The page's data, unpacked. */
export interface Report {
  readonly numLayers: number;
  readonly lines: readonly Line[];
  readonly runs: readonly Run[];
  readonly sweep: SweepData | undefined;
  /** Largest number of any heat map by what its cells show, in means: one scale for all of them. */
  readonly largestShare: Readonly<Record<HeatView, number>>;
}

/** What the cells of a heat map show of the steps. */
export type HeatView = 'p95' | 'mean';

/** {@link LineData}, unpacked. */
export interface Line extends Omit<LineData, 'mean' | 'min' | 'max'> {
  readonly mean: Float64Array;
  readonly min: Float64Array;
  readonly max: Float64Array;
}

/** {@link RunData}, unpacked. */
export interface Run extends Omit<RunData, 'heatMap' | 'rankLoads' | 'savedSeconds' | 'line' | 'moved'> {
  readonly line: Line;
  readonly savedSeconds: Float64Array;
  readonly heatMap: {
    readonly fromStep: number;
    readonly toStep: number;
    readonly before: LoadMap;
    readonly after: LoadMap;
  };
  readonly moved: Moved;
  readonly rankLoads: {
    readonly steps: readonly number[];
    readonly slowestStep: number;
    readonly loads: Float64Array;
    readonly means: Float64Array | undefined;
  };
}

/** {@link LoadMapData}, unpacked. */
type LoadMap = Readonly<Record<keyof LoadMapData, Float64Array>>;

/** What all plans of a run move, and each of them. */
interface Moved extends Pick<MovedData, 'numPlans' | 'nodeMoves'> {
  readonly plans: readonly PlanMoved[];
}

/** A plan with its moves that are listed. */
export interface PlanMoved extends MovedByPlan {
  readonly listed: readonly ListedMove[];
}

/** A move as it is listed. */
interface ListedMove {
  readonly layer: number;
  readonly expert: number;
  readonly fromRank: number;
  readonly toRank: number;
  readonly load: number;
}

/** Unpacks what the page holds. */
export function unpackReport({ numLayers, lines: packedLines, runs: packedRuns, sweep }: ReportData): Report {
  const lines = packedLines.map((line) => ({
    ...line,
    mean: unpackNumbers(line.mean),
    min: unpackNumbers(line.min),
    max: unpackNumbers(line.max),
  }));
  const runs = packedRuns.map((run) => ({
    ...run,
    line: lines[run.line]!,
    savedSeconds: unpackNumbers(run.savedSeconds),
    heatMap: {
      ...run.heatMap,
      before: unpackMap(run.heatMap.before),
      after: unpackMap(run.heatMap.after),
    },
    moved: unpackMoved(run.moved),
    rankLoads: {
      ...run.rankLoads,
      loads: unpackNumbers(run.rankLoads.loads),
      means: run.rankLoads.means && unpackNumbers(run.rankLoads.means),
    },
  }));
  const most = (view: HeatView) =>
    runs.flatMap(({ heatMap: { before, after } }) =>
      [before[view], after[view], before.maximum, after.maximum].map(largest),
    );
  const largestShare = { p95: Math.max(1, ...most('p95')), mean: Math.max(1, ...most('mean')) };
  return { numLayers, lines, runs, sweep, largestShare };
}

function unpackMap({ mean, p95, maximum }: LoadMapData): LoadMap {
  return { mean: unpackNumbers(mean), p95: unpackNumbers(p95), maximum: unpackNumbers(maximum) };
}

function unpackMoved({ numPlans, nodeMoves, plans, ...columns }: MovedData): Moved {
  const [layers, experts, fromRanks, toRanks] = [
    columns.layers,
    columns.experts,
    columns.fromRanks,
    columns.toRanks,
  ].map((packed) => unpackNumbers(packed).map(Math.round)) as Float64Array[];
  const loads = unpackNumbers(columns.loads);
  let next = 0;
  const unpacked = plans.map((plan) => {
    const first = next;
    next += plan.numListed;
    const listed = Array.from({ length: plan.numListed }, (_, i) => ({
      layer: layers![first + i]!,
      expert: experts![first + i]!,
      fromRank: fromRanks![first + i]!,
      toRank: toRanks![first + i]!,
      load: loads[first + i]!,
    }));
    return { ...plan, listed };
  });
  return { numPlans, nodeMoves, plans: unpacked };
}

/** The largest of numbers >= 0; 0 when there are none. */
export function largest(values: Iterable<number>): number {
  let most = 0;
  for (const value of values) most = Math.max(most, value);
  return most;
}

/** Index of the first of the largest numbers. */
export function indexOfLargest(values: ArrayLike<number>): number {
  let at = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[at]!) at = i;
  return at;
}

/** The mean; 1 of no numbers. */
export function meanOf(values: Float64Array): number {
  return values.length === 0 ? 1 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The loads of a layer's ranks in the sampled step with this index. */
export function rankLoadsAt(report: Report, run: Run, sample: number, layer: number): Float64Array {
  const first = (sample * report.numLayers + layer) * run.numRanks;
  return run.rankLoads.loads.subarray(first, first + run.numRanks);
}
