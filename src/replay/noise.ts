import { checkAtLeast, checkWhole } from '../core/checks.ts';
import { SeededRandom } from './random.ts';

/** Draws that a peak is the mean of: right to about 1 % of its distance from 1. */
const NUM_DRAWS = 4000;
/** With more, the draws take seconds. */
const MOST_RANKS = 2 ** 14;

/**
 * The mean PAR of ranks that all have the same chance of every load: what is left when a placement knows
 * every expert's popularity and could balance it perfectly, because the next step is a sample. Loads are
 * thrown at the ranks one by one (a multinomial with equal probabilities), and the largest count / the mean
 * is averaged over seeded draws.
 *
 * For many loads a rank it tends to 1 + m / sqrt(load of a rank), m the expected largest of `numRanks` normal
 * numbers (David and Nagaraja, Order Statistics, 2003): the deviations of equal multinomial cells are
 * sqrt(load) (Z_i - mean of Z). For few, the balls into bins of Raab and Steger (1998). Tokens of one
 * sequence are not independent, so real steps are no smoother than this.
 *
 * @param rankLoad mean loads of a rank in a step
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE` or `EPLB_NOT_WHOLE`
 */
export function samplingNoisePeak(numRanks: number, rankLoad: number, seed = 1): number {
  checkWhole('numRanks', numRanks, 1, MOST_RANKS);
  checkAtLeast('rankLoad', rankLoad, 0);
  checkWhole('seed', seed, 0, 2 ** 32 - 1);
  if (numRanks === 1 || rankLoad === 0) return 1;
  const random = new SeededRandom(seed);
  const total = Math.max(1, Math.round(numRanks * rankLoad));
  let sum = 0;
  for (let draw = 0; draw < NUM_DRAWS; draw++) {
    let left = total;
    let most = 0;
    for (let rank = 0; rank < numRanks; rank++) {
      const load = rank === numRanks - 1 ? left : random.binomial(left, 1 / (numRanks - rank));
      most = Math.max(most, load);
      left -= load;
    }
    sum += most;
  }
  return (sum / NUM_DRAWS) * (numRanks / total);
}
