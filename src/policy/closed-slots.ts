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
 * Refuses ranks that do not have all their slots, or are not as fast as the others, and rules of the user's
 * own, for a policy that makes no difference between ranks.
 *
 * @throws EplbRangeError `EPLB_TOPOLOGY`
 */
export function checkAllAlike(
  policy: string,
  { slotsPerRank, rankSpeed, rules }: Topology,
  title: string,
): void {
  const refuse = (name: string, what: string) => {
    throw new EplbRangeError('EPLB_TOPOLOGY', `${name}: the ${policy} policy cannot ${what}`);
  };
  if (rules !== undefined) refuse('rules', 'keep rules');
  if (slotsPerRank !== undefined) refuse(title, 'plan for closed slots');
  if (rankSpeed !== undefined) refuse('rankSpeed', 'plan for ranks of unequal speed');
}

/**
 * Refuses a node without room for the experts of its groups, where these stay on their node.
 * @throws EplbRangeError `EPLB_TOPOLOGY`
 */
export function checkGroupRoom(topology: Topology, title: string): void {
  const { numLogicalExperts, numNodes, numGroups, slotsPerRank, nodeOfRank, rules } = topology;
  if (numNodes === 1 || numGroups % numNodes !== 0) return;
  if (rules !== undefined) {
    const message = "rules: groups that stay on their node (locality 'groups') can keep none";
    throw new EplbRangeError('EPLB_TOPOLOGY', message);
  }
  if (nodeOfRank !== undefined || numLogicalExperts % numGroups !== 0) {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `${nodeOfRank === undefined ? 'numGroups' : 'nodeOfRank'}: groups that stay on their node ` +
        `(locality 'groups') need nodes of equally many ranks, and groups of equally many experts`,
    );
  }
  if (slotsPerRank === undefined) return;
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
