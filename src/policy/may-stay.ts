import { firstInClosedSlot } from '../core/open-slots.ts';
import type { Topology } from '../core/topology.ts';
import { type ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import { brokenInTable } from './broken-rules.ts';

/** Whether a mapping may stay as it is: closed slots are empty, and it breaks no rule. */
export function mayStay(mapping: ExpertMapping, topology: Topology): boolean {
  const { phyToLog } = tablesOf(mapping);
  if (firstInClosedSlot(phyToLog, topology) >= 0) return false;
  return topology.rules === undefined || brokenInTable(phyToLog, topology).length === 0;
}
