import { checkObject } from '../../core/checks.ts';
import { ExpertMapping } from '../../index.ts';
import { checkMapping } from '../../mapping/expert-mapping.ts';
import { checkPlacement } from './check-placement.ts';
import type { Placement } from './placement.ts';
import { mostNumbers } from './table-limits.ts';

/**
 * Turns a placement into a mapping of the library. @throws EplbRangeError `EPLB_MAPPING` if it is not valid
 */
export function mappingOf(placement: Placement): ExpertMapping {
  const { slots, numLayers, numLogicalExperts, logToPhy, replicaCount } = checkPlacement(placement);
  return new ExpertMapping({
    phyToLog: slots,
    numLayers,
    numLogicalExperts,
    ...(logToPhy === undefined ? {} : { logToPhy }),
    ...(replicaCount === undefined ? {} : { replicaCount }),
  });
}

/** Makes a placement from a mapping. @param more.numRanks - if known, for formats that list ranks */
export function placementFrom(
  mapping: ExpertMapping,
  more: Pick<Placement, 'numRanks' | 'layerNumbers'> = {},
): Placement {
  const { numRanks, layerNumbers } = checkObject('more', more);
  const { numLayers, numPhysicalExperts, numLogicalExperts } = checkMapping('mapping', mapping);
  const slots = mapping.phyToLog;
  const isLarge = numLayers * numLogicalExperts * mapping.maxReplicas > mostNumbers(slots.length);
  return checkPlacement({
    format: 'mapping',
    numLayers,
    numPhysicalExperts,
    numLogicalExperts,
    slots,
    // It has the order of an expert's replicas, which need not be that of their slots. Left out when it
    // would be huge.
    ...(isLarge ? {} : { logToPhy: mapping.logToPhy }),
    ...(numRanks === undefined ? {} : { numRanks }),
    ...(layerNumbers === undefined ? {} : { layerNumbers }),
    notes: [],
  });
}
