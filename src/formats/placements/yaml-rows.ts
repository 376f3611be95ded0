import { EplbError } from '../../core/errors.ts';
import { quote } from '../text.ts';

/**
 * Most bytes that may be left once the rows of numbers are out. Wide enough for thousands of layers and long
 * comments, and too few for text that is made to be slow.
 */
const MOST_TEXT = 2 ** 15;

const TAB = 0x09;
const LINE_FEED = 0x0a;
const RETURN = 0x0d;
const BLANK = 0x20;
const DOUBLE = 0x22;
const HASH = 0x23;
const SINGLE = 0x27;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const OPEN = 0x5b;
const CLOSE = 0x5d;

/** YAML whose rows of whole numbers are taken out of it. */
interface Skeleton {
  /** The text with a name in the place of each row. */
  readonly text: string;
  readonly rows: readonly Int32Array[];
}

/** The name in the place of a row. */
export const ROW_NAME = /^row-of-numbers-(\d+)$/;

/**
 * Takes the rows of whole numbers out of YAML, as `[1, 2]` or as lines of `- 1`, and comments and empty lines
 * with them. Each byte is met a few times at most, and a number takes four bytes.
 *
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT for a row that has something else in it, or too much text beside the rows
 */
export function takeRows(bytes: Uint8Array, name: string): Skeleton {
  const text = withoutComments(bytes);
  const rows: Int32Array[] = [];
  const left = new Remains(name);
  for (let at = 0; at < text.length; ) {
    const byte = text[at]!;
    const row =
      byte === OPEN ? flowRow(text, at, name) : byte === LINE_FEED ? blockRow(text, at, name) : undefined;
    if (row === undefined) {
      left.add(byte);
      at++;
      continue;
    }
    for (const letter of Buffer.from(` row-of-numbers-${rows.length} `)) left.add(letter);
    rows.push(row.numbers);
    at = row.end;
  }
  return { text: left.toString(), rows };
}

/** What is left of the text. */
class Remains {
  readonly #bytes = Buffer.alloc(MOST_TEXT);
  readonly #name: string;
  #length = 0;

  constructor(name: string) {
    this.#name = name;
  }

  add(byte: number): void {
    if (this.#length === MOST_TEXT) {
      throw yamlError(this.#name, `it has more than ${MOST_TEXT} bytes beside its rows of numbers`);
    }
    this.#bytes[this.#length++] = byte;
  }

  toString(): string {
    return this.#bytes.toString('utf8', 0, this.#length);
  }
}

/** The text without comments, a byte order mark, and lines that are empty then. */
function withoutComments(bytes: Uint8Array): Uint8Array {
  const kept = new Uint8Array(bytes.length);
  let length = 0;
  /** Where the line begins in what is kept, and whether it has anything. */
  let lineStart = 0;
  let isEmpty = true;
  let isComment = false;
  /** The quotation mark that a text on this line is in. */
  let inQuote = 0;
  const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  for (let at = hasMark ? 3 : 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte === LINE_FEED) {
      // A line feed stands before the line that it begins, so an empty line takes its own with it.
      if (isEmpty) length = lineStart;
      lineStart = length;
      kept[length++] = LINE_FEED;
      isEmpty = true;
      isComment = false;
      inQuote = 0;
      continue;
    }
    isComment ||= byte === HASH && inQuote === 0 && (length === 0 || isBlankOrFeed(kept[length - 1]!));
    if (isComment) continue;
    if (inQuote === 0 && (byte === DOUBLE || byte === SINGLE) && beginsText(kept, length)) inQuote = byte;
    else if (byte === inQuote) inQuote = 0;
    if (!isSpace(byte)) isEmpty = false;
    kept[length++] = byte;
  }
  return kept.subarray(0, length);
}

/** Whether a quotation mark at this place opens a text: behind white space or a sign of YAML's. */
function beginsText(kept: Uint8Array, at: number): boolean {
  const before = kept[at - 1];
  return (
    before === undefined || isSpaceOrFeed(before) || before === OPEN || before === COMMA || before === 0x7b
  );
}

/** A row of numbers, and where it ends in the text. */
interface Row {
  readonly numbers: Int32Array;
  readonly end: number;
}

