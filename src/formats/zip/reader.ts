import { Readable } from 'node:stream';
import { RandomAccessReader } from 'yauzl';
import type { ByteSource } from '../bytes/source.ts';

/** Bytes that are read ahead: the directory is asked for in pieces of some fifty bytes. */
const WINDOW_BYTES = 1 << 16;

/** Gives yauzl the bytes of a source. */
export class SourceReader extends RandomAccessReader {
  readonly #source: ByteSource;
  readonly #fault: Promise<never>;
  #raise: (error: unknown) => void = () => undefined;
  #windowStart = 0;
  #window = new Uint8Array(0);

  constructor(source: ByteSource) {
    super();
    this.#source = source;
    this.#fault = new Promise((_, reject) => {
      this.#raise = reject;
    });
    this.#fault.catch(() => undefined);
  }

  /** Waits for what yauzl promised, or for what it threw in a callback, which its promises do not tell. */
  orFault<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#fault]);
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytesRead?: number) => void,
  ): void {
    this.#readInto(buffer.subarray(offset, offset + length), position)
      .then(
        () => callback(null, length),
        (error: Error) => callback(error),
      )
      .catch(this.#raise);
  }

  override _readStreamForRange(start: number, end: number): Readable {
    return Readable.from(chunksOf(this.#source, start, end));
  }

  override close(callback: (error: Error | null) => void): void {
    callback(null);
  }

  async #readInto(target: Uint8Array, position: number): Promise<void> {
    const { size } = this.#source;
    if (!(position >= 0 && position + target.length <= size)) throw new Error('unexpected end of the file');
    if (target.length >= WINDOW_BYTES) return this.#source.read(target, position);
    const at = position - this.#windowStart;
    if (at < 0 || at + target.length > this.#window.length) {
      const window = new Uint8Array(Math.min(WINDOW_BYTES, size - position));
      await this.#source.read(window, position);
      this.#window = window;
      this.#windowStart = position;
    }
    const from = position - this.#windowStart;
    target.set(this.#window.subarray(from, from + target.length));
  }
}

async function* chunksOf(source: ByteSource, start: number, end: number): AsyncGenerator<Buffer> {
  for (let at = start; at < end; at += WINDOW_BYTES) {
    const chunk = Buffer.alloc(Math.min(WINDOW_BYTES, end - at));
    await source.read(chunk, at);
    yield chunk;
  }
}
