import type { ByteSource } from './source.ts';

/** Bytes that are read at once: some records of SGLang, or ten thousand lines of an archive's directory. */
const WINDOW_BYTES = 1 << 19;

/** A run of bytes in memory. */
interface Window {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/**
 * A source from which much is read in small pieces, one behind the other: it reads ahead. What is not small
 * is read as it is asked for.
 */
export class ReadAheadSource implements ByteSource {
  readonly #source: ByteSource;
  #window: Promise<Window> | undefined;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  get size(): number {
    return this.#source.size;
  }

  async read(target: Uint8Array, at: number): Promise<void> {
    const isSmall = target.length <= WINDOW_BYTES / 2 && at + target.length <= this.size;
    if (!isSmall) return this.#source.read(target, at);
    let window = await this.#window;
    if (
      window === undefined ||
      at < window.start ||
      at + target.length > window.start + window.bytes.length
    ) {
      // Others may be waiting for the window before: it is replaced, never written again.
      const filling = this.#fill(at);
      this.#window = filling.catch(() => ({ start: 0, bytes: new Uint8Array(0) }));
      window = await filling;
    }
    const from = at - window.start;
    target.set(window.bytes.subarray(from, from + target.length));
  }

  close(): Promise<void> {
    this.#window = undefined;
    return this.#source.close();
  }

  async #fill(start: number): Promise<Window> {
    const bytes = new Uint8Array(Math.min(WINDOW_BYTES, this.size - start));
    await this.#source.read(bytes, start);
    return { start, bytes };
  }
}
