import { type LocalityAwarePolicyOptions, localityOptions } from './adaptive/locality-options.ts';
import { AdaptiveEplbPolicy } from './adaptive/policy.ts';

/**
 * Puts experts that are routed together on the same node. The experts of a token then are on fewer nodes, and
 * its activations cross the slow network less often. `context.coactivation` (counted by
 * `CoactivationRecorder`) says which experts belong together, or else the groups do. With neither, and on
 * more than 64 nodes, the policy only balances.
 *
 * It is the search of {@link AdaptiveEplbPolicy} with a price for the links between nodes, and with a limit
 * on the balance that they may cost. It starts from the live mapping, moves an expert if that saves more than
 * a move costs, and otherwise keeps what is there. The highest rank load of a layer, on the mean of the loads
 * it is planned with, never exceeds that of `DefaultEplbPolicy` / (1 - tolerance). If ranks differ, the limit
 * is the time that the copies of that policy take when they are dealt to these ranks.
 * @example
 * ```ts
 * const policy = new LocalityAwarePolicy({ tolerance: 0.05 });
 * const mapping = policy.rebalanceExperts(loads, 80, 1, 4, 16, { coactivation: recorder.matrix() });
 * ```
 */
export class LocalityAwarePolicy extends AdaptiveEplbPolicy {
  override readonly name: string = 'locality';

  /** @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE` or `EPLB_NOT_WHOLE`, naming the option */
  constructor(options: LocalityAwarePolicyOptions = {}) {
    super(localityOptions(options));
  }
}
