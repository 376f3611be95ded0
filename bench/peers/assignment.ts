/**
 * Gives each row a column of its own so that the costs add up to the least (the Hungarian method with
 * potentials, in cubic time).
 *
 * @param costs f64[size x size], row by row
 * @returns the column of each row
 */
export function assign(costs: Float64Array, size: number): Int32Array {
  // Rows and columns count from 1: 0 stands for none.
  const rowPotential = new Float64Array(size + 1);
  const columnPotential = new Float64Array(size + 1);
  const rowOfColumn = new Int32Array(size + 1);
  for (let row = 1; row <= size; row++) {
    const path = new Int32Array(size + 1);
    const slack = new Float64Array(size + 1).fill(Number.POSITIVE_INFINITY);
    const isReached = new Uint8Array(size + 1);
    rowOfColumn[0] = row;
    let column = 0;
    while (rowOfColumn[column] !== 0) {
      isReached[column] = 1;
      const from = rowOfColumn[column]!;
      let nearest = 0;
      let least = Number.POSITIVE_INFINITY;
      for (let next = 1; next <= size; next++) {
        if (isReached[next] === 1) continue;
        const cost = costs[(from - 1) * size + next - 1]! - rowPotential[from]! - columnPotential[next]!;
        if (cost < slack[next]!) {
          slack[next] = cost;
          path[next] = column;
        }
        if (slack[next]! < least) {
          least = slack[next]!;
          nearest = next;
        }
      }
      for (let each = 0; each <= size; each++) {
        if (isReached[each] === 1) {
          rowPotential[rowOfColumn[each]!]! += least;
          columnPotential[each]! -= least;
        } else slack[each]! -= least;
      }
      column = nearest;
    }
    while (column !== 0) {
      const before = path[column]!;
      rowOfColumn[column] = rowOfColumn[before]!;
      column = before;
    }
  }
  const columnOfRow = new Int32Array(size);
  for (let column = 1; column <= size; column++) columnOfRow[rowOfColumn[column]! - 1] = column - 1;
  return columnOfRow;
}
