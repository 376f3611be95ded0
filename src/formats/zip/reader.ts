import { Readable } from 'node:stream';
import { RandomAccessReader } from 'yauzl';
import type { ByteSource } from '../bytes/source.ts';

/** Bytes of a packed member that are read at once. */
const CHUNK_BYTES = 1 << 16;

/** Gives yauzl the bytes of a source. */
export class SourceReader extends RandomAccessReader {
  readonly #source: ByteSource;
  readonly #fault: Promise<never>;
  #raise: (error: unknown) => void = () => undefined;

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
    await this.#source.read(target, position);
  }
}

async function* chunksOf(source: ByteSource, start: number, end: number): AsyncGenerator<Buffer> {
  for (let at = start; at < end; at += CHUNK_BYTES) {
    const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, end - at));
    await source.read(chunk, at);
    yield chunk;
  }
}
