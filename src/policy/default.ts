import type { KernelRequest } from '../engine/plan-job.ts';
import type { LoadsInput } from '../loads/load-matrix.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import { AbstractEplbPolicy, type PolicyContext, type PolicyNeeds } from './abstract.ts';
import {
  type BalancedPacking,
  computeBalancedPacking,
  computeExpertReplication,
  type ExpertReplication,
} from './compute.ts';
import type { DefaultRequest } from './default-kernel.ts';
import { planInline } from './inline.ts';

const REQUEST: DefaultRequest = { kernel: 'default' };

/**
 * The balanced packing and replication that DeepSeek published as EPLB, slot for slot: loads, loads per
 * replica and pack sums are in float32, and every tie goes to the lowest index. If the number of groups is a
 * multiple of the number of nodes, whole groups are packed to nodes first, and each node is balanced by
 * itself. Otherwise all ranks are balanced as one node.
 *
 * If the context has a previous mapping, an expert that stays on a rank also stays in its slot.
 * @example
 * ```ts
 * const mapping = new DefaultEplbPolicy().rebalanceExperts([[90, 10, 40, 60]], 6, 1, 1, 2);
 * mapping.phyToLog; // six slots: rank 0 owns the first three
 * ```
 */
export class DefaultEplbPolicy extends AbstractEplbPolicy {
  readonly name: string = 'default';
  override readonly needs: PolicyNeeds = {};

  /**
   * Blocks the calling thread for the whole plan (a fraction of a millisecond for 58 layers of 256 experts).
   */
  override rebalanceExperts(
    weight: LoadsInput,
    numReplicas: number,
    numGroups: number,
    numNodes: number,
    numRanks: number,
    context?: PolicyContext,
  ): ExpertMapping {
    return planInline(REQUEST, weight, numReplicas, numGroups, numNodes, numRanks, context);
  }

  /** Packs items of each row to packs of equal size: see {@link computeBalancedPacking}. */
  balancedPacking(weight: LoadsInput, numPacks: number): BalancedPacking {
    return computeBalancedPacking(weight, numPacks);
  }

  /**
   * Gives redundant slots to the experts with the most load per replica: see
   * {@link computeExpertReplication}.
   */
  replicateExperts(weight: LoadsInput, numPhysical: number): ExpertReplication {
    return computeExpertReplication(weight, numPhysical);
  }

  /** @internal */
  override kernelRequest(): KernelRequest | undefined {
    // A subclass that plans otherwise is asked itself.
    return this.rebalanceExperts === DefaultEplbPolicy.prototype.rebalanceExperts ? REQUEST : undefined;
  }
}
