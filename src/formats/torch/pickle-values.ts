import { quote } from '../text.ts';

/**
 * What a pickle is built of. Nothing in it is ever run: a global is a name, and calling one is for the maker
 * to allow.
 */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PickleList
  | PickleTuple
  | PickleDict
  | PickleMade;

/** What the maker made of a global, a call or a persistent id. */
export interface PickleMade {
  readonly made: string;
}

/** Numbers from which on a list of whole numbers is kept as numbers alone. */
const LONG_ROW = 32;

/** A Python list. */
export class PickleList {
  #items: PickleValue[] | Int32Array | undefined;

  /** Long rows of whole numbers, which are written at once, as numbers alone. */
  get items(): readonly PickleValue[] | Int32Array {
    return this.#items ?? [];
  }

  /** @param values - become the list's own */
  add(values: PickleValue[]): void {
    // Made when there is something in it: an empty one is a byte in the file.
    if (this.#items === undefined) this.#items = isWholeRow(values) ? Int32Array.from(values) : values;
    else {
      if (this.#items instanceof Int32Array) this.#items = Array.from(this.#items);
      for (const value of values) this.#items.push(value);
    }
  }
}

function isWholeRow(values: readonly PickleValue[]): values is number[] {
  return (
    values.length >= LONG_ROW && values.every((value) => typeof value === 'number' && (value | 0) === value)
  );
}

/** A Python tuple. */
export class PickleTuple {
  readonly items: readonly PickleValue[];
  constructor(items: readonly PickleValue[]) {
    this.items = items;
  }
}

/** A Python dict, with keys of text. Not an object: a key `__proto__` is a key like others. */
export class PickleDict {
  #entries: Map<string, PickleValue> | undefined;

  get(key: string): PickleValue | undefined {
    return this.#entries?.get(key);
  }

  set(key: string, value: PickleValue): void {
    // As for a list; a Map takes two hundred bytes.
    this.#entries ??= new Map();
    this.#entries.set(key, value);
  }

  get isEmpty(): boolean {
    return this.#entries === undefined;
  }

  keys(): string[] {
    return [...(this.#entries?.keys() ?? [])];
  }
}

/** How a value reads in a message. */
export function describePickle(value: PickleValue | undefined): string {
  if (value === undefined) return 'nothing';
  if (value instanceof PickleList) return `a list of ${value.items.length}`;
  if (value instanceof PickleTuple) return `a tuple of ${value.items.length}`;
  if (value instanceof PickleDict) {
    const keys = value
      .keys()
      .slice(0, 3)
      .map((key) => quote(key, 30));
    return keys.length === 0 ? 'an empty dict' : `a dict with the keys ${keys.join(', ')}`;
  }
  if (typeof value === 'string') return `the text ${quote(value)}`;
  if (typeof value === 'object' && value !== null) return value.made;
  return String(value);
}
