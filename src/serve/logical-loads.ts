import type { LoadMatrix } from '../loads/load-matrix.ts';
import { type ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';

/** Loads of slots as those of experts, by the mapping that they were measured under. */
export function logicalLoads(loads: LoadMatrix, mapping: ExpertMapping): LoadMatrix {
  const { phyToLog, numLogicalExperts, numLayers } = tablesOf(mapping);
  const data = new Float32Array(numLayers * numLogicalExperts);
  for (let i = 0; i < loads.data.length; i++) {
    const expert = phyToLog[i]!;
    if (expert >= 0) data[Math.floor(i / loads.numExperts) * numLogicalExperts + expert]! += loads.data[i]!;
  }
  return { data, numLayers, numExperts: numLogicalExperts };
}
