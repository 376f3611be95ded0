import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { costModel } from 'expert-load-balancer';
import { inTempDir, RECORDING, sharedEplb } from '../helpers/cli.ts';
import { assertRefused } from '../helpers/refusal.ts';
import { SIZES, writeLoads } from '../helpers/replay-files.ts';

const eplb = sharedEplb();

describe('--cost', { concurrency: 2 }, () => {
  test('takes a device with a model, and its JSON as a file: the same table', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 24);
      await writeFile(join(dir, 'cost.json'), JSON.stringify(costModel('b200:kimi-k2')));
      const args = ['compare', 'loads.npy', ...SIZES, '--interval', '8', '--planning-seconds', '0', '--cost'];
      const [preset, file] = await Promise.all(
        ['B200:kimi-k2:fp8', 'cost.json'].map((cost) => eplb([...args, cost], { cwd: dir })),
      );
      assert.equal(preset!.stderr, '');
      assert.equal(preset!.code, 0);
      assert.match(
        preset!.stdout,
        /cost +b200:kimi-k2:fp8: computed, 63\.8 µs a rank and layer, 8\.34 µs an active/,
      );
      assert.equal(file!.stdout, preset!.stdout);
    });
  });

  test('inspect says what the load is bound by, and what the best placement would save', async () => {
    const args = ['inspect', RECORDING, '--experts', '64', '--ranks', '4', '--top', '0'];
    const [usual, large] = await Promise.all(
      [[], ['--cost', 'h200:deepseek-v3:bf16', '--tokens-per-step', '8192']].map((more) =>
        eplb([...args, ...more]),
      ),
    );
    assert.match(
      usual!.stdout,
      /^ time +\d+ µs a layer, \d\.\d+ ms a step on 4 ranks \(h200:deepseek-v2-lite:bf16\)$/m,
    );
    assert.match(usual!.stdout, /^ active +\d+\.\d experts with tokens a rank in the mean, 16 at worst$/m);
    assert.match(usual!.stdout, /^ bound +the load is bound by neither tokens nor active experts \(/m);
    assert.match(
      large!.stdout,
      /^ bound +the load is bound by tokens \(.*and the best conceivable placement would save at most \d+\.\d%: /m,
    );
    await inTempDir(async (dir) => {
      await eplb([...args, '--cost', 'h200:deepseek-v3:bf16', '--json', join(dir, 'i.json')]);
      const { time } = JSON.parse(await readFile(join(dir, 'i.json'), 'utf8'));
      assert.equal(time.boundBy, 'active experts');
      assert.equal(time.maxActiveExperts, 16);
    });
  });

  test('what is not a cost is refused in one line', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'loads.npy', 4);
      await writeFile(join(dir, 'bad.json'), '{"slotSeconds": {"perToken": -1}}');
      await writeFile(join(dir, 'old.json'), '{"name": "mine"}');
      const cases: readonly [string, readonly string[], string, RegExp][] = [
        ['h300:deepseek-v3', SIZES, 'RANGE', /^--cost: device: "h300" is none of h100, h200,/],
        [
          'nothing',
          SIZES,
          'OPTION',
          /^--cost: "nothing" is not a preset; give competition, .*, DEVICE:MODEL/,
        ],
        ['bad.json', SIZES, 'RANGE', /^--cost: "bad.json": cost.slotSeconds.perToken: -1 is not from 0/],
        ['old.json', SIZES, 'RANGE', /^--cost: "old.json": cost: lacks the field time/],
        ['competition', [], 'OPTION', /^--cost: "competition" is not a preset; give DEVICE:MODEL/],
        ['none.json', [], 'FILE', /^--cost: cannot read "none.json"/],
      ];
      for (const [cost, sizes, code, message] of cases) {
        const command = sizes.length === 0 ? 'inspect' : 'replay';
        assertRefused(
          await eplb([command, 'loads.npy', ...sizes, '--cost', cost], { cwd: dir }),
          code,
          message,
        );
      }
    });
  });
});
