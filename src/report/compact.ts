import { numOpenSlots } from '../core/open-slots.ts';
import { nodesWith, numRanksAdded } from '../replay/rank-events.ts';
import type { HeatMap, PlanResult, RankLoadSamples, ReplayReport, ReplayResult } from '../replay/result.ts';
import type { SweepResult } from '../replay/sweep-result.ts';
import { movedBudget, movedData } from './compact-moves.ts';
import { packNumbers } from './pack.ts';
import type { LineData, LoadMapData, RankLoadsData, ReportData, RunData, SweepData } from './report-data.ts';

/**
 * Most numbers of heat maps and rank loads that a page holds, over all replays: 16 bits each, two thirds of
 * the charting code. Rank loads take what maps leave: steps between are left out evenly where there are more.
 */
export const MAX_PAGE_NUMBERS = 144_000;
/** Maps of a replay: mean and 95th percentile, before and after. */
export const MAPS_OF_REPLAY = 4;

/** What the charts need of a report, numbers packed. */
export function compactReport(report: ReplayReport): ReportData {
  const lines = linesToDraw(report.replays);
  const choice = sampleChoiceOf(report.replays);
  const firstRun = lines.length - report.replays.length;
  const budget = movedBudget(report.replays);
  const runs = report.replays.map((replay, i) => ({
    ...runOf(replay, firstRun + i, choice),
    moved: movedData(replay, budget),
  }));
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

function runOf(replay: ReplayResult, line: number, choice: SampleChoice): Omit<RunData, 'moved'> {
  const { name, configuration, heatMap, totals } = replay;
  const nodes = nodesWith(configuration, numRanksAdded(configuration.events));
  return {
    name,
    line,
    numRanks: nodes.length,
    nodeStarts: nodeStartsOf(nodes),
    heatMap: {
      fromStep: heatMap.fromStep,
      toStep: heatMap.toStep,
      before: loadMapOf(heatMap.before, heatMap.p95Before, heatMap.maximumBefore),
      after: loadMapOf(heatMap.after, heatMap.p95After, heatMap.maximumAfter),
    },
    hotExperts: replay.hotExperts.map((hot) => ({ ...hot, timesMean: rounded(hot.timesMean) })),
    rankLoads: rankLoadsOf(replay.rankLoads, choice),
    savedSeconds: packNumbers(savedSecondsOf(replay)),
    cost: {
      idealSeconds: rounded(totals.idealSeconds),
      waitingSeconds: rounded(totals.stepSeconds - totals.idealSeconds),
      moveSeconds: rounded(totals.moveSeconds),
      planningSeconds: rounded(totals.planningSeconds),
      modelledSeconds: rounded(totals.modelledSeconds),
      unbalancedSeconds: rounded(totals.unbalancedSeconds),
      moves: totals.moves,
      bytes: totals.bytes,
    },
  };
}

function loadMapOf(
  mean: HeatMap['before'],
  p95: HeatMap['before'],
  maximum: HeatMap['maximumBefore'],
): LoadMapData {
  return {
    mean: packNumbers(mean.flat()),
    p95: packNumbers(p95.flat()),
    maximum: packNumbers(maximum),
  };
}

/** Modelled seconds saved up to the end of every point of the series. */
function savedSecondsOf({ series, numSteps, plans, totals, rankChanges = [] }: ReplayResult): Float64Array {
  const { stepsPerPoint, stepSeconds, unbalancedStepSeconds, moveSeconds, firstStep } = series;
  let nextChange = 0;
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
    for (; nextChange < rankChanges.length && rankChanges[nextChange]!.step < end; nextChange++) {
      sum += rankChanges[nextChange]!.unbalancedRepairSeconds;
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
    replays.reduce((sum, { rankLoads, heatMap, layers }) => {
      const numRanks = numRanksOf(heatMap);
      return sum + keptSamples(rankLoads, { every, slowestSteps }).length * layers.length * numRanks;
    }, 0);
  const mapNumbers = replays.reduce(
    (sum, { heatMap, layers }) => sum + MAPS_OF_REPLAY * layers.length * numRanksOf(heatMap),
    0,
  );
  const mostSteps = Math.max(...replays.map(({ rankLoads }) => rankLoads.steps.length));
  let every = 1;
  while (every < mostSteps && numbersKept(every) + mapNumbers > MAX_PAGE_NUMBERS) every *= 2;
  return { every, slowestSteps };
}

/** Those that come on the way among them. */
function numRanksOf({ before }: HeatMap): number {
  return before[0]?.length ?? 0;
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
    ...(samples.means && { means: packNumbers(kept.flatMap((i) => samples.means![i]!)) }),
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

/** The first rank of each node. @param nodes `[ranks]`: the node of each */
export function nodeStartsOf(nodes: ArrayLike<number>): number[] {
  const starts: number[] = [];
  for (let rank = 0; rank < nodes.length; rank++) {
    if (rank === 0 || nodes[rank] !== nodes[rank - 1]) starts.push(rank);
  }
  return starts;
}

/** Six figures: more than a chart shows, and half as long. */
function rounded(value: number): number {
  return Number(value.toPrecision(6));
}
