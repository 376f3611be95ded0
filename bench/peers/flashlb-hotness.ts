/** How much a deviation counts: the 75 % quantile of the normal distribution. */
export const Z_SCORE = 0.6744897501960817;

/** The loads of one layer's experts over a window, and their moments. */
export interface Hotness {
  readonly steps: readonly Float64Array[];
  readonly mean: Float64Array;
  /** f64[experts x experts]: the variances are on its diagonal. */
  readonly covariance: Float64Array;
  /** Mean and deviations together: what copies are counted by. */
  readonly risk: Float64Array;
}

/** @param window steps [layers x experts] */
export function hotnessOf(window: readonly Float32Array[], layer: number, numExperts: number): Hotness {
  const steps = window.map((step) =>
    // An expert without load counts as one with a single token.
    Float64Array.from(step.subarray(layer * numExperts, (layer + 1) * numExperts), (load) => load || 1),
  );
  const mean = new Float64Array(numExperts);
  for (const step of steps) for (let e = 0; e < numExperts; e++) mean[e]! += step[e]! / steps.length;
  const covariance = covarianceOf(steps, mean);
  const risk = mean.map((value, e) => value + Z_SCORE * Math.sqrt(covariance[e * (numExperts + 1)]!));
  return { steps, mean, covariance, risk };
}

function covarianceOf(steps: readonly Float64Array[], mean: Float64Array): Float64Array {
  const size = mean.length;
  const covariance = new Float64Array(size * size);
  if (steps.length < 2) return covariance;
  for (const step of steps) {
    const deviations = step.map((load, e) => load - mean[e]!);
    for (let row = 0; row < size; row++) {
      const scaled = deviations[row]! / (steps.length - 1);
      for (let e = 0; e < size; e++) covariance[row * size + e]! += scaled * deviations[e]!;
    }
  }
  return covariance;
}

/** The mean over the window of largest / mean rank load: 1 is best. */
export function meanPeak(
  { steps, mean }: Hotness,
  placement: ArrayLike<number>,
  numSlots: number,
  numRanks: number,
): number {
  const copies = new Int32Array(mean.length);
  for (let slot = 0; slot < numSlots; slot++) copies[placement[slot]!]!++;
  const slotsPerRank = numSlots / numRanks;
  let sum = 0;
  for (const step of steps) {
    let total = 0;
    let largest = 0;
    for (let slot = 0; slot < numSlots; ) {
      let load = 0;
      for (const end = slot + slotsPerRank; slot < end; slot++) {
        const expert = placement[slot]!;
        load += step[expert]! / copies[expert]!;
      }
      total += load;
      largest = Math.max(largest, load);
    }
    // As published: no division by zero.
    sum += (largest * numRanks + 0.01) / (total + 0.01);
  }
  return sum / steps.length;
}
