import { unpackNumbers } from '../packed.ts';
import type { LineData, ReportData, RunData, SweepData } from '../report-data.ts';

/** The page's data, unpacked. */
export interface Report {
  readonly numLayers: number;
  readonly lines: readonly Line[];
  readonly runs: readonly Run[];
  readonly sweep: SweepData | undefined;
  /** Largest rank load of any heat map, in means: one scale for all of them. */
  readonly largestShare: number;
}

/** {@link LineData}, unpacked. */
export interface Line extends Omit<LineData, 'mean' | 'min' | 'max'> {
  readonly mean: Float64Array;
  readonly min: Float64Array;
  readonly max: Float64Array;
}

/** {@link RunData}, unpacked. */
export interface Run extends Omit<RunData, 'heatMap' | 'rankLoads' | 'savedSeconds' | 'line'> {
  readonly line: Line;
  readonly savedSeconds: Float64Array;
  readonly heatMap: {
    readonly fromStep: number;
    readonly toStep: number;
    readonly before: Float64Array;
    readonly after: Float64Array;
  };
  readonly rankLoads: {
    readonly steps: readonly number[];
    readonly slowestStep: number;
    readonly loads: Float64Array;
  };
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
      before: unpackNumbers(run.heatMap.before),
      after: unpackNumbers(run.heatMap.after),
    },
    rankLoads: { ...run.rankLoads, loads: unpackNumbers(run.rankLoads.loads) },
  }));
  const shares = runs.flatMap(({ heatMap: { before, after } }) => [largest(before), largest(after)]);
  return { numLayers, lines, runs, sweep, largestShare: Math.max(1, ...shares) };
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

/** The loads of a layer's ranks in the sampled step with this index. */
export function rankLoadsAt(report: Report, run: Run, sample: number, layer: number): Float64Array {
  const first = (sample * report.numLayers + layer) * run.numRanks;
  return run.rankLoads.loads.subarray(first, first + run.numRanks);
}
