import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ReplayReport } from 'expert-load-balancer/replay';
import { CLI, inTempDir, sharedEplb } from '../helpers/cli.ts';
import { until } from '../helpers/library.ts';
import { assertRefused } from '../helpers/refusal.ts';
import { writeLoads } from '../helpers/replay-files.ts';
import { turningPolicy, wait } from '../helpers/replay-policies.ts';

const eplb = sharedEplb();

const GRID = [
  '--replicas',
  '16,20,24',
  '--ranks',
  '4,8',
  '--interval',
  '4,16',
  '--policy',
  'static,default',
  '--nodes',
  '2',
];
const FIXED = ['--planning-seconds', '0', '--cost', 'competition'];

/** 40 ms a plan. */
const SLOW = turningPolicy('slow', wait(40));

describe('eplb sweep', { concurrency: 2 }, () => {
  test('replays the grid, writes CSV and reports, and advises', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 48);
      const outputs = ['-o', 'grid.csv', '--json', 'r.json', '--report', 'r.html'];
      const run = await eplb(['sweep', 'loads.npy', ...GRID, ...FIXED, ...outputs], { cwd: dir });
      assert.equal(run.stderr, '');
      assert.equal(run.code, 0);
      assert.deepEqual((await readdir(dir)).sort(), ['grid.csv', 'loads.npy', 'r.html', 'r.json']);
      const report: ReplayReport = JSON.parse(await readFile(join(dir, 'r.json'), 'utf8'));
      const { points, front, advice, advisedPoint, status } = report.sweep!;
      // 3 x 2 sizes, each with static once and default at two intervals; 20 slots do not fit 8 ranks.
      assert.equal(points.length, 18);
      assert.equal(points.filter((point) => point.status === 'failed').length, 3);
      assert.equal(status, 'complete');
      assert.deepEqual(
        report.replays.map(({ configuration }) => configuration.policy),
        ['static', 'default'],
      );
      const lines = (await readFile(join(dir, 'grid.csv'), 'utf8')).split('\n');
      assert.equal(lines.length, 20);
      const columns = (line: string) => line.replaceAll(/"[^"]*"/g, '').split(',').length;
      assert.equal(new Set(lines.slice(0, -1).map(columns)).size, 1);
      const done = points.flatMap((point) => (point.status === 'done' ? [point] : []));
      const best = done.reduce((least, point) =>
        point.modelledSeconds < least.modelledSeconds ? point : least,
      );
      assert.ok(front.includes(best.name), 'the fastest is on the front');
      assert.equal(advisedPoint, best.name);
      assert.ok(advice.startsWith(`Balance with ${best.name}: `), advice);
      assert.equal(run.stdout.trimEnd().split('\n').at(-1)!.trim(), advice);
      // A point is what a replay alone gives.
      const alone = [
        'replay',
        'loads.npy',
        '--replicas',
        '24',
        '--ranks',
        '4',
        '--nodes',
        '2',
        '--interval',
        '16',
      ];
      assert.equal((await eplb([...alone, ...FIXED, '--json', 'one.json'], { cwd: dir })).code, 0);
      const one: ReplayReport = JSON.parse(await readFile(join(dir, 'one.json'), 'utf8'));
      const same = done.find(({ name }) => name === 'default, 24 slots, 4 ranks, every 16 steps');
      assert.equal(same!.modelledSeconds, one.replays[0]!.totals.modelledSeconds);
    });
  });

  test("'do not balance' is an answer", async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 24);
      const args = [
        '--replicas',
        '20',
        '--ranks',
        '4',
        '--interval',
        '4,8',
        '--cost',
        'deepseek-v3',
        '--planning-seconds',
        '0',
      ];
      const run = await eplb(['sweep', 'loads.npy', ...args], { cwd: dir });
      assert.match(
        run.stdout,
        /Do not balance: of 2 configurations .* \(default, 20 slots, 4 ranks, every \d steps\) takes/,
      );
      assert.deepEqual(await readdir(dir), ['loads.npy']);
    });
  });

  test('a sweep that was killed goes on where it was', { timeout: 120_000 }, async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 48);
      await writeFile(join(dir, 'slow.mjs'), SLOW);
      const grid = [
        '--replicas',
        '16,20,24,28,32',
        '--ranks',
        '4',
        '--interval',
        '8',
        '--policy',
        './slow.mjs,default',
      ];
      const args = ['sweep', 'loads.npy', ...grid, ...FIXED, '-o', 'grid.csv'];
      const child = spawn(process.execPath, [CLI, ...args], { cwd: dir, stdio: 'ignore' });
      const state = join(dir, 'grid.csv.state');
      let kept = '';
      await until(() => {
        readFile(state, 'utf8').then(
          (text) => {
            kept = text;
          },
          () => {},
        );
        return kept.split('\n').length > 4;
      });
      child.kill('SIGKILL');
      await once(child, 'close');
      assert.ok(!(await readdir(dir)).includes('grid.csv'), 'a half-written output');
      const before = (await readFile(state, 'utf8')).trimEnd().split('\n').slice(1);
      assert.ok(before.length >= 3 && before.length < 10, `${before.length} of 10 were done`);
      // As if it had been killed in the middle of a line.
      await appendFile(state, before[0]!.slice(0, 40));
      const other = await eplb(['sweep', 'loads.npy', ...grid, ...FIXED, '--window', '3', '-o', 'grid.csv'], {
        cwd: dir,
      });
      assert.match(
        other.stderr,
        /^eplb: --output: .* is the state of a sweep of another recording .*\(EPLB_OPTION\)\n$/,
      );
      assert.equal(other.code, 2);
      const good = await readFile(state, 'utf8');
      for (const broken of ['{"name": 3}', 'null', '{"name": ', '']) {
        await writeFile(state, `${good.slice(0, good.indexOf('\n'))}\n${broken}\n`);
        const run = await eplb([...args, '--json', 'r.json'], { cwd: dir });
        assertRefused(
          run,
          'FORMAT',
          /^--output: "grid\.csv\.state": line 2 holds no point of a sweep; remove it/,
        );
      }
      await writeFile(state, good);
      const run = await eplb([...args, '--json', 'r.json'], { cwd: dir });
      assert.equal(run.code, 0, run.stderr);
      assert.match(run.stdout, new RegExp(`gone on +${before.length} of 10 were done before`));
      assert.deepEqual((await readdir(dir)).sort(), ['grid.csv', 'loads.npy', 'r.json', 'slow.mjs']);
      const { sweep }: ReplayReport = JSON.parse(await readFile(join(dir, 'r.json'), 'utf8'));
      assert.equal(sweep!.points.length, 10);
      for (const line of before) {
        const point = JSON.parse(line);
        assert.deepEqual(
          sweep!.points.find(({ name }) => name === point.name),
          point,
        );
      }
      // And gives what one that was not killed gives.
      const whole = await eplb(['sweep', 'loads.npy', ...grid, ...FIXED, '-o', 'whole.csv'], { cwd: dir });
      assert.equal(whole.code, 0);
      const [a, b] = await Promise.all(
        ['grid.csv', 'whole.csv'].map((name) => readFile(join(dir, name), 'utf8')),
      );
      assert.ok(a === b, 'the outputs differ');
    });
  });

  test('Ctrl-C shows what is done and keeps it', { timeout: 120_000 }, async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 400);
      await writeFile(join(dir, 'slow er.mjs'), SLOW);
      const grid = [
        '--replicas',
        '16,20,24,28',
        '--ranks',
        '4',
        '--interval',
        '2',
        '--policy',
        'static,./slow er.mjs',
      ];
      const args = [CLI, 'sweep', 'loads.npy', ...grid, ...FIXED, '-o', 'grid.csv'];
      const child = spawn(process.execPath, args, { cwd: dir, stdio: ['ignore', 'pipe', 'ignore'] });
      let out = '';
      child.stdout.setEncoding('utf8').on('data', (text) => {
        out += text;
      });
      let kept = '';
      await until(() => {
        readFile(join(dir, 'grid.csv.state'), 'utf8').then(
          (text) => {
            kept = text;
          },
          () => {},
        );
        return kept.split('\n').length > 2;
      });
      child.kill('SIGINT');
      assert.deepEqual(await once(child, 'close'), [130, null]);
      assert.match(out, /PARTIAL +interrupted/);
      assert.match(out, /kept +grid\.csv\.state/);
      const names = await readdir(dir);
      assert.ok(names.includes('grid.csv.state') && !names.includes('grid.csv'), `${names}`);
    });
  });

  test('sizes that fit nowhere are refused', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 4);
      const run = await eplb(
        ['sweep', 'loads.npy', '--replicas', '18,22', '--ranks', '4', '-o', 'grid.csv'],
        { cwd: dir },
      );
      assert.match(
        run.stderr,
        /^eplb: --replicas: 18 is not a multiple of --ranks 4: .*; policies that can .*: locality, adaptive \(EPLB_TOPOLOGY\)\n$/,
      );
      assert.equal(run.code, 2);
      assert.deepEqual(await readdir(dir), ['loads.npy']);
    });
  });
});
