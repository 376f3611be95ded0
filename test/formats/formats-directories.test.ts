import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { byTimeInName } from '../../src/formats/file-order.ts';
import { refused } from '../helpers/engine-files.ts';
import { npyFile } from '../helpers/npy.ts';
import { allIds, allLoads, withRecording } from '../helpers/recordings.ts';

describe('directories', () => {
  test('names are ordered by their times and numbers', () => {
    const names = [
      'a_9.npy',
      'a_10.npy',
      'a_10_b.npy',
      'r_1751.5.pt',
      'r_1751.75.pt',
      'r_1752.pt',
      'r_1752_1.pt',
      'r_1752_2.pt',
    ];
    assert.deepEqual([...names].reverse().sort(byTimeInName), names);
    const times = ['x-2025-07-01T09:05:00.json', 'x-2025-07-01T10:00:00.json', 'x-2025-11-01T00:00:00.json'];
    assert.deepEqual([...times].reverse().sort(byTimeInName), times);
  });

  test('files follow each other, and what is not a recording is left out and named', async () => {
    const npy = (...values: number[]) => npyFile({ descr: '<f4', shape: [values.length / 2, 1, 2], values });
    const files = {
      'run_10.npy': npy(9.5, 10),
      'run_9.npy': npy(1.5, 2, 3, 4),
      'README.md': 'loads of a day\n',
      'index.json': '[{"shape": [1, 2]}]',
      '.hidden.npy': 'x',
    };
    await withRecording(files, '.', {}, async (recording) => {
      assert.deepEqual([recording.numSteps, recording.format], [3, 'npy']);
      assert.deepEqual(await allLoads(recording), [
        [1.5, 2],
        [3, 4],
        [9.5, 10],
      ]);
      assert.deepEqual(await allLoads(recording, { from: 1, to: 3 }), [
        [3, 4],
        [9.5, 10],
      ]);
      assert.deepEqual(await allLoads(recording, { from: 2 }), [[9.5, 10]]);
      assert.match(recording.notes.join(), /"README\.md" was left out.*"index\.json" was left out/);
    });
  });

  test('routes follow each other', async () => {
    const npy = (values: number[]) => npyFile({ descr: '|u1', shape: [values.length / 2, 1, 2], values });
    const files = { 'a_1.npy': npy([0, 1, 2, 3, 0, 2]), 'a_2.npy': npy([3, 1]) };
    await withRecording(files, '.', { numExperts: 4, tokensPerStep: 2 }, async (recording) => {
      assert.equal(recording.routes!.numTokens, 4);
      assert.deepEqual(await allIds(recording), [0, 1, 2, 3, 0, 2, 3, 1]);
      assert.deepEqual(await allIds(recording, { from: 2, to: 4 }), [0, 2, 3, 1]);
      assert.deepEqual(await allLoads(recording), [
        [1, 1, 1, 1],
        [1, 0, 1, 0],
        [0, 1, 0, 1],
      ]);
    });
  });

  test('JSON Lines, whose lengths are not known, follow each other', async () => {
    const line = (step: number, load: number) => `${JSON.stringify({ step, layer: 0, loads: [load] })}\n`;
    const files = { 'a_1.jsonl': line(0, 1) + line(1, 2), 'a_2.jsonl': line(0, 3) };
    await withRecording(files, '.', {}, async (recording) => {
      assert.equal(recording.numSteps, undefined);
      assert.deepEqual(await allLoads(recording), [[1], [2], [3]]);
      assert.deepEqual(await allLoads(recording, { from: 1, to: 3 }), [[2], [3]]);
      assert.deepEqual(await allLoads(recording, { from: 2 }), [[3]]);
    });
  });

  test('files that do not fit each other are refused', async () => {
    const files = {
      'a.npy': npyFile({ descr: '|u1', shape: [1, 2], values: [1, 2] }),
      'b.npy': npyFile({ descr: '|u1', shape: [1, 3], values: [1, 2, 3] }),
    };
    await refused(files, '.', {
      code: 'EPLB_SHAPE',
      message: /b\.npy" holds loads of 1 layer with 3 experts; .*a\.npy", .* loads of 1 layer with 2 experts/,
    });
    await refused({ 'a.npy': files['a.npy'], 'b.json': '[[1, 2]]' }, '.', {
      code: 'EPLB_FORMAT',
      message: /b\.json" is of the format json, .*a\.npy" of the format npy/,
    });
    await refused({}, '.', { code: 'EPLB_FORMAT', message: /holds no file of a known format/ });
  });
});
