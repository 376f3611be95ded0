import { RandomAccessReader } from 'yauzl';
import type { ByteSource } from '../bytes/source.ts';

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

  /** Waits for what yauzl promised, or for what it threw in a callback, which its promises do not pass on. */
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

  override close(callback: (error: Error | null) => void): void {
    callback(null);
  }

  async #readInto(target: Uint8Array, position: number): Promise<void> {
    const { size } = this.#source;
    if (!(position >= 0 && position + target.length <= size)) throw new Error('unexpected end of the file');
    await this.#source.read(target, position);
  }
}
