import { MAX_FLOAT32 } from '../../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import type { InputFile } from '../input-file.ts';
import { quote } from '../text.ts';
import { fileLoadError } from './array-loads.ts';

/**
 * A load in a text: digits, with a fraction or an exponent at most. Number() alone would take 0x10 and an
 * empty text.
 */
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** Files of this size hold 15,000 layers of 1,024 experts. */
export const MOST_TEXT_BYTES = 2 ** 26;

/** Digits that a double holds exactly, whatever they are. */
const EXACT_DIGITS = 15;

const LINE_FEED = 0x0a;
const BLANK = 0x20;
const ZERO = 0x30;
const NINE = 0x39;

/** What of a text is not part of its table. */
interface Cut {
  /** Lines before the text, which count in messages. */
  readonly numLinesBefore: number;
  /** Whether the first cell of each line is left out. */
  readonly skipsFirst: boolean;
}

const NOTHING: Cut = { numLinesBefore: 0, skipsFirst: false };

/**
 * A text of one row of loads a line. A separator behind the last number, empty lines at the end and both
 * kinds of line ends are no harm. The text is in memory; its numbers are put where the caller wants them.
 */
export class LoadText {
  readonly name: string;
  readonly numRows: number;
  readonly numColumns: number;
  readonly #text: Buffer;
  readonly #separator: number;
  readonly #cut: Cut;

  private constructor(text: Buffer, separator: string, name: string, cut: Cut) {
    this.name = name;
    this.#text = text;
    this.#separator = separator.charCodeAt(0);
    this.#cut = cut;
    this.numRows = linesIn(text);
    this.numColumns = this.#row(0, undefined, () => undefined).numCells;
  }

  /**
   * @param separator - between the numbers of a line: one character of ASCII
   * @throws EplbError EPLB_FORMAT for a file that is too large, EplbTypeError EPLB_KIND for a first line that
   *   is none
   */
  static async read(file: InputFile, separator: string): Promise<LoadText> {
    const bytes = await file.whole(MOST_TEXT_BYTES, 'a table of numbers');
    return LoadText.of(trimmedText(bytes), separator, file.name);
  }

  /**
   * {@link LoadText.read} on a text that is there, as {@link trimmedText} gives it.
   *
   * @param cut - what of the file is not part of the table
   */
  static of(text: Buffer, separator: string, name: string, cut: Cut = NOTHING): LoadText {
    return new LoadText(text, separator, name, cut);
  }

  /**
   * Puts the numbers into an array, row by row.
   *
   * @param at - where the first one belongs
   * @param stride - from the beginning of a row to that of the next
   * @throws EplbTypeError EPLB_KIND, EplbRangeError EPLB_SHAPE or EPLB_LOAD, naming the line
   */
  fill(target: Float32Array | Float64Array, at: number, stride: number): void {
    let start = 0;
    for (let row = 0; row < this.numRows; row++) {
      const first = at + row * stride;
      const { numCells, end } = this.#row(start, row, (load, column) => {
        if (!(load >= 0 && load <= MAX_FLOAT32)) {
          const at = `line ${this.#lineOf(row)}, column ${column + 1 + Number(this.#cut.skipsFirst)}`;
          throw fileLoadError(this.name, load, at);
        }
        if (column < this.numColumns) target[first + column] = load;
      });
      if (numCells !== this.numColumns) {
        const what = `has ${numCells} numbers, the first one ${this.numColumns}`;
        throw new EplbRangeError('EPLB_SHAPE', `${this.name}: line ${this.#lineOf(row)} ${what}`);
      }
      start = end + 1;
    }
  }

  /** Reads a line. @returns how many numbers it has, and where it ends */
  #row(
    start: number,
    row: number | undefined,
    take: (load: number, column: number) => void,
  ): { numCells: number; end: number } {
    const text = this.#text;
    let numCells = 0;
    let at = start;
    if (this.#cut.skipsFirst) {
      while (!this.#isEnd(at)) at++;
      if (text[at] !== this.#separator) return { numCells, end: at };
      at++;
    }
    for (; ; at++) {
      while (text[at] === BLANK) at++;
      const cell = at;
      let value = 0;
      for (let byte = text[at]!; byte >= ZERO && byte <= NINE; byte = text[++at]!) {
        value = 10 * value + (byte - ZERO);
      }
      const isPlain = at > cell && at - cell <= EXACT_DIGITS && this.#isEnd(at);
      if (!isPlain) {
        while (!this.#isEnd(at)) at++;
        const shown = text.toString('utf8', cell, at).trim();
        const isLast = text[at] !== this.#separator;
        if (isLast && shown === '') return { numCells, end: at };
        if (!NUMBER.test(shown)) {
          const what = `${quote(shown)} in column ${numCells + 1} is not a number`;
          throw new EplbTypeError('EPLB_KIND', `${this.name}: line ${this.#lineOf(row ?? 0)}: ${what}`);
        }
        value = Number(shown);
      }
      take(value, numCells++);
      if (text[at] !== this.#separator) return { numCells, end: at };
    }
  }

  /** The line of the file that a row is. */
  #lineOf(row: number): number {
    return row + 1 + this.#cut.numLinesBefore;
  }

  /** Whether a number ends here: at a separator, or where the line or the text does. */
  #isEnd(at: number): boolean {
    const byte = this.#text[at];
    return byte === this.#separator || byte === LINE_FEED || byte === undefined;
  }
}

/** The text without a byte order mark and without white space at its end. Not copied. */
export function trimmedText(bytes: Uint8Array): Buffer {
  const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  let end = bytes.length;
  while (end > 0 && isBlank(bytes[end - 1]!)) end--;
  const start = hasMark ? 3 : 0;
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, Math.max(0, end - start));
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}

function linesIn(text: Buffer): number {
  let lines = 1;
  for (let at = text.indexOf(LINE_FEED); at !== -1; at = text.indexOf(LINE_FEED, at + 1)) lines++;
  return lines;
}
