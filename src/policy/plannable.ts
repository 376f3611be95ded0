import { checkTopology } from '../core/check-topology.ts';
import { EplbRangeError } from '../core/errors.ts';
import { knowsRanks, type Topology } from '../core/topology.ts';
import type { KernelRequest } from '../engine/plan-job.ts';
import { kernelOf } from './kernels.ts';
import { makePolicy, POLICY_NAMES } from './registry.ts';

/**
 * A checked topology that a policy can plan.
 *
 * @param request of the policy; undefined for one without a kernel, which tells when it plans
 * @param title what closed slots are called
 * @throws as `checkTopology`; EplbRangeError `EPLB_TOPOLOGY` for what the policy cannot plan, which names the
 * policies of this library that can
 */
export function checkPlannable(
  request: KernelRequest | undefined,
  given: Topology,
  title = 'slotsPerRank',
): Topology {
  const topology = checkTopology(given);
  if (request === undefined) return topology;
  const refusal = refusalOf(request, given, topology, title);
  if (refusal === undefined) return topology;
  // Sizes that are too large are no question of what a policy can do with ranks.
  if (isUsual(given, topology)) throw refusal;
  const able = POLICY_NAMES.filter((name) => {
    const other = makePolicy(name)?.kernelRequest();
    return other !== undefined && refusalOf(other, given, topology, title) === undefined;
  });
  if (able.length === 0) throw refusal;
  const message = `${refusal.message}; policies that can plan this: ${able.join(', ')}`;
  throw new EplbRangeError('EPLB_TOPOLOGY', message);
}

/** Whether ranks, nodes and groups are alike, and all slots open. */
function isUsual({ numPhysicalExperts }: Topology, topology: Topology): boolean {
  const { numLogicalExperts, numGroups, slotsPerRank } = topology;
  const isEven = numPhysicalExperts === topology.numPhysicalExperts && numLogicalExperts % numGroups === 0;
  return isEven && slotsPerRank === undefined && !knowsRanks(topology);
}

/** Why a policy's kernel cannot plan a topology. */
function refusalOf(
  request: KernelRequest,
  given: Topology,
  topology: Topology,
  title: string,
): EplbRangeError | undefined {
  const kernel = kernelOf(request);
  try {
    checkTopology(given, { evenFor: kernel.evenFor });
    kernel.checkTopology(request, topology, title);
    return undefined;
  } catch (error) {
    if (error instanceof EplbRangeError && error.code === 'EPLB_TOPOLOGY') return error;
    throw error;
  }
}
