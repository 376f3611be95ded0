import { checkEvenNodes, checkEvenSizes } from '../core/check-topology.ts';
import { EplbRangeError } from '../core/errors.ts';
import { knowsRanks, type Topology } from '../core/topology.ts';
import type { KernelRequest } from '../engine/plan-job.ts';
import { kernelOf } from './kernels.ts';
import { makePolicy, POLICY_NAMES } from './registry.ts';

/** How {@link checkPlannable} names what it refuses. */
interface PlannableNames {
  /** Slots as they were given; those of the tables when left out. */
  readonly numSlots?: number;
  /** What closed slots are called. */
  readonly title?: string;
}

/**
 * Refuses a topology that a policy cannot plan.
 *
 * @param request of the policy; undefined for one without a kernel, which tells when it plans
 * @param topology checked
 * @throws EplbRangeError `EPLB_TOPOLOGY`, which names the policies of this library that can plan it
 */
export function checkPlannable(
  request: KernelRequest | undefined,
  topology: Topology,
  { numSlots = topology.numPhysicalExperts, title = 'slotsPerRank' }: PlannableNames = {},
): void {
  if (request === undefined) return;
  const refusal = refusalOf(request, topology, numSlots, title);
  if (refusal === undefined) return;
  // Sizes that are too large are no question of what a policy can do with ranks.
  if (isUsual(topology, numSlots)) throw refusal;
  const able = POLICY_NAMES.filter((name) => {
    const other = makePolicy(name)?.kernelRequest();
    return other !== undefined && refusalOf(other, topology, numSlots, title) === undefined;
  });
  if (able.length === 0) throw refusal;
  const message = `${refusal.message}; policies that can plan this: ${able.join(', ')}`;
  throw new EplbRangeError('EPLB_TOPOLOGY', message);
}

/** Whether ranks, nodes and groups are alike, and all slots open. */
function isUsual(topology: Topology, numSlots: number): boolean {
  const { numPhysicalExperts, numLogicalExperts, numGroups, slotsPerRank } = topology;
  const isEven = numSlots === numPhysicalExperts && numLogicalExperts % numGroups === 0;
  return isEven && slotsPerRank === undefined && !knowsRanks(topology);
}

/** Why a policy's kernel cannot plan a topology. */
function refusalOf(
  request: KernelRequest,
  topology: Topology,
  numSlots: number,
  title: string,
): EplbRangeError | undefined {
  const kernel = kernelOf(request);
  const { evenFor } = kernel;
  try {
    if (evenFor !== undefined) {
      checkEvenSizes({ ...topology, numPhysicalExperts: numSlots }, evenFor);
      checkEvenNodes(topology, evenFor);
    }
    kernel.checkTopology(request, topology, title);
    return undefined;
  } catch (error) {
    if (error instanceof EplbRangeError && error.code === 'EPLB_TOPOLOGY') return error;
    throw error;
  }
}
