import { MemoryBudget } from '../memory-budget.ts';
import { JsonReader } from './reader.ts';

/** Bytes that values take in memory, about: an object of many keys is a table of texts to V8. */
const COST = { place: 8, number: 24, list: 64, object: 64, text: 32, key: 24, keyOfMany: 200 } as const;

/** Numbers from which on a row is kept as numbers alone. */
const LONG_ROW = 32;

/** Keys from which on an object is a table of texts to V8. */
const MANY_KEYS = 16;

/** A list of a file: long rows of whole numbers come as numbers alone. */
export type List = readonly unknown[] | Int32Array;

export function isList(value: unknown): value is List {
  return Array.isArray(value) || value instanceof Int32Array;
}

/**
 * What JSON holds: as JSON.parse() has it, but long rows of whole numbers are Int32Array, at four bytes a
 * number, and the memory that all takes is bounded. For small files and tables; recorded loads are read
 * number by number.
 *
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT when it is malformed, nested too deep, or of too many small values
 */
export function readJson(bytes: Uint8Array, name: string): unknown {
  const reader = new JsonReader(bytes, name);
  const budget = new MemoryBudget(bytes.length, name);
  /** The entries of all lists that are being read. */
  const open: unknown[] = [];
  const value = (): unknown => {
    switch (reader.kind()) {
      case 'array':
        return list();
      case 'object':
        return object();
      case 'text':
        return text();
      case 'number':
        return number();
      default:
        return literal();
    }
  };
  const list = (): unknown[] | Int32Array => {
    const row = wholeRow(bytes, reader);
    if (row !== undefined) return row;
    const start = open.length;
    budget.spend(COST.list);
    reader.openArray();
    while (reader.hasEntry(open.length === start, 'array')) {
      budget.spend(COST.place);
      open.push(value());
    }
    // A copy of just its length: a list that grew has room for sixteen more.
    const values = open.slice(start);
    open.length = start;
    return values;
  };
  const object = (): Record<string, unknown> => {
    const fields: Record<string, unknown> = {};
    budget.spend(COST.object);
    reader.openObject();
    for (let count = 0; reader.hasEntry(count === 0, 'object'); count++) {
      const key = reader.key();
      budget.spend(key.length + (count < MANY_KEYS ? COST.key : COST.keyOfMany));
      // A key __proto__ is a key like others.
      if (key === '__proto__') {
        Object.defineProperty(fields, key, {
          value: value(),
          enumerable: true,
          configurable: true,
          writable: true,
        });
      } else fields[key] = value();
    }
    return fields;
  };
  const text = (): string => {
    const found = reader.text();
    budget.spend(COST.text + found.length);
    return found;
  };
  const number = (): number => {
    const found = reader.number();
    if (!Number.isInteger(found) || Math.abs(found) >= 2 ** 31) budget.spend(COST.number);
    return found;
  };
  const literal = (): boolean | null => {
    const kind = reader.kind();
    reader.skip();
    return kind === 'null' ? null : kind === 'true';
  };
  const root = value();
  reader.end();
  return root;
}

const COMMA = 0x2c;
const MINUS = 0x2d;
const CLOSE_ARRAY = 0x5d;

/** Digits that any number of 32 bits may have. */
const MOST_DIGITS = 9;

/** The array that is next as numbers alone, when it is long and has nothing but short whole numbers. */
function wholeRow(bytes: Uint8Array, reader: JsonReader): Int32Array | undefined {
  let count = 1;
  let digits = 0;
  let at = reader.at + 1;
  for (; ; at++) {
    const byte = bytes[at];
    if (byte === undefined) return undefined;
    if (byte >= 0x30 && byte <= 0x39) {
      if (++digits > MOST_DIGITS) return undefined;
      continue;
    }
    digits = 0;
    if (byte === COMMA) count++;
    else if (byte === CLOSE_ARRAY) break;
    else if (byte !== MINUS && byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)
      return undefined;
  }
  if (count < LONG_ROW) return undefined;
  const row = new Int32Array(count);
  reader.numbers(row, 0, () => new Error('a row of whole numbers has something else in it'));
  return row;
}
