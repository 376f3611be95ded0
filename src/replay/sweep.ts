import {
  type BatchText,
  isTooShort,
  paysFromText,
  savesText,
  tooShortSentence,
  WORTH_SHARE,
} from './advice.ts';
import type { ReplayResult } from './result.ts';
import { savedShare } from './saved-share.ts';
import { savedSpread } from './spread.ts';
import { survivalAdvice } from './survival-advice.ts';
import type { SweepPoint, SweepPointDone, SweepPointKey, SweepResult } from './sweep-result.ts';

/**
 * What a replay came to, as a point of a sweep.
 *
 * @param batch what was replayed, where it is known
 */
export function sweepPoint(
  key: SweepPointKey,
  result: ReplayResult,
  { tokensPerRank }: BatchText = { tokensPerRank: null },
): SweepPointDone {
  const { totals, balance, configuration, batches, failureLosses } = result;
  const isStatic = configuration.policy === 'static';
  const spread = savedSpread(result);
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
    ...(failureLosses && { failureLosses }),
    ...(spread === undefined ? {} : { savedSpread: spread }),
    ...(!isStatic && isTooShort(result) ? { isTooShort: true as const } : {}),
    ...(isStatic || batches === undefined ? {} : { batches }),
    ...(tokensPerRank === null ? {} : { tokensPerRank }),
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

/**
 * Puts a sweep's points together: fronts and advice.
 *
 * @param level of failures to survive; when left out a node, or a rank where there is one node
 */
export function sweepResult(
  axes: SweepResult['axes'],
  points: readonly SweepPoint[],
  status: SweepResult['status'],
  texts: AdviceTexts,
  level?: string,
): SweepResult {
  const ranks = [...new Set(points.map(({ numRanks }) => numRanks))];
  const { advice, point } = advise(points, texts);
  const ofSurvival = survivalAdvice(points, texts, level);
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
    ...(ofSurvival === undefined ? {} : { survivalAdvice: ofSurvival }),
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
 * that the same slots and ranks take without balancing, and something in 95 of 100 draws of its plans; else
 * not to balance.
 */
export function advise(
  points: readonly SweepPoint[],
  { seconds, bytes, percent }: AdviceTexts,
): { advice: string; point: SweepPointDone | undefined } {
  const done = points.filter((point) => point.status === 'done');
  const planned = done.filter(({ policy }) => policy !== 'static');
  const judged = planned.filter((point) => point.isTooShort !== true);
  const best = leastOf(judged, (point) => point.modelledSeconds);
  if (best === undefined) {
    const advice =
      done.length === 0
        ? 'No configuration could be replayed, so there is nothing to advise.'
        : planned.length === 0
          ? 'Only the static placement was replayed, so there is nothing to advise.'
          : tooShortSentence(
              'Too short to say',
              planned.map(({ interval }) => interval),
            );
    return { advice, point: undefined };
  }
  const share = savedShare(best);
  const unbalanced = leastOf(done, (point) => point.unbalancedSeconds)!;
  const isSure = best.savedSpread === undefined || best.savedSpread.low > 0;
  const isFastest = best.modelledSeconds < unbalanced.unbalancedSeconds;
  const pays = share >= WORTH_SHARE && isSure && isFastest;
  const saves = savesText(share, best.savedSpread, best.numPlans, percent);
  const from = paysFromText(
    best.bytes > 0 ? best.batches : undefined,
    { tokensPerRank: best.tokensPerRank ?? null },
    share,
    pays,
  );
  if (!pays) {
    const inTime = judged.length < planned.length ? ' in time' : '';
    const advice =
      `Do not balance: of ${judged.length} configurations that plan${inTime}, the fastest (${best.name}) takes ` +
      `${seconds(best.modelledSeconds)}, ${seconds(best.moveSeconds)} of it for moving ` +
      `${bytes(best.bytes)}, where ` +
      `${unbalanced.numPhysicalExperts} slots on ${unbalanced.numRanks} ranks take ` +
      `${seconds(unbalanced.unbalancedSeconds)} without balancing: it ${saves}.${from}`;
    return { advice, point: undefined };
  }
  const advice =
    `Balance with ${best.name}: it ${saves}, ${seconds(best.modelledSeconds)} instead of ` +
    `${seconds(best.unbalancedSeconds)} without balancing, ${seconds(best.moveSeconds)} of it for moving ` +
    `${bytes(best.bytes)}, with ` +
    `${bytes(best.redundantBytesPerRank)} a rank for redundant experts.${from}`;
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
