import { type FileHandle, open } from 'node:fs/promises';
import { EplbError } from '../../core/errors.ts';
import { zeros } from '../../memory/allocate.ts';
import { quotePath } from '../text.ts';
import { fileReason } from './file-reason.ts';

/** Bytes that can be read from any place, of a file or of memory. */
export interface ByteSource {
  readonly size: number;
  /**
   * Fills the whole of `target` with the bytes from `at` on.
   *
   * @throws EplbError EPLB_FILE when the file cannot be read, EPLB_FORMAT when it ends before
   */
  read(target: Uint8Array, at: number): Promise<void>;
  /** Of bytes in memory: those from `at` on, not copied. */
  view?(at: number, length: number): Uint8Array;
  /**
   * Of bytes that have a checksum: reads those that were not read yet, and looks at it.
   *
   * @throws EplbError EPLB_FORMAT when it is not theirs
   */
  verify?(): Promise<void>;
  /** Gives the file back to the system. A later read opens it again. */
  close(): Promise<void>;
}

/**
 * The bytes of a file. It is opened when first read, and again when it is read after `close`: a recording of
 * thousands of files holds no more of them open than it reads from.
 *
 * @param name - the file, for messages
 */
export class FileSource implements ByteSource {
  readonly size: number;
  readonly #path: string;
  readonly #name: string;
  #handle: Promise<FileHandle> | undefined;

  constructor(path: string, name: string, size: number) {
    this.#path = path;
    this.#name = name;
    this.size = size;
  }

  async read(target: Uint8Array, at: number): Promise<void> {
    let done = 0;
    while (done < target.length) {
      const bytesRead = await this.#readOnce(target, done, at + done);
      if (bytesRead === 0) throw endsBefore(this.#name, at + done, at + target.length);
      done += bytesRead;
    }
  }

  async #readOnce(target: Uint8Array, done: number, position: number): Promise<number> {
    try {
      this.#handle ??= open(this.#path, 'r');
      const handle = await this.#handle;
      return (await handle.read(target, done, target.length - done, position)).bytesRead;
    } catch (cause) {
      const reason = fileReason(cause);
      throw new EplbError('EPLB_FILE', `${this.#name}: cannot read ${quotePath(this.#path)}: ${reason}`, {
        cause,
      });
    }
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    // One that could not be opened has nothing to close, and its error was thrown by the read.
    await handle?.then(
      (opened) => opened.close(),
      () => undefined,
    );
  }
}

/** Bytes that are already in memory, as a source. They are not copied. */
export class MemorySource implements ByteSource {
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly #name: string;

  constructor(bytes: Uint8Array, name: string) {
    this.#bytes = bytes;
    this.#name = name;
    this.size = bytes.length;
  }

  async read(target: Uint8Array, at: number): Promise<void> {
    const end = at + target.length;
    if (end > this.size) throw endsBefore(this.#name, this.size, end);
    target.set(this.#bytes.subarray(at, end));
  }

  view(at: number, length: number): Uint8Array {
    // Never a Buffer, whose slice() copies nothing.
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + at, length);
  }

  async close(): Promise<void> {}
}

/** Reads `length` bytes from `at` into an array of their own. */
export async function readBytes(source: ByteSource, at: number, length: number): Promise<Uint8Array> {
  const bytes = zeros('a part of a file', Uint8Array, length);
  await source.read(bytes, at);
  return bytes;
}

function endsBefore(name: string, end: number, wanted: number): EplbError {
  return new EplbError('EPLB_FORMAT', `${name}: truncated: it ends at byte ${end}, before byte ${wanted}`);
}
