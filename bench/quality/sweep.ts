import type { AdaptiveEplbPolicyOptions } from 'expert-load-balancer';
import {
  byAdaptive,
  byDefault,
  byDefaultThatRemembers,
  byNobody,
  byOracle,
  type Score,
  score,
} from './protocol.ts';
import type { Row } from './recordings.ts';

/** Moves cost nothing, and a plan may take its time. */
const NO_PRICE: AdaptiveEplbPolicyOptions = { price: 0, effort: 'thorough', numKicks: 20 };

/** From hardly any price to hardly any move, four to a doubling. */
export const PRICES = Array.from({ length: 27 }, (_, i) => 0.0003 * 2 ** (i / 4));
/** A price is all that is asked for. */
const PRICED: AdaptiveEplbPolicyOptions = {};

/** A price and what it gave. */
interface Priced extends Score {
  readonly price: number;
}

/** All that was run on one recording. */
export interface Sweep {
  readonly row: Row;
  /** The first placement, never changed. */
  readonly static: Score;
  readonly default: Score;
  readonly defaultThatRemembers: Score;
  /** The default policy, given the loads to come. */
  readonly oracle: Score;
  /** The adaptive policy, when it sees no more than the window. */
  readonly forgetful: Score;
  readonly unpriced: Score;
  readonly priced: readonly Priced[];
  /** The policy as it is made without options. */
  readonly usual: Score;
}

export function sweepOf(row: Row): Sweep {
  return {
    row,
    static: score(row, byNobody),
    default: score(row, byDefault),
    defaultThatRemembers: score(row, byDefaultThatRemembers),
    oracle: score(row, byOracle),
    forgetful: score(row, byAdaptive({ ...NO_PRICE, rememberedSteps: 0 })),
    unpriced: score(row, byAdaptive(NO_PRICE)),
    priced: PRICES.map((price) => ({ price, ...score(row, byAdaptive({ ...PRICED, price })) })),
    usual: score(row, byAdaptive({})),
  };
}

/** The best of a sweep that moves at most so much. */
export function bestWithin({ priced, static: unmoved }: Sweep, movesPerLayer: number): Score {
  const within = priced.filter((one) => one.movesPerLayer <= movesPerLayer);
  return within.reduce<Score>((best, one) => (one.balancedness > best.balancedness ? one : best), unmoved);
}

/** A price, planned from each of the first steps on that a cadence has. */
export interface Strayed {
  readonly price: number;
  readonly scores: readonly Score[];
}

export const STRAYED_PRICES = [0, 0.0012, 0.0045];
const STRAYED: AdaptiveEplbPolicyOptions = {};

/** How far the figures stray with the step of the first plan. */
export function strayOf(row: Row): Strayed[] {
  const { steps, every } = row;
  const starts = Array.from({ length: every }, (_, first) => first);
  return STRAYED_PRICES.map((price) => ({
    price,
    scores: starts.map((first) =>
      score(
        { ...row, steps: { ...steps, loads: steps.loads.slice(first) } },
        byAdaptive({ ...STRAYED, price }),
      ),
    ),
  }));
}
