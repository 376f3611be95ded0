import { checkObject, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import type { Topology } from '../core/topology.ts';
import { isShared } from '../core/typed-arrays.ts';
import { type CoactivationMatrix, checkCoactivation } from '../loads/coactivation.ts';
import {
  checkLoads,
  copyLoads,
  copyLoadsTo,
  type LoadMatrix,
  type LoadsInput,
  type LoadsTarget,
  toLoadMatrix,
} from '../loads/load-matrix.ts';
import { checkSamples, type LoadSamples } from '../loads/load-samples.ts';
import { checkShape } from '../mapping/check-shape.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { KernelRegion } from '../memory/memory-arena.ts';

/** What may accompany a plan. */
export interface PlanOptions {
  /**
   * Which experts are routed together, for policies that use it. Must not be written until the plan has
   * settled.
   */
  readonly coactivation?: CoactivationMatrix;
  /**
   * Loads of single steps, for policies that plan from them; they then do not look at the window. Copied.
   * Left out, such a policy takes the window's steps, or `weight` as the one step there is.
   */
  readonly samples?: LoadSamples;
  /**
   * Where the experts are, if not where the live mapping has them: what moves is counted from it. It may have
   * experts in slots that are closed now, which `AdaptiveEplbPolicy` repairs with the fewest moves: say, the
   * mapping of a balancer that had more slots. Where the plan is to keep what there is, it is this mapping.
   */
  readonly previous?: ExpertMapping;
  /**
   * Cancels the plan, which is then rejected with `EPLB_CANCELLED`: between two layers, and within the search
   * for a layer. A plan in the calling thread (`threads: 0`) holds up the signal as well: only the policy's
   * `maxEvaluations` ends it.
   */
  readonly signal?: AbortSignal;
}

/** What may accompany a `ExpertLoadBalancer.rebalance`. */
export interface RebalanceOptions extends PlanOptions {
  /**
   * What to do when another mapping went live while the plan was made: 'replan' plans again from it, at most
   * three times, 'keep' leaves it live. Default 'replan'.
   */
  readonly ifStale?: 'replan' | 'keep';
}

/** How often a plan is made again when another mapping went live meanwhile. */
const MOST_REPLANS = 3;

/**
 * A plan as it is asked for, with what was read and checked of its options: from checked loads, or from the
 * window.
 */
export interface PlanRequest {
  readonly weight?: LoadMatrix | undefined;
  /** Whether the weight is in the job already, and whose memory that is: `weight` is a view on it. */
  readonly isWritten?: boolean;
  readonly writtenTo?: KernelRegion;
  readonly coactivation?: CoactivationMatrix | undefined;
  readonly samples?: LoadSamples | undefined;
  readonly previous?: ExpertMapping | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Of the window: see `planIfUneven` of the planner. */
  readonly imbalanceThreshold?: number;
}

/** How a plan's loads are taken over. */
export interface TakenFor {
  /** Whether it is planned in a later turn: the caller may reuse what is not shared, so that is copied. */
  readonly isLater: boolean;
  /** Whether a matrix on shared memory is left for the workers to read, who check its values then. */
  readonly isReadByWorkers: boolean;
  /** The names that the options may have, where those of a plan are not all. */
  readonly names?: readonly string[];
  /** Where the job has its loads, when nothing else is planned meanwhile. */
  readonly target?: LoadsTarget | undefined;
  /** The same where no job is run: its room is only to check values in. */
  readonly room?: LoadsTarget | undefined;
}

const NAMES = ['coactivation', 'samples', 'previous', 'signal'];
/** Of a rebalance, and of one in the calling thread, which no signal reaches. */
export const REBALANCE_NAMES = [...NAMES, 'ifStale'];
export const SYNC_NAMES = REBALANCE_NAMES.filter((name) => name !== 'signal');

/**
 * Reads and checks what a plan is asked with, each property once.
 * @throws EplbTypeError, EplbRangeError for wrong arguments
 */
export function readPlanRequest(
  topology: Topology,
  input: LoadsInput | undefined,
  options: PlanOptions,
  taken: TakenFor,
): PlanRequest {
  const { coactivation, samples, previous, signal } = checkOptions('options', options, taken.names ?? NAMES);
  if (previous !== undefined) checkShape('previous', previous, topology);
  if (signal !== undefined) checkSignal(signal);
  const { numLayers, numLogicalExperts } = topology;
  return {
    previous,
    signal,
    coactivation: coactivation === undefined ? undefined : checkCoactivation(coactivation, topology),
    samples: samples === undefined ? undefined : checkSamples(samples, numLayers, numLogicalExperts),
    ...(input === undefined ? {} : readWeight(topology, input, taken)),
  };
}

/**
 * Shared memory may be written by other threads: its values are checked where they are read, by the workers,
 * or in a copy.
 */
function readWeight(
  topology: Topology,
  input: LoadsInput,
  { isLater, isReadByWorkers, target, room }: TakenFor,
): Pick<PlanRequest, 'weight' | 'isWritten'> {
  const { numLayers, numLogicalExperts } = topology;
  const weight = toLoadMatrix('weight', input, numLayers, numLogicalExperts);
  if (isShared(weight.data)) return { weight: isReadByWorkers ? weight : copyLoads('weight', weight, room) };
  if (target !== undefined) return { weight: copyLoadsTo('weight', weight, target), isWritten: true };
  if (isLater) return { weight: copyLoads('weight', weight, room) };
  checkLoads('weight', weight, room);
  return { weight };
}

function checkSignal(signal: unknown): void {
  const isSignal =
    typeof signal === 'object' &&
    signal !== null &&
    typeof Reflect.get(signal, 'aborted') === 'boolean' &&
    typeof Reflect.get(signal, 'addEventListener') === 'function';
  if (!isSignal) throw new EplbTypeError('EPLB_KIND', `signal: ${show(signal)} is not an AbortSignal`);
}

/** How many plans a rebalance may take. @throws EplbRangeError `EPLB_RANGE` */
export function readMostPlans(options: RebalanceOptions): number {
  const { ifStale = 'replan' } = checkObject('options', options);
  if (ifStale === 'replan') return 1 + MOST_REPLANS;
  if (ifStale === 'keep') return 1;
  throw new EplbRangeError('EPLB_RANGE', `ifStale: ${show(ifStale)} is neither 'replan' nor 'keep'`);
}
