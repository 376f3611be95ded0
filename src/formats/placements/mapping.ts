import { ExpertMapping } from '../../index.ts';
import { mostNumbers } from './number-tables.ts';
import type { Placement } from './placement.ts';

/** A placement as a mapping of the library. @throws EplbRangeError EPLB_MAPPING when it is not valid */
export function mappingOf(placement: Placement): ExpertMapping {
  const { slots, numLayers, numLogicalExperts, logToPhy, replicaCount } = placement;
  return new ExpertMapping({
    phyToLog: slots,
    numLayers,
    numLogicalExperts,
    ...(logToPhy === undefined ? {} : { logToPhy }),
    ...(replicaCount === undefined ? {} : { replicaCount }),
  });
}

/** The placement of a mapping. @param numRanks - where known, for formats that list ranks */
export function placementFrom(
  mapping: ExpertMapping,
  more: Pick<Placement, 'numRanks' | 'layerNumbers'> = {},
): Placement {
  const { numLayers, numPhysicalExperts, numLogicalExperts } = mapping;
  const slots = mapping.phyToLog;
  const isLarge = numLayers * numLogicalExperts * mapping.maxReplicas > mostNumbers(slots.length);
  return {
    format: 'mapping',
    numLayers,
    numPhysicalExperts,
    numLogicalExperts,
    slots,
    // It tells the order of an expert's replicas, which need not be that of their slots. Left out when it would be huge.
    ...(isLarge ? {} : { logToPhy: mapping.logToPhy }),
    ...more,
    notes: [],
  };
}
