import { stripVTControlCharacters } from 'node:util';
import Table from 'cli-table3';
import { textColumns } from './terminal.ts';
import { shownLength } from './wrap.ts';

/** What stands in a cell: a text or a number, or a text over several columns. */
type Cell =
  | string
  | number
  | { readonly content: string; readonly colSpan: number; readonly hAlign: 'center' };

/** A table without lines: columns alone read best with so many rows, and paste well. */
export class PlainTable {
  readonly #aligns: readonly ('left' | 'right')[];
  readonly #numHeads: number;
  readonly #rows: (readonly Cell[])[] = [];

  /** @param numHeads - how many rows at the top name the columns, together */
  constructor(aligns: readonly ('left' | 'right')[], numHeads: number) {
    this.#aligns = aligns;
    this.#numHeads = numHeads;
  }

  push(row: readonly Cell[]): void {
    this.#rows.push(row);
  }

  /** The table, or a list of its rows where the terminal is too narrow for it. */
  toString(): string {
    const table = new Table({
      chars: NO_LINES,
      colAligns: [...this.#aligns],
      style: { head: [], border: [], compact: true },
    });
    for (const row of this.#rows) table.push([...row]);
    const text = table.toString();
    const columns = textColumns();
    const width = Math.max(...text.split('\n').map((line) => shownLength(line.trimEnd())));
    return columns === undefined || width <= columns ? text : this.#folded(columns);
  }

  /** A row is a block: what it is, and a line a column. */
  #folded(columns: number): string {
    const heads = this.#rows.slice(0, this.#numHeads).map(spread);
    const [first, ...names] = this.#aligns.map((_, i) => joined(heads.map((head) => head[i] ?? '')));
    const longest = Math.max(...names.map(shownLength));
    const blocks = this.#rows.slice(this.#numHeads).map((row) => {
      const [title, ...cells] = spread(row);
      // A number says nothing without its name.
      const lines = [` ${this.#aligns[0] === 'right' ? `${first} ${title}` : title}`];
      for (const [i, cell] of cells.entries()) {
        if (cell.trim() === '') continue;
        const name = names[i]!;
        const line = `   ${name}${' '.repeat(longest - shownLength(name))}  ${cell.trim()}`;
        lines.push(...(shownLength(line) <= columns ? [line] : [`   ${name}`, `     ${cell.trim()}`]));
      }
      return lines.join('\n');
    });
    return blocks.join('\n');
  }
}

/** The texts of the columns: one over several is of each. */
function spread(row: readonly Cell[]): string[] {
  return row.flatMap((cell) =>
    typeof cell === 'object' ? Array.from({ length: cell.colSpan }, () => cell.content) : [String(cell)],
  );
}

/** The name of a column out of its heads: `balanced-`, `ness`. */
function joined(parts: readonly string[]): string {
  const texts = parts.map(stripVTControlCharacters).filter((text) => text !== '');
  return texts.join(' ').replace(/- (?=\S)/g, '');
}

const NO_LINES = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: ' ',
};
