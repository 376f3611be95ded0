import { printable } from '../core/printable.ts';
import type { Colors } from './colors.ts';
import { textColumns } from './terminal.ts';
import { wrapped } from './wrap.ts';

/** A line of a report: what it is about, and what is said. */
export type Fact = readonly [label: string, text: string];

/** Texts that have less room than this beside their labels stand below them. */
const LEAST_TEXT = 24;

/**
 * Facts as lines, the labels in one column. Each is one line, whatever text it repeats, unless it is longer
 * than the terminal is wide.
 */
export function factLines(list: readonly Fact[], colors: Colors): string {
  const columns = textColumns();
  const width = Math.max(...list.map(([label]) => label.length));
  const beside = width + 3;
  return list
    .map(([label, fact]) => {
      const text = printable(fact);
      const line = ` ${colors.dim(label.padEnd(width))}  ${text}\n`;
      if (columns === undefined || beside + text.length <= columns) return line;
      if (columns - beside < LEAST_TEXT) {
        const lines = wrapped(text, columns - 3).map((one) => `   ${one}\n`);
        return ` ${colors.dim(label)}\n${lines.join('')}`;
      }
      const lines = wrapped(text, columns - beside);
      return ` ${colors.dim(label.padEnd(width))}  ${lines.join(`\n${' '.repeat(beside)}`)}\n`;
    })
    .join('');
}
