const NUM_SWEEPS = 10_000;
/** A sweep in which no coefficient changes by more than this share is the last. */
const LEAST_CHANGE = 1e-9;

/**
 * Finds coefficients >= 0 of which rows x coefficients are nearest to 1: the least sum of squares of the
 * errors, by coordinate descent. The loop has a bounded number of turns.
 */
export function leastSquares(rows: readonly (readonly number[])[]): number[] {
  const size = rows[0]?.length ?? 0;
  const found = Array<number>(size).fill(0);
  const products = new Float64Array(size * size);
  const targets = new Float64Array(size);
  for (const row of rows) {
    for (let a = 0; a < size; a++) {
      targets[a]! += row[a]!;
      if (row[a] === 0) continue;
      for (let b = 0; b < size; b++) products[a * size + b]! += row[a]! * row[b]!;
    }
  }
  for (let sweep = 0; sweep < NUM_SWEEPS; sweep++) {
    let change = 0;
    for (let a = 0; a < size; a++) {
      const own = products[a * size + a]!;
      if (own === 0) continue;
      let left = targets[a]!;
      for (let b = 0; b < size; b++) left -= products[a * size + b]! * found[b]!;
      const next = Math.max(0, found[a]! + left / own);
      change = Math.max(change, Math.abs(next - found[a]!) / Math.max(next, found[a]!, Number.MIN_VALUE));
      found[a] = next;
    }
    if (change < LEAST_CHANGE) break;
  }
  return found;
}
