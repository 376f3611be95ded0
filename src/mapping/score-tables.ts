import type { Topology } from '../core/topology.ts';

/**
 * Words that the kernels `scoreTables` and `scoreLayers` need a layer for its list of experts with replicas:
 * there are no more of them than half the slots.
 */
export function replicatedWords({
  numLogicalExperts,
  numPhysicalExperts,
}: Pick<Topology, 'numLogicalExperts' | 'numPhysicalExperts'>): number {
  return 3 + 2 * Math.min(numLogicalExperts, numPhysicalExperts >> 1);
}
