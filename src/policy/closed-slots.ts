import { EplbRangeError } from '../core/errors.ts';
import { firstInClosedSlot } from '../core/open-slots.ts';
import type { Topology } from '../core/topology.ts';

// What slots a policy can plan for, and what may not be where they are closed.

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
