import { printable } from '../core/printable.ts';
import type { Colors } from './colors.ts';

/** A line of a report: what it is about, and what is said. */
export type Fact = readonly [label: string, text: string];

/** Facts as lines, the labels in one column. Each is one line, whatever text it repeats. */
export function factLines(list: readonly Fact[], colors: Colors): string {
  const width = Math.max(...list.map(([label]) => label.length));
  return list.map(([label, text]) => ` ${colors.dim(label.padEnd(width))}  ${printable(text)}\n`).join('');
}
