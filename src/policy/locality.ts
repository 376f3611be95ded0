import { checkNumber, checkObject, checkWhole } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';
import { checkKnownKeys } from '../core/known-keys.ts';
import type { KernelRequest } from '../engine/plan-job.ts';
import type { LoadsInput } from '../loads/load-matrix.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import { AbstractEplbPolicy, type PolicyContext, type PolicyNeeds } from './abstract.ts';
import { planInline } from './inline.ts';
import type { LocalityRequest } from './locality-kernel.ts';

/** What a {@link LocalityAwarePolicy} may trade. */
export interface LocalityAwarePolicyOptions {
  /**
   * How much worse than `DefaultEplbPolicy`'s a layer's balancedness may be on the loads it is planned with,
   * and how much heavier than the mean a node may be: a share in [0, 1). Default 0.05.
   */
  readonly tolerance?: number;
  /**
   * Exchanges looked at for a layer, about: more find a little better placements in proportionately more
   * time. Default: 4,000 an expert, some 3 to 7 ms for 64 experts and 10 ms for 256. It is all that ends a
   * plan in the calling thread, which no signal can cancel; a step that was begun is looked at to its end,
   * which is at most half the square of the slots.
   */
  readonly maxEvaluations?: number;
}

/**
 * Puts experts that are routed together on the same node, so that a token's experts live on fewer nodes and
 * its activations cross the slow network less often. Which experts belong together is told by
 * `context.coactivation` (counted by `CoactivationRecorder`); without it, by the groups. With neither, and on
 * more than 64 nodes, it plans as `DefaultEplbPolicy` does.
 *
 * The replicas that balance needs go to different nodes, so that tokens find them on their own; redundant
 * slots that balance can spare go to the experts that save most crossings. The highest rank load of a layer,
 * on the loads it is planned with, never exceeds that of `DefaultEplbPolicy` / (1 - tolerance).
 *
 * @example
 * ```ts
 * const policy = new LocalityAwarePolicy({ tolerance: 0.05 });
 * const mapping = policy.rebalanceExperts(loads, 80, 1, 4, 16, { coactivation: recorder.matrix() });
 * ```
 */
export class LocalityAwarePolicy extends AbstractEplbPolicy {
  readonly name: string = 'locality';
  override readonly needs: PolicyNeeds = { coactivation: true };
  readonly #request: LocalityRequest;

  /** @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE` or `EPLB_NOT_WHOLE`, naming the option */
  constructor(options: LocalityAwarePolicyOptions = {}) {
    super();
    const { tolerance = 0.05, maxEvaluations } = checkObject('options', options);
    checkKnownKeys('options', options, ['tolerance', 'maxEvaluations']);
    checkNumber('tolerance', tolerance);
    if (!(tolerance >= 0 && tolerance < 1)) {
      throw new EplbRangeError('EPLB_RANGE', `tolerance: ${tolerance} is not at least 0 and less than 1`);
    }
    const budget =
      maxEvaluations === undefined ? 0 : checkWhole('maxEvaluations', maxEvaluations, 1, 2 ** 31 - 1);
    this.#request = { kernel: 'locality', tolerance, maxEvaluations: budget };
  }

  /**
   * Blocks the calling thread for the whole plan: some milliseconds a layer. The balancer plans in its pool
   * instead.
   */
  override rebalanceExperts(
    weight: LoadsInput,
    numReplicas: number,
    numGroups: number,
    numNodes: number,
    numRanks: number,
    context?: PolicyContext,
  ): ExpertMapping {
    return planInline(this.#request, weight, numReplicas, numGroups, numNodes, numRanks, context);
  }

  /** @internal */
  override kernelRequest(): KernelRequest | undefined {
    // A subclass that plans otherwise is asked itself.
    return this.rebalanceExperts === LocalityAwarePolicy.prototype.rebalanceExperts
      ? this.#request
      : undefined;
  }
}
