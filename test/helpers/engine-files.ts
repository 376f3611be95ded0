import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { fixture } from './fixtures.ts';
import { allLoads, type Files, withRecording } from './recordings.ts';

/** All files of a folder of fixtures. */
export async function filesOf(folder: string): Promise<Record<string, Buffer>> {
  const names = await readdir(fixture(folder));
  const entries = names.map(async (name) => [name, await readFile(fixture(`${folder}/${name}`))] as const);
  return Object.fromEntries(await Promise.all(entries));
}

/** Reading the files as a recording is refused. */
export const refused = (
  files: Files,
  name: string,
  error: { code: string; message: RegExp },
  numExperts?: number,
) =>
  assert.rejects(
    withRecording(files, name, { numExperts }, (recording) => allLoads(recording)),
    error,
  );
