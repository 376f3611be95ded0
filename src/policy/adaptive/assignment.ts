/**
 * Pairs each row with a column of its own so that what the pairs are worth together is the most there is:
 * the Hungarian method, row by row along shortest paths, in n^3 steps. Ties go to the lowest column.
 *
 * @param worth `[n x n]`, finite
 * @returns `[n]`: the column of each row
 */
export function assignColumns(worth: Float64Array, n: number): Int32Array {
  const potentials = { rows: new Float64Array(n), columns: new Float64Array(n) };
  /** `[n]`: the row of each column, -1 where it has none yet. */
  const rowOf = new Int32Array(n).fill(-1);
  for (let row = 0; row < n; row++) addRow(worth, n, row, rowOf, potentials);
  const columnOf = new Int32Array(n);
  for (const [column, row] of rowOf.entries()) columnOf[row] = column;
  return columnOf;
}

/** What rows and columns are worth by themselves: no pair is worth more than both of its own together. */
interface Potentials {
  readonly rows: Float64Array;
  readonly columns: Float64Array;
}

/** Finds a column for one row more: others may have to change theirs. */
function addRow(
  worth: Float64Array,
  n: number,
  first: number,
  rowOf: Int32Array,
  { rows, columns }: Potentials,
): void {
  const lost = new Float64Array(n).fill(Number.POSITIVE_INFINITY);
  const cameFrom = new Int32Array(n).fill(-1);
  const isReached = new Uint8Array(n);
  let row = first;
  let last = -1;
  // Each time around one column more is reached.
  for (let left = n; left > 0; left--) {
    const next = nextColumn(worth, n, row, last, { lost, cameFrom, isReached, rows, columns });
    const step = lost[next]!;
    rows[first]! += step;
    for (let column = 0; column < n; column++) {
      if (isReached[column] === 1) {
        rows[rowOf[column]!]! += step;
        columns[column]! -= step;
      } else lost[column]! -= step;
    }
    isReached[next] = 1;
    last = next;
    if (rowOf[next] === -1) break;
    row = rowOf[next]!;
  }
  for (let column = last; column >= 0; ) {
    const before = cameFrom[column]!;
    rowOf[column] = before === -1 ? first : rowOf[before]!;
    column = before;
  }
}

/** The first column of those that lose least, now that a row more is reached. */
function nextColumn(
  worth: Float64Array,
  n: number,
  row: number,
  through: number,
  at: Potentials & {
    readonly lost: Float64Array;
    readonly cameFrom: Int32Array;
    readonly isReached: Uint8Array;
  },
): number {
  let next = -1;
  for (let column = 0; column < n; column++) {
    if (at.isReached[column] === 1) continue;
    const lost = -worth[row * n + column]! - at.rows[row]! - at.columns[column]!;
    if (lost < at.lost[column]!) {
      at.lost[column] = lost;
      at.cameFrom[column] = through;
    }
    if (next === -1 || at.lost[column]! < at.lost[next]!) next = column;
  }
  return next;
}
