import { type ByteSource, readBytes } from '../bytes/source.ts';
import { crc32 } from './crc32.ts';
import { checkDescriptor, type Member, memberDamage, memberError } from './member.ts';

/** Bytes that are read at once where only their checksum is wanted. */
const CHUNK_BYTES = 1 << 20;

/**
 * The bytes of a member that is stored as it is: a run of the archive's. Its checksum is counted as they are
 * read from front to back, and looked at when the last one was. What lies before what was counted is read
 * without counting, and so is what lies behind a gap: a reading that begins in the middle cannot be checked,
 * short of reading what it left out.
 */
export class StoredSource implements ByteSource {
  readonly #source: ByteSource;
  readonly #member: Member;
  readonly #start: number;
  #checksum = 0;
  /** Where the bytes end that were counted. */
  #counted = 0;
  #check: Promise<void> | undefined;
  #rest: Promise<void> | undefined;

  /** @param start - where its bytes begin in the archive */
  constructor(source: ByteSource, member: Member, start: number) {
    this.#source = source;
    this.#member = member;
    this.#start = start;
  }

  get size(): number {
    return this.#member.size;
  }

  async read(target: Uint8Array, at: number): Promise<void> {
    const end = at + target.length;
    if (end > this.size) {
      throw memberError(this.#member, `truncated: it ends at byte ${this.size}, before byte ${end}`);
    }
    await this.#source.read(target, this.#start + at);
    if (at <= this.#counted && end > this.#counted) {
      this.#checksum = crc32(target.subarray(this.#counted - at), this.#checksum);
      this.#counted = end;
    }
    if (this.#counted === this.size) await this.#checkAll();
  }

  /** Reads what was not counted yet, so that all of it is checked. */
  verify(): Promise<void> {
    this.#rest ??= this.#readRest();
    return this.#rest;
  }

  close(): Promise<void> {
    return this.#source.close();
  }

  async #readRest(): Promise<void> {
    while (this.#counted < this.size) {
      await readBytes(this, this.#counted, Math.min(CHUNK_BYTES, this.size - this.#counted));
    }
    await this.#checkAll();
  }

  #checkAll(): Promise<void> {
    this.#check ??= this.#checkNow();
    return this.#check;
  }

  async #checkNow(): Promise<void> {
    if (this.#checksum !== this.#member.checksum) throw memberDamage(this.#member, this.#checksum);
    await checkDescriptor(this.#source, this.#member, this.#start + this.size);
  }
}
