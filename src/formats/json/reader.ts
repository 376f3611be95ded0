import { isUtf8 } from 'node:buffer';
import { EplbError } from '../../core/errors.ts';
import { quote } from '../text.ts';

/** How deep arrays and objects may be nested in each other. The deepest format has 7. */
export const MOST_DEPTH = 64;

/** What a JSON value is. */
export type JsonKind = 'array' | 'object' | 'text' | 'number' | 'true' | 'false' | 'null';

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

const LETTER_E = 0x65;

/**
 * Digits, and a point, that a double holds exactly, whatever they are; and the powers of ten that it does.
 */
const EXACT_DIGITS = 15;
const POWERS_OF_TEN = Float64Array.from({ length: EXACT_DIGITS }, (_, power) => Number(`1e${power}`));

const LITERALS: ReadonlyMap<number, 'true' | 'false' | 'null'> = new Map([
  [0x74, 'true'],
  [0x66, 'false'],
  [0x6e, 'null'],
]);

/**
 * Reads JSON from its beginning to its end, value by value, and builds nothing that the caller does not ask
 * for: JSON.parse() takes up to sixty bytes of memory for a byte of a file. What it takes and refuses is the
 * same. Where the next value is an array or an object, the caller opens it, asks for each entry with {@link
 * JsonReader.hasEntry}, and reads or skips it.
 */
export class JsonReader {
  /** Where the next value begins, or the white space before it. */
  at: number;
  readonly #bytes: Uint8Array;
  /** The same bytes. */
  readonly #text: Buffer;
  readonly #name: string;
  #depth = 0;

  /**
   * @param bytes - UTF-8, with a byte order mark or without
   * @param name - the file, for messages
   * @param at - where the value begins
   * @throws EplbError EPLB_FORMAT when it is not UTF-8; so do all methods for what is not JSON
   */
  constructor(bytes: Uint8Array, name: string, at = 0) {
    this.#bytes = bytes;
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#name = name;
    if (!isUtf8(bytes)) throw this.#error('it is not UTF-8');
    const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
    this.at = at === 0 && hasMark ? 3 : at;
  }

  /** What the next value is. It is not checked further than that. */
  kind(): JsonKind {
    const byte = this.#peek();
    if (byte === OPEN_ARRAY) return 'array';
    if (byte === OPEN_OBJECT) return 'object';
    if (byte === QUOTE) return 'text';
    if (byte === MINUS || isDigit(byte)) return 'number';
    const literal = LITERALS.get(byte);
    if (literal === undefined) throw this.#unexpected('a value');
    return literal;
  }

  /** Goes into the array that is next. */
  openArray(): void {
    this.#open(OPEN_ARRAY, 'an array');
  }

  /** Goes into the object that is next. */
  openObject(): void {
    this.#open(OPEN_OBJECT, 'an object');
  }

  /**
   * Whether the array or object that was opened last has another entry. If so, it is next; if not, the array
   * or object is left.
   *
   * @param isFirst - true until it was asked once
   */
  hasEntry(isFirst: boolean, close: 'array' | 'object'): boolean {
    const byte = this.#peek();
    if (byte === (close === 'array' ? CLOSE_ARRAY : CLOSE_OBJECT)) {
      this.at++;
      this.#depth--;
      return false;
    }
    if (isFirst) return true;
    if (byte !== COMMA) throw this.#unexpected(close === 'array' ? 'a comma or ]' : 'a comma or }');
    this.at++;
    return true;
  }

