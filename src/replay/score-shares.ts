/** Sizes of what is scored. */
interface Sizes {
  readonly numLayers: number;
  readonly numLogicalExperts: number;
  readonly numPhysicalExperts: number;
  readonly numRanks: number;
}

/** A placement, and where what it is scored to is written: see ScoredPlacement. */
interface Scored {
  readonly slots: Int32Array;
  readonly rankLoads: Float64Array;
  readonly stats: Float64Array;
}

/**
 * Rank loads and stats of a step under a placement whose copies do not all get as much: what the kernel
 * `scoreLayers` computes where they do.
 *
 * @param loads [layers x logical]
 * @param shares [layers x physical]: of its expert's tokens, what each slot gets
 */
export function scoreShares(
  loads: Float32Array,
  shares: Float64Array,
  { slots, rankLoads, stats }: Scored,
  { numLayers, numLogicalExperts, numPhysicalExperts, numRanks }: Sizes,
  zeroIsOne: boolean,
): void {
  const perRank = numPhysicalExperts / numRanks;
  for (let layer = 0, slot = 0; layer < numLayers; layer++) {
    const first = layer * numLogicalExperts;
    let total = 0;
    let most = 0;
    for (let rank = 0; rank < numRanks; rank++) {
      let sum = 0;
      for (const end = slot + perRank; slot < end; slot++) {
        const expert = slots[slot]!;
        if (expert < 0) continue;
        const load = loads[first + expert]!;
        sum += (load === 0 && zeroIsOne ? 1 : load) * shares[slot]!;
      }
      rankLoads[layer * numRanks + rank] = sum;
      total += sum;
      if (sum > most) most = sum;
    }
    stats[2 * layer] = most;
    stats[2 * layer + 1] = total / numRanks;
  }
}
