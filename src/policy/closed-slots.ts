import { EplbRangeError } from '../core/errors.ts';
import { firstInClosedSlot, openSlotsOfNodes } from '../core/open-slots.ts';
import type { Topology } from '../core/topology.ts';
import type { KernelRequest } from '../engine/plan-layers.ts';

// What may not be where slots are closed. Tables, not mappings: the command has a copy of this module of its own.

/**
 * Refuses slots that a policy's kernel cannot plan for: ranks that do not have all of them, but for the adaptive policy; there, a node
 * without room for the experts of its groups, where these stay on their node.
 *
 * @throws EplbRangeError `EPLB_TOPOLOGY`
 */
export function checkSlots(request: KernelRequest, topology: Topology, title = 'slotsPerRank'): void {
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
