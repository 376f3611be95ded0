import { checkWhole } from '../core/checks.ts';
import { SeededRandom } from './random.ts';
import type { ReplayResult } from './result.ts';
import type { SavedSpread } from './savings.ts';

/** With fewer plans, how they differ says little. */
export const LEAST_PLANS = 3;
const NUM_DRAWS = 2000;

/**
 * The spread of what a replay saves over its recording: the periods of its plans are drawn with replacement
 * (Efron's bootstrap, 1979), each with what its plan and moves took; the steps before the first plan stay.
 * The draws are seeded: the same replay has the same spread.
 *
 * @returns undefined with fewer than three plans
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE` or `EPLB_NOT_WHOLE` for the seed
 */
export function savedSpread(
  { plans, totals }: Pick<ReplayResult, 'plans' | 'totals'>,
  seed = 1,
): SavedSpread | undefined {
  checkWhole('seed', seed, 0, 2 ** 32 - 1);
  const { modelledSeconds, stepSeconds, moveSeconds, unbalancedSeconds } = totals;
  if (plans.length < LEAST_PLANS || unbalancedSeconds === 0) return undefined;
  const countsPlanning = modelledSeconds > stepSeconds + moveSeconds;
  const periods = plans.map(({ period, moveSeconds: moving, planningSeconds }) => {
    const seconds = period.stepSeconds + moving + (countsPlanning ? planningSeconds : 0);
    return { saved: period.unbalancedSeconds - seconds, unbalanced: period.unbalancedSeconds };
  });
  const before = unbalancedSeconds - periods.reduce((sum, { unbalanced }) => sum + unbalanced, 0);
  const random = new SeededRandom(seed);
  const draws = Float64Array.from({ length: NUM_DRAWS }, () => {
    let saved = 0;
    let unbalanced = before;
    for (let i = 0; i < periods.length; i++) {
      const period = periods[Math.floor(random.next() * periods.length)]!;
      saved += period.saved;
      unbalanced += period.unbalanced;
    }
    return unbalanced > 0 ? saved / unbalanced : 0;
  }).sort();
  const at = (share: number) => draws[Math.round(share * (NUM_DRAWS - 1))]!;
  return { low: at(0.05), high: at(0.95), numPlans: plans.length };
}
