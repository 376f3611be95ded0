import type { Readable } from 'node:stream';
import { EplbError, isOwnError } from '../../core/errors.ts';
import type { ByteSource } from '../bytes/source.ts';
import { quote } from '../text.ts';

/**
 * The bytes of a deflated member, unpacked as they are read: whatever they unpack to, no more than a piece of them is in
 * memory. Reading on is cheap; reading what lies before begins anew.
 */
export class InflatedSource implements ByteSource {
  readonly size: number;
  readonly #name: string;
  readonly #inflate: () => Promise<Readable>;
  readonly #closeFile: () => Promise<void>;
  #stream: Readable | undefined;
  #chunks: AsyncIterator<Buffer> | undefined;
  #chunk: Uint8Array = new Uint8Array(0);
  /** Where the chunk ends. */
  #position = 0;
  /** The reading under way: one at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * @param name - the member, for messages
   * @param inflate - begins to unpack it
   * @param closeFile - closes the archive
   */
  constructor(size: number, name: string, inflate: () => Promise<Readable>, closeFile: () => Promise<void>) {
    this.size = size;
    this.#name = name;
    this.#inflate = inflate;
    this.#closeFile = closeFile;
  }

  async read(target: Uint8Array, at: number): Promise<void> {
    const turn = this.#turn.then(() => this.#readNow(target, at));
    this.#turn = turn.catch(() => undefined);
    await turn;
  }

  async close(): Promise<void> {
    await this.#turn;
    this.#stop();
    await this.#closeFile();
  }

  async #readNow(target: Uint8Array, at: number): Promise<void> {
    if (at + target.length > this.size) throw this.#error(`it ends at byte ${this.size}`);
    if (at < this.#position - this.#chunk.length) this.#stop();
    for (let done = 0; done < target.length; ) {
      while (at + done >= this.#position) await this.#next();
      const from = at + done - (this.#position - this.#chunk.length);
      const piece = this.#chunk.subarray(from, from + target.length - done);
      target.set(piece, done);
      done += piece.length;
    }
  }

  async #next(): Promise<void> {
    try {
      if (this.#chunks === undefined) {
        this.#stream = await this.#inflate();
        // What goes wrong is told to the iterator; once that is gone, nobody asks.
        this.#stream.on('error', () => undefined);
        this.#chunks = this.#stream[Symbol.asyncIterator]();
      }
      const { value, done } = await this.#chunks.next();
      if (done === true) throw new Error(`it ends at byte ${this.#position}`);
      this.#chunk = value;
      this.#position += value.length;
    } catch (error) {
      this.#stop();
      if (isOwnError(error)) throw error;
      throw this.#error(error instanceof Error ? error.message : String(error));
    }
  }

  #stop(): void {
    this.#stream?.destroy();
    this.#stream = undefined;
    this.#chunks = undefined;
    this.#chunk = new Uint8Array(0);
    this.#position = 0;
  }

  #error(reason: string): EplbError {
    return new EplbError('EPLB_FORMAT', `${this.#name}: cannot be unpacked: ${quote(reason, 160)}`);
  }
}
