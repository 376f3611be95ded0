import { type LocalityAwarePolicyOptions, localityOptions } from './adaptive/locality-options.ts';
import { AdaptiveEplbPolicy } from './adaptive/policy.ts';

/**
 * Puts experts that are routed together on the same node, so that a token's experts live on fewer nodes and
 * its activations cross the slow network less often. Which experts belong together is told by
 * `context.coactivation` (counted by `CoactivationRecorder`); without it, by the groups. With neither, and on
 * more than 64 nodes, all that is left is to balance.
 *
 * It is the search of {@link AdaptiveEplbPolicy} with a price for the links between nodes, and with a limit
 * on what they may cost: it starts from the live mapping, moves an expert when that saves more than a move
 * costs, and else keeps what is there. The highest rank load of a layer, on the mean of the loads it is
 * planned with, never exceeds that of `DefaultEplbPolicy` / (1 - tolerance). Of ranks that are not alike it
 * is the time that the copies of that policy take when they are dealt to these ranks.
 *
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
