import { EplbError } from '../../core/errors.ts';
import type { ByteSource } from './source.ts';

/** A line of a text that holds more than white space, without its end. */
export interface Line {
  /** The reader's own: valid until the next run of lines is asked for. */
  readonly bytes: Uint8Array;
  /** From 1; lines of white space count. */
  readonly number: number;
  /** Where it begins. */
  readonly start: number;
  /** Where the next line begins. */
  readonly end: number;
}

const CHUNK_BYTES = 1 << 20;

/** Longest line that is read: 64 MB hold the loads of millions of experts. */
const MOST_LINE_BYTES = 1 << 26;

const LINE_FEED = 0x0a;

/**
 * The lines of a text, in runs that lie in memory together: it takes the memory of a megabyte, or of the
 * longest line. A run is gone through before the next one is asked for.
 *
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT for a line beyond all bounds, or as the source does
 */
export async function* linesOf(source: ByteSource, name: string): AsyncGenerator<Iterable<Line>> {
  let buffer = Buffer.alloc(Math.min(CHUNK_BYTES, source.size));
  /** Where in the file the buffer begins, how much of it is filled, and how many lines came before. */
  let base = 0;
  let filled = 0;
  let number = 0;
  while (base + filled < source.size) {
    if (filled === buffer.length) buffer = grown(buffer, source.size - base, name, number + 1);
    const chunk = buffer.subarray(filled, Math.min(buffer.length, filled + source.size - base - filled));
    await source.read(chunk, base + filled);
    const end =
      base + filled + chunk.length === source.size ? filled + chunk.length : endOfLines(chunk, filled);
    filled += chunk.length;
    if (end === 0) continue;
    const run = new Run(buffer.subarray(0, end), base, number);
    yield run;
    number = run.number;
    buffer.copyWithin(0, end, filled);
    base += end;
    filled -= end;
  }
}

/** Where the last line ends in a chunk that begins at `at`; 0 when none does. */
function endOfLines(chunk: Buffer, at: number): number {
  const last = chunk.lastIndexOf(LINE_FEED);
  return last === -1 ? 0 : at + last + 1;
}

/** Whole lines that lie in memory. */
class Run implements Iterable<Line> {
  readonly #bytes: Buffer;
  readonly #base: number;
  /** Of the line that was given out last. */
  number: number;

  constructor(bytes: Buffer, base: number, before: number) {
    this.#bytes = bytes;
    this.#base = base;
    this.number = before;
  }

  *[Symbol.iterator](): Iterator<Line> {
    const bytes = this.#bytes;
    for (let start = 0; start < bytes.length; ) {
      this.number++;
      // Of an empty line, a call would take longest.
      const feed = bytes[start] === LINE_FEED ? start : bytes.indexOf(LINE_FEED, start);
      const end = feed === -1 ? bytes.length : feed;
      const next = feed === -1 ? bytes.length : feed + 1;
      if (!isBlank(bytes, start, end)) {
        const base = this.#base;
        const line = bytes.subarray(start, end);
        yield { bytes: line, number: this.number, start: base + start, end: base + next };
      }
      start = next;
    }
  }
}

/** A longer buffer with the same beginning, for a line that did not fit. */
function grown(buffer: Buffer, most: number, name: string, number: number): Buffer<ArrayBuffer> {
  if (buffer.length >= MOST_LINE_BYTES) {
    throw new EplbError('EPLB_FORMAT', `${name}: line ${number} is longer than ${MOST_LINE_BYTES} bytes`);
  }
  const longer = Buffer.alloc(Math.min(most, 2 * buffer.length));
  longer.set(buffer);
  return longer;
}

function isBlank(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x0d && byte !== 0x09) return false;
  }
  return true;
}
