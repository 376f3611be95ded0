/** The index of the first load that is negative or not finite, or the number of loads. */
export function firstInvalid(loads: readonly number[]): number {
  const index = loads.findIndex((load) => !Number.isFinite(load) || load < 0);
  return index === -1 ? loads.length : index;
}

/** Adds a row to another in float32, or names the first load that is refused: bad itself, or too much in the sum. */
export function recordRow(
  loads: readonly number[],
  pass: readonly number[],
): { refused: number; pass: number[] } {
  const sums = loads.map((load, i) => Math.fround(load + pass[i]!));
  const refused = loads.findIndex((load, i) => !(load >= 0) || !Number.isFinite(sums[i]));
  return refused === -1 ? { refused: loads.length, pass: sums } : { refused, pass: [...pass] };
}

/** Adds `sign` times a sample to sums in float64. */
export function addSample(sample: readonly number[], sums: readonly number[], sign: number): number[] {
  return sums.map((sum, i) => sum + sign * sample[i]!);
}

/** Adds two rows in float64. */
export function addSums(a: readonly number[], b: readonly number[]): number[] {
  return a.map((sum, i) => sum + b[i]!);
}

/** A row as 16-bit numbers, or nothing when that would lose something. */
export function narrowRow(row: readonly number[]): number[] | undefined {
  return row.every((load) => Number.isInteger(load) && load <= 65_535)
    ? row.map((load) => load + 0)
    : undefined;
}
