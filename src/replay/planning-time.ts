import { twoDigits } from '../formats/number-text.ts';

/**
 * Seconds of a plan for each slot of a layer, by policy: medians of bench/RESULTS.md for 58 layers of 256
 * experts in 288 slots on one worker thread, rounded up (0.97 ms, 65 ms with 64 samples, 85 ms).
 */
const SECONDS_PER_SLOT: Readonly<Record<string, number>> = {
  static: 0,
  default: 0.1e-6,
  adaptive: 4e-6,
  locality: 6e-6,
};
/** Of a policy that is not the library's: as long as the slower of the two that only look at loads. */
const OTHER_SECONDS_PER_SLOT = 4e-6;
/** To wake a thread and take its answer. */
const SECONDS_PER_PLAN = 1e-3;

/**
 * Seconds that a policy's plan is taken to need where nobody says, or measures, what it needs: a figure for
 * its slots, the same on every machine, rounded to two digits.
 *
 * @param policy one of the library's, by its name; any other counts as `adaptive`
 * @param topology slots a layer, empty ones included, and layers
 */
export function fixedPlanningSeconds(
  policy: string,
  topology: { readonly numLayers: number; readonly numPhysicalExperts: number },
): number {
  if (policy === 'static') return 0;
  const own = Object.hasOwn(SECONDS_PER_SLOT, policy) ? SECONDS_PER_SLOT[policy]! : OTHER_SECONDS_PER_SLOT;
  const slots = topology.numLayers * topology.numPhysicalExperts;
  return twoDigits(SECONDS_PER_PLAN + own * slots);
}
