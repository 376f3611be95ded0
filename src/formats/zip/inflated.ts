import type { Readable } from 'node:stream';
import { isOwnError } from '../../core/errors.ts';
import { type ByteSource, readBytes } from '../bytes/source.ts';
import { quote } from '../text.ts';
import { crc32 } from './crc32.ts';
import { type Member, memberDamage, memberError } from './member.ts';

/** What a member is unpacked with. */
interface Inflater {
  /** Begins to unpack it. */
  readonly begin: () => Readable;
  /** Checks what stands behind the packed data. */
  readonly checkEnd: () => Promise<void>;
  /** Closes the archive. */
  readonly close: () => Promise<void>;
}

/**
 * The bytes of a deflated member, unpacked as they are read: whatever they unpack to, no more than a piece of
 * them is in memory. Reading on is cheap; reading what lies before begins anew. The checksum is looked at
 * before the last of them is handed out.
 */
export class InflatedSource implements ByteSource {
  readonly #member: Member;
  readonly #inflater: Inflater;
  #stream: Readable | undefined;
  #chunks: AsyncIterator<Buffer> | undefined;
  #chunk: Uint8Array = new Uint8Array(0);
  /** Where the chunk ends. */
  #position = 0;
  #checksum = 0;
  /** The reading under way: one at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(member: Member, inflater: Inflater) {
    this.#member = member;
    this.#inflater = inflater;
  }

  get size(): number {
    return this.#member.size;
  }

  async read(target: Uint8Array, at: number): Promise<void> {
    const turn = this.#turn.then(() => this.#readNow(target, at));
    this.#turn = turn.catch(() => undefined);
    await turn;
  }

  /** Unpacks what is left, so that all of it is checked. */
  async verify(): Promise<void> {
    if (this.size > 0) await readBytes(this, this.size - 1, 1);
  }

  async close(): Promise<void> {
    await this.#turn;
    this.#stop();
    await this.#inflater.close();
  }

  async #readNow(target: Uint8Array, at: number): Promise<void> {
    if (at + target.length > this.size)
      throw memberError(this.#member, `truncated: it ends at byte ${this.size}`);
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
        this.#stream = this.#inflater.begin();
        // The iterator reports what goes wrong; once it is gone, nobody asks.
        this.#stream.on('error', () => undefined);
        this.#chunks = this.#stream[Symbol.asyncIterator]();
      }
      const { value, done } = await this.#chunks.next();
      if (done === true)
        throw memberError(
          this.#member,
          `it unpacks to less than the ${this.size} bytes that the archive says`,
        );
      this.#checksum = crc32(value, this.#checksum);
      this.#position += value.length;
      if (this.#position >= this.size) await this.#checkEnd(this.#chunks);
      this.#chunk = value;
    } catch (error) {
      this.#stop();
      if (isOwnError(error)) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw memberError(this.#member, `cannot be unpacked: ${quote(reason, 160)}`);
    }
  }

  async #checkEnd(chunks: AsyncIterator<Buffer>): Promise<void> {
    if (this.#position > this.size || (await chunks.next()).done !== true) {
      throw memberError(this.#member, `it unpacks to more than the ${this.size} bytes that the archive says`);
    }
    if (this.#checksum !== this.#member.checksum) throw memberDamage(this.#member, this.#checksum);
    await this.#inflater.checkEnd();
  }

  #stop(): void {
    this.#stream?.destroy();
    this.#stream = undefined;
    this.#chunks = undefined;
    this.#chunk = new Uint8Array(0);
    this.#position = 0;
    this.#checksum = 0;
  }
}
