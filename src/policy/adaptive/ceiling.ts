import { weighRanks } from '../../core/rank-speeds.ts';
import type { Topology } from '../../core/topology.ts';

/**
 * The longest that a rank takes, its load / its speed.
 *
 * @param loads `[logical]`
 * @param slots `[physical]`, -1 for an empty one
 * @param speeds `[ranks]`
 */
export function longestTime(
  loads: Float32Array,
  slots: Int32Array,
  { numRanks }: Topology,
  speeds: readonly number[] | undefined,
): number {
  const copies = new Int32Array(loads.length);
  for (const expert of slots) if (expert >= 0) copies[expert]!++;
  const perRank = slots.length / numRanks;
  const rankLoads = new Float64Array(numRanks);
  for (let slot = 0; slot < slots.length; slot++) {
    const expert = slots[slot]!;
    if (expert >= 0) rankLoads[Math.floor(slot / perRank)]! += loads[expert]! / copies[expert]!;
  }
  const alike = () => Float64Array.from({ length: numRanks }, () => 1);
  return weighRanks(rankLoads, speeds === undefined ? alike() : Float64Array.from(speeds)).most;
}

/**
 * The mean of the samples, each as many steps as it is the mean of.
 *
 * @param samples f32, the layer's of sample t from t x stride on
 * @param newestShare of the last sample, of the steps of the others
 */
export function meanLoads(
  samples: Float32Array,
  stride: number,
  numSamples: number,
  newestShare: number,
  out: Float32Array,
): void {
  const steps = numSamples - 1 + newestShare;
  for (let expert = 0; expert < out.length; expert++) {
    let sum = 0;
    for (let t = 0; t < numSamples; t++)
      sum += samples[t * stride + expert]! * (t === numSamples - 1 ? newestShare : 1);
    out[expert] = numSamples === 1 ? samples[expert]! : sum / steps;
  }
}
