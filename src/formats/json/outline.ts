import { type JsonKind, JsonReader } from './reader.ts';

/** The keys at the top of a file that say what it holds. */
const KEYS: ReadonlySet<string> = new Set([
  'logical_count',
  'load_history',
  'num_experts',
  'num_experts_per_token',
  'ep_size',
  'tokens_per_expert_stats_list',
]);

/** What a JSON file holds, without its values. */
export interface JsonOutline {
  readonly kind: JsonKind;
  /** Whether it is an array whose first entry is one. */
  readonly isNested: boolean;
  /**
   * Where the values of known keys begin and end: of a key that is there twice the last one, as JSON.parse()
   * has it.
   */
  readonly fields: ReadonlyMap<string, Span>;
}

/** A run of bytes. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Looks through a whole file. @throws EplbError EPLB_FORMAT when it is malformed */
export function outlineOf(bytes: Uint8Array, name: string): JsonOutline {
  const reader = new JsonReader(bytes, name);
  const kind = reader.kind();
  const fields = new Map<string, Span>();
  const isNested = kind === 'array' && reader.ahead(startsWithArray);
  if (kind === 'object') {
    reader.openObject();
    for (let isFirst = true; reader.hasEntry(isFirst, 'object'); isFirst = false) {
      const key = reader.key();
      const start = reader.at;
      reader.skip();
      if (KEYS.has(key)) fields.set(key, { start, end: reader.at });
    }
  } else reader.skip();
  reader.end();
  return { kind, isNested, fields };
}

function startsWithArray(reader: JsonReader): boolean {
  reader.openArray();
  return reader.hasEntry(true, 'array') && reader.kind() === 'array';
}

const COMMA = 0x2c;

/** The most numbers that can stand in a part of a file: one more than commas. */
export function mostNumbersIn(bytes: Uint8Array, { start, end }: Span): number {
  let commas = 0;
  for (let at = start; at < end; at++) if (bytes[at] === COMMA) commas++;
  return commas + 1;
}
