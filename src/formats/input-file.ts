import { stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { EplbError } from '../core/errors.ts';
import { fileReason } from './bytes/file-reason.ts';
import { ReadAheadSource } from './bytes/read-ahead.ts';
import { type ByteSource, FileSource, MemorySource, readBytes } from './bytes/source.ts';
import { unwrapped } from './bytes/unwrap.ts';
import { type JsonOutline, outlineOf } from './json/outline.ts';
import { readJson } from './json/value.ts';
import { quotePath } from './text.ts';
import { TorchFile } from './torch/file.ts';
import { ZipArchive } from './zip/archive.ts';

/** Bytes at the beginning that are enough to recognise a file. */
const HEAD_BYTES = 1 << 16;

/** The largest JSON that is read. It has to be in memory as a whole, the numbers in it beside it. */
const MOST_JSON_BYTES = 2 ** 29;

/** The same where it is packed: a few bytes of a file may be any number of them. */
const MOST_PACKED_TEXT = 2 ** 24;

/** A file that is to be read, whatever its format. What several readers ask of it is read and parsed once. */
export class InputFile {
  readonly path: string;
  /** What the messages call it: `recording: "a.npy"`. */
  readonly name: string;
  readonly source: ByteSource;
  #head: Promise<Uint8Array> | undefined;
  readonly #ahead: ReadAheadSource;
  #outline: Promise<JsonOutline> | undefined;
  #zip: Promise<ZipArchive> | undefined;
  #torch: Promise<TorchFile> | undefined;

  /** Bytes that it takes where it lies: fewer than it holds when it is packed. */
  readonly size: number;

  constructor(path: string, name: string, source: ByteSource, size = source.size) {
    this.path = path;
    this.name = name;
    this.source = source;
    this.size = size;
    this.#ahead = new ReadAheadSource(source);
  }

  /** Bytes that it holds. */
  get contentSize(): number {
    return this.source.size;
  }

  /** How many of its {@link size} bytes the first ones of its content take. */
  bytesUpTo(at: number): number {
    return this.size === this.contentSize ? at : Math.round((at * this.size) / this.contentSize);
  }

  /** The name's ending, lower case, with its dot: `.npy`. */
  get extension(): string {
    return extname(this.path).toLowerCase();
  }

  /** The first bytes, at most 64 KB. */
  head(): Promise<Uint8Array> {
    this.#head ??= readBytes(this.source, 0, Math.min(this.contentSize, HEAD_BYTES));
    return this.#head;
  }

  /**
   * All bytes, of what cannot be read piece by piece.
   *
   * @param most - how many that may be
   * @param what - what they hold, for the message
   * @throws EplbError EPLB_FORMAT when there are more
   */
  async whole(most: number, what: string): Promise<Uint8Array> {
    const isPacked = this.size !== this.contentSize;
    const limit = isPacked ? Math.min(most, MOST_PACKED_TEXT + this.size) : most;
    if (this.contentSize <= limit) return readBytes(this.source, 0, this.contentSize);
    const advice = isPacked ? 'unpack it with gunzip' : 'convert it to .npy';
    const told = `${what} is read up to ${Math.floor(limit / 2 ** 20)} MiB: ${advice}`;
    throw new EplbError('EPLB_FORMAT', `${this.name} has ${this.contentSize} bytes; ${told}`);
  }

  /** Gives the file back to the system, and what was read of it. A later read opens it again. */
  close(): Promise<void> {
    this.#head = undefined;
    return this.#ahead.close();
  }

  /** All bytes of a JSON file. */
  jsonBytes(): Promise<Uint8Array> {
    return this.whole(MOST_JSON_BYTES, 'JSON');
  }

  /** What the file holds as JSON, without its values. @throws EplbError EPLB_FORMAT */
  jsonOutline(): Promise<JsonOutline> {
    this.#outline ??= this.jsonBytes().then((bytes) => outlineOf(bytes, this.name));
    return this.#outline;
  }

  /** The whole file read as JSON. @throws EplbError EPLB_FORMAT */
  async json(): Promise<unknown> {
    return readJson(await this.jsonBytes(), this.name);
  }

  /** The file as a zip archive. @throws EplbError EPLB_FORMAT */
  zip(): Promise<ZipArchive> {
    this.#zip ??= ZipArchive.open(this.#ahead, this.name);
    return this.#zip;
  }

  /** The file as torch.save wrote it. @throws EplbError EPLB_FORMAT */
  torch(): Promise<TorchFile> {
    this.#torch ??= this.head().then((head) =>
      TorchFile.open(head, this.#ahead, () => this.zip(), this.size, this.name),
    );
    return this.#torch;
  }
}

/**
 * A file of the file system, not yet opened.
 *
 * @param field - what the file is to the command, for the messages: `recording`, `--from`
 * @throws EplbError EPLB_FILE when it is not there or is a directory, EPLB_FORMAT when it is empty
 */
export async function inputFile(path: string, field: string): Promise<InputFile> {
  const cannot = (cause: unknown, reason = fileReason(cause)) =>
    new EplbError('EPLB_FILE', `${field}: cannot read ${quotePath(path)}: ${reason}`, { cause });
  const name = `${field}: ${quotePath(path)}`;
  const stats = await stat(path).catch((cause: unknown) => {
    throw cannot(cause);
  });
  if (!stats.isFile()) {
    throw cannot(
      undefined,
      stats.isDirectory() ? 'it is a directory, not a file' : 'it is not a regular file',
    );
  }
  if (stats.size === 0) throw new EplbError('EPLB_FORMAT', `${name} is empty`);
  const source = await unwrapped(new FileSource(path, field, stats.size), name);
  return new InputFile(path.replace(/\.gz$/i, ''), name, source, stats.size);
}

/** Bytes in memory as a file, for tests and for files inside of files. */
export function inputBytes(bytes: Uint8Array, path: string, field: string): InputFile {
  const name = `${field}: ${quotePath(path)}`;
  if (bytes.length === 0) throw new EplbError('EPLB_FORMAT', `${name} is empty`);
  return new InputFile(path, name, new MemorySource(bytes, name));
}

/** Bytes of files together. */
export function sizeOf(files: readonly InputFile[]): number {
  return files.reduce((sum, file) => sum + file.size, 0);
}

/** Gives files back to the system, one after the other. */
export async function closeAll(files: readonly InputFile[]): Promise<void> {
  for (const file of files) await file.close();
}
