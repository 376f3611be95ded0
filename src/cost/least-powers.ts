/** How much more a large error counts than a small one: its fourth power, so that the worst matters too. */
const POWER = 4;
const NUM_REWEIGHTINGS = 40;
const NUM_SWEEPS = 400;
/** A turn in which no coefficient changes by more than this share is the last. */
const LEAST_CHANGE = 1e-9;
/** An error below this share counts as this. */
const LEAST_ERROR = 0.01;

/**
 * Finds coefficients >= 0 of which rows x coefficients are nearest to 1: the least sum of fourth powers of
 * the errors, by least squares with weights that follow the errors, each by coordinate descent. All loops
 * have a bounded number of turns.
 */
export function leastPowers(rows: readonly (readonly number[])[]): number[] {
  const size = rows[0]?.length ?? 0;
  const found = Array<number>(size).fill(0);
  const weights = rows.map(() => 1);
  for (let turn = 0; turn < NUM_REWEIGHTINGS; turn++) {
    leastSquares(rows, weights, found);
    rows.forEach((row, i) => {
      const error = Math.abs(row.reduce((sum, value, at) => sum + value * found[at]!, 0) - 1);
      weights[i] = (weights[i]! + Math.max(error, LEAST_ERROR) ** (POWER - 2)) / 2;
    });
  }
  return found;
}

function leastSquares(
  rows: readonly (readonly number[])[],
  weights: readonly number[],
  found: number[],
): void {
  const weighted = (of: (row: readonly number[]) => number) =>
    rows.reduce((sum, row, i) => sum + weights[i]! * of(row), 0);
  const products = found.map((_, a) => found.map((_, b) => weighted((row) => row[a]! * row[b]!)));
  const targets = found.map((_, a) => weighted((row) => row[a]!));
  for (let sweep = 0; sweep < NUM_SWEEPS; sweep++) {
    let change = 0;
    for (let a = 0; a < found.length; a++) {
      const own = products[a]![a]!;
      if (own === 0) continue;
      const left = targets[a]! - products[a]!.reduce((sum, product, b) => sum + product * found[b]!, 0);
      const next = Math.max(0, found[a]! + left / own);
      change = Math.max(change, Math.abs(next - found[a]!) / Math.max(next, found[a]!, Number.MIN_VALUE));
      found[a] = next;
    }
    if (change < LEAST_CHANGE) return;
  }
}
