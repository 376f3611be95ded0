import type { FileHandle } from 'node:fs/promises';
import { EplbError, isOwnError } from '../core/errors.ts';
import { loadBuiltin } from '../core/load-builtin.ts';
import { journalLine, readJournalBytes } from './journal-lines.ts';

const files = () => loadBuiltin('node:fs/promises') as typeof import('node:fs/promises');
const paths = () => loadBuiltin('node:path') as typeof import('node:path');

/**
 * A file of records that is only appended to. An append is written and synced to the disk before it resolves.
 * What a crash left of an append is cut off when the file is read. Nothing more is written when another
 * process has written to the file.
 */
export class LineFile {
  readonly #path: string;
  readonly #header: string;
  #handle: FileHandle | undefined;
  /** The bytes that are known to be in the file. */
  #size = 0;

  /**
   * Opens nothing yet. Its folder has to be there.
   * @param header the first line, which names the format, with its end
   */
  constructor(path: string, header: string) {
    this.#path = path;
    this.#header = header;
  }

  /** @throws EplbError `EPLB_FILE`, EplbRangeError `EPLB_FORMAT` for a damaged file or no journal */
  read(): Promise<readonly unknown[]> {
    return this.#reported('read', async () => {
      await this.#handle?.close();
      const { constants, open } = files();
      this.#handle = await open(this.#path, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND, 0o600);
      const { records, wholeBytes } = readJournalBytes(await this.#handle.readFile(), this.#header);
      await this.#handle.truncate(wholeBytes);
      this.#size = wholeBytes;
      if (wholeBytes === 0) await this.#write(Buffer.from(this.#header));
      else await this.#handle.sync();
      await this.#syncFolder();
      return records;
    });
  }

  /** @throws EplbError `EPLB_FILE`, `EPLB_STALE` when another process wrote to the file, `EPLB_CLOSED` */
  append(records: readonly unknown[]): Promise<void> {
    return this.#reported('appended to', async () => {
      await this.#checkOwn();
      await this.#write(journalLine(records));
    });
  }

  /** Writes a new file beside, and renames it over the old one. @throws as `append` does */
  replace(record: unknown): Promise<void> {
    return this.#reported('replaced', async () => {
      await this.#checkOwn();
      const { open, rename } = files();
      const whole = Buffer.concat([Buffer.from(this.#header), journalLine([record])]);
      const next = await open(`${this.#path}.next`, 'w', 0o600);
      try {
        await next.writeFile(whole);
        await next.sync();
      } finally {
        await next.close();
      }
      await rename(`${this.#path}.next`, this.#path);
      await this.#syncFolder();
      await this.#handle!.close();
      this.#handle = await open(this.#path, 'a', 0o600);
      this.#size = whole.length;
    });
  }

  /** Idempotent. */
  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  async #write(bytes: Buffer): Promise<void> {
    await this.#handle!.writeFile(bytes);
    await this.#handle!.datasync();
    this.#size += bytes.length;
  }

  /** Throws when the file is not as this journal left it. */
  async #checkOwn(): Promise<void> {
    if (this.#handle === undefined)
      throw new EplbError('EPLB_CLOSED', 'the journal is not open: read it first');
    const [own, there] = await Promise.all([this.#handle.stat(), files().stat(this.#path)]);
    if (own.ino === there.ino && there.size === this.#size) return;
    throw new EplbError('EPLB_STALE', `${this.#path}: another process has written to this journal`);
  }

  /** What a folder lists is durable once it is synced itself. Some systems open no folders. */
  async #syncFolder(): Promise<void> {
    const folder = await files()
      .open(paths().dirname(this.#path), 'r')
      .catch(() => undefined);
    await folder?.sync().catch(() => undefined);
    await folder?.close();
  }

  /** An error of the system becomes one of ours. After any error nothing more is written. */
  async #reported<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      await this.close().catch(() => undefined);
      if (isOwnError(error)) throw error;
      const message = `${this.#path}: cannot be ${what}: ${error instanceof Error ? error.message : error}`;
      throw new EplbError('EPLB_FILE', message, { cause: error });
    }
  }
}