/** A row in brackets, or undefined when they hold anything but numbers. */
function flowRow(text: Uint8Array, start: number, name: string): Row | undefined {
  let commas = 0;
  let end = start + 1;
  for (; text[end] !== CLOSE; end++) {
    const byte = text[end];
    if (byte === undefined) return undefined;
    if (byte === COMMA) commas++;
    else if (byte !== MINUS && !isDigit(byte) && !isSpace(byte) && byte !== LINE_FEED) return undefined;
  }
  const numbers = new Int32Array(commas + 1);
  let count = 0;
  for (let at = start + 1; at <= end; at++) {
    const cell = at;
    while (text[at] !== COMMA && at < end) at++;
    const isLast = at === end;
    // A comma behind the last number is no harm.
    if (isLast && isSpaceOnly(text, cell, at)) break;
    numbers[count++] = numberIn(text, cell, at, name);
  }
  return { numbers: numbers.subarray(0, count), end: end + 1 };
}

/** Lines of `- 1` from the line feed before them on, or undefined when there are none. */
function blockRow(text: Uint8Array, start: number, name: string): Row | undefined {
  let count = 0;
  let end = start;
  for (let item = itemAt(text, end); item !== undefined; item = itemAt(text, end)) {
    count++;
    end = item.end;
  }
  if (count === 0) return undefined;
  const numbers = new Int32Array(count);
  for (let i = 0, at = start; i < count; i++) {
    const item = itemAt(text, at)!;
    numbers[i] = numberIn(text, item.start, item.end, name);
    at = item.end;
  }
  return { numbers, end };
}

/** The number of a line `- 1` whose line feed is at the place, and nothing else in it. */
function itemAt(text: Uint8Array, feed: number): { start: number; end: number } | undefined {
  if (text[feed] !== LINE_FEED) return undefined;
  let at = feed + 1;
  while (isBlankOrTab(text[at]!)) at++;
  if (text[at] !== MINUS) return undefined;
  const start = ++at;
  while (isBlankOrTab(text[at]!)) at++;
  if (at === start) return undefined;
  if (text[at] === MINUS) at++;
  const digits = at;
  while (isDigit(text[at]!)) at++;
  if (at === digits) return undefined;
  while (isSpace(text[at]!)) at++;
  return at === text.length || text[at] === LINE_FEED ? { start, end: at } : undefined;
}

/** Digits of the longest number that fits 32 bits for sure. */
const MOST_DIGITS = 9;

/** The whole number between two places. */
function numberIn(text: Uint8Array, start: number, end: number, name: string): number {
  let at = start;
  while (at < end && isSpaceOrFeed(text[at]!)) at++;
  const isNegative = text[at] === MINUS;
  if (isNegative) at++;
  const first = at;
  let value = 0;
  for (; at < end && isDigit(text[at]!); at++) value = 10 * value + (text[at]! - ZERO);
  const digits = at - first;
  while (at < end && isSpaceOrFeed(text[at]!)) at++;
  // With zeros in front it would be octal to some readers.
  const isWell = at === end && digits > 0 && (digits === 1 || text[first] !== ZERO);
  if (isWell && digits <= MOST_DIGITS) return isNegative ? -value : value;
  const shown = quote(
    Buffer.from(text.subarray(start, Math.min(end, start + 100)))
      .toString()
      .trim(),
  );
  throw yamlError(
    name,
    isWell ? `${shown} in a row is too large` : `${shown} in a row is not a whole number`,
  );
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}

function isBlankOrTab(byte: number): boolean {
  return byte === BLANK || byte === TAB;
}

function isSpace(byte: number): boolean {
  return byte === BLANK || byte === TAB || byte === RETURN;
}

function isBlankOrFeed(byte: number): boolean {
  return byte === BLANK || byte === TAB || byte === LINE_FEED;
}

function isSpaceOrFeed(byte: number): boolean {
  return isSpace(byte) || byte === LINE_FEED;
}

function isSpaceOnly(text: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (!isSpaceOrFeed(text[at]!)) return false;
  return true;
}

/** The error for something that is wrong with YAML. */
export function yamlError(name: string, what: string): EplbError {
  return new EplbError('EPLB_FORMAT', `${name}: malformed YAML: ${what}`);
}
