import { AdaptiveEplbPolicy } from 'expert-load-balancer';

const MOST = 2 ** 31 - 1;

/** Plans for some milliseconds a layer of 64 experts, the same for the same loads. */
export function slowPolicy(): AdaptiveEplbPolicy {
  return new AdaptiveEplbPolicy({ price: 0, effort: 'thorough', numKicks: 200 });
}

/** Plans until it is cancelled. */
export function endlessPolicy(): AdaptiveEplbPolicy {
  return new AdaptiveEplbPolicy({ price: 0, effort: 'thorough', numKicks: MOST, maxEvaluations: MOST });
}
