import type { Topology } from '../core/topology.ts';
import { ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import { type RankLayout, relayRanks } from '../mapping/relay-ranks.ts';

/** The last layout that each mapping was asked for. */
const known = new WeakMap<ExpertMapping, ExpertMapping>();

/**
 * A mapping as a table of all ranks of a group: of ranks that it is older than, nothing is in their slots.
 * Ranks that are gone are left out. The same object where it is so already, and each time it is asked again.
 *
 * @param whole ranks with as many slots each as those of the mapping have
 * @returns undefined for one that has experts on ranks that are gone
 */
export function laidOut(
  mapping: ExpertMapping,
  { numRanks, numPhysicalExperts }: Pick<Topology, 'numRanks' | 'numPhysicalExperts'>,
): ExpertMapping | undefined {
  const tables = tablesOf(mapping);
  const { numLayers, numLogicalExperts } = tables;
  if (tables.numPhysicalExperts === numPhysicalExperts) return mapping;
  const last = known.get(mapping);
  if (last?.numPhysicalExperts === numPhysicalExperts) return last;
  const after: RankLayout = { numRanks, slotsPerRank: numPhysicalExperts / numRanks };
  const before = { ...after, numRanks: tables.numPhysicalExperts / after.slotsPerRank };
  const phyToLog = relayRanks(tables.phyToLog, numLayers, before, after);
  if (count(phyToLog) !== count(tables.phyToLog)) return undefined;
  // Slots keep their numbers, and so replicas keep their order.
  const laid = new ExpertMapping({ phyToLog, logToPhy: mapping.logToPhy, numLayers, numLogicalExperts });
  known.set(mapping, laid);
  return laid;
}

/** Slots that hold an expert. */
function count(phyToLog: Int32Array): number {
  let filled = 0;
  for (const expert of phyToLog) if (expert >= 0) filled++;
  return filled;
}
