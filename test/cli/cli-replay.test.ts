import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ReplayReport } from 'expert-load-balancer/replay';
import { CLI, inTempDir, RECORDING, sharedEplb } from '../helpers/cli.ts';
import { COST, SIZES, writeLoads } from '../helpers/replay-files.ts';
import { SLOW_AT_WORK, turningPolicy } from '../helpers/replay-policies.ts';

const eplb = sharedEplb();

const readReport = async (path: string): Promise<ReplayReport> => JSON.parse(await readFile(path, 'utf8'));

/** A terminal, by the program `script` that every Linux has. */
function inTerminal(args: readonly string[], cwd: string) {
  const quoted = [process.execPath, CLI, ...args].map((arg) => `'${arg}'`).join(' ');
  return spawn('script', ['-qec', `stty cols 100; ${quoted}`, '/dev/null'], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

describe('eplb replay', { concurrency: 2 }, () => {
  test('replays the shipped recording and prints a table', async () => {
    const args = ['--experts', '64', '--replicas', '80', '--ranks', '16', '--nodes', '2', '--interval', '8'];
    const run = await eplb(['replay', RECORDING, ...args, '--planning-seconds', '0']);
    assert.equal(run.stderr, '');
    assert.equal(run.code, 0);
    assert.match(run.stdout, /replayed +66 steps of 128 tokens x 26 layers x 64 experts\n/);
    assert.match(run.stdout, /cost +h200:deepseek-v2-lite:bf16: /);
    for (const name of ['balancedness, ratio of sums', 'PAR, mean of ratios', 'modelled time']) {
      assert.match(run.stdout, new RegExp(`^ ${name} +\\S+( m?s)? +\\S+( m?s)?$`, 'm'));
    }
    assert.match(run.stdout, /^ plans +3: 2 took effect, 1 came too late/m);
    // Without a terminal there is neither a picture nor a colour.
    assert.ok(!run.stdout.includes('█') && !run.stdout.includes('\u001b'));
  });

  test('--json writes everything, and the same bytes again', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 40);
      const args = ['replay', 'loads.npy', ...SIZES, '--interval', '8', '--planning-seconds', '0'];
      for (const out of ['a.json', 'b.json']) {
        assert.equal((await eplb([...args, '--json', out], { cwd: dir })).code, 0);
      }
      const [a, b] = await Promise.all(['a.json', 'b.json'].map((out) => readFile(join(dir, out), 'utf8')));
      assert.ok(a === b, 'the files differ');
      const report = await readReport(join(dir, 'a.json'));
      assert.equal(report.kind, 'replay-report');
      assert.deepEqual(report.recording.steps, { from: 0, to: 40 });
      const [result] = report.replays;
      assert.equal(result!.status, 'complete');
      assert.equal(result!.numSteps, 40);
      assert.equal(result!.plans.length, 5);
      assert.equal(result!.layers.length, 3);
      assert.equal(result!.configuration.windowSize, 8);
      assert.ok(result!.totals.secondsSaved + result!.totals.moveSeconds > 0, 'no step became faster');
    });
  });

  test('--steps, --start-from and the other options reach the replay', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 40);
      const plan = ['plan', 'loads.npy', ...SIZES, '--steps', '0:-20', '-o', 'from.json'];
      assert.equal((await eplb(plan, { cwd: dir })).code, 0);
      const options = [
        '--steps',
        '0:-20',
        '--window',
        '5',
        '--threshold',
        '1.5',
        '--drift',
        '0.2',
        '--interval',
        '4',
      ];
      const more = [
        '--require-all',
        '--check-every',
        '2',
        '--layers-per-step',
        '3',
        '--planning-seconds',
        '0.5',
      ];
      const args = [
        'replay',
        'loads.npy',
        ...SIZES,
        '--start-from',
        'from.json',
        ...options,
        ...more,
        '--json',
        'r.json',
      ];
      const run = await eplb(args, { cwd: dir });
      assert.equal(run.stderr, '');
      const report = await readReport(join(dir, 'r.json'));
      const { configuration, numSteps, unbalanced } = report.replays[0]!;
      assert.equal(numSteps, 20);
      assert.equal(configuration.windowSize, 5);
      assert.equal(configuration.layersPerStep, 3);
      assert.equal(configuration.planningSeconds, 0.5);
      assert.deepEqual(configuration.trigger, {
        interval: 4,
        loadThreshold: 1.5,
        drift: 0.2,
        require: 'all',
        checkEvery: 2,
      });
      // The placement to begin with was planned for these loads: it is better than the one that a balancer
      // begins with.
      const plain = [
        'replay',
        'loads.npy',
        ...SIZES,
        '--steps',
        '0:-20',
        '--policy',
        'static',
        '--json',
        's.json',
      ];
      assert.equal((await eplb(plain, { cwd: dir })).code, 0);
      const initial = (await readReport(join(dir, 's.json'))).replays[0]!.balance;
      assert.ok(unbalanced.balancednessRatioOfSums > initial.balancednessRatioOfSums, 'it is not better');
    });
  });

  test('a cost file is used, and the competition is scored', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 20);
      await writeFile(join(dir, 'cost.json'), JSON.stringify({ ...COST, bytesPerExpert: 12_345 }));
      const args = ['replay', 'loads.npy', ...SIZES, '--interval', '4', '--planning-seconds', '0'];
      assert.equal(
        (await eplb([...args, '--cost', './cost.json', '--json', 'f.json'], { cwd: dir })).code,
        0,
      );
      const { totals, configuration } = (await readReport(join(dir, 'f.json'))).replays[0]!;
      assert.equal(configuration.cost.name, 'mine');
      assert.ok(totals.moves > 0, 'nothing moved');
      assert.equal(totals.bytes, 12_345 * totals.moves);
      const scored = await eplb([...args, '--cost', 'competition', '--json', 'c.json'], { cwd: dir });
      assert.match(
        scored.stdout,
        /score +\d+\.\d\d; 100 is default, planned anew every 1,024 steps; of 20 steps it plans nothing that /,
      );
      const report = await readReport(join(dir, 'c.json'));
      // The reference does not plan in 20 steps: it takes what no balancing takes.
      const { unbalancedSeconds, modelledSeconds } = report.replays[0]!.totals;
      assert.equal(report.scores!.values[0], 100 * (unbalancedSeconds / modelledSeconds));
    });
  });

  test('a policy of a module plans, and one that fails gives one line', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 20);
      await writeFile(join(dir, 'mine.mjs'), turningPolicy('turning'));
      await writeFile(join(dir, 'fails.mjs'), FAILS);
      const args = [
        'replay',
        'loads.npy',
        ...SIZES,
        '--interval',
        '4',
        '--planning-seconds',
        '0',
        '--json',
        'r.json',
      ];
      const run = await eplb([...args, '--policy', './mine.mjs'], { cwd: dir });
      assert.equal(run.stderr, '');
      const [result] = (await readReport(join(dir, 'r.json'))).replays;
      assert.equal(result!.configuration.policy, './mine.mjs');
      assert.ok(result!.totals.moves > 0, 'nothing moved');
      const failed = await eplb([...args.slice(0, -1), 'g.json', '--policy', './fails.mjs'], { cwd: dir });
      assert.equal(failed.code, 2);
      assert.match(failed.stderr, /^eplb: .*no plan today.*\(EPLB_POLICY\)\n$/);
      assert.ok(!(await readdir(dir)).includes('g.json'), 'it was written');
    });
  });

  test('in a terminal it draws a chart and a heat map, and a bar meanwhile', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 3000);
      const child = inTerminal(['replay', 'loads.npy', ...SIZES, '--interval', '1'], dir);
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      const [code] = await once(child, 'close');
      assert.equal(code, 0, text);
      assert.match(text, /1\.00 │/);
      assert.match(text, /└[─┴]+/);
      assert.match(text, /no balancing: [\d.]+ +default: [\d.]+/);
      assert.ok(text.includes('\u001b['), 'colours');
    });
  });

  test('Ctrl-C gives the result so far, marked as partial', async () => {
    await inTempDir(async (dir) => {
      await writeFile(join(dir, 'slow.mjs'), SLOW_AT_WORK);
      await writeLoads(dir, 'loads.npy', 2000);
      const args = [
        'replay',
        'loads.npy',
        ...SIZES,
        '--interval',
        '1',
        '--policy',
        './slow.mjs',
        '--json',
        'r.json',
      ];
      const child = spawn(process.execPath, [CLI, ...args], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] });
      let out = '';
      child.stdout.setEncoding('utf8').on('data', (chunk) => {
        out += chunk;
      });
      // The policy says in the worker that it is at work.
      child.stderr.once('data', () => child.kill('SIGINT'));
      const [code] = await once(child, 'close');
      assert.equal(code, 130);
      assert.match(out, /PARTIAL +interrupted/);
      const [result] = (await readReport(join(dir, 'r.json'))).replays;
      assert.equal(result!.status, 'partial');
      assert.ok(result!.numSteps >= 1 && result!.numSteps < 2000, `${result!.numSteps} steps`);
      assert.equal(result!.series.firstStep.length, result!.numSteps);
    });
  });
});

const FAILS = `
export const policy = { name: 'fails', rebalanceExperts() { throw new Error('no plan today'); } };
`;
