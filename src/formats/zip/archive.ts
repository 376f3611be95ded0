import type { Readable } from 'node:stream';
import { type Entry, fromRandomAccessReaderPromise, type ZipFile } from 'yauzl';
import { EplbError, isOwnError } from '../../core/errors.ts';
import type { ByteSource } from '../bytes/source.ts';
import { quote } from '../text.ts';
import { InflatedSource } from './inflated.ts';
import { SourceReader } from './reader.ts';
import { SectionSource } from './section.ts';

/** A member of a zip archive, as the archive's directory tells it. */
interface Member {
  readonly localHeaderOffset: number;
  readonly compressedSize: number;
  readonly size: number;
  /** 0 for stored, 8 for deflated. */
  readonly method: number;
  readonly isEncrypted: boolean;
}

/** Whether the bytes begin as a zip archive does: with a member, or with the end of one that has none. */
export function hasZipMagic(bytes: Uint8Array): boolean {
  const [p, k, a, b] = bytes;
  return p === 0x50 && k === 0x4b && ((a === 3 && b === 4) || (a === 5 && b === 6));
}

/** The directory of a zip archive, and its members as sources. Nothing is ever unpacked to a file. */
export class ZipArchive {
  readonly #source: ByteSource;
  readonly #name: string;
  readonly #zip: ZipFile;
  readonly #members: ReadonlyMap<string, Member>;

  private constructor(source: ByteSource, name: string, zip: ZipFile, members: ReadonlyMap<string, Member>) {
    this.#source = source;
    this.#name = name;
    this.#zip = zip;
    this.#members = members;
  }

  /**
   * Reads the directory.
   *
   * @param name - the file, for messages
   * @throws EplbError EPLB_FORMAT when it is malformed, has a name twice, or names that lead out of a directory
   */
  static async open(source: ByteSource, name: string): Promise<ZipArchive> {
    const reader = new SourceReader(source);
    return orMalformed(name, async () => {
      const zip = await reader.orFault(
        fromRandomAccessReaderPromise(reader, source.size, { autoClose: false, lazyEntries: true }),
      );
      const members = await reader.orFault(membersOf(zip));
      return new ZipArchive(source, name, zip, members);
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

  /**
   * The bytes of a member. One that is stored as it is can be read from any place at once, one that is deflated only from
   * front to back (see {@link InflatedSource}).
   *
   * @throws EplbError EPLB_FORMAT when it is not there, encrypted, packed in another way, or outside the file
   */
  async open(member: string): Promise<ByteSource> {
    const found = this.#found(member);
    const start = await this.#dataStart(member, found);
    const shown = `${this.#name}: member ${quote(member)}`;
    if (found.method === 0) return new SectionSource(this.#source, start, found.size);
    const { size, compressedSize } = found;
    const inflate = () => openStream(this.#zip, start, compressedSize, size);
    return new InflatedSource(size, shown, inflate, () => this.#source.close());
  }

  /** Where in the archive the bytes of a member begin that is stored as it is. @throws as {@link ZipArchive.open} */
  async storedAt(member: string): Promise<number> {
    const found = this.#found(member);
    if (found.method === 0) return this.#dataStart(member, found);
    throw this.#error(`member ${quote(member)} is packed; PyTorch stores it as it is`);
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

  async #dataStart(member: string, { localHeaderOffset, compressedSize }: Member): Promise<number> {
    const entry = { relativeOffsetOfLocalHeader: localHeaderOffset, compressedSize } as Entry;
    const shown = `${this.#name}: member ${quote(member)}`;
    return orMalformed(shown, async () => {
      const { fileDataStart } = await this.#zip.readLocalFileHeaderPromise(entry, { minimal: true });
      return fileDataStart;
    });
  }

  #error(what: string): EplbError {
    return new EplbError('EPLB_FORMAT', `${this.#name}: ${what}`);
  }
}

/** yauzl's own promise of this passes the arguments on to another of its functions. */
function openStream(zip: ZipFile, start: number, packed: number, size: number): Promise<Readable> {
  return new Promise((resolve, reject) => {
    zip.openReadStreamLowLevel(start, packed, 0, packed, true, size, (error, stream) =>
      error === null ? resolve(stream) : reject(error),
    );
  });
}

async function membersOf(zip: ZipFile): Promise<Map<string, Member>> {
  const members = new Map<string, Member>();
  for await (const entry of zip.eachEntry()) {
    if (members.has(entry.fileName)) throw new Error(`two members have the name ${quote(entry.fileName)}`);
    members.set(entry.fileName, {
      localHeaderOffset: entry.relativeOffsetOfLocalHeader,
      compressedSize: entry.compressedSize,
      size: entry.uncompressedSize,
      method: entry.compressionMethod,
      isEncrypted: entry.isEncrypted(),
    });
  }
  return members;
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
