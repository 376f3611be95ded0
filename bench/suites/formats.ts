import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { runChild } from '../child.ts';
import { beside, derived, type Figure, sampled } from '../figure.ts';
import { type RecordingKind, writeRecording } from '../recording-files.ts';
import { median, summarize } from '../stats.ts';
import type { Suite } from '../suite.ts';
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

/** What is read. The last tells what the checksums of the one before it take. */
const KINDS = [
  'npy',
  'npy int8',
  'npy uint16',
  'npy float16',
  'npy float32',
  'npy int64',
  'npy float64',
  'pt',
  'pt without checksums',
] as const;

/** A recording, and what reading it took, once a round. */
interface Read {
  readonly kind: RecordingKind;
  readonly path: string;
  readonly steps: number;
  readonly total: number;
  readonly answers: Answer[];
}

/**
 * Recordings that are read step by step, each in a process of its own, opened and added up, one after the
 * other in turn.
 */
export const formatsSuite: Suite = {
  name: 'formats',
  title:
    'Reading recordings of loads, int32 unless it says otherwise, 58 layers of 256 experts, from the file cache, step by step',
  async run({ pick }) {
    const megabytes = Number(process.env.EPLB_BENCH_RECORDING_MB ?? pick(WHOLE_MB, QUICK_MB));
    const bareMb = median(
      Array.from({ length: pick(3, 1) }, () => megabytesOf(runChild<Answer>('bare-memory.mjs'))),
    );
    const folder = mkdtempSync(join(tmpdir(), 'eplb-bench-'));
    try {
      const reads = KINDS.map((kind): Read => {
        const path = join(folder, kind.replace(/^(\w+)(.*)$/, 'recording$2.$1'));
        return { kind, path, answers: [], ...writeRecording(path, kind, MAIN_SIZE, megabytes * 1e6) };
      });
      for (let round = 0; round < pick(5, 1); round++) for (const read of reads) readOnce(read);
      return figuresOf(reads, megabytes, bareMb);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

function readOnce({ path, steps, total, answers }: Read): void {
  const answer = runChild<Answer>('read-recording.mjs', { path });
  assert.equal(answer.steps, steps, 'all steps');
  assert.equal(answer.total, total, 'the sum of all loads');
  answers.push(answer);
}

function figuresOf(reads: readonly Read[], megabytes: number, bareMb: number): Figure[] {
  const figures = reads.flatMap(({ kind, answers }) => {
    const perGigabyte = summarize(answers.map(({ ms }) => (ms / megabytes) * 1000));
    const speed = beside('megabytes in 1 ms', 1000 / perGigabyte.median, 'x');
    const memory = summarize(answers.map((answer) => megabytesOf(answer) - bareMb));
    const id = `formats/${kind}`;
    return [
      sampled(`${id}/time of 1,000 MB`, 'ms', perGigabyte, [speed]),
      sampled(`${id}/peak memory over bare node`, 'MB', memory, [
        beside('size of the file', megabytes, 'MB'),
      ]),
    ];
  });
  const times = new Map(reads.map(({ kind, answers }) => [kind, answers.map(({ ms }) => ms)]));
  const [checked, bare] = [times.get('pt')!, times.get('pt without checksums')!];
  const ratio = median(checked.map((ms, round) => ms / bare[round]!));
  return [...figures, derived('formats/pt/time / time without checksums', 'x', ratio)];
}

function megabytesOf({ peakKb }: Pick<Answer, 'peakKb'>): number {
  return (peakKb * 1024) / 1e6;
}
