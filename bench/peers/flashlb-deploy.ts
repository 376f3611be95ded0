import { type Hotness, Z_SCORE } from './flashlb-hotness.ts';

/**
 * Places copies, those of the largest mean load first, each on the rank with room and without the expert that
 * is then at the least risk: mean load + z x its deviation, of which the covariances of the rank's experts
 * are part.
 *
 * @param copies of each expert: all slots are filled
 */
export function deploy(
  { mean, covariance }: Hotness,
  copies: Int32Array,
  numSlots: number,
  numRanks: number,
): Int32Array {
  const numExperts = mean.length;
  const slotsPerRank = numSlots / numRanks;
  const placement = new Int32Array(numSlots).fill(-1);
  const rankMean = new Float64Array(numRanks);
  const rankVariance = new Float64Array(numRanks);
  const filled = new Int32Array(numRanks);
  const variances = new Float64Array(numRanks);
  const risks = new Float64Array(numRanks);
  const put = (expert: number, rank: number) => {
    placement[rank * slotsPerRank + filled[rank]!++] = expert;
    rankMean[rank]! += mean[expert]! / copies[expert]!;
  };
  for (const expert of heaviestFirst(mean.map((load, e) => load / copies[e]!))) {
    const share = 1 / copies[expert]!;
    // The copies of an expert go to different ranks: what one changes on its rank is of no matter to the
    // next.
    for (let rank = 0; rank < numRanks; rank++) {
      let variance = rankVariance[rank]! + covariance[expert * (numExperts + 1)]! * share * share;
      for (let i = 0; i < filled[rank]!; i++) {
        const other = placement[rank * slotsPerRank + i]!;
        variance += (2 * share * covariance[expert * numExperts + other]!) / copies[other]!;
      }
      variances[rank] = variance;
      const deviation = Math.sqrt(Math.max(0, variance));
      const hasRoom = filled[rank]! < slotsPerRank;
      risks[rank] = hasRoom ? rankMean[rank]! + mean[expert]! * share + Z_SCORE * deviation : Infinity;
    }
    for (let copy = 0; copy < copies[expert]!; copy++) {
      const rank = leastOf(risks);
      if (rank >= 0) {
        put(expert, rank);
        rankVariance[rank] = variances[rank]!;
        risks[rank] = Infinity;
      } else {
        // All ranks with room have the expert: of two copies on a rank one is of no use, but is valid.
        put(
          expert,
          filled.findIndex((count) => count < slotsPerRank),
        );
      }
    }
  }
  return placement;
}

/** The least finite value's place, the first of several; -1 when there is none. */
function leastOf(values: Float64Array): number {
  let best = -1;
  for (let i = 0; i < values.length; i++) {
    if (values[i]! < (best < 0 ? Infinity : values[best]!)) best = i;
  }
  return best;
}

/** Indices, those of the largest values first; of equal ones in order. */
export function heaviestFirst(values: Float64Array): number[] {
  return [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b);
}
