import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { access, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { EplbError } from '../errors.ts';
import { fileReason } from '../formats/bytes/file-reason.ts';
import { quotePath } from './text.ts';

/** A file that is going to be written, found to be writable. */
export interface OutputFile {
  /** As the user gave it. */
  readonly path: string;
  /** Where it really is: links are followed, so that the link stays one. */
  readonly target: string;
  readonly mode: number;
}

/**
 * Checks that a file can be written, before the work whose result it is to hold. Nothing is created.
 *
 * @param path - the file
 * @param inputs - files that the work reads and that must not be replaced by its result
 * @throws EplbError EPLB_FILE
 */
export async function checkOutput(path: string, inputs: readonly string[]): Promise<OutputFile> {
  const existing = await attempt(path, statIfThere(path));
  if (existing !== undefined && !existing.isFile()) {
    throw outputError(
      path,
      existing.isDirectory() ? 'it is a directory, not a file' : 'it is not a regular file',
    );
  }
  const target = existing === undefined ? resolve(path) : await attempt(path, realpath(path));
  if (path === '' || path.endsWith('/')) throw outputError(path, 'it does not name a file');
  await attempt(path, access(dirname(target), constants.W_OK));
  if (existing !== undefined) await attempt(path, access(target, constants.W_OK));
  for (const input of inputs) {
    const other = await statIfThere(input).catch(() => undefined);
    if (existing !== undefined && other?.ino === existing.ino && other.dev === existing.dev) {
      throw outputError(path, 'it is the recording that is read');
    }
  }
  return { path, target, mode: existing === undefined ? 0o666 : existing.mode & 0o777 };
}

/**
 * Writes a file whole or not at all: into a file beside it, which then takes its name.
 *
 * @throws EplbError EPLB_FILE
 */
export async function writeOutput(output: OutputFile, text: string): Promise<void> {
  const { path, target, mode } = output;
  const beside = join(dirname(target), `.${basename(target).slice(0, 100)}.${randomUUID()}.tmp`);
  try {
    await writeFile(beside, text, { flag: 'wx', mode });
    await rename(beside, target);
  } catch (error) {
    await rm(beside, { force: true }).catch(() => undefined);
    throw outputError(path, fileReason(error), error);
  }
}

async function statIfThere(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function attempt<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw outputError(path, missing ? 'its directory does not exist' : fileReason(error), error);
  }
}

function outputError(path: string, reason: string, cause?: unknown): EplbError {
  return new EplbError('EPLB_FILE', `--output: cannot write ${quotePath(path)}: ${reason}`, { cause });
}
