import { numOpenSlots } from '../core/open-slots.ts';
import type { PlanResult, RankLoadSamples, ReplayReport, ReplayResult } from '../replay/result.ts';
import type { SweepResult } from '../replay/sweep-result.ts';
import { packNumbers } from './pack.ts';
import type { LineData, RankLoadsData, ReportData, RunData, SweepData } from './report-data.ts';

/**
 * Most rank loads that a page holds, over all replays: 16 bits each, half as much as the charting code.
 * The steps between are left out evenly where there are more.
 */
export const MAX_PAGE_RANK_LOADS = 120_000;

/** What the charts need of a report, numbers packed. */
export function compactReport(report: ReplayReport): ReportData {
  const lines = linesToDraw(report.replays);
  const choice = sampleChoiceOf(report.replays);
  const firstRun = lines.length - report.replays.length;
  const runs = report.replays.map((replay, i) => runOf(replay, firstRun + i, choice));
  const { numLayers } = report.recording;
  const data = { numLayers, lines, runs };
  return report.sweep === undefined ? data : { ...data, sweep: sweepOf(report.sweep) };
}

/** Whether a replay is the one that never plans: then it is what the others are compared with. */
export function isStatic(replay: ReplayResult): boolean {
  return replay.configuration.policy === 'static';
}

/** The replays' lines, and one for no balancing of every shape that no `static` replay stands for. */
function linesToDraw(replays: readonly ReplayResult[]): LineData[] {
  const shapes = new Map(replays.map((replay) => [shapeOf(replay), replay]));
  for (const replay of replays) if (isStatic(replay)) shapes.delete(shapeOf(replay));
  const unbalanced = [...shapes].map(([shape, replay]) =>
    lineOf(replay, shapes.size === 1 ? 'no balancing' : `no balancing, ${shape}`, null),
  );
  const colours = replays.filter((replay) => !isStatic(replay));
  const own = replays.map((replay) =>
    lineOf(replay, replay.name, isStatic(replay) ? null : colours.indexOf(replay)),
  );
  return [...unbalanced, ...own];
}

/** What decides how loads spread without balancing. */
function shapeOf({ configuration }: ReplayResult): string {
  return `${numOpenSlots(configuration)} slots, ${configuration.numRanks} ranks`;
}

function lineOf({ series, numSteps, plans }: ReplayResult, name: string, colour: number | null): LineData {
  const spread = colour === null ? series.unbalancedBalancedness : series.balancedness;
  return {
    name,
    colour,
    firstStep: series.firstStep[0] ?? 0,
    numSteps,
    stepsPerPoint: series.stepsPerPoint,
    mean: packNumbers(spread.mean),
    min: packNumbers(spread.min),
    max: packNumbers(spread.max),
    plans: colour === null ? [] : plans.map(markOf),
  };
}

function markOf({ startedAfterStep, appliedFromStep, moves }: PlanResult) {
  return { startedAfterStep, appliedFromStep, moves };
}

function runOf(replay: ReplayResult, line: number, choice: SampleChoice): RunData {
  const { name, configuration, heatMap, totals } = replay;
  const { numRanks, numNodes } = configuration;
  return {
    name,
    line,
    numRanks,
    ranksPerNode: numRanks / numNodes,
    heatMap: {
      fromStep: heatMap.fromStep,
      toStep: heatMap.toStep,
      before: packNumbers(heatMap.before.flat()),
      after: packNumbers(heatMap.after.flat()),
    },
    rankLoads: rankLoadsOf(replay.rankLoads, choice),
    savedSeconds: packNumbers(savedSecondsOf(replay)),
    cost: {
      idealSeconds: rounded(totals.idealSeconds),
      waitingSeconds: rounded(totals.stepSeconds - totals.idealSeconds),
      changeSeconds: rounded(totals.modelledSeconds - totals.stepSeconds),
      unbalancedSeconds: rounded(totals.unbalancedSeconds),
      moves: totals.moves,
      bytes: totals.bytes,
    },
  };
}

/** Modelled seconds saved up to the end of every point of the series. */
function savedSecondsOf({ series, numSteps, plans, totals }: ReplayResult): Float64Array {
  const { stepsPerPoint, stepSeconds, unbalancedStepSeconds, moveSeconds, firstStep } = series;
  const countsPlanning = totals.modelledSeconds > totals.stepSeconds + totals.moveSeconds;
  let next = 0;
  const saved = new Float64Array(stepSeconds.mean.length);
  let sum = 0;
  for (let point = 0; point < saved.length; point++) {
    const steps = Math.min(stepsPerPoint, numSteps - point * stepsPerPoint);
    sum += (unbalancedStepSeconds.mean[point]! - stepSeconds.mean[point]!) * steps - moveSeconds[point]!;
    const end = firstStep[point + 1] ?? Number.POSITIVE_INFINITY;
    for (; next < plans.length && plans[next]!.startedAfterStep < end; next++) {
      if (countsPlanning) sum -= plans[next]!.planningSeconds;
    }
    saved[point] = sum;
  }
  return saved;
}

/** Which of the sampled steps a page holds: every so many, and those that took longest in any replay. */
interface SampleChoice {
  readonly every: number;
  readonly slowestSteps: ReadonlySet<number>;
}

/** As many samples as a page may hold. */
function sampleChoiceOf(replays: readonly ReplayResult[]): SampleChoice {
  const slowestSteps = new Set(replays.map(({ rankLoads }) => rankLoads.slowestStep));
  const numbersKept = (every: number) =>
    replays.reduce((sum, { rankLoads, configuration: { numRanks }, layers }) => {
      return sum + keptSamples(rankLoads, { every, slowestSteps }).length * layers.length * numRanks;
    }, 0);
  const mostSteps = Math.max(...replays.map(({ rankLoads }) => rankLoads.steps.length));
  let every = 1;
  while (every < mostSteps && numbersKept(every) > MAX_PAGE_RANK_LOADS) every *= 2;
  return { every, slowestSteps };
}

/** Indices of the samples that are kept. */
function keptSamples({ steps, stride }: RankLoadSamples, { every, slowestSteps }: SampleChoice): number[] {
  const first = steps[0] ?? 0;
  return steps.flatMap((step, i) =>
    slowestSteps.has(step) || (step - first) % (stride * every) === 0 ? [i] : [],
  );
}

function rankLoadsOf(samples: RankLoadSamples, choice: SampleChoice): RankLoadsData {
  const kept = keptSamples(samples, choice);
  return {
    steps: kept.map((i) => samples.steps[i]!),
    slowestStep: samples.slowestStep,
    loads: packNumbers(kept.flatMap((i) => samples.loads[i]!.flat())),
  };
}

function sweepOf({ points, frontsByRanks, advisedPoint }: SweepResult): SweepData {
  const done = points.filter((point) => point.status === 'done');
  const indexOf = (name: string) => done.findIndex((point) => point.name === name);
  const fronts = frontsByRanks.map(({ numRanks, names }) => ({ numRanks, points: names.map(indexOf) }));
  const onFront = new Set(fronts.flatMap((front) => front.points));
  return {
    points: done.map((point, i) => ({
      name: point.name,
      policy: point.policy,
      numRanks: point.numRanks,
      redundantBytes: point.redundantBytes,
      modelledSeconds: rounded(point.modelledSeconds),
      secondsSaved: rounded(point.secondsSaved),
      onFront: onFront.has(i),
    })),
    fronts,
    advised: advisedPoint === null ? null : indexOf(advisedPoint),
  };
}

/** Six figures: more than a chart shows, and half as long. */
function rounded(value: number): number {
  return Number(value.toPrecision(6));
}
