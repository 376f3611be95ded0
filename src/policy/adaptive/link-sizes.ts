import type { Topology } from '../../core/topology.ts';

/** Of kernels/adaptive/links.ts: the nodes of an expert are the bits of one word. */
const MOST_NODES = 64;

/** How many nodes links count between; 0 where they do not count. */
export function numLinkNodes({ linkPrice }: { readonly linkPrice: number }, { numNodes }: Topology): number {
  return linkPrice > 0 && numNodes > 1 && numNodes <= MOST_NODES ? numNodes : 0;
}

/** Floats of a row of pairs, which the kernels read four at a time. */
export function pairsPerRow(numLogicalExperts: number): number {
  return Math.ceil(numLogicalExperts / 4) * 4;
}
