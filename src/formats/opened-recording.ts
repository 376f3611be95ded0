import { EplbError } from '../core/errors.ts';
import { checkRange } from './check-recording.ts';
import type { LoadRecording, StoredRecording } from './recording.ts';

/**
 * A format's recording as callers get it. Files are open only while something is read: from the first step
 * asked for until the last reading has ended or was given up. Nothing is read any more once it is closed.
 */
export function openedRecording(stored: StoredRecording): LoadRecording {
  const files = new OpenFiles(() => stored.close());
  const close = () => files.close();
  const { routes } = stored;
  return {
    ...stored,
    ...(routes === undefined
      ? {}
      : { routes: { ...routes, read: (range) => files.read(() => routes.read(range)) } }),
    steps: (range) => {
      if (range !== undefined) checkRange('steps', range);
      return files.read(() => stored.steps(range));
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The files of a recording, and who reads them. */
class OpenFiles {
  readonly #closeFiles: () => Promise<void>;
  readonly #readings = new Set<Reading<unknown>>();
  /** Set by {@link close}. */
  #closing: Promise<void> | undefined;
  /** The files given back after the last reading: until then none may be opened again. */
  #givenBack = Promise.resolve();

  constructor(closeFiles: () => Promise<void>) {
    this.#closeFiles = closeFiles;
  }

  /** What a reader gives, read anew by everyone who asks for an iterator. @throws EplbError EPLB_CLOSED */
  read<T>(start: () => AsyncIterable<T>): AsyncIterable<T> {
    this.checkOpen();
    return { [Symbol.asyncIterator]: () => new Reading(this, start()[Symbol.asyncIterator]()) };
  }

  checkOpen(): void {
    if (this.#closing === undefined) return;
    throw new EplbError('EPLB_CLOSED', 'recording: it is closed; open it again to read it');
  }

  async begin(reading: Reading<unknown>): Promise<void> {
    this.#readings.add(reading);
    await this.#givenBack;
  }

  async end(reading: Reading<unknown>): Promise<void> {
    this.#readings.delete(reading);
    if (this.#readings.size > 0) return;
    this.#givenBack = this.#closeFiles();
    await this.#givenBack;
  }

  /** Ends all readings and closes the files. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#endAll();
    return this.#closing;
  }

  async #endAll(): Promise<void> {
    await Promise.all(Array.from(this.#readings, (reading) => reading.return()));
    await this.#closeFiles();
  }
}

/** One way through a recording, from the first step asked for to the last. */
class Reading<T> implements AsyncIterableIterator<T, undefined, undefined> {
  readonly #files: OpenFiles;
  readonly #inner: AsyncIterator<T>;
  #hasBegun = false;

  constructor(files: OpenFiles, inner: AsyncIterator<T>) {
    this.#files = files;
    this.#inner = inner;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    this.#files.checkOpen();
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      await this.#files.begin(this);
    }
    let isOver = true;
    try {
      const result = await this.#inner.next();
      isOver = result.done === true;
      return result;
    } finally {
      if (isOver) await this.#files.end(this);
    }
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    // What is being read ahead is waited for, so that it opens nothing afterwards.
    await this.#inner.return?.();
    await this.#files.end(this);
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
