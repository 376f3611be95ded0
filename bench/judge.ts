import type { Verdict } from './bars.ts';
import type { Report, ReportedFigure } from './report.ts';

/**
 * What became of a figure.
 *
 * - `lost`, `gained`: by over 5 %, and not by noise
 * - `same`: within 5 %
 * - `noisy`: over 5 % off, but its runs do not tell whether that is the code's doing
 * - `unjudged`: a ratio, or a number with neither a bar nor enough runs
 */
type Outcome = 'lost' | 'gained' | 'same' | 'noisy' | 'unjudged';

/** A figure in two reports. */
export interface Comparison {
  readonly base: ReportedFigure;
  readonly next: ReportedFigure;
  /** New value / base value. */
  readonly ratio: number;
  readonly outcome: Outcome;
  /** Why it was not judged, or is noisy; else empty. */
  readonly reason: string;
}

/** Worse or better by less than this is the same. */
export const TOLERANCE = 1.05;
/** The least number of runs that make a median worth judging where there is no bar. */
const MANY_RUNS = 10;

/** Compares the figures that both have, in the order of the new ones. */
export function compareReports(base: Measured, next: Measured): Comparison[] {
  return next.figures.flatMap((figure) => {
    const before = base.figures.find(({ id, unit }) => id === figure.id && unit === figure.unit);
    if (before === undefined) return [];
    const suite = figure.id.slice(0, figure.id.indexOf('/'));
    return [compareFigure(before, figure, speedRatio(base.yardsticks[suite], next.yardsticks[suite]))];
  });
}

/** What of a report is compared. */
type Measured = Pick<Report, 'figures' | 'yardsticks'>;

/** @param slowness what the machine itself took, new / base */
export function compareFigure(base: ReportedFigure, next: ReportedFigure, slowness = 1): Comparison {
  return { base, next, ratio: next.value / base.value, ...judge(base, next, slowness) };
}

function speedRatio(base: number | undefined, next: number | undefined): number {
  return base === undefined || next === undefined ? 1 : next / base;
}

type Judgement = Pick<Comparison, 'outcome' | 'reason'>;

/** All units but 'x' are time or memory: less is better. */
function judge(base: ReportedFigure, next: ReportedFigure, slowness: number): Judgement {
  if (next.unit === 'x') return { outcome: 'unjudged', reason: 'a ratio' };
  const hasBar = next.bars.length > 0;
  const hasRuns = base.stats !== undefined && next.stats !== undefined;
  if (hasRuns && next.statistic === 'median' && (hasBar || fewestRuns(base, next) >= MANY_RUNS)) {
    return judgeMedian(base, next, next.unit === 'MB' ? 1 : slowness);
  }
  if (!hasBar) return { outcome: 'unjudged', reason: hasRuns ? 'few runs' : 'follows from others' };
  return judgeByBar(base, next);
}

/**
 * Noise only ever adds to a time: a change of the code shows in the quickest run as well as in the median,
 * where a busy neighbour moves the median alone. One that stays moves both, and the yardstick too.
 */
function judgeMedian(base: ReportedFigure, next: ReportedFigure, slowness: number): Judgement {
  const median = change(base.stats!.median, next.stats!.median);
  if (median === 0) return { outcome: 'same', reason: '' };
  if (median !== change(base.stats!.min, next.stats!.min)) {
    return { outcome: 'noisy', reason: 'the quickest run did not change so' };
  }
  // Only a machine that changed in the same direction explains anything.
  const explained = median > 0 ? Math.max(1, slowness) : Math.min(1, slowness);
  if (median !== change(base.stats!.median * explained, next.stats!.median)) {
    return { outcome: 'noisy', reason: `the machine itself took ${slowness.toFixed(2)}x` };
  }
  return { outcome: median > 0 ? 'lost' : 'gained', reason: '' };
}

/**
 * A tail, or a difference of two figures, has no quickest run: only a bar that was met and is not any more
 * counts.
 */
function judgeByBar(base: ReportedFigure, next: ReportedFigure): Judgement {
  const direction = change(base.value, next.value);
  if (direction === 0) return { outcome: 'same', reason: '' };
  const wasMet = isKept(base.bars[0]);
  const isMet = isKept(next.bars[0]);
  if (wasMet !== isMet) return { outcome: isMet ? 'gained' : 'lost', reason: '' };
  const what = next.statistic === 'single' ? 'without runs of its own' : 'a tail';
  return { outcome: 'noisy', reason: `${what}, and its bar is ${isMet ? 'still met' : 'as little met'}` };
}

/** Met, or missed by the machine alone. */
function isKept(verdict: Verdict | undefined): boolean {
  return verdict !== undefined && (verdict.isMet || verdict.isOfMachine);
}

/** 1 for over 5 % more, -1 for over 5 % less, else 0. */
function change(base: number, next: number): -1 | 0 | 1 {
  // A difference of two times may come out negative: of that there are no 5 %, only its sign.
  if (base <= 0 || next <= 0) return base <= 0 && next <= 0 ? 0 : next > 0 ? 1 : -1;
  if (next > base * TOLERANCE) return 1;
  return next * TOLERANCE < base ? -1 : 0;
}

function fewestRuns(base: ReportedFigure, next: ReportedFigure): number {
  return Math.min(base.stats?.samples ?? 0, next.stats?.samples ?? 0);
}
