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
