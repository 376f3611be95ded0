/**
 * Several models in one file, such as a main and a draft model with other numbers of experts, and what is
 * known only when all was read.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { npyFile } from '../helpers/npy.ts';
import { allLoads as stepsOf, withRecording } from '../helpers/recordings.ts';
import { zipFile } from '../helpers/zip.ts';

const line = (step: number, layer: number, ...loads: number[]) =>
  `${JSON.stringify({ step, layer, loads })}\n`;

describe('several models in one file', () => {
  const lines = [
    ...[line(0, 0, 1, 2), line(0, 0, 7, 8, 9), line(0, 1, 3, 4)],
    ...[line(1, 0, 4, 3), line(1, 1, 2, 1), line(1, 0, 9, 8, 7)],
  ].join('');

  test('of JSON Lines are told apart by --experts', async () => {
    await withRecording({ 'a.jsonl': lines }, 'a.jsonl', { numExperts: 2 }, async (recording) => {
      assert.deepEqual(await stepsOf(recording), [
        [1, 2, 3, 4],
        [4, 3, 2, 1],
      ]);
      assert.match(recording.notes.join(), /2 lines of another model, not of 2 experts, were left out/);
    });
    await withRecording({ 'a.jsonl': lines }, 'a.jsonl', { numExperts: 3 }, async (recording) => {
      assert.equal(recording.numLayers, 1);
      assert.deepEqual(await stepsOf(recording), [
        [7, 8, 9],
        [9, 8, 7],
      ]);
    });
  });

  test('of JSON Lines are asked about, and a number of experts that none has is refused', async () => {
    const read = (numExperts?: number) =>
      withRecording(
        { 'a.jsonl': lines },
        'a.jsonl',
        numExperts === undefined ? {} : { numExperts },
        (recording) => stepsOf(recording),
      );
    await assert.rejects(read(), /there twice|several models, --experts N picks one/);
    await assert.rejects(read(5), /holds loads of 2 experts; --experts says 5/);
    const cut = line(0, 0, 1, 2) + line(0, 1, 3);
    await assert.rejects(
      withRecording({ 'a.jsonl': cut }, 'a.jsonl', {}, (recording) => stepsOf(recording)),
      /several models, --experts N picks one/,
    );
  });

  test('of .npz are told apart by --experts', async () => {
    const array = (...shape: number[]) => {
      const size = shape.reduce((product, length) => product * length, 1);
      return npyFile({ descr: '<f4', shape, values: Array.from({ length: size }, (_, i) => i + 0.5) });
    };
    const file = zipFile([
      { name: 'main.npy', data: array(3, 2, 4) },
      { name: 'draft.npy', data: array(3, 1, 6) },
      { name: 'ids.npy', data: array(3) },
    ]);
    for (const [numExperts, numLayers] of [
      [4, 2],
      [6, 1],
    ] as const) {
      await withRecording({ 'a.npz': file }, 'a.npz', { numExperts }, async (recording) => {
        assert.deepEqual([recording.numLayers, recording.numLogicalExperts], [numLayers, numExperts]);
        assert.equal((await stepsOf(recording)).length, 3);
        assert.match(recording.notes.join(), /by its number of experts; 2 others left out/);
      });
    }
    for (const options of [{}, { numExperts: 5 }]) {
      await assert.rejects(
        withRecording({ 'a.npz': file }, 'a.npz', options, (recording) => stepsOf(recording)),
        /3 arrays in it \("main", "draft", "ids"\).*--experts N/,
      );
    }
  });
});

test('steps that are missing in a file of a directory are noted once it was read', async () => {
  const files = {
    'a_1.jsonl': [0, 1, 2, 5].map((step) => line(step, 0, 1, 2)).join(''),
    'a_2.jsonl': line(0, 0, 1, 2),
  };
  await withRecording(files, '.', {}, async (recording) => {
    assert.equal((await stepsOf(recording)).length, 5);
    assert.match(recording.notes.join(), /2 steps are missing, first between 2 and 5/);
  });
});
