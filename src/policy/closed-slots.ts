import { EplbRangeError } from '../core/errors.ts';
import { firstInClosedSlot, openSlotsOfNodes } from '../core/open-slots.ts';
import type { Topology } from '../core/topology.ts';

// What slots a policy can plan for, and what may not be where they are closed.

/**
 * Refuses sizes that a search cannot plan for: what it takes grows faster than its sizes, and a plan in the
 * calling thread cannot be cancelled. Beyond these a layer would take minutes.
 *
 * @throws EplbRangeError `EPLB_TOPOLOGY`
 */
export function checkSizes(
  policy: string,
  { numPhysicalExperts: slots, numRanks: ranks, numLogicalExperts: experts }: Topology,
  most: Partial<Record<'slots' | 'ranks' | 'experts', number>>,
): void {
  for (const [name, size] of Object.entries({ slots, ranks, experts })) {
    const limit = most[name as 'slots' | 'ranks' | 'experts'];
    if (limit === undefined || size <= limit) continue;
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `topology: ${size} ${name} in a layer are more than the ${policy} policy plans for: at most ${limit}`,
    );
  }
}

/**
 * Refuses ranks that do not have all their slots, for a policy that fills all.
 * @throws EplbRangeError `EPLB_TOPOLOGY`
 */
export function checkAllOpen(policy: string, { slotsPerRank }: Topology, title: string): void {
  if (slotsPerRank === undefined) return;
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `${title}: the ${policy} policy fills all slots of all ranks; for closed ones take the adaptive policy`,
  );
}

/**
 * Refuses a node without room for the experts of its groups, where these stay on their node.
 * @throws EplbRangeError `EPLB_TOPOLOGY`
 */
export function checkGroupRoom(topology: Topology, title: string): void {
  const { numLogicalExperts, numNodes, numGroups, slotsPerRank } = topology;
  if (slotsPerRank === undefined || numNodes === 1 || numGroups % numNodes !== 0) return;
  const wanted = numLogicalExperts / numNodes;
  const slots = openSlotsOfNodes(topology);
  const node = slots.findIndex((size) => size < wanted);
  if (node < 0) return;
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `${title}: node ${node} has ${slots[node]} slots, too few for the ${wanted} experts of its groups ` +
      `(locality 'groups')`,
  );
}

/**
 * @throws EplbRangeError `EPLB_MAPPING` when a slot of a table [layers x physical] that is closed in the
 * topology holds an expert
 */
export function checkClosedSlots(title: string, phyToLog: Int32Array, topology: Topology): void {
  const at = firstInClosedSlot(phyToLog, topology);
  if (at < 0) return;
  const { numPhysicalExperts, numRanks, slotsPerRank } = topology;
  const slot = at % numPhysicalExperts;
  const rank = Math.floor((slot * numRanks) / numPhysicalExperts);
  throw new EplbRangeError(
    'EPLB_MAPPING',
    `${title}: layer ${Math.floor(at / numPhysicalExperts)}: slot ${slot} holds expert ${phyToLog[at]}, ` +
      `but is closed: rank ${rank} has ${slotsPerRank![rank]} slots`,
  );
}
