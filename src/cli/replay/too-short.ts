import { counted } from '../../formats/number-text.ts';
import type { ReplayResult } from '../../replay/index.ts';

/**
 * Says that a recording is too short for the first plan of an interval to take effect.
 *
 * @param intervals - steps between plans of replays that plan by their interval alone
 */
export function tooShortNotes(intervals: readonly number[], numSteps: number | undefined): string[] {
  if (numSteps === undefined) return [];
  const short = [...new Set(intervals)].filter((interval) => interval >= numSteps).sort((a, b) => a - b);
  if (short.length === 0) return [];
  const advice = numSteps > 1 ? `; give --interval of ${numSteps - 1} or fewer` : '';
  return [
    `${counted(numSteps, 'step')} are too few for plans every ${short.join(', ')} steps: none takes effect, ` +
      `and all is as without balancing${advice}`,
  ];
}

/** The intervals of results that plan by them alone. */
export function intervalsOf(results: readonly ReplayResult[]): number[] {
  return results.flatMap(({ configuration: { policy, trigger } }) => {
    const { interval, loadThreshold, drift } = trigger;
    const isAlone = policy !== 'static' && loadThreshold === undefined && drift === undefined;
    return isAlone && interval !== undefined ? [interval] : [];
  });
}

/** Whether no plan of any policy can have taken effect, so that all results are the same. */
export function areAllTooShort(results: readonly ReplayResult[]): boolean {
  const numPlanning = results.filter(({ configuration }) => configuration.policy !== 'static').length;
  const intervals = intervalsOf(results);
  const { numSteps, status } = results[0]!;
  return (
    status === 'complete' &&
    numPlanning > 0 &&
    intervals.length === numPlanning &&
    Math.min(...intervals) >= numSteps
  );
}
