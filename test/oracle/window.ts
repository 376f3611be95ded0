/** The index of the first load that is negative or not finite, or the number of loads. */
export function firstInvalid(loads: readonly number[]): number {
  const index = loads.findIndex((load) => !Number.isFinite(load) || load < 0);
  return index === -1 ? loads.length : index;
}

/**
 * Adds a row to another in float32, or names the first load that is refused: bad itself, or too much in the
 * sum.
 */
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

/** The band of a load: its bits but for the lowest `shift`. */
export function bandOf(load: number, shift: number): number {
  return new Uint32Array(Float32Array.of(load).buffer)[0]! >>> shift;
}

/**
 * Adds `sign` times each load that is not 0 to the sum of its expert in the load's band.
 * @param bands [bands][experts]
 */
export function addToBands(
  sample: readonly number[],
  experts: readonly number[],
  bands: readonly (readonly number[])[],
  shift: number,
  sign: number,
): number[][] {
  const result = bands.map((sums) => [...sums]);
  for (const [i, load] of sample.entries()) {
    if (load > 0 && experts[i]! >= 0) result[bandOf(load, shift)]![experts[i]!]! += sign * load;
  }
  return result;
}

/** A float32 load >= 0 as a whole number of the smallest one, 2^-149: sums of these have no rounding. */
export function exactLoad(load: number): bigint {
  const bits = new Uint32Array(Float32Array.of(load).buffer)[0]!;
  const exponent = bits >>> 23;
  return exponent === 0 ? BigInt(bits) : BigInt((bits & 0x7fffff) | 0x800000) << BigInt(exponent - 1);
}

/** A sum of exact loads, divided; at most the largest float32, as averages are. */
export function exactMean(sum: bigint, numSamples: number): number {
  // Six digits beyond float64, so that the division rounds nothing that shows.
  const digits = 80n;
  const mean = Number((sum << digits) / BigInt(numSamples));
  const largest = (2 - 2 ** -23) * 2 ** 127;
  return Math.min((mean / 2 ** 80) * 2 ** -149, largest);
}
