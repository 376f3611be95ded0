import type { Topology } from '../core/topology.ts';
import type { KernelRequest } from '../engine/plan-layers.ts';
import type { PlanTables } from '../engine/plan-tables.ts';
import type { CoactivationMatrix } from '../loads/coactivation.ts';
import type { LoadsInput } from '../loads/load-matrix.ts';
import type { LoadSamples } from '../loads/load-samples.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { PlanDecision } from './decision.ts';
import { mappingOf } from './job-tables.ts';

/** What a policy may know beyond the loads. */
export interface PolicyContext {
  /** The live mapping: what stays on its rank stays in its slot. */
  readonly previous?: ExpertMapping;
  /** Which experts are routed together. */
  readonly coactivation?: CoactivationMatrix;
  /** The steps that the loads are the mean of, for policies that ask for them by `maxSamples`. */
  readonly samples?: LoadSamples;
  /** How many slots of each rank may hold an expert: see `Topology.slotsPerRank`. The others have to stay empty. */
  readonly slotsPerRank?: readonly number[];
}

/**
 * Decides which experts get replicas and where each lives. Subclass it for a policy of your own: as an object it runs in the
 * balancer's thread, given as a module URL it runs in the pool.
 *
 * @example
 * ```ts
 * export class RoundRobin extends AbstractEplbPolicy {
 *   readonly name = 'round-robin';
 *   override rebalanceExperts(weight: LoadsInput, numReplicas: number): ExpertMapping {
 *     const layers = 'data' in weight ? weight.numLayers : weight.length;
 *     const experts = 'data' in weight ? weight.numExperts : (weight[0]?.length ?? 0);
 *     const row = Array.from({ length: numReplicas }, (_, slot) => slot % experts);
 *     return ExpertMapping.fromPhysicalToLogical(Array.from({ length: layers }, () => row));
 *   }
 * }
 * ```
 */
export abstract class AbstractEplbPolicy {
  /** Short name for reports. */
  abstract readonly name: string;

  /**
   * How many samples of a balancer's steps the policy wants in `context.samples`, at most. More steps are joined to runs.
   * 0, none, by default: a balancer keeps samples only for a policy (an object, not a URL) that wants them.
   */
  readonly maxSamples: number = 0;

  /** Steps that the samples go back when the balancer's window is shorter. 0 by default: samples are of the window. */
  readonly rememberedSteps: number = 0;

  /**
   * Plans all layers, synchronously, in the calling thread.
   *
   * @param weight loads [layers x logical], finite and >= 0
   * @param numReplicas slots per layer: at least the experts, a multiple of `numRanks`
   * @param numGroups groups of experts: they divide the experts evenly
   * @param numNodes fast-network domains: they divide the ranks evenly
   * @param numRanks devices
   * @returns a valid mapping [layers x numReplicas], without experts in slots that `context.slotsPerRank` closes
   */
  abstract rebalanceExperts(
    weight: LoadsInput,
    numReplicas: number,
    numGroups: number,
    numNodes: number,
    numRanks: number,
    context?: PolicyContext,
  ): ExpertMapping;

  /** @internal The kernel that does this policy's work, for policies that have one: the pool then runs it layer by layer. */
  kernelRequest(): KernelRequest | undefined {
    return undefined;
  }

  /** @internal What to make of the tables that the policy's kernel has filled, which are then the mapping's. */
  decideOn(topology: Topology, tables: PlanTables, _previous: ExpertMapping): PlanDecision {
    return { status: 'planned', mapping: mappingOf(topology, tables) };
  }

  /** @internal {@link rebalanceExperts}, with what there is to say of it. */
  decide(
    weight: LoadsInput,
    numReplicas: number,
    numGroups: number,
    numNodes: number,
    numRanks: number,
    context: PolicyContext,
  ): PlanDecision {
    const mapping = this.rebalanceExperts(weight, numReplicas, numGroups, numNodes, numRanks, context);
    return { status: 'planned', mapping };
  }
}
