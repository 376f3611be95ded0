import { pipeline, Readable } from 'node:stream';
import { createInflateRaw } from 'node:zlib';
import { type Entry, fromRandomAccessReaderPromise, type ZipFile } from 'yauzl';
import { EplbError, isOwnError } from '../../core/errors.ts';
import type { ByteSource } from '../bytes/source.ts';
import { quote } from '../text.ts';
import { InflatedSource } from './inflated.ts';
import { checkDescriptor, dataStart, type Member } from './member.ts';
import { SourceReader } from './reader.ts';
import { SectionSource } from './section.ts';
import { StoredSource } from './stored.ts';

/** Whether the bytes begin as a zip archive does: with a member, or with the end of one that has none. */
export function hasZipMagic(bytes: Uint8Array): boolean {
  const [p, k, a, b] = bytes;
  return p === 0x50 && k === 0x4b && ((a === 3 && b === 4) || (a === 5 && b === 6));
}

/**
 * The directory of a zip archive, and its members as sources. Nothing is ever unpacked to a file. The
 * checksum of a member is looked at when it was read from its beginning to its end.
 */
export class ZipArchive {
  readonly #source: ByteSource;
  readonly #name: string;
  readonly #members: ReadonlyMap<string, Member>;

  private constructor(source: ByteSource, name: string, members: ReadonlyMap<string, Member>) {
    this.#source = source;
    this.#name = name;
    this.#members = members;
  }

  /**
   * Reads the directory.
   *
   * @param name - the file, for messages
   * @throws EplbError EPLB_FORMAT when it is malformed, has a name twice, or names that lead out of a
   *   directory
   */
  static async open(source: ByteSource, name: string): Promise<ZipArchive> {
    const reader = new SourceReader(source);
    return orMalformed(name, async () => {
      const zip = await reader.orFault(
        fromRandomAccessReaderPromise(reader, source.size, { autoClose: false, lazyEntries: true }),
      );
      return new ZipArchive(source, name, await reader.orFault(membersOf(zip, name)));
    });
  }

  /** Names of all members, in the order of the directory. */
  names(): string[] {
    return [...this.#members.keys()];
  }

  /** Bytes of a member, unpacked; undefined when there is none of that name. */
  sizeOf(member: string): number | undefined {
    return this.#members.get(member)?.size;
  }

  /** The checksum that the archive has for a member; undefined when there is none of that name. */
  checksumOf(member: string): number | undefined {
    return this.#members.get(member)?.checksum;
  }

  /**
   * The bytes of a member. One that is stored as it is can be read from any place at once, one that is
   * deflated only from front to back (see {@link InflatedSource}).
   *
   * @throws EplbError EPLB_FORMAT when it is not there, encrypted, packed in another way, outside the file,
   *   or not what its own header says; while reading, when it is damaged
   */
  async open(member: string): Promise<ByteSource> {
    const found = this.#found(member);
    const start = await dataStart(this.#source, found);
    return found.method === 0 ? new StoredSource(this.#source, found, start) : this.#inflated(found, start);
  }

  /**
   * {@link ZipArchive.open} of a member that has to be stored as it is.
   *
   * @param isChecked - false for one whose checksum was not written
   */
  async openStored(member: string, isChecked: boolean): Promise<ByteSource> {
    const found = this.#found(member);
    if (found.method !== 0)
      throw this.#error(`member ${quote(member)} is packed; PyTorch stores it as it is`);
    const start = await dataStart(this.#source, found);
    if (isChecked) return new StoredSource(this.#source, found, start);
    return new SectionSource(this.#source, start, found.size);
  }

  #inflated(member: Member, start: number): InflatedSource {
    const end = start + member.packedSize;
    return new InflatedSource(member, {
      begin: () => {
        const inflate = createInflateRaw({ chunkSize: INFLATED_BYTES });
        // Its errors are those of what it ends in, which has a listener.
        pipeline(Readable.from(chunksOf(this.#source, start, end)), inflate, () => undefined);
        return inflate;
      },
      checkEnd: () => checkDescriptor(this.#source, member, end),
      close: () => this.#source.close(),
    });
  }

  #found(member: string): Member {
    const found = this.#members.get(member);
    if (found === undefined) throw this.#error(`there is no member ${quote(member)}`);
    if (found.isEncrypted) throw this.#error(`member ${quote(member)} is encrypted`);
    if (found.method !== 0 && found.method !== 8) {
      throw this.#error(
        `member ${quote(member)} is packed by method ${found.method}; stored and deflated are read`,
      );
    }
    return found;
  }

  #error(what: string): EplbError {
    return new EplbError('EPLB_FORMAT', `${this.#name}: ${what}`);
  }
}

/** Bytes of a packed member that are read at once, and that it is unpacked to at once. */
const PACKED_BYTES = 1 << 16;
const INFLATED_BYTES = 1 << 16;

async function* chunksOf(source: ByteSource, start: number, end: number): AsyncGenerator<Buffer> {
  for (let at = start; at < end; at += PACKED_BYTES) {
    const chunk = Buffer.alloc(Math.min(PACKED_BYTES, end - at));
    await source.read(chunk, at);
    yield chunk;
  }
}

async function membersOf(zip: ZipFile, name: string): Promise<Map<string, Member>> {
  const members = new Map<string, Member>();
  for await (const entry of zip.eachEntry()) {
    const { fileName } = entry;
    if (members.has(fileName)) throw new Error(`two members have the name ${quote(fileName)}`);
    members.set(fileName, {
      archive: name,
      name: fileName,
      rawName: rawNameOf(entry),
      localHeaderOffset: entry.relativeOffsetOfLocalHeader,
      packedSize: entry.compressedSize,
      size: entry.uncompressedSize,
      method: entry.compressionMethod,
      isEncrypted: entry.isEncrypted(),
      hasDescriptor: (entry.generalPurposeBitFlag & 8) !== 0,
      checksum: entry.crc32,
    });
  }
  return members;
}

/** A name's bytes as characters: mostly the name itself, which is then kept once. */
function rawNameOf({ fileName, fileNameRaw }: Entry): string {
  const raw = fileNameRaw.toString('latin1');
  return raw === fileName ? fileName : raw;
}

/** Runs `work`, and turns what the zip library throws into an error of ours. */
async function orMalformed<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isOwnError(error)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new EplbError('EPLB_FORMAT', `${name}: malformed zip archive: ${quote(reason, 160)}`);
  }
}
