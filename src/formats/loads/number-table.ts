import { EplbError, EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import type { InputFile } from '../input-file.ts';
import { quote } from '../text.ts';

/** A table of numbers in a text. */
export interface NumberTable {
  readonly numRows: number;
  readonly numColumns: number;
  /** [rows x columns] */
  readonly data: Float64Array;
}

/** A load in a text: digits, with a fraction or an exponent at most. Number() alone would take 0x10 and an empty text. */
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** Files of this size hold 15,000 layers of 1,024 experts; in memory a number takes some ten times as much. */
const MOST_BYTES = 2 ** 26;

/**
 * Reads a text of one row of numbers a line. A separator behind the last number, empty lines at the end and both kinds of
 * line ends are no harm.
 *
 * @throws EplbError EPLB_FORMAT, EplbTypeError EPLB_KIND or EplbRangeError EPLB_SHAPE, naming the line
 */
export async function readNumberTable(file: InputFile, separator: string): Promise<NumberTable> {
  if (file.size > MOST_BYTES) {
    throw new EplbError(
      'EPLB_FORMAT',
      `${file.name}: ${file.size} bytes; tables of numbers are read up to ${MOST_BYTES}`,
    );
  }
  const text = new TextDecoder().decode(await file.whole());
  const lines = text.trimEnd().split(/\r?\n/);
  const rows = lines.map((line, i) => rowOf(line, separator, `${file.name}: line ${i + 1}`));
  const numColumns = rows[0]!.length;
  const data = new Float64Array(rows.reduce((sum, row) => sum + row.length, 0));
  let done = 0;
  for (const [i, row] of rows.entries()) {
    if (row.length !== numColumns) {
      const what = `has ${row.length} numbers, the first one ${numColumns}`;
      throw new EplbRangeError('EPLB_SHAPE', `${file.name}: line ${i + 1} ${what}`);
    }
    data.set(row, done);
    done += row.length;
  }
  return { numRows: rows.length, numColumns, data };
}

function rowOf(line: string, separator: string, place: string): number[] {
  const cells = line.split(separator);
  if (cells.at(-1)!.trim() === '') cells.pop();
  return cells.map((cell, i) => {
    const text = cell.trim();
    if (NUMBER.test(text)) return Number(text);
    throw new EplbTypeError('EPLB_KIND', `${place}: ${quote(text)} in column ${i + 1} is no number`);
  });
}

/** The first line of a text as far as the beginning of the file has it, and whether it ends there. */
export async function firstLine(file: InputFile): Promise<string> {
  const text = new TextDecoder().decode(await file.head());
  const end = text.search(/\r?\n/);
  return end === -1 ? text : text.slice(0, end);
}
