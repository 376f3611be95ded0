import type { InputFile } from '../input-file.ts';
import { LoadText, MOST_TEXT_BYTES, trimmedText } from './load-text.ts';

const QUOTE = 0x22;
const BLANK = 0x20;
const LINE_FEED = 0x0a;

/** A cell that can be a load. */
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** What a header calls a column that numbers the rows: pandas leaves its index without a name. */
const INDEX_NAME = /^(|index|idx|unnamed: 0|layers?|layer_?(id|idx|index|number)|moe_layer(_id)?)$/i;

/** Rows from which on a first column 0, 1, 2, ... is an index, without a header that says so. */
const SURE_ROWS = 4;

/** A CSV file of a row a layer. */
interface CsvTable {
  readonly table: LoadText;
  /** The numbers of the layers, where a column has them and they are not 0, 1, 2, ... */
  readonly layerNumbers: readonly number[] | undefined;
  readonly notes: readonly string[];
}

/** The cells of a line, without the quotes around them, and without an empty one behind the last comma. */
export function csvCells(line: string): string[] {
  const cells = line.split(',').map((cell) => cell.replaceAll('"', '').trim());
  if (cells.length > 1 && cells.at(-1) === '') cells.pop();
  return cells;
}

/** Whether a line of CSV has nothing but numbers. */
export function isNumberLine(line: string): boolean {
  return csvCells(line).every((cell) => NUMBER.test(cell));
}

/**
 * Reads a table of loads with or without a header, such as pandas writes one, and with or without a column of
 * row numbers.
 *
 * @throws EplbError EPLB_FORMAT, EplbTypeError EPLB_KIND
 */
export async function readCsv(file: InputFile): Promise<CsvTable> {
  const text = trimmedText(await file.whole(MOST_TEXT_BYTES, 'a table of numbers'));
  // A quoted number is read as one with blanks around it.
  const bytes = text.includes(QUOTE) ? text.map((byte) => (byte === QUOTE ? BLANK : byte)) : text;
  const end = text.indexOf(LINE_FEED);
  const [first, second] = [0, end + 1].map((at) => csvCells(lineAt(text, at)));
  const hasRows = end !== -1 && isNumberLine(second!.slice(1).join(','));
  const header = hasRows && isHeader(first!) ? first! : undefined;
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).subarray(header ? end + 1 : 0);
  const numCounted = rowsCounted(body);
  const isCounted = numCounted > 1;
  const isIndex =
    header === undefined
      ? numCounted >= SURE_ROWS
      : INDEX_NAME.test(header[0]!) || header.length === second!.length - 1;
  const notes: string[] = [];
  if (header !== undefined) notes.push('the first line was read as a header');
  if (isIndex) notes.push('the first column was read as the numbers of the rows');
  else if (isCounted) {
    notes.push(
      'the first column is 0, 1, ...: if it numbers the rows, leave it out, since it was read as loads',
    );
  }
  const table = LoadText.of(body, ',', file.name, {
    numLinesBefore: header === undefined ? 0 : 1,
    skipsFirst: isIndex,
  });
  return { table, layerNumbers: isIndex && !isCounted ? layersOf(body) : undefined, notes };
}

/** A line of names, or the 0, 1, 2, ... that pandas calls columns by. */
function isHeader(cells: readonly string[]): boolean {
  const names = cells[0] === '' ? cells.slice(1) : cells;
  if (names.length > 1 && names.every((cell, column) => cell === String(column))) return true;
  return cells[0] === '' || !cells.every((cell) => NUMBER.test(cell));
}

/** The rows, where their first column is 0, 1, 2, ...; 0 where it is not. */
function rowsCounted(text: Buffer): number {
  let row = 0;
  for (const cell of firstCellsOf(text)) if (cell !== String(row++)) return 0;
  return row;
}

/** Numbers of layers, ascending, or undefined when the first column has something else. */
function layersOf(text: Buffer): number[] | undefined {
  const numbers: number[] = [];
  for (const cell of firstCellsOf(text)) {
    const number = /^\d{1,7}$/.test(cell) ? Number(cell) : -1;
    if (number <= (numbers.at(-1) ?? -1)) return undefined;
    numbers.push(number);
  }
  return numbers;
}

function lineAt(text: Uint8Array, start: number): string {
  const feed = text.indexOf(LINE_FEED, start);
  return Buffer.from(text.subarray(start, feed === -1 ? text.length : feed)).toString('utf8');
}

/** One by one: a text may have millions of lines. */
function* firstCellsOf(text: Buffer): Generator<string> {
  for (let at = 0; at < text.length; ) {
    const feed = text.indexOf(LINE_FEED, at);
    const end = feed === -1 ? text.length : feed;
    const line = text.toString('utf8', at, Math.min(end, at + 64));
    yield csvCells(line.replace(/,.*/s, ''))[0]!;
    at = end + 1;
  }
}
