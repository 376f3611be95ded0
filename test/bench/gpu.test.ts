import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { costModel } from 'expert-load-balancer';
import { inTempDir, RECORDING, runProgram } from '../helpers/cli.ts';
import { ROOT } from '../helpers/markdown.ts';

const script = (name: string) => join(ROOT, 'bench/gpu', name);

interface Case {
  readonly policy: string;
  readonly numRanks: number;
  readonly slotsPerRank: number;
  readonly tokensPerRank: number;
  readonly enlarged: number;
  /** [steps x layers][source ranks][slots] */
  readonly counts: readonly (readonly (readonly number[])[])[];
}

test('cases have all tokens of each rank; a forecast that came true is off by nothing', async () => {
  await inTempDir(async (dir) => {
    const path = join(dir, 'cases.json');
    const sizes = ['--ranks', '4', '--tokens-per-rank', '64,1024'];
    const args = [script('cases.mjs'), '-o', path, '--experts', '64', ...sizes, RECORDING];
    const made = await runProgram(process.execPath, args);
    assert.equal(made.code, 0, made.stderr);
    const { topK, cases } = JSON.parse(await readFile(path, 'utf8')) as { topK: number; cases: Case[] };
    assert.deepEqual(
      [...new Set(cases.map(({ policy }) => policy))],
      ['static', 'default', 'adaptive', 'adaptive, moves free', 'adaptive, for time'],
    );
    for (const { counts, tokensPerRank, enlarged } of cases) {
      assert.equal(enlarged > 1, tokensPerRank === 1024);
      for (const sources of counts) {
        for (const row of sources) {
          const sum = row.reduce((all, count) => all + count, 0);
          // Enlarged counts are rounded, each for itself.
          assert.ok(Math.abs(sum / (tokensPerRank * topK) - 1) < (enlarged > 1 ? 0.01 : 1e-12), `${sum}`);
        }
      }
    }

    const cost = costModel('h200:deepseek-v3:bf16');
    const results = cases.map((one) => ({
      ...one,
      rankMicroseconds: one.counts.map((sources) =>
        Array.from({ length: one.numRanks }, (_, rank) => {
          const slots = Array.from({ length: one.slotsPerRank }, (_, i) =>
            sources.reduce((sum, row) => sum + row[rank * one.slotsPerRank + i]!, 0),
          );
          return cost.rankSeconds(slots) * 1e6;
        }),
      ),
    }));
    await writeFile(join(dir, 'layers.json'), JSON.stringify({ format: 'eplb-layer-times', results }));
    const forecast = [script('forecast.mjs'), join(dir, 'layers.json'), '--json', join(dir, 'f.json')];
    const told = await runProgram(process.execPath, forecast);
    assert.equal(told.code, 0, told.stderr);
    assert.match(
      told.stdout,
      /Slowest rank: 10 cases, the forecast is off by 0\.0 % in the median, 0\.0 % at worst/,
    );
    const { slowestRank, order } = JSON.parse(await readFile(join(dir, 'f.json'), 'utf8'));
    assert.ok(slowestRank.worst < 1e-9);
    assert.ok(order.pairs > 0);
    assert.deepEqual(order.wrong, []);
  });
});

test('without a GPU the scripts say that they were skipped', async (t) => {
  await inTempDir(async (dir) => {
    const cases = join(dir, 'cases.json');
    await writeFile(cases, '{"format": "eplb-layer-cases", "cases": []}');
    const gpu = 'import sys, torch; sys.exit(not torch.cuda.is_available())';
    if ((await runProgram('python3', ['-c', gpu])).code === 0) return t.skip('there is a GPU');
    const run = await runProgram('python3', [script('layer_test.py'), cases, '-o', join(dir, 'out.json')]);
    if (run.code === 127 || /ENOENT/.test(run.stderr)) return t.skip('no python3');
    assert.deepEqual([run.code, run.stdout], [0, '']);
    assert.match(run.stderr, /^layer_test: skipped: (there is no PyTorch|PyTorch sees no GPU)\n$/);
    const all = await runProgram('sh', [script('all.sh'), join(dir, 'out'), cases]);
    assert.equal(all.code, 0, all.stderr);
    assert.equal(all.stdout, 'bench/gpu: skipped: no PyTorch, or no GPU that it sees\n');
  });
});

test('a part that fails is named, and leaves what the others wrote', async () => {
  await inTempDir(async (dir) => {
    // In place of Python: the part of the slots writes its file, that of the layers fails.
    const python = join(dir, 'python');
    const parts = '*calibrate.py) for file; do :; done; echo "{}" > "$file" ;; *layer_test.py) exit 7 ;;';
    await writeFile(python, `#!/bin/sh\ncase "$1" in ${parts} esac\n`, { mode: 0o755 });
    const run = await runProgram('sh', [script('all.sh'), join(dir, 'out')], { env: { PYTHON: python } });
    assert.equal(run.code, 1);
    assert.match(run.stderr, /layers: failed with 7\n/);
    assert.match(run.stderr, /failed: layers.*\n$/);
    assert.equal(await readFile(join(dir, 'out/measured.json'), 'utf8'), '{}\n');
  });
});
