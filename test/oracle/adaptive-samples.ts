/** The adaptive policy's samples in plain code: see kernels/adaptive-samples.ts. */
export function prepareSamples(
  steps: readonly (readonly number[])[],
  weights: Float64Array,
  numRanks: number,
  shrink: number,
  prior: number,
): { samples: Float64Array; mean: Float64Array } {
  const numExperts = steps[0]!.length;
  const numSamples = weights.length;
  const equal = numRanks / numExperts;
  const samples = new Float64Array(numExperts * numSamples);
  const sums = new Float64Array(numExperts);
  for (let t = 0; t < numSamples; t++) {
    const step = steps[Math.min(t, steps.length - 1)]!;
    const total = step.reduce((sum, load) => sum + load, 0);
    for (const [expert, load] of step.entries()) {
      const value = total > 0 ? (load / total) * numRanks : equal;
      samples[expert * numSamples + t] = value;
      sums[expert]! += weights[t]! * value;
    }
  }
  const mean = sums.map((sum) => sum * (1 - prior) + prior * equal);
  for (const [at, value] of samples.entries()) {
    samples[at] = value + shrink * (mean[Math.floor(at / numSamples)]! - value);
  }
  return { samples, mean };
}
