import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { eplbMany, inTempDir, type LineRun } from './cli.ts';
import { type NpyParts, npyFile } from './npy.ts';
import { assertRefused } from './refusal.ts';

/** Arguments of `eplb plan` that it has to refuse, with what it has to say. */
export type Case = readonly [title: string, args: readonly string[], code: string, message: RegExp];

/** Loads of 2 layers x 4 experts. */
export const good: NpyParts = { descr: '<f4', shape: [2, 4], values: [1, 2, 3, 4, 5, 6, 7, 8] };
/** Routes of 3 tokens x 2 layers x 2 of 4 experts. */
const routes: NpyParts = {
  descr: '|u1',
  shape: [3, 2, 2],
  values: [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3],
};
const withValue = (value: number) => npyFile({ ...good, values: [1, 2, 3, 4, 5, value, 7, 8] });

const slots = (...rows: number[][]) => JSON.stringify({ physical_to_logical_map: rows });

/** The files that the cases read. */
const FILES: Readonly<Record<string, Uint8Array | string>> = {
  'good.npy': npyFile(good),
  'routes.npy': npyFile(routes),
  'signed.npy': npyFile({ ...routes, descr: '|i1', values: [0, 1, 2, 3, 0, 1, 2, -3, 0, 1, 2, 3] }),
  'nan.npy': withValue(Number.NaN),
  'inf.npy': withValue(Number.POSITIVE_INFINITY),
  'negative.npy': withValue(-6),
  'empty.npy': '',
  'cut.npy': npyFile(good).subarray(0, -3),
  'long.npy': new Uint8Array([...npyFile(good), 1, 2]),
  'magic.npy': 'this is not an array at all',
  'complex.npy': npyFile({ ...good, descr: '<c8' }),
  'text.npy': npyFile({ ...good, descr: '<U4' }),
  'bool.npy': npyFile({ ...good, descr: '|b1' }),
  'absurd.npy': npyFile({ ...good, shape: [2 ** 40, 2 ** 40, 4] }),
  'nothing.npy': npyFile({ ...good, shape: [0, 4], values: [] }),
  'flat.npy': npyFile({ ...good, shape: [8] }),
  'cut.json': '{"logical_count": [[1, 2',
  'ragged.json': '[[1, 2, 3, 4], [1, 2, 3]]',
  'kind.json': '{"logical_count": [[1, 2], [3, "4"]]}',
  'negative.json': '[[1, 2, -3, 4]]',
  'infinite.json': '[[1, 2, 1e999, 4]]',
  'number.json': '42',
  'missing.json': slots([0, 1, 2, 3, 0, 1], [0, 1, 2, 2, 0, 1]),
  'range.json': slots([0, 1, 2, 3, 0, 1], [0, 1, 2, 4, 0, 1]),
  'fraction.json': slots([0, 1, 2, 3, 0, 1], [0, 1, 2, 3, 0.5, 1]),
  'width.json': slots([0, 1, 2, 3], [0, 1, 2, 3]),
  'layers.json': slots([0, 1, 2, 3, 0, 1]),
  'deep.json': '{"physical_to_logical_map": [[[0]]]}',
  'words.json': '{"physical_to_logical_map": "none"}',
  'other.json': '{"map": [[0]]}',
  'broken.mjs': 'this is no JavaScript',
  'wrong.mjs': 'export default class { rebalanceExperts() { return 7; } }',
};

/** Sizes that are right for every file. */
export const SIZES = ['--replicas', '6', '--ranks', '2'];
/** Arguments with these sizes on one of the files. */
export const on = (file: string, ...more: string[]) => [file, ...SIZES, ...more];
/** Arguments on good loads, without sizes. */
export const sized = (...more: string[]) => ['good.npy', ...more];

/** Runs every case where the files are, and checks the line, the exit code, and that nothing was written. */
export function testAll(title: string, cases: readonly Case[]): void {
  describe(title, () => {
    let runs: LineRun[] = [];
    before(() =>
      inTempDir(async (dir) => {
        await mkdir(join(dir, 'dir'));
        await Promise.all(Object.entries(FILES).map(([file, bytes]) => writeFile(join(dir, file), bytes)));
        // In front, so that an option that lacks its value stays the last.
        const lines = cases.map(([, args]) => ({ args: ['plan', '--output', 'out.json', ...args] }));
        runs = await eplbMany(lines, dir);
      }),
    );
    for (const [i, [name, , code, message]] of cases.entries()) {
      test(name, () => {
        assertRefused(runs[i]!, code, message);
        assert.deepEqual(runs[i]!.files, [...Object.keys(FILES), 'dir'].sort());
      });
    }
  });
}
