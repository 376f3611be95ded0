import type { ReplayResult } from './result.ts';
import { savedShare } from './saved-share.ts';
import type { SweepPoint, SweepPointDone, SweepPointKey, SweepResult } from './sweep-result.ts';

/**
 * A saving below this share of the time without balancing is called none: less than the model can resolve.
 */
export const WORTH_SHARE = 0.01;

/** What a replay came to, as a point of a sweep. */
export function sweepPoint(
  key: SweepPointKey,
  { totals, balance, configuration }: ReplayResult,
): SweepPointDone {
  return {
    ...key,
    status: 'done',
    modelledSeconds: totals.modelledSeconds,
    unbalancedSeconds: totals.unbalancedSeconds,
    secondsSaved: totals.secondsSaved,
    moveSeconds: totals.moveSeconds,
    planningSeconds: totals.planningSeconds,
    balancednessRatioOfSums: balance.balancednessRatioOfSums,
    balancednessMeanOfRatios: balance.balancednessMeanOfRatios,
    peakToAverageMeanOfRatios: balance.peakToAverageMeanOfRatios,
    numPlans: totals.numPlans,
    moves: totals.moves,
    bytes: totals.bytes,
    redundantBytes: totals.redundantBytesPerRank * configuration.numRanks,
    redundantBytesPerRank: totals.redundantBytesPerRank,
  };
}

/**
 * The Pareto front of modelled time against memory for redundant experts: the points that no other beats in
 * one without being beaten in the other, by ascending bytes. Of points that are equal in both, the first.
 */
export function paretoFront(points: readonly SweepPoint[]): SweepPointDone[] {
  const done = points.flatMap((point, order) => (point.status === 'done' ? [{ point, order }] : []));
  done.sort(
    (a, b) =>
      a.point.redundantBytes - b.point.redundantBytes ||
      a.point.modelledSeconds - b.point.modelledSeconds ||
      a.order - b.order,
  );
  let best = Number.POSITIVE_INFINITY;
  return done.flatMap(({ point }) => {
    if (point.modelledSeconds >= best) return [];
    best = point.modelledSeconds;
    return [point];
  });
}

/** Puts a sweep's points together: fronts and advice. */
export function sweepResult(
  axes: SweepResult['axes'],
  points: readonly SweepPoint[],
  status: SweepResult['status'],
  texts: AdviceTexts,
): SweepResult {
  const ranks = [...new Set(points.map(({ numRanks }) => numRanks))];
  const { advice, point } = advise(points, texts);
  return {
    axes,
    points,
    front: paretoFront(points).map(({ name }) => name),
    frontsByRanks: ranks.map((numRanks) => ({
      numRanks,
      names: paretoFront(points.filter((other) => other.numRanks === numRanks)).map(({ name }) => name),
    })),
    advice,
    advisedPoint: point?.name ?? null,
    status,
  };
}

/** How numbers read in the advice. */
export interface AdviceTexts {
  readonly seconds: (value: number) => string;
  readonly bytes: (value: number) => string;
  readonly percent: (share: number) => string;
}

/**
 * One sentence of advice with the numbers behind it: the fastest point, if it saves at least 1 % of the time
 * that the same slots and ranks take without balancing; else not to balance.
 */
export function advise(
  points: readonly SweepPoint[],
  { seconds, bytes, percent }: AdviceTexts,
): { advice: string; point: SweepPointDone | undefined } {
  const done = points.filter((point) => point.status === 'done');
  const planned = done.filter(({ policy }) => policy !== 'static');
  const best = leastOf(planned, (point) => point.modelledSeconds);
  if (best === undefined) {
    const advice =
      done.length === 0
        ? 'No configuration could be replayed, so there is nothing to advise.'
        : 'Only the static placement was replayed, so there is nothing to advise.';
    return { advice, point: undefined };
  }
  const share = savedShare(best);
  const unbalanced = leastOf(done, (point) => point.unbalancedSeconds)!;
  if (share < WORTH_SHARE || best.modelledSeconds >= unbalanced.unbalancedSeconds) {
    const advice =
      `Do not balance: of ${planned.length} configurations that plan, the fastest (${best.name}) takes ` +
      `${seconds(best.modelledSeconds)}, ${seconds(best.moveSeconds)} of it for moving ` +
      `${bytes(best.bytes)}, where ` +
      `${unbalanced.numPhysicalExperts} slots on ${unbalanced.numRanks} ranks take ` +
      `${seconds(unbalanced.unbalancedSeconds)} without balancing.`;
    return { advice, point: undefined };
  }
  const advice =
    `Balance with ${best.name}: ${seconds(best.modelledSeconds)} instead of ` +
    `${seconds(best.unbalancedSeconds)} without ` +
    `balancing (${percent(share)} less), ${seconds(best.moveSeconds)} of it for moving ` +
    `${bytes(best.bytes)}, with ` +
    `${bytes(best.redundantBytesPerRank)} a rank for redundant experts.`;
  return { advice, point: best };
}

/** The point with the least value; of equal ones the one with the least memory, then the first. */
function leastOf(
  points: readonly SweepPointDone[],
  value: (point: SweepPointDone) => number,
): SweepPointDone | undefined {
  let least: SweepPointDone | undefined;
  for (const point of points) {
    if (least === undefined) least = point;
    const difference = value(point) - value(least);
    if (difference < 0 || (difference === 0 && point.redundantBytes < least.redundantBytes)) least = point;
  }
  return least;
}
