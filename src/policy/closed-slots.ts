import { EplbRangeError } from '../core/errors.ts';
import { firstInClosedSlot, openSlotsOfNodes } from '../core/open-slots.ts';
import type { Topology } from '../core/topology.ts';
import type { KernelRequest } from '../engine/plan-layers.ts';

// What slots a policy can plan for, and what may not be where they are closed. Tables, not mappings: the command has a copy of this module
// of its own.

/**
 * What a search takes grows faster than its sizes, and a plan in the calling thread cannot be cancelled: beyond these a layer would take
 * minutes. Measured at them, in a core's time on a busy machine: adaptive 1 to 14 s, 23 s with 100 kicks, 60 s where a limit of moves takes
 * eight searches; locality 0.5 to 24 s.
 */
const MOST_SIZES: Readonly<
  Record<KernelRequest['kernel'], Partial<Record<'slots' | 'ranks' | 'experts', number>>>
> = {
  default: {},
  locality: { slots: 2 ** 17, experts: 2 ** 13 },
  adaptive: { slots: 2 ** 14, ranks: 2 ** 10 },
};

/**
 * Refuses sizes that a policy's kernel cannot plan for: too many slots, ranks or experts; ranks that do not have all their slots, but for
 * the adaptive policy; there, a node without room for the experts of its groups, where these stay on their node.
 *
 * @throws EplbRangeError `EPLB_TOPOLOGY`
 */
export function checkSlots(request: KernelRequest, topology: Topology, title = 'slotsPerRank'): void {
  checkSizes(request, topology);
  if (topology.slotsPerRank === undefined) return;
  const { numLogicalExperts, numNodes, numGroups } = topology;
  if (request.kernel !== 'adaptive') {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `${title}: the ${request.kernel} policy fills all slots of all ranks; for closed ones take the adaptive policy`,
    );
  }
  if (!request.keepsGroups || numNodes === 1 || numGroups % numNodes !== 0) return;
  const wanted = numLogicalExperts / numNodes;
  const slots = openSlotsOfNodes(topology);
  const node = slots.findIndex((size) => size < wanted);
  if (node < 0) return;
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `${title}: node ${node} has ${slots[node]} slots, too few for the ${wanted} experts of its groups (locality 'groups')`,
  );
}

function checkSizes({ kernel }: KernelRequest, topology: Topology): void {
  const { numPhysicalExperts: slots, numRanks: ranks, numLogicalExperts: experts } = topology;
  for (const [name, size] of Object.entries({ slots, ranks, experts })) {
    const most = MOST_SIZES[kernel][name as 'slots' | 'ranks' | 'experts'];
    if (most === undefined || size <= most) continue;
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `topology: ${size} ${name} in a layer are more than the ${kernel} policy plans for: at most ${most}`,
    );
  }
}

/** @throws EplbRangeError `EPLB_MAPPING` when a slot of a table [layers x physical] that is closed in the topology holds an expert */
export function checkClosedSlots(title: string, phyToLog: Int32Array, topology: Topology): void {
  const at = firstInClosedSlot(phyToLog, topology);
  if (at < 0) return;
  const { numPhysicalExperts, numRanks, slotsPerRank } = topology;
  const slot = at % numPhysicalExperts;
  const rank = Math.floor((slot * numRanks) / numPhysicalExperts);
  throw new EplbRangeError(
    'EPLB_MAPPING',
    `${title}: layer ${Math.floor(at / numPhysicalExperts)}: slot ${slot} holds expert ${phyToLog[at]}, but is closed: rank ${rank} has ${slotsPerRank![rank]} slots`,
  );
}
