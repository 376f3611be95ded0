/** A Markdown table under its title; all columns but the first hold numbers. */
export function markdownTable(title: string, rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = rows[0]!.map((_, column) => (column === 0 ? '---' : '---:'));
  return `### ${title}\n\n${[line(rows[0]!), line(rule), ...rows.slice(1).map(line)].join('\n')}\n`;
}
