import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { runChild } from '../child.ts';
import { beside, type Figure, sampled } from '../figure.ts';
import { type RecordingKind, writeRecording } from '../recording-files.ts';
import { median, summarize } from '../stats.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { MAIN_SIZE } from '../workloads.ts';

/** Size of the recordings in MB of 10^6 bytes; EPLB_BENCH_RECORDING_MB sets another. */
const WHOLE_MB = 512;
const QUICK_MB = 32;

interface Answer {
  readonly ms: number;
  readonly steps: number;
  readonly total: number;
  readonly peakKb: number;
}

/** Recordings that are read step by step, each in a process of its own, opened and added up. */
export const formatsSuite: Suite = {
  name: 'formats',
  title: 'Reading recordings of int32 loads, 58 layers of 256 experts, from the file cache, step by step',
  async run(context) {
    const megabytes = Number(process.env.EPLB_BENCH_RECORDING_MB ?? context.pick(WHOLE_MB, QUICK_MB));
    const bareMb = median(
      Array.from({ length: context.pick(3, 1) }, () => megabytesOf(runChild<Answer>('bare-memory.mjs'))),
    );
    const folder = mkdtempSync(join(tmpdir(), 'eplb-bench-'));
    try {
      return (['npy', 'pt'] as const).flatMap((kind) => read(folder, kind, megabytes, bareMb, context));
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

function read(
  folder: string,
  kind: RecordingKind,
  megabytes: number,
  bareMb: number,
  { pick }: SuiteContext,
): Figure[] {
  const path = join(folder, `recording.${kind}`);
  const { steps, total } = writeRecording(path, kind, MAIN_SIZE, megabytes * 1e6);
  const answers = Array.from({ length: pick(5, 1) }, () => runChild<Answer>('read-recording.mjs', { path }));
  rmSync(path);
  for (const answer of answers) {
    assert.equal(answer.steps, steps, 'all steps');
    assert.equal(answer.total, total, 'the sum of all loads');
  }
  const perGigabyte = summarize(answers.map(({ ms }) => (ms / megabytes) * 1000));
  const speed = beside('megabytes in 1 ms', 1000 / perGigabyte.median, 'x');
  const memory = summarize(answers.map((answer) => megabytesOf(answer) - bareMb));
  const id = `formats/${kind}`;
  return [
    sampled(`${id}/time of 1,000 MB`, 'ms', perGigabyte, [speed]),
    sampled(`${id}/peak memory over bare node`, 'MB', memory, [beside('size of the file', megabytes, 'MB')]),
  ];
}

function megabytesOf({ peakKb }: Pick<Answer, 'peakKb'>): number {
  return (peakKb * 1024) / 1e6;
}
