import type { Dispatch } from '../core/dispatch.ts';
import { checkOptions } from '../core/known-keys.ts';
import type { Topology } from '../core/topology.ts';
import type { KernelRequest } from '../engine/plan-job.ts';
import type { PlanTables } from '../engine/plan-tables.ts';
import type { CoactivationMatrix } from '../loads/coactivation.ts';
import { type LoadMatrix, type LoadsInput, toLoadMatrix } from '../loads/load-matrix.ts';
import type { LoadSamples } from '../loads/load-samples.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { PlanDecision } from './decision.ts';
import type { GainScale } from './gain-scale.ts';
import type { MappingHistory } from './history.ts';
import { plannedMapping } from './job-tables.ts';

/** What a policy may know beyond the loads. */
export interface PolicyContext {
  /** The live mapping: what stays on its rank stays in its slot. */
  readonly previous?: ExpertMapping;
  /** Which experts are routed together. */
  readonly coactivation?: CoactivationMatrix;
  /** The steps that the loads are the mean of, for policies that ask for them by `maxSamples`. */
  readonly samples?: LoadSamples;
  /**
   * How many slots of each rank may hold an expert: see `Topology.slotsPerRank`. The others have to stay
   * empty.
   */
  readonly slotsPerRank?: readonly number[];
  /**
   * All that is known of the ranks: their speeds, nodes, what fails together, links, and which are dead. Its
   * sizes are those of the arguments. Left out where nothing is known but sizes and `slotsPerRank`.
   */
  readonly topology?: Topology;
}

/** What a balancer tells the policies of this library besides. */
export interface InternalContext {
  readonly history?: MappingHistory;
}

const CONTEXT_NAMES = ['previous', 'coactivation', 'samples', 'slotsPerRank', 'topology', 'history'];

/** Returns a context when it is one. @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION` */
export function checkContext(context: PolicyContext): PolicyContext {
  return checkOptions('context', context, CONTEXT_NAMES);
}

/** What a policy makes use of, so that nobody gathers what it does not look at. */
export interface PolicyNeeds {
  /** `context.coactivation`: replays and `eplb plan` count pairs of experts from recorded routes. */
  readonly coactivation?: boolean;
  /** `context.samples`: see `maxSamples` for how many. */
  readonly samples?: boolean;
  /**
   * What steps and moves cost: `eplb replay`, `compare` and `sweep` make the policy with the cost model that
   * they score by.
   */
  readonly cost?: boolean;
}

/** Samples for a policy that needs some and does not say how many. */
export const USUAL_SAMPLES = 64;

/**
 * Decides which experts get replicas and where each lives. Subclass it for a policy of your own: as an object
 * it runs in the balancer's thread, given as a module URL it runs in the pool.
 *
 * @example
 * ```ts
 * export class RoundRobin extends AbstractEplbPolicy {
 *   readonly name = 'round-robin';
 *   override rebalanceExperts({ numLayers, numExperts }: LoadMatrix, numReplicas: number): ExpertMapping {
 *     const row = Array.from({ length: numReplicas }, (_, slot) => slot % numExperts);
 *     return ExpertMapping.fromPhysicalToLogical(Array.from({ length: numLayers }, () => row));
 *   }
 * }
 * ```
 */
export abstract class AbstractEplbPolicy {
  /** Short name for reports. */
  abstract readonly name: string;

  /**
   * What it makes use of. Left out, it is given all that there is: pairs are counted for it wherever routes
   * are recorded. A subclass of one of this library's policies has that policy's needs, unless it names its
   * own.
   */
  readonly needs?: PolicyNeeds;

  /**
   * How many samples of a balancer's steps the policy wants in `context.samples`, at most. Of more steps half
   * of the samples are the newest, one by one, and older ones are joined; with fewer than 24 samples all are.
   * 0 by default: none, or 64 for a policy that `needs` samples. A balancer keeps samples
   * only for a policy that is an object, not a URL.
   */
  readonly maxSamples: number = 0;

  /**
   * Steps that the samples go back when the balancer's window is shorter. 0 by default: samples are of the
   * window.
   */
  readonly rememberedSteps: number = 0;

  /**
   * Plans all layers, synchronously, in the calling thread.
   *
   * @param weight loads [layers x logical], finite and >= 0; a subclass may take more kinds of input
   * @param numReplicas slots per layer: at least the experts, a multiple of `numRanks`
   * @param numGroups groups of experts: they divide the experts evenly
   * @param numNodes fast-network domains: they divide the ranks evenly
   * @param numRanks devices
   * @returns a valid mapping [layers x numReplicas], without experts in slots that `context.slotsPerRank`
   * closes
   */
  abstract rebalanceExperts(
    weight: LoadMatrix,
    numReplicas: number,
    numGroups: number,
    numNodes: number,
    numRanks: number,
    context?: PolicyContext,
  ): ExpertMapping;

  /**
   * @internal The kernel that does this policy's work, for policies that have one: the pool then runs it
   * layer by layer.
   */
  kernelRequest(): KernelRequest | undefined {
    return undefined;
  }

  /**
   * @internal What to make of the tables that the policy's kernel has filled, which are then the mapping's.
   */
  decideOn(topology: Topology, tables: PlanTables, _previous: ExpertMapping): PlanDecision {
    return { status: 'planned', mapping: plannedMapping(topology, tables) };
  }

  /**
   * Which copies tokens take in the engine that it plans for; 'even' when left out.
   * @internal
   */
  get tokenDispatch(): Dispatch | undefined {
    return undefined;
  }

  /** @internal What its forecasts are in, when that is time. */
  gainScale(_topology: Topology): GainScale | undefined {
    return undefined;
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
    const loads = toLoadMatrix('weight', weight);
    const mapping = this.rebalanceExperts(loads, numReplicas, numGroups, numNodes, numRanks, context);
    return { status: 'planned', mapping };
  }
}

/**
 * Whether co-activation is worth counting for a policy: not where it says that it needs none. What a module
 * needs is not known.
 */
export function usesPairs(policy: AbstractEplbPolicy | URL): boolean {
  return policy instanceof URL || policy.needs === undefined || policy.needs.coactivation === true;
}
