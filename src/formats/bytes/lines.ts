import { EplbError } from '../../core/errors.ts';
import type { ByteSource } from './source.ts';

/** A line of a text, without its end. */
export interface Line {
  readonly text: string;
  /** From 1. */
  readonly number: number;
  /** Where the next line begins. */
  readonly end: number;
}

const CHUNK_BYTES = 1 << 20;

/** Longest line that is read: 64 MB hold the loads of millions of experts. */
const MOST_LINE_BYTES = 1 << 26;

const LINE_FEED = 0x0a;

/**
 * The lines of a text in UTF-8, one after the other, in the memory of one of them.
 *
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT for a line beyond all bounds, or as the source does
 */
export async function* linesOf(source: ByteSource, name: string): AsyncGenerator<Line> {
  let parts: Buffer[] = [];
  let length = 0;
  let number = 1;
  for (let at = 0; at < source.size; at += CHUNK_BYTES) {
    const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, source.size - at));
    await source.read(chunk, at);
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
      parts.push(chunk.subarray(start, end));
      start = end + 1;
      yield { text: textOf(parts), number: number++, end: at + start };
      parts = [];
      length = 0;
    }
    parts.push(chunk.subarray(start));
    length += chunk.length - start;
    if (length > MOST_LINE_BYTES) {
      throw new EplbError('EPLB_FORMAT', `${name}: line ${number} is longer than ${MOST_LINE_BYTES} bytes`);
    }
  }
  if (length > 0) yield { text: textOf(parts), number, end: source.size };
}

function textOf(parts: readonly Buffer[]): string {
  return (parts.length === 1 ? parts[0]! : Buffer.concat(parts)).toString('utf8');
}
