import type { LoadMatrix } from '../loads/load-matrix.ts';
import { type ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';

/** Loads of slots as those of experts, by the mapping that they were measured under. */
export function expertLoads(loads: LoadMatrix, mapping: ExpertMapping): LoadMatrix {
  const { phyToLog, numLogicalExperts, numLayers } = tablesOf(mapping);
  const data = new Float32Array(numLayers * numLogicalExperts);
  for (let i = 0; i < loads.data.length; i++) {
    const expert = phyToLog[i]!;
    if (expert >= 0) data[Math.floor(i / loads.numExperts) * numLogicalExperts + expert]! += loads.data[i]!;
  }
  return { data, numLayers, numExperts: numLogicalExperts };
}

/** Loads of slots with those of more ranks, which have none. */
export function withMoreSlots({ data, numLayers, numExperts }: LoadMatrix, numSlots: number): LoadMatrix {
  const more = new Float32Array(numLayers * numSlots);
  for (let layer = 0; layer < numLayers; layer++) {
    more.set(data.subarray(layer * numExperts, (layer + 1) * numExperts), layer * numSlots);
  }
  return { data: more, numLayers, numExperts: numSlots };
}
