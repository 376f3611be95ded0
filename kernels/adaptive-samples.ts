// The samples that the adaptive policy plans for. The window is itself a sample of what comes: planned for as it is, a placement
// that is best for its steps is a chance find. Each step is shrunk toward the window's mean, and the mean toward equal loads.
//
// Measured as in adaptive.ts, on the window that follows. Recency, 0.95 a step, is good for the mean, and steps count alike for what
// they are off it: 0.0015 better than both by recency. Shrinking steps by 0.1 to 0.5 is the same. Equal loads of 0.1 to 0.3 in the mean are 0.002 better than
// none. The spread is 0.002 better than none. Weights for steps before a change of domain, which the steps of all layers show
// without fail: the same. Only the first principal directions of what steps are off the mean: 0.004 worse. The mean with
// variances in place of the steps: 0.04 worse.

/** How much of its variance a copy's load counts as more: (norm - 1) / 2 is 3.5, and 1 to 2 is best. */
const SPREAD: f64 = 1;

/**
 * Scales each step to a mean rank load of 1, shrinks it and stores it expert by expert. A step without load counts as equal loads.
 *
 * @param steps f32[numSteps * stride / 4]: the layer's loads of a step are the first numExperts of its stride
 * @param stride bytes from one step to the next
 * @param recency f64[numSteps], their sum 1: the steps' weights in the mean
 * @param shrink in [0, 1]: 1 makes all steps the mean
 * @param prior in [0, 1]: 1 makes the mean equal loads
 * @param samples f32[numExperts * numSamples], out; numSamples is numSteps made a multiple of 4, with the last step again
 * @param spread f32[numExperts], out: what a copy's load counts as more, as its chance variance does not even out with other copies':
 * half the expert's own variance, half what it would be in proportion to its mean
 * @param mean f64[numExperts], out
 */
export function prepareSamples(
  steps: usize,
  stride: usize,
  numSteps: i32,
  numExperts: i32,
  numRanks: i32,
  recency: usize,
  shrink: f64,
  prior: f64,
  samples: usize,
  spread: usize,
  mean: usize,
): void {
  const numSamples = (numSteps + 3) & ~3;
  const rowBytes = (<usize>numSamples) << 2;
  const equal = <f64>numRanks / <f64>numExperts;
  memory.fill(mean, 0, (<usize>numExperts) << 3);
  for (let t = 0; t < numSamples; t++) {
    const step = steps + <usize>min(t, numSteps - 1) * stride;
    let total: f64 = 0;
    for (let e = 0; e < numExperts; e++) total += <f64>load<f32>(step + ((<usize>e) << 2));
    const weight = t < numSteps ? load<f64>(recency + ((<usize>t) << 3)) : 0;
    let at = samples + ((<usize>t) << 2);
    for (let e = 0; e < numExperts; e++) {
      const share = total > 0 ? <f64>load<f32>(step + ((<usize>e) << 2)) / total : 0;
      const value = total > 0 ? share * <f64>numRanks : equal;
      store<f32>(at, <f32>value);
      const sum = mean + ((<usize>e) << 3);
      store<f64>(sum, load<f64>(sum) + weight * value);
      at += rowBytes;
    }
  }
  const variance = totalVariance(samples, rowBytes, numSteps, numExperts, mean) / <f64>numRanks;
  for (let e = 0; e < numExperts; e++) {
    const row = samples + <usize>e * rowBytes;
    const sum = mean + ((<usize>e) << 3);
    const own = varianceOf(row, numSteps, load<f64>(sum));
    const center = load<f64>(sum) * (1 - prior) + prior * equal;
    store<f64>(sum, center);
    store<f32>(spread + ((<usize>e) << 2), <f32>(SPREAD * 0.5 * (own + variance * center)));
    for (let at = row; at < row + rowBytes; at += 4) {
      const value = <f64>load<f32>(at);
      store<f32>(at, <f32>(value + shrink * (center - value)));
    }
  }
}

/** The variances of all experts, added up. */
function totalVariance(samples: usize, rowBytes: usize, numSteps: i32, numExperts: i32, mean: usize): f64 {
  let sum: f64 = 0;
  for (let e = 0; e < numExperts; e++) {
    sum += varianceOf(samples + <usize>e * rowBytes, numSteps, load<f64>(mean + ((<usize>e) << 3)));
  }
  return sum;
}

/** 0 for a single step. */
function varianceOf(row: usize, numSteps: i32, mean: f64): f64 {
  if (numSteps < 2) return 0;
  let sum: f64 = 0;
  for (let t = 0; t < numSteps; t++) {
    const off = <f64>load<f32>(row + ((<usize>t) << 2)) - mean;
    sum += off * off;
  }
  return sum / <f64>(numSteps - 1);
}
