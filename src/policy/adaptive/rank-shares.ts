import type { Topology } from '../../core/topology.ts';

/**
 * Loads of ranks in the samples of one layer: how much slower the slowest rank makes a step than balance
 * would.
 */
export class RankShares {
  readonly #topology: Topology;
  readonly #counts: Int32Array;
  /** 1 / replicas of each slot's expert. */
  readonly #share: Float64Array;

  constructor(topology: Topology) {
    this.#topology = topology;
    this.#counts = new Int32Array(topology.numLogicalExperts);
    this.#share = new Float64Array(topology.numPhysicalExperts);
  }

  /**
   * The load of the slowest rank / the mean rank load, of every sample; 1 where there is no load.
   *
   * @param samples of the layer: one row [logical] in every [layers x logical]
   * @param placement [slots], -1 for an empty slot
   * @param out [samples]
   */
  measure(samples: Float32Array, placement: Int32Array, out: Float64Array): void {
    const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks } = this.#topology;
    const share = this.#share;
    const slotsPerRank = numPhysicalExperts / numRanks;
    this.#counts.fill(0);
    for (const expert of placement) if (expert >= 0) this.#counts[expert]!++;
    for (let slot = 0; slot < numPhysicalExperts; slot++) {
      const expert = placement[slot]!;
      share[slot] = expert < 0 ? 0 : 1 / this.#counts[expert]!;
    }
    for (let sample = 0; sample < out.length; sample++) {
      const first = sample * numLayers * numLogicalExperts;
      let most = 0;
      let total = 0;
      for (let slot = 0, rank = 0; rank < numRanks; rank++) {
        let load = 0;
        for (const end = slot + slotsPerRank; slot < end; slot++) {
          const expert = placement[slot]!;
          if (expert >= 0) load += samples[first + expert]! * share[slot]!;
        }
        most = Math.max(most, load);
        total += load;
      }
      out[sample] = total > 0 ? (most * numRanks) / total : 1;
    }
  }

  /** The mean load of a rank in a sample. */
  meanRankLoad(samples: Float32Array, numSamples: number): number {
    const { numLayers, numLogicalExperts, numRanks } = this.#topology;
    let total = 0;
    for (let sample = 0; sample < numSamples; sample++) {
      const first = sample * numLayers * numLogicalExperts;
      for (let expert = 0; expert < numLogicalExperts; expert++) total += samples[first + expert]!;
    }
    return total / numSamples / numRanks;
  }
}
