import { counted, ratio, seconds } from '../formats/number-text.ts';
import { adviseReplays } from '../replay/advice.ts';
import type { ReplayReport, ReplayResult } from '../replay/result.ts';
import type { SweepResult } from '../replay/sweep-result.ts';
import { isStatic } from './compact.ts';

/** The replay with the least modelled seconds; the first of equal ones. */
function fastestOf(replays: readonly ReplayResult[]): ReplayResult {
  return replays.reduce((a, b) => (b.totals.modelledSeconds < a.totals.modelledSeconds ? b : a));
}

/**
 * The replay that is looked at first: the fastest, or, where none saves time, the best balanced that plans.
 */
function firstLookedAt(replays: readonly ReplayResult[]): ReplayResult {
  const fastest = fastestOf(replays);
  const planning = replays.filter((replay) => !isStatic(replay));
  if (fastest.totals.secondsSaved > 0 || planning.length === 0) return fastest;
  return bestBalanced(planning);
}

/** The replay with the highest balancedness as ratio of sums; the first of equal ones. */
function bestBalanced(replays: readonly ReplayResult[]): ReplayResult {
  const balanced = ({ balance }: ReplayResult) => balance.balancednessRatioOfSums;
  return replays.reduce((a, b) => (balanced(b) > balanced(a) ? b : a));
}

/** Index of the replay that the page shows first where it shows one. */
export function firstShown({ replays }: ReplayReport): number {
  return replays.indexOf(firstLookedAt(replays));
}

/** What to do, in a sentence or two: a sweep's advice, or that of the policies that were compared. */
export function headline({ replays, sweep, advice }: ReplayReport): string {
  // A report of the library has no advice with it, nor does it know tokens of a rank.
  return sweep?.advice ?? advice?.sentence ?? adviseReplays(replays, { tokensPerRank: null }).sentence;
}

/** What the chart of the sweep shows. */
export function sweepFinding({ points, frontsByRanks }: SweepResult): string {
  const done = points.filter(({ status }) => status === 'done');
  const onFront = frontsByRanks.reduce((sum, { names }) => sum + names.length, 0);
  return `${onFront} of ${counted(done.length, 'configuration')} are on the Pareto front of their ranks`;
}

/** What the chart over time shows. */
export function timeFinding({ replays }: ReplayReport): string {
  const best = bestBalanced(replays);
  const after = best.balance.balancednessRatioOfSums;
  const before = best.unbalanced.balancednessRatioOfSums;
  if (isStatic(best) || after <= before) {
    return `No policy lifts balancedness over the ${ratio(before)} of no balancing`;
  }
  return `${best.name} lifts balancedness from ${ratio(before)} to ${ratio(after)}`;
}

/** What the chart of modelled seconds shows. */
export function costFinding({ replays }: ReplayReport): string {
  const shown = firstLookedAt(replays);
  if (isStatic(shown)) return 'Nothing is moved without balancing';
  const { unbalancedSeconds, stepSeconds, moveSeconds, numPlans } = shown.totals;
  const saved = unbalancedSeconds - stepSeconds;
  const plans = counted(numPlans, 'plan');
  if (saved <= 0)
    return `${shown.name} saves no waiting with ${plans}, and moving weights takes ${seconds(moveSeconds)}`;
  return (
    `${shown.name} saves ${seconds(saved)} of waiting with ${plans}, for ${seconds(moveSeconds)} of ` +
    'moving weights'
  );
}

/** What was interrupted, if anything was, in sentences. */
export function partialNotice({ replays, sweep }: ReplayReport): string | undefined {
  const partial = replays.filter(({ status }) => status === 'partial');
  const alike = replays.every(({ numSteps }) => numSteps === replays[0]!.numSteps);
  const sentences: string[] = [];
  if (partial.length > 0 && alike) {
    sentences.push(
      `The replay was interrupted: all figures are of the first ${counted(partial[0]!.numSteps, 'step')}.`,
    );
  } else if (partial.length > 0) {
    const seen = replays.map(({ name, numSteps }) => `${name} ${counted(numSteps, 'step')}`);
    sentences.push(
      `The replay was interrupted: ${seen.join(', ')}. Totals of different steps do not compare.`,
    );
  }
  if (sweep?.status === 'partial') {
    const done = counted(sweep.points.length, 'configuration');
    sentences.push(`The sweep was interrupted: it holds the ${done} that were done.`);
  }
  return sentences.length === 0 ? undefined : sentences.join(' ');
}
