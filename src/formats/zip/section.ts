import type { ByteSource } from '../bytes/source.ts';

/** A run of bytes of another source. */
export class SectionSource implements ByteSource {
  readonly size: number;
  readonly #source: ByteSource;
  readonly #start: number;

  constructor(source: ByteSource, start: number, size: number) {
    this.#source = source;
    this.#start = start;
    this.size = size;
  }

  async read(target: Uint8Array, at: number): Promise<void> {
    await this.#source.read(target, this.#start + at);
  }

  close(): Promise<void> {
    return this.#source.close();
  }
}
