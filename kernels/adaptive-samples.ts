// The samples that the adaptive policy plans for. The window is itself a sample of what comes: planned for as it is, a placement
// that is best for its steps is a chance find. Each step is shrunk toward the window's mean, and the mean toward equal loads.

/**
 * Scales each step to a mean rank load of 1, shrinks it and stores it expert by expert. A step without load counts as equal loads.
 *
 * @param steps f32[numSteps * stride / 4]: the layer's loads of a step are the first numExperts of its stride
 * @param stride bytes from one step to the next
 * @param weights f64[numSamples], their sum 1; numSamples is numSteps made even, and the weight that fills up is 0
 * @param shrink in [0, 1]: 1 makes all steps the mean
 * @param prior in [0, 1]: 1 makes the mean equal loads
 * @param samples f64[numExperts * numSamples], out
 * @param mean f64[numExperts], out
 */
export function prepareSamples(
  steps: usize,
  stride: usize,
  numSteps: i32,
  numExperts: i32,
  numRanks: i32,
  weights: usize,
  shrink: f64,
  prior: f64,
  samples: usize,
  mean: usize,
): void {
  const numSamples = (numSteps + 1) & ~1;
  const rowBytes = (<usize>numSamples) << 3;
  const equal = <f64>numRanks / <f64>numExperts;
  memory.fill(mean, 0, (<usize>numExperts) << 3);
  for (let t = 0; t < numSamples; t++) {
    const step = steps + <usize>min(t, numSteps - 1) * stride;
    let total: f64 = 0;
    for (let e = 0; e < numExperts; e++) total += <f64>load<f32>(step + ((<usize>e) << 2));
    const weight = load<f64>(weights + ((<usize>t) << 3));
    let at = samples + ((<usize>t) << 3);
    for (let e = 0; e < numExperts; e++) {
      const share = total > 0 ? <f64>load<f32>(step + ((<usize>e) << 2)) / total : 0;
      const value = total > 0 ? share * <f64>numRanks : equal;
      store<f64>(at, value);
      const sum = mean + ((<usize>e) << 3);
      store<f64>(sum, load<f64>(sum) + weight * value);
      at += rowBytes;
    }
  }
  for (let e = 0; e < numExperts; e++) {
    const sum = mean + ((<usize>e) << 3);
    const center = load<f64>(sum) * (1 - prior) + prior * equal;
    store<f64>(sum, center);
    const row = samples + <usize>e * rowBytes;
    for (let at = row; at < row + rowBytes; at += 8) {
      store<f64>(at, load<f64>(at) + shrink * (center - load<f64>(at)));
    }
  }
}
