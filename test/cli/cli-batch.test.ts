import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ReplayReport } from 'expert-load-balancer/replay';
import { inTempDir, RECORDING, sharedEplb } from '../helpers/cli.ts';
import { assertRefused } from '../helpers/refusal.ts';
import { SIZES, writeLoads } from '../helpers/replay-files.ts';

const eplb = sharedEplb();

const ROUTES = [RECORDING, '--experts', '64', '--replicas', '80', '--ranks', '16', '--layers-per-step', '26'];

describe('--tokens-per-rank', { concurrency: 2 }, () => {
  test('cuts routes anew; the table says what binds it and what to do, the same each time', async () => {
    const args = ['compare', ...ROUTES, '--tokens-per-rank', '8', '--interval', '16'];
    const [one, two] = await Promise.all([eplb(args), eplb(args)]);
    assert.equal(one!.code, 0, one!.stderr);
    assert.equal(one!.stdout, two!.stdout);
    assert.match(one!.stdout, /replayed +65 steps of 128 tokens x 26 layers x 64 experts\n/);
    assert.doesNotMatch(one!.stdout, /^ note/m);
    assert.match(one!.stdout, /planning time taken to be 1\.20 ms of default, .* of adaptive/);
    assert.match(one!.stdout, /cost +h200:deepseek-v2-lite:bf16: computed/);
    assert.match(one!.stdout, /^ active +\d\.\d experts with tokens a rank in the mean, 5 at worst$/m);
    assert.match(one!.stdout, /^ bound +the load is bound by neither tokens nor active experts \(/m);
    assert.match(one!.stdout, /\n Do not balance at 8 tokens a rank: the best, .*\.\n$/);
  });

  test('enlarges routes beyond what was recorded, with a note, and judges no active experts', async () => {
    await inTempDir(async (dir) => {
      const args = [
        'replay',
        ...ROUTES,
        '--policy',
        'adaptive',
        '--interval',
        '4',
        '--tokens-per-rank',
        '4096',
      ];
      const run = await eplb([...args, '--device', 'h100', '--json', 'r.json'], { cwd: dir });
      assert.equal(run.code, 0, run.stderr);
      assert.match(
        run.stdout,
        /note +enlarged: 8,327 tokens were recorded, .* 32 steps of 260, 252\.06 times/,
      );
      assert.match(run.stdout, /cost +h100:deepseek-v2-lite:bf16: /);
      assert.match(run.stdout, /^ bound +the load is bound by tokens/m);
      assert.doesNotMatch(run.stdout, /^ ?active/m);
      const report: ReplayReport = JSON.parse(await readFile(join(dir, 'r.json'), 'utf8'));
      assert.equal(report.recording.tokensPerStep, 65_536);
      assert.equal(report.replays[0]!.numSteps, 32);
      assert.equal(report.replays[0]!.time!.isEnlarged, true);
      assert.equal(report.advice!.kind, 'balance');
      assert.ok(run.stdout.endsWith(`\n ${report.advice!.sentence}\n`), run.stdout);
    });
  });

  test('thins counts by a draw, or enlarges them; a sweep does so for each number of ranks', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 40);
      const args = ['loads.npy', ...SIZES, '--interval', '8', '--tokens-per-rank'];
      const few = await eplb(['replay', ...args, '32', '--top-k', '2'], { cwd: dir });
      assert.match(
        few.stdout,
        /note +thinned: 1,\d\d\d tokens a step as recorded, of which .* leaves \d\.\d%\n/,
      );
      assert.match(few.stdout, /Do not balance at 32 tokens a rank/);
      const grid = ['--replicas', '16,32', '--ranks', '2,4', '--interval', '8', '--tokens-per-rank', '64'];
      const swept = await eplb(['sweep', 'loads.npy', ...grid, '--top-k', '2'], { cwd: dir });
      assert.equal(swept.code, 0, swept.stderr);
      assert.equal(swept.stdout.match(/note +thinned: /g)?.length, 2);
      assert.match(swept.stdout, /\n Do not balance: of 4 configurations .*\n$/);
    });
  });

  test('a recording too short to plan says so', async () => {
    const run = await eplb(['replay', ...ROUTES, '--tokens-per-rank', '16', '--interval', '40']);
    assert.match(
      run.stdout,
      /\n Too short to say: no plan every 40 steps took effect whole within the 32 steps replayed\. .*\n$/,
    );
  });

  test('inspect looks at the same batch', async () => {
    const args = [
      'inspect',
      RECORDING,
      '--experts',
      '64',
      '--ranks',
      '16',
      '--top',
      '0',
      '--tokens-per-rank',
    ];
    const [few, many] = await Promise.all([eplb([...args, '4']), eplb([...args, '4096'])]);
    assert.match(few!.stdout, /steps +130 steps of 64 tokens/);
    assert.match(few!.stdout, /^ active /m);
    assert.match(many!.stdout, /note +enlarged: /);
    assert.match(many!.stdout, /^ bound +the load is bound by tokens/m);
    assert.doesNotMatch(many!.stdout, /^ active /m);
  });

  test('what does not go together, or is not known, is refused in one line', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 4);
      const cases: readonly [readonly string[], string, RegExp][] = [
        [['--tokens-per-rank', '8'], 'OPTION', /^--tokens-per-rank: .* give --top-k or --model/],
        [
          ['--tokens-per-rank', '8', '--tokens-per-step', '8'],
          'OPTION',
          /^--tokens-per-rank: --tokens-per-step/,
        ],
        [['--device', 'h20'], 'OPTION', /^--device: "h20" is not known; did you mean h200\?/],
        [['--device', 'h100', '--cost', 'competition'], 'OPTION', /^--device: --cost says the device/],
        [
          ['--planning-time', 'soon'],
          'RANGE',
          /^--planning-time: "soon" is not a number of at least 0, fixed or measured$/,
        ],
      ];
      for (const [more, code, message] of cases)
        assertRefused(await eplb(['replay', 'loads.npy', ...SIZES, ...more], { cwd: dir }), code, message);
    });
  });

  test('a planning time is milliseconds, measured or fixed; a cost that was assumed is noted', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 20);
      const args = ['replay', 'loads.npy', ...SIZES, '--interval', '8'];
      for (const [time, text] of [
        ['2.5', 'taken to be 2.50 ms each'],
        ['measured', 'as measured'],
      ]) {
        const { stdout } = await eplb([...args, '--planning-time', time!], { cwd: dir });
        assert.ok(stdout.includes(`planning time ${text}, `), stdout);
        assert.match(stdout, /note +no known model has 3 layers of 16 experts: .* of deepseek-v3; /);
      }
    });
  });
});
