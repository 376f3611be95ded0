import { isTooShort, tooShortSentence } from '../../replay/advice.ts';
import type { ReplayResult, SweepPoint } from '../../replay/index.ts';

type Planned = readonly { readonly isShort: boolean; readonly interval: number | null | undefined }[];

/** Says which plans came too late, where some did not: where all did, the advice says so. */
function noteOf(planned: Planned, numSteps?: number): string[] {
  const short = planned.filter(({ isShort }) => isShort);
  if (short.length === 0 || short.length === planned.length) return [];
  const intervals = short.map(({ interval }) => interval);
  return [tooShortSentence('too short for some', intervals, numSteps)];
}

/** {@link noteOf} results of one recording. */
export function tooShortNotes(results: readonly ReplayResult[]): string[] {
  const planned = results
    .filter(({ configuration }) => configuration.policy !== 'static')
    .map((result) => ({ isShort: isTooShort(result), interval: result.configuration.trigger.interval }));
  return noteOf(planned, results[0]?.numSteps);
}

/** {@link noteOf} the points of a sweep. */
export function tooShortPointNotes(points: readonly SweepPoint[]): string[] {
  const planned = points
    .filter((point) => point.status === 'done')
    .filter(({ policy }) => policy !== 'static')
    .map(({ isTooShort: isShort = false, interval }) => ({ isShort, interval }));
  return noteOf(planned);
}

/** Whether no policy ever planned, so that all results are the same by nature. */
export function areAllAlike(results: readonly ReplayResult[]): boolean {
  const planned = results.filter(({ configuration }) => configuration.policy !== 'static');
  return (
    planned.length > 0 &&
    results.every(({ status }) => status === 'complete') &&
    planned.every((result) => result.plans.length === 0 && isTooShort(result))
  );
}
