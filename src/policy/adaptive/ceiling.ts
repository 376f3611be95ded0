/**
 * The mean of the samples, each as many steps as it is the mean of.
 *
 * @param rows [samples][logical]
 * @param newestShare of the last sample, of the steps of the others
 */
export function meanLoads(rows: readonly Float32Array[], newestShare: number, out: Float32Array): void {
  const newest = rows.length - 1;
  for (let expert = 0; expert < out.length; expert++) {
    let sum = 0;
    for (let t = 0; t < newest; t++) sum += rows[t]![expert]!;
    const last = rows[newest]![expert]!;
    out[expert] = newest === 0 ? last : (sum + last * newestShare) / (newest + newestShare);
  }
}
