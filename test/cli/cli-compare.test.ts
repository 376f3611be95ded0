import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ReplayReport } from 'expert-load-balancer/replay';
import { CLI, inTempDir, sharedEplb } from '../helpers/cli.ts';
import { SIZES, writeLoads } from '../helpers/replay-files.ts';
import { SLOW_AT_WORK, turningPolicy } from '../helpers/replay-policies.ts';

const eplb = sharedEplb();

const readReport = async (path: string): Promise<ReplayReport> => JSON.parse(await readFile(path, 'utf8'));

/** Cells of the line of a policy. */
const cellsOf = (out: string, policy: string) =>
  new RegExp(`^ ${policy} +(.*)$`, 'm').exec(out)![1]!.trim().split(/ {2,}/);

describe('eplb compare', { concurrency: 2 }, () => {
  test('puts policies side by side and marks the best of each column', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 60);
      await writeFile(join(dir, 'mine.mjs'), turningPolicy('turning'));
      const policies = ['--policies', 'static,default,adaptive,./mine.mjs'];
      const args = [
        'compare',
        'loads.npy',
        ...SIZES,
        ...policies,
        '--interval',
        '8',
        '--cost',
        'competition',
      ];
      const run = await eplb([...args, '--planning-seconds', '0', '--json', 'r.json', '--report', 'r.html'], {
        cwd: dir,
      });
      assert.equal(run.stderr, '');
      assert.equal(run.code, 0);
      const { replays, scores } = await readReport(join(dir, 'r.json'));
      assert.deepEqual(
        replays.map(({ name }) => name),
        ['static', 'default', 'adaptive', './mine.mjs'],
      );
      assert.equal(scores!.values.length, 4);
      // All are the same recording: what no balancing takes is the same.
      for (const { unbalanced, numSteps } of replays) {
        assert.deepEqual(unbalanced, replays[0]!.unbalanced);
        assert.equal(numSteps, 60);
      }
      assert.equal(replays[0]!.totals.numPlans, 0);
      assert.deepEqual(replays[0]!.balance, replays[0]!.unbalanced);
      const best = Math.min(...replays.map(({ totals }) => totals.modelledSeconds));
      for (const { name, totals } of replays) {
        const cells = cellsOf(run.stdout, name.replace(/[./]/g, '\\$&'));
        assert.equal(cells[7]!.endsWith('*'), totals.modelledSeconds === best, `${name}: ${cells}`);
      }
      const page = await readFile(join(dir, 'r.html'), 'utf8');
      assert.match(page, /^<!doctype html>/i);
      assert.match(run.stdout, /written +r\.json\n written +r\.html\n/);
    });
  });

  test("the default policy's score against itself is exactly 100", async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 1200);
      const args = [
        'compare',
        'loads.npy',
        ...SIZES,
        '--policies',
        'static,default',
        '--cost',
        'competition',
      ];
      const run = await eplb([...args, '--json', 'r.json'], { cwd: dir });
      assert.equal(run.code, 0, run.stderr);
      const { replays, scores } = await readReport(join(dir, 'r.json'));
      assert.equal(replays[1]!.totals.numPlans, 1);
      assert.ok(replays[1]!.totals.changedSlots > 0, 'nothing moved');
      assert.equal(scores!.values[1], 100);
      assert.equal(cellsOf(run.stdout, 'default').at(-1)!.replace('*', ''), '100.00');
    });
  });

  test('Ctrl-C gives what there is, marked as partial', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 2000);
      await writeFile(join(dir, 'slow.mjs'), SLOW_AT_WORK);
      const args = ['compare', 'loads.npy', ...SIZES, '--policies', 'static,./slow.mjs', '--interval', '1'];
      const child = spawn(process.execPath, [CLI, ...args, '--json', 'r.json'], {
        cwd: dir,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let out = '';
      child.stdout.setEncoding('utf8').on('data', (text) => {
        out += text;
      });
      child.stderr.once('data', () => child.kill('SIGINT'));
      assert.deepEqual(await once(child, 'close'), [130, null]);
      assert.match(out, /PARTIAL +interrupted/);
      const { replays } = await readReport(join(dir, 'r.json'));
      assert.equal(replays.at(-1)!.status, 'partial');
    });
  });

  test('a policy that is none, or named twice, is refused before anything runs', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 4);
      for (const [policies, message] of [
        [
          'default,defualt',
          /^eplb: --policies: "defualt" is not a policy; give static, default, .*\(EPLB_OPTION\)\n$/,
        ],
        ['default,default', /^eplb: --policies: "default" is named twice \(EPLB_OPTION\)\n$/],
        ['default,,static', /^eplb: --policies: .* has an empty entry \(EPLB_OPTION\)\n$/],
        ['./none.mjs', /^eplb: --policies: cannot read ".\/none.mjs".*\(EPLB_FILE\)\n$/],
      ] as const) {
        const run = await eplb(
          ['compare', 'loads.npy', ...SIZES, '--policies', policies, '--json', 'r.json'],
          { cwd: dir },
        );
        assert.match(run.stderr, message);
        assert.equal(run.code, 2);
        assert.equal(run.stdout, '');
      }
      assert.deepEqual(await readdir(dir), ['loads.npy']);
    });
  });
});
