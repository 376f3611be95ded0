/** A plain table with aligned columns, the headings in the first row. */
export function alignedTable(
  rows: readonly (readonly string[])[],
  isRightAligned: readonly boolean[],
): string {
  const widths = isRightAligned.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) => row.map((cell, column) => pad(cell, widths[column]!, isRightAligned[column]!)).join('  '))
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Three significant digits, never as a power of ten. */
export function number(value: number): string {
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return value.toFixed(size >= 1 ? 2 : 3);
}

function pad(cell: string, width: number, isRight: boolean): string {
  return isRight ? cell.padStart(width) : cell.padEnd(width);
}