  /** The key of the entry that is next in an object; then its value is. */
  key(): string {
    if (this.#peek() !== QUOTE) throw this.#unexpected('a key');
    const key = this.text();
    if (this.#peek() !== COLON) throw this.#unexpected('a colon');
    this.at++;
    return key;
  }

  /** The text that is next. */
  text(): string {
    const start = this.at;
    this.#skipText();
    const text = this.#text.toString('utf8', start, this.at);
    return text.includes('\\') ? (JSON.parse(text) as string) : text.slice(1, -1);
  }

  /** The number that is next. */
  number(): number {
    const bytes = this.#bytes;
    const start = this.at;
    const isNegative = bytes[start] === MINUS;
    const first = isNegative ? start + 1 : start;
    let at = first;
    let digits = 0;
    for (let byte = bytes[at]!; byte >= ZERO && byte <= NINE; byte = bytes[++at]!) {
      digits = 10 * digits + (byte - ZERO);
    }
    const point = at;
    if (bytes[at] === DOT) {
      at++;
      for (let byte = bytes[at]!; byte >= ZERO && byte <= NINE; byte = bytes[++at]!) {
        digits = 10 * digits + (byte - ZERO);
      }
    }
    const isWell = point > first && at !== point + 1 && (bytes[first] !== ZERO || point === first + 1);
    if (isWell && at - first <= EXACT_DIGITS && (bytes[at]! | 0x20) !== LETTER_E) {
      this.at = at;
      // Both are exact, and so the quotient is rounded once, as it should be.
      const value = at === point ? digits : digits / POWERS_OF_TEN[at - point - 1]!;
      return isNegative ? -value : value;
    }
    this.#skipNumber();
    return Number(this.#text.toString('latin1', start, this.at));
  }

  /**
   * The numbers of the array that is next.
   *
   * @param target - gets them from `from` on, as far as it is long
   * @param fail - the error for an entry that is not a number, which is next then
   * @returns how many entries it has
   */
  numbers(
    target: Float64Array | Float32Array | Int32Array,
    from: number,
    fail: (index: number) => Error,
  ): number {
    this.openArray();
    if (!this.hasEntry(true, 'array')) return 0;
    const bytes = this.#bytes;
    for (let count = 0; ; ) {
      const byte = this.#peek();
      if (byte !== MINUS && !isDigit(byte)) {
        this.kind();
        throw fail(count);
      }
      const value = this.number();
      if (from + count < target.length) target[from + count] = value;
      count++;
      // Mostly a comma follows at once.
      if (bytes[this.at] === COMMA) this.at++;
      else if (!this.hasEntry(false, 'array')) return count;
    }
  }

  /** Goes past the next value, whatever it is. */
  skip(): void {
    const depth = this.#depth;
    for (;;) {
      this.#skipToValue();
      while (this.#depth > depth) {
        const close = closers[this.#depth]!;
        const byte = this.#peek();
        if (byte === close) {
          this.at++;
          this.#depth--;
          continue;
        }
        if (byte !== COMMA) throw this.#unexpected(close === CLOSE_ARRAY ? 'a comma or ]' : 'a comma or }');
        this.at++;
        if (close === CLOSE_OBJECT) this.#skipKey();
        break;
      }
      if (this.#depth === depth) return;
    }
  }

  /** What `look` finds out of what comes next. The reader stays where it is. */
  ahead<T>(look: (reader: this) => T): T {
    const { at } = this;
    const depth = this.#depth;
    try {
      return look(this);
    } finally {
      this.at = at;
      this.#depth = depth;
    }
  }

  /** Checks that nothing but white space is left. */
  end(): void {
    if (this.#peek() !== -1) throw this.#unexpected('the end');
  }

  /** Goes past a value that is neither array nor object, or into the first entry of one that has entries. */
  #skipToValue(): void {
    for (;;) {
      const byte = this.#peek();
      if (byte !== OPEN_ARRAY && byte !== OPEN_OBJECT) {
        this.#skipScalar(byte);
        return;
      }
      const close = byte === OPEN_ARRAY ? CLOSE_ARRAY : CLOSE_OBJECT;
      this.#open(byte, '');
      closers[this.#depth] = close;
      if (this.#peek() === close) {
        this.at++;
        this.#depth--;
        return;
      }
      if (close === CLOSE_OBJECT) this.#skipKey();
    }
  }

  #skipKey(): void {
    if (this.#peek() !== QUOTE) throw this.#unexpected('a key');
    this.#skipText();
    if (this.#peek() !== COLON) throw this.#unexpected('a colon');
    this.at++;
  }

  #skipScalar(byte: number): void {
    if (byte === QUOTE) this.#skipText();
    else if (byte === MINUS || isDigit(byte)) this.#skipNumber();
    else this.#skipLiteral(LITERALS.get(byte));
  }

  #skipLiteral(literal: string | undefined): void {
    if (literal === undefined) throw this.#unexpected('a value');
    for (let i = 0; i < literal.length; i++) {
      if (this.#bytes[this.at] !== literal.charCodeAt(i)) throw this.#unexpected(literal);
      this.at++;
    }
  }

  #skipText(): void {
    const bytes = this.#bytes;
    let at = this.at + 1;
    for (; bytes[at] !== QUOTE; at++) {
      const byte = bytes[at];
      if (byte === undefined || byte < 0x20) {
        this.at = at;
        throw this.#unexpected('the end of a text');
      }
      if (byte !== BACKSLASH) continue;
      const escaped = bytes[++at];
      this.at = at;
      if (escaped === 0x75) {
        const isHex = [1, 2, 3, 4].every((i) => isHexDigit(bytes[at + i]));
        if (!isHex) throw this.#unexpected('four hexadecimal digits');
        at += 4;
      } else if (escaped === undefined || !ESCAPES.includes(escaped)) {
        throw this.#unexpected('a character that may follow a backslash');
      }
    }
    this.at = at + 1;
  }

  #skipNumber(): void {
    if (this.#bytes[this.at] === MINUS) this.at++;
    if (this.#bytes[this.at] === ZERO) this.at++;
    else this.#skipDigits();
    if (this.#bytes[this.at] === DOT) {
      this.at++;
      this.#skipDigits();
    }
    if ((this.#bytes[this.at]! | 0x20) !== LETTER_E) return;
    this.at++;
    const sign = this.#bytes[this.at];
    if (sign === MINUS || sign === 0x2b) this.at++;
    this.#skipDigits();
  }

  #skipDigits(): void {
    if (!isDigit(this.#bytes[this.at]!)) throw this.#unexpected('a digit');
    while (isDigit(this.#bytes[this.at]!)) this.at++;
  }

  #open(open: number, what: string): void {
    if (this.#peek() !== open) throw this.#unexpected(what);
    if (this.#depth === MOST_DEPTH) throw this.#error(`nested more than ${MOST_DEPTH} deep`);
    this.#depth++;
    this.at++;
  }

  /** The next byte that is not white space; -1 at the end. */
  #peek(): number {
    const bytes = this.#bytes;
    let { at } = this;
    let byte = bytes[at];
    while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++at];
    this.at = at;
    return byte ?? -1;
  }

  #unexpected(wanted: string): EplbError {
    const { at } = this;
    const found = at >= this.#bytes.length ? 'it ends' : quote(this.#text.toString('utf8', at, at + 12), 8);
    return this.#error(`${found} at byte ${at}, where ${wanted} belongs`);
  }

  #error(what: string): EplbError {
    return new EplbError('EPLB_FORMAT', `${this.#name}: malformed JSON: ${what}`);
  }
}

/**
 * What closes the arrays and objects that are being skipped, by their depth. Nothing else happens meanwhile.
 */
const closers = new Uint8Array(MOST_DEPTH + 1);

/** What may follow a backslash, beside u. */
const ESCAPES = Buffer.from('"\\/bfnrt', 'latin1');

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}

function isHexDigit(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  const letter = byte | 0x20;
  return isDigit(byte) || (letter >= 0x61 && letter <= 0x66);
}
