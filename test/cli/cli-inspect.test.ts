import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { inTempDir, RECORDING, sharedEplb } from '../helpers/cli.ts';

const eplb = sharedEplb();

describe('eplb inspect', { concurrency: 2 }, () => {
  test('tells what the shipped recording is like', async () => {
    const run = await eplb(['inspect', RECORDING, '--experts', '64', '--ranks', '16']);
    assert.equal(run.stderr, '');
    assert.equal(run.code, 0);
    assert.match(run.stdout, /^ steps +66 steps of 128 tokens x 26 layers x 64 experts$/m);
    assert.match(run.stdout, /correlation +0\.\d\d after 1 step, /);
    assert.match(run.stdout, /drift +0\.\d{3} from one 32 steps to the next \(0\.\d{3} by noise\)/);
    assert.match(run.stdout, /imbalance +mean PAR \d\.\d{3} on 16 ranks .*\d% of it no placement can remove/);
    assert.match(run.stdout, /^ +25 +\d+ +\d\.\d\d +\d\.\d{3} +\d+\.\d% +\d+$/m);
  });

  test('the figures are those computed by hand', async () => {
    await inTempDir(async (dir) => {
      // Two layers, four experts, two steps.
      const steps = [
        [
          [6, 2, 2, 2],
          [3, 3, 3, 3],
        ],
        [
          [10, 2, 0, 0],
          [1, 2, 4, 5],
        ],
      ];
      await writeFile(join(dir, 'loads.json'), JSON.stringify({ logical_count: steps }));
      const run = await eplb(['inspect', 'loads.json', '--ranks', '2', '--json', 'i.json'], { cwd: dir });
      assert.equal(run.code, 0, run.stderr);
      const result = JSON.parse(await readFile(join(dir, 'i.json'), 'utf8'));
      assert.equal(result.status, 'complete');
      assert.deepEqual(result.loadPerStep, { mean: 12, min: 12, max: 12 });
      assert.deepEqual(result.hottest[0], { layer: 0, expert: 0, timesMean: 16 / 6 });
      const [first, second] = result.layers;
      assert.deepEqual([first.hottestExpert, first.hottestTimesMean, first.idleExperts], [0, 16 / 6, 0]);
      assert.equal(first.variation, Math.sqrt((10 ** 2 + 2 ** 2 + 4 ** 2 + 4 ** 2) / 4) / 6);
      assert.equal(first.hottestTenthShare, 16 / 24);
      assert.equal(second.hottestExpert, 3);
      // The second layer's first step is constant, and correlates with nothing. (6 2 2 2) and (10 2 0 0),
      // less their mean 3.
      const correlation = (3 * 7 + 1 + 3 + 3) / Math.sqrt((9 + 1 + 1 + 1) * (49 + 1 + 9 + 9));
      assert.equal(result.correlations.length, 1);
      assert.ok(
        Math.abs(result.correlations[0].correlation - correlation) < 1e-12,
        `${result.correlations[0].correlation}`,
      );
      // Ranks 8 | 4 and 6 | 6, then 12 | 0 and 3 | 9.
      assert.equal(result.noise.peakToAverage, (8 / 6 + 1 + 2 + 9 / 6) / 4);
      assert.equal(result.drift.nextBlock, null);
    });
  });

  test('bad input gives one line and exit code 2', async () => {
    await inTempDir(async (dir) => {
      await writeFile(join(dir, 'loads.json'), JSON.stringify([[1, 2, 3, 4]]));
      for (const [args, message] of [
        [['none.npy'], /^eplb: recording: cannot read "none.npy".*\(EPLB_FILE\)\n$/],
        [['loads.json', '--ranks', '5'], /^eplb: --ranks: 5 is not from 1 to 4 \(EPLB_RANGE\)\n$/],
        [['loads.json', '--steps', '5:9'], /^eplb: --steps: .*\(EPLB_RANGE\)\n$/],
        [
          ['loads.json', '--json', 'none/i.json'],
          /^eplb: --json: cannot write .*its directory does not exist \(EPLB_FILE\)\n$/,
        ],
      ] as const) {
        const run = await eplb(['inspect', ...args], { cwd: dir });
        assert.match(run.stderr, message);
        assert.equal(run.code, 2);
        assert.equal(run.stdout, '');
      }
    });
  });
});
