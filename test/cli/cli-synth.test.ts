import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { openRecording } from 'expert-load-balancer/formats';
import { eplb, inTempDir, sharedEplb } from '../helpers/cli.ts';

const digest = async (path: string) =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');

describe('eplb synth', { concurrency: 2 }, () => {
  test("makes recordings of a model's shape, the same from the same seed", async () => {
    await inTempDir(async (dir) => {
      const make = (name: string, ...more: string[]) =>
        eplb(
          [
            'synth',
            '--model',
            'gpt-oss-120b',
            '--num-steps',
            '20',
            '--tokens-per-step',
            '256',
            ...more,
            '-o',
            name,
          ],
          { cwd: dir },
        );
      const run = await make('a.npy', '--drift', '0.1', '--burst', '0.02', '--domains', '2', '--blend', '4');
      assert.equal(run.stderr, '');
      assert.equal(run.stdout, ' written  a.npy: 20 steps x 36 layers x 128 experts, int32, 369 kB\n');
      await make('b.npy', '--drift', '0.1', '--burst', '0.02', '--domains', '2', '--blend', '4');
      await make(
        'c.npy',
        '--drift',
        '0.1',
        '--burst',
        '0.02',
        '--domains',
        '2',
        '--blend',
        '4',
        '--seed',
        '9',
      );
      assert.equal(await digest(join(dir, 'a.npy')), await digest(join(dir, 'b.npy')));
      assert.notEqual(await digest(join(dir, 'a.npy')), await digest(join(dir, 'c.npy')));
      const recording = await openRecording(join(dir, 'a.npy'));
      assert.deepEqual([recording.numSteps, recording.numLayers, recording.numLogicalExperts], [20, 36, 128]);
      for await (const { loads } of recording.steps()) {
        for (let layer = 0; layer < 36; layer++) {
          const row = loads.subarray(128 * layer, 128 * (layer + 1));
          assert.equal(
            row.reduce((sum, load) => sum + load, 0),
            256 * 4,
          );
        }
      }
      await recording.close();
    });
  });

  test('a recording of the seed is the same on every machine', async () => {
    await inTempDir(async (dir) => {
      const shape = [
        '--layers',
        '2',
        '--experts',
        '8',
        '--top-k',
        '2',
        '--num-steps',
        '4',
        '--tokens-per-step',
        '50',
      ];
      await eplb(['synth', ...shape, '-o', 'a.npy'], { cwd: dir });
      const bytes = Uint8Array.from((await readFile(join(dir, 'a.npy'))).subarray(128, 128 + 64));
      const numbers = new Int32Array(bytes.buffer);
      assert.deepEqual([...numbers], EXPECTED);
    });
  });

  const shared = sharedEplb();
  test('bad options give one line, exit code 2, and no file', async () => {
    await inTempDir(async (dir) => {
      for (const [args, message] of [
        [
          ['--model', 'no-such'],
          /^eplb: --model: "no-such" is not known; known are deepseek-v3, .*\(EPLB_OPTION\)\n$/,
        ],
        [['--layers', '2'], /^eplb: --experts, --top-k: needed where no --model is given \(EPLB_OPTION\)\n$/],
        [
          ['--model', 'glm-5', '--top-k', '300'],
          /^eplb: --top-k: 300 is not from 1 to 256 \(EPLB_RANGE\)\n$/,
        ],
        [
          ['--model', 'glm-5', '--drift', '2'],
          /^eplb: --drift: "2" is not a number from 0 to 1 \(EPLB_RANGE\)\n$/,
        ],
        [
          ['--model', 'glm-5', '--skew', 'much'],
          /^eplb: --skew: "much" is not a number of at least 0 \(EPLB_RANGE\)\n$/,
        ],
        [
          ['--model', 'glm-5', '--num-steps', '3', '--domains', '4'],
          /^eplb: --domains: 4 is not from 1 to 3 \(EPLB_RANGE\)\n$/,
        ],
        [
          ['--model', 'glm-5', '--seed', '-1'],
          /^eplb: --seed: -1 is not from 0 to 4294967295 \(EPLB_RANGE\)\n$/,
        ],
      ] as const) {
        const run = await shared(['synth', ...args, '-o', 'a.npy'], { cwd: dir });
        assert.match(run.stderr, message);
        assert.equal(run.code, 2);
      }
      for (const name of ['a.csv', 'a']) {
        const run = await shared(['synth', '--model', 'glm-5', '--num-steps', '1', '-o', name], { cwd: dir });
        assert.match(run.stderr, /^eplb: --output: "a[.csv]*" does not end in \.npy, .*\(EPLB_OPTION\)\n$/);
        assert.equal(run.code, 2);
      }
      assert.deepEqual(await readdir(dir), []);
    });
  });
});

/** The first step, two layers of eight experts, as first made. */
const EXPECTED = [12, 18, 4, 11, 17, 20, 12, 6, 21, 18, 16, 7, 3, 24, 11, 0];
