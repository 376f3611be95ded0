import { kindOf } from '../text.ts';
import type { JsonReader } from './reader.ts';

/** Keys of an object that are looked at: one more than a message shows. */
const MOST_KEYS = 4;

/** What the next value is, for messages, as {@link kindOf} has it. The reader stays where it is. */
export function describeNext(reader: JsonReader): string {
  return reader.ahead((next) => {
    switch (next.kind()) {
      case 'array':
        next.openArray();
        return kindOf(next.hasEntry(true, 'array') ? [0] : []);
      case 'object':
        return kindOf(Object.fromEntries(firstKeys(next).map((key) => [key, 0])));
      case 'text':
        return kindOf(next.text());
      case 'number':
        return kindOf(next.number());
      default:
        return next.kind();
    }
  });
}

function firstKeys(reader: JsonReader): string[] {
  const keys = new Set<string>();
  reader.openObject();
  for (let i = 0; keys.size < MOST_KEYS && reader.hasEntry(i === 0, 'object'); i++) {
    keys.add(reader.key());
    reader.skip();
  }
  return [...keys];
}
