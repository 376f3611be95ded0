/**
 * The mean of the samples, each as many steps as it is the mean of.
 *
 * @param rows [samples][logical]
 * @param lengthOf steps that a sample is the mean of
 */
export function meanLoads(
  rows: readonly Float32Array[],
  lengthOf: (sample: number) => number,
  out: Float32Array,
): void {
  const lengths = Float64Array.from(rows, (_, sample) => lengthOf(sample));
  const numSteps = lengths.reduce((sum, length) => sum + length, 0);
  for (let expert = 0; expert < out.length; expert++) {
    let sum = 0;
    for (let t = 0; t < rows.length; t++) sum += lengths[t]! * rows[t]![expert]!;
    out[expert] = sum / numSteps;
  }
}
