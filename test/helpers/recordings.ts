import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { openRecording } from '../../src/formats/open.ts';
import type { OpenOptions } from '../../src/formats/open-options.ts';
import type { LoadRecording, StepRange } from '../../src/formats/recording.ts';
import { inTempDir } from './cli.ts';

/** Files to be written, by their names. */
export type Files = Readonly<Record<string, Uint8Array | string>>;

/** Writes files into a directory that is gone afterwards, and opens one of them, or `.`, the directory. */
export function withRecording<T>(
  files: Files,
  name: string,
  options: OpenOptions,
  work: (recording: LoadRecording) => Promise<T> | T,
): Promise<T> {
  return inTempDir(async (dir) => {
    for (const [file, content] of Object.entries(files)) await writeFile(resolve(dir, file), content);
    const recording = await openRecording(resolve(dir, name), options);
    try {
      return await work(recording);
    } finally {
      await recording.close();
    }
  });
}

/**
 * All loads of a recording, step by step. Checks that steps are numbered and bytes counted as they should be.
 */
export async function allLoads(recording: LoadRecording, range?: StepRange): Promise<number[][]> {
  const steps: number[][] = [];
  let bytesBefore = 0;
  for await (const { step, loads, bytesRead } of recording.steps(range)) {
    if (step !== (range?.from ?? 0) + steps.length)
      throw new Error(`step ${step} comes as step ${steps.length}`);
    if (bytesRead < bytesBefore || bytesRead > recording.numBytes) throw new Error(`${bytesRead} bytes read`);
    if (loads.length !== recording.numLayers * recording.numLogicalExperts) throw new Error('wrong size');
    bytesBefore = bytesRead;
    steps.push(Array.from(loads));
  }
  return steps;
}

/** All expert ids of recorded routes. */
export async function allIds(recording: LoadRecording, range?: StepRange): Promise<number[]> {
  const ids: number[] = [];
  for await (const run of recording.routes!.read(range)) ids.push(...run.ids);
  return ids;
}
