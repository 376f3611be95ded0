/** The adaptive policy's samples in plain code: see kernels/adaptive-samples.ts. */
export function prepareSamples(
  steps: readonly (readonly number[])[],
  recency: Float64Array,
  numRanks: number,
  shrink: number,
  prior: number,
): { samples: Float32Array; spread: Float32Array; mean: Float64Array } {
  const numExperts = steps[0]!.length;
  const numSamples = Math.ceil(steps.length / 4) * 4;
  const equal = numRanks / numExperts;
  const rows = Array.from({ length: numExperts }, () => new Float32Array(numSamples));
  const sums = new Float64Array(numExperts);
  for (let t = 0; t < numSamples; t++) {
    const step = steps[Math.min(t, steps.length - 1)]!;
    const total = step.reduce((sum, load) => sum + load, 0);
    for (const [expert, load] of step.entries()) {
      const value = total > 0 ? (load / total) * numRanks : equal;
      rows[expert]![t] = value;
      sums[expert]! += (recency[t] ?? 0) * value;
    }
  }
  const variances = rows.map((row, expert) => {
    const squares = row.subarray(0, steps.length).reduce((sum, load) => {
      const off = load - sums[expert]!;
      return sum + off * off;
    }, 0);
    return steps.length < 2 ? 0 : squares / (steps.length - 1);
  });
  const total = variances.reduce((sum, variance) => sum + variance, 0) / numRanks;
  const mean = sums.map((sum) => sum * (1 - prior) + prior * equal);
  const samples = rows.flatMap((row, expert) => Array.from(row, (v) => v + shrink * (mean[expert]! - v)));
  return {
    samples: Float32Array.from(samples),
    spread: Float32Array.from(variances, (own, expert) => 0.5 * (own + total * mean[expert]!)),
    mean,
  };
}
