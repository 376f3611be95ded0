import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { checkText } from '../core/checks.ts';
import { EplbError } from '../core/errors.ts';
import { fileReason } from './bytes/file-reason.ts';
import { byTimeInName } from './file-order.ts';
import type { LoadFormat } from './format.ts';
import { closeAll, type InputFile, inputFile } from './input-file.ts';
import { loadedExpertNotes } from './loaded-experts.ts';
import { fallbackFormat, loadFormat, recogniseLoads } from './loads/registry.ts';
import { checkOpenOptions, type OpenOptions } from './open-options.ts';
import { openedRecording } from './opened-recording.ts';
import { addNotes, type LoadRecording, type StoredRecording } from './recording.ts';
import { quote, quotePath } from './text.ts';

/** What the messages call the file that is opened. */
const FIELD = 'recording';

/**
 * Opens recorded loads or routes in any format. The content shows the format. A directory is one recording:
 * its files are ordered by the time in their names.
 *
 * Content that cannot be true is refused. If a file may hold something else, it has to be said what it holds:
 * a placement, or routes without `numExperts`. To find this out, the beginning of the file is read, and
 * routes are read as a whole. Doubts are in the notes.
 *
 * Opening and reading take at most 8 times the size of the files in memory, plus 160 MiB. Arrays and JSON
 * Lines are read a part at a time; other texts are held in memory as numbers. Texts that have to be read
 * whole are refused from 512 MiB on (JSON) or 64 MiB (CSV and tables of text), and so is a file that would
 * take more memory.
 *
 * @throws EplbError `EPLB_FILE` when something cannot be read, `EPLB_FORMAT` when it is malformed or of an
 *   unknown format, `EPLB_OPTION` for an unknown `format`, or when it has to be said what the file holds;
 *   EplbTypeError and EplbRangeError when the content cannot be a recording
 */
export async function openRecording(path: string, options: OpenOptions = {}): Promise<LoadRecording> {
  checkText('path', path);
  checkOpenOptions(options);
  const chosen = options.format === undefined ? undefined : loadFormat(options.format, 'format');
  if (await isDirectory(path)) return lookedAt(await openDirectory(path, chosen, options));
  const file = await inputFile(path, FIELD);
  const format = chosen ?? (await recogniseLoads(file)) ?? fallbackFormat(file);
  return lookedAt(await openFiles([file], format, options));
}

/** A recording as callers get it, with what is to be said of its loads. */
async function lookedAt(stored: StoredRecording): Promise<LoadRecording> {
  const notes = await loadedExpertNotes(openedRecording(stored));
  addNotes(stored.notes, notes);
  return openedRecording(stored);
}

/** {@link openRecording} of files that are already found, in order, all of one format. */
export async function openFiles(
  files: readonly InputFile[],
  format: LoadFormat,
  options: OpenOptions,
): Promise<StoredRecording> {
  try {
    return await format.open(files, options);
  } finally {
    // Of what is read on, each file is opened again when it is its turn.
    await closeAll(files);
  }
}

/** Whether there is a directory at the path. */
export async function isDirectory(path: string): Promise<boolean> {
  // What is not there is for inputFile() to say.
  return stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}

async function openDirectory(
  path: string,
  chosen: LoadFormat | undefined,
  options: OpenOptions,
): Promise<StoredRecording> {
  const files: InputFile[] = [];
  const leftOut: string[] = [];
  let format = chosen;
  for (const name of await namesIn(path)) {
    const file = await inputFile(join(path, name), FIELD);
    const found = chosen ?? (await recogniseLoads(file));
    if (found === undefined) {
      leftOut.push(`${quote(name)} was left out: it is of no known format of loads`);
      continue;
    }
    format ??= found;
    if (found !== format) {
      throw new EplbError(
        'EPLB_FORMAT',
        `${file.name} is of the format ${found.name}, ${files[0]!.name} of the format ${format.name}; ` +
          'the files of a directory are read as one recording',
      );
    }
    files.push(file);
  }
  if (format === undefined) {
    throw new EplbError(
      'EPLB_FORMAT',
      `${FIELD}: ${quotePath(path)} holds no file of a known format of loads`,
    );
  }
  const recording = await openFiles(files, format, options);
  addNotes(recording.notes, leftOut);
  return recording;
}

/** Names of the files in a directory, without hidden ones and directories, by the time in them. */
async function namesIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch((cause: unknown) => {
    const reason = fileReason(cause);
    throw new EplbError('EPLB_FILE', `${FIELD}: cannot read ${quotePath(path)}: ${reason}`, { cause });
  });
  const names = entries.filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.'));
  return names.map((entry) => entry.name).sort(byTimeInName);
}
