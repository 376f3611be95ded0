import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { EplbError } from '../core/errors.ts';
import { fileReason } from '../formats/bytes/file-reason.ts';

/** What stands for standard input or standard output in the place of a file. */
export const STANDARD = '-';

let isInputTaken = false;
let inputFile: string | undefined;

/**
 * The file that a command reads: standard input, for `-`, as a file of its own until the process ends.
 * Formats are read from any place, and by several threads.
 *
 * @throws EplbError EPLB_OPTION when it was read before, EPLB_FILE when it cannot be read or kept
 */
export async function inputPath(path: string): Promise<string> {
  if (path !== STANDARD) return path;
  if (isInputTaken)
    throw new EplbError('EPLB_OPTION', '-: standard input is read once, for one of the files');
  isInputTaken = true;
  try {
    const folder = mkdtempSync(join(tmpdir(), 'eplb-'));
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, 'standard-input');
    inputFile = file;
    await pipeline(process.stdin, createWriteStream(file, { mode: 0o600 }));
    return file;
  } catch (cause) {
    throw new EplbError('EPLB_FILE', `-: cannot read standard input: ${fileReason(cause)}`, { cause });
  }
}

/** A text in which standard input is called `-`, and not by the file that it was put into. */
export function namingInput(text: string): string {
  return inputFile === undefined ? text : text.replaceAll(inputFile, STANDARD);
}

/** {@link inputPath} of an option that may be left out. */
export async function optionalInputPath(path: string | undefined): Promise<string | undefined> {
  return path === undefined ? undefined : inputPath(path);
}
