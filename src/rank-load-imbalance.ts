import type { ExpertLoadBalancer } from './expert-load-balancer.ts';

/**
 * The greatest load imbalance of any layer: its largest / smallest rank load, averaged over the window. A rank without load
 * beside one with load counts as infinite: to leave it out, as the imbalance of experts does, would call a layer balanced
 * that has all its load on one rank.
 */
export function rankLoadImbalance(balancer: ExpertLoadBalancer): number {
  const { data, numLayers, numExperts: numSlots } = balancer.getAverageLoad();
  const { numRanks } = balancer.topology;
  const slotsPerRank = numSlots / numRanks;
  let worst = 1;
  for (let layer = 0, at = 0; layer < numLayers; layer++) {
    let most = 0;
    let least = Number.POSITIVE_INFINITY;
    for (let rank = 0; rank < numRanks; rank++) {
      let load = 0;
      for (let slot = 0; slot < slotsPerRank; slot++) load += data[at++]!;
      if (load > most) most = load;
      if (load < least) least = load;
    }
    if (most > 0) worst = Math.max(worst, most / least);
  }
  return worst;
}
