import { ExpertMapping, survival, type Topology } from '../index.ts';
import type { FailureLoss } from './rank-change-result.ts';

/**
 * What the worst single failure would lose: of a rank, of a node where there are several, and of each level
 * above.
 *
 * @param slots [layers x physical]
 * @param loads [layers x logical]
 */
export function failureLosses(slots: Int32Array, loads: Float32Array, topology: Topology): FailureLoss[] {
  const { numLayers, numLogicalExperts, numNodes, failureDomains = {} } = topology;
  const mapping = new ExpertMapping({ phyToLog: slots, numLayers, numLogicalExperts });
  const levels = ['rank', ...(numNodes > 1 ? ['node'] : []), ...Object.keys(failureDomains)];
  return levels.map((level) => {
    const matrix = { data: loads, numLayers, numExperts: numLogicalExperts };
    const { overall } = survival(mapping, { level, topology, loads: matrix });
    const { worst, experts, share, mostShare } = overall;
    return {
      level,
      domain: worst.domain,
      expertsShare: worst.experts / experts,
      loadShare: worst.share ?? 0,
      survivingLoadShare: share ?? 1,
      mostSurvivingLoadShare: mostShare ?? 1,
    };
  });
}
