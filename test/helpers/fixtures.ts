import { fileURLToPath } from 'node:url';
import { openRecording } from '../../src/formats/open.ts';
import type { OpenOptions } from '../../src/formats/open-options.ts';
import type { LoadRecording } from '../../src/formats/recording.ts';

/** A file that test/fixtures/make-fixtures.py wrote. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/formats/${name}`, import.meta.url));
}

/** Recordings of several steps, one of each way to read: files alone, packed, and directories. */
export const MULTI_STEP = [
  'numpy/le-i4.npy',
  'numpy/packed.npz',
  'torch/strided.pt',
  'sglang-stat-dense',
  'sglang-per-pass',
  'tensorrt-llm',
  'lines.jsonl',
  'omni-infer',
];

/** The sizes of the fixtures. */
export const SIZES = { steps: 4, layers: 3, experts: 8 };

/** The loads in every fixture of loads, as make-fixtures.py counts them. */
export function count(step: number, layer: number, expert: number): number {
  return 1 + ((step * 31 + layer * 17 + expert * 5) % 97);
}

/** A step's loads, row-major. */
export function stepLoads(step: number): number[] {
  return Array.from({ length: SIZES.layers * SIZES.experts }, (_, i) =>
    count(step, Math.floor(i / SIZES.experts), i % SIZES.experts),
  );
}

/** All steps' loads. */
export const LOADS = Array.from({ length: SIZES.steps }, (_, step) => stepLoads(step));

/** Opens a fixture, and closes it afterwards. */
export async function withFixture<T>(
  name: string,
  options: OpenOptions,
  work: (recording: LoadRecording) => Promise<T> | T,
): Promise<T> {
  const recording = await openRecording(fixture(name), options);
  try {
    return await work(recording);
  } finally {
    await recording.close();
  }
}
