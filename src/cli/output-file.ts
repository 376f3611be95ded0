import { randomUUID } from 'node:crypto';
import { constants, rmSync } from 'node:fs';
import { access, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { EplbError, EplbRangeError, isOwnError } from '../core/errors.ts';
import { fileReason } from '../formats/bytes/file-reason.ts';
import { quotePath } from '../formats/text.ts';
import { STANDARD } from './standard-streams.ts';
import { takeStandardOutput, writeContent } from './terminal.ts';

/** A file that is going to be written, found to be writable. */
export interface OutputFile {
  /** What the command calls it: `--output`. */
  readonly field: string;
  /** As the user gave it. */
  readonly path: string;
  /** Where it really is: links are followed, so that the link stays one. */
  readonly target: string;
  readonly mode: number;
}

/**
 * Checks that a file can be written, before the work whose result it is to hold. Nothing is created.
 *
 * @param path - the file; `-` is standard output
 * @param inputs - files and directories that the work reads and that must not be replaced by its result
 * @param field - what the command calls the file
 * @throws EplbError EPLB_FILE
 */
export async function checkOutput(
  path: string,
  inputs: readonly string[],
  field = '--output',
): Promise<OutputFile> {
  const cannot = (reason: string, cause?: unknown) => outputError(field, path, reason, cause);
  if (path === STANDARD) {
    takeStandardOutput();
    return { field, path, target: STANDARD, mode: 0 };
  }
  const existing = await attempt(cannot, statIfThere(path));
  if (existing !== undefined && !existing.isFile()) {
    throw cannot(existing.isDirectory() ? 'it is a directory, not a file' : 'it is not a regular file');
  }
  const target = existing === undefined ? resolve(path) : await attempt(cannot, realpath(path));
  if (path === '' || path.endsWith('/')) throw cannot('it does not name a file');
  await attempt(cannot, access(dirname(target), constants.W_OK));
  if (existing !== undefined) await attempt(cannot, access(target, constants.W_OK));
  for (const input of existing === undefined ? [] : inputs) {
    if (await isSame(input, target)) throw cannot('it is the recording that is read');
    // A directory is one recording, so a file in it is a part of what is read.
    if (await isSame(input, dirname(target))) throw cannot('it is a part of the recording that is read');
  }
  return { field, path, target, mode: existing === undefined ? 0o666 : existing.mode & 0o777 };
}

/** The files that a command was asked to write, by their options. */
type OutputPaths = Readonly<Record<string, string | undefined>>;

/** Files found to be writable, by their options. */
export type OutputFiles = ReadonlyMap<string, OutputFile>;

/**
 * Checks all files that are to be written, before the run.
 *
 * @param paths by option, such as `--json`
 * @param inputs files that are read
 * @throws EplbError EPLB_FILE, EplbRangeError EPLB_OPTION when two are the same file
 */
export async function checkOutputs(paths: OutputPaths, inputs: readonly string[]): Promise<OutputFiles> {
  const outputs = new Map<string, OutputFile>();
  for (const [option, path] of Object.entries(paths)) {
    if (path === undefined) continue;
    const output = await checkOutput(path, inputs, option);
    const same = [...outputs.values()].find(({ target }) => target === output.target);
    if (same !== undefined) {
      throw new EplbRangeError('EPLB_OPTION', `${option}: is the same file as ${same.field}`);
    }
    outputs.set(option, output);
  }
  return outputs;
}

/**
 * Writes a file whole or not at all: into a file beside it, which then takes its name.
 *
 * @param content - all of it, or its pieces in order, taken as fast as they can be written
 * @throws EplbError EPLB_FILE when it cannot be written; what the pieces throw while they are made
 */
export async function writeOutput(
  output: OutputFile,
  content: string | Uint8Array | AsyncIterable<Uint8Array>,
): Promise<void> {
  const { field, path, target, mode } = output;
  if (target === STANDARD) return writeContent(process.stdout, content);
  const beside = join(dirname(target), `.${basename(target).slice(0, 100)}.${randomUUID()}.tmp`);
  const release = removeWhenStopped(beside);
  try {
    await writeFile(beside, content, { flag: 'wx', mode });
    await rename(beside, target);
  } catch (error) {
    await rm(beside, { force: true }).catch(() => undefined);
    if (isOwnError(error)) throw error;
    throw outputError(field, path, fileReason(error), error);
  } finally {
    release();
  }
}

/**
 * Removes a file when the user stops the command, which then ends as it would have.
 *
 * @returns takes that back
 */
function removeWhenStopped(path: string): () => void {
  const stopped = (signal: NodeJS.Signals) => {
    release();
    rmSync(path, { force: true });
    process.kill(process.pid, signal);
  };
  const release = () => {
    for (const signal of SIGNALS) process.off(signal, stopped);
  };
  for (const signal of SIGNALS) process.once(signal, stopped);
  return release;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

async function isSame(a: string, b: string): Promise<boolean> {
  const [one, other] = await Promise.all([a, b].map((path) => statIfThere(path).catch(() => undefined)));
  return one !== undefined && other !== undefined && one.ino === other.ino && one.dev === other.dev;
}

async function statIfThere(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function attempt<T>(
  cannot: (reason: string, cause: unknown) => EplbError,
  work: Promise<T>,
): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw cannot(missing ? 'its directory does not exist' : fileReason(error), error);
  }
}

function outputError(field: string, path: string, reason: string, cause?: unknown): EplbError {
  return new EplbError('EPLB_FILE', `${field}: cannot write ${quotePath(path)}: ${reason}`, { cause });
}
