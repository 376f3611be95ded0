import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { costModel } from 'expert-load-balancer';
import { readCalibration } from '../../src/cli/calibration.ts';
import { inTempDir, runProgram, sharedEplb } from '../helpers/cli.ts';
import { h200Calibration } from '../helpers/cost.ts';
import { assertRefused } from '../helpers/refusal.ts';

const eplb = sharedEplb();

const SCRIPT = fileURLToPath(new URL('../../plugins/python/eplb_calibrate.py', import.meta.url));

const MEASURED = h200Calibration();

/** Python with the script loaded, and no PyTorch: what the code prints. */
const python = (code: string) => {
  const load = `import sys; sys.path.insert(0, ${JSON.stringify(join(SCRIPT, '..'))}); sys.dont_write_bytecode = True`;
  return runProgram('python3', ['-c', `${load}\nimport eplb_calibrate as c\n${code}`]);
};

describe('eplb calibrate', { concurrency: 2 }, () => {
  test('prints the script that ships', async () => {
    const run = await eplb(['calibrate']);
    assert.equal(run.code, 0);
    assert.equal(run.stdout, readFileSync(SCRIPT, 'utf8'));
  });

  test('makes a cost file of measurements, which --cost takes, and says how near it is', async () => {
    await inTempDir(async (dir) => {
      await writeFile(join(dir, 'measured.json'), JSON.stringify(MEASURED));
      const run = await eplb(['calibrate', 'measured.json', '-o', 'cost.json', '--report', 'fit.html'], {
        cwd: dir,
      });
      assert.equal(run.stderr, '');
      assert.equal(run.code, 0);
      assert.match(run.stdout, /^ +10 +1,920 +192 +596 µs +445 µs +-25\.3%$/m);
      assert.match(
        run.stdout,
        /^ fit +5\.8% off in the median, 25\.3% at worst; on cells that a fit was not made of 5\.9%/m,
      );
      assert.match(run.stdout, /^ links +.*\(of h200:deepseek-v3:bf16, not measured\)$/m);
      assert.match(run.stdout, /^ written +cost\.json\n written +fit\.html$/m);
      const page = await readFile(join(dir, 'fit.html'), 'utf8');
      assert.match(page, /The fit is 5\.8% off in the median and 25\.3% at worst\./);
      assert.match(page, /1,920 tokens in 10 slots: measured 596 µs, fit 445 µs, -25\.3%/);
      const json = JSON.parse(await readFile(join(dir, 'cost.json'), 'utf8'));
      const cost = costModel(json);
      assert.equal(cost.name, 'nvidia h200:7168x2048:bf16');
      assert.equal(json.basis, 'measured');
      assert.equal(cost.bytesPerExpert, 88_080_384);
      const preset = costModel('h200:deepseek-v3:bf16');
      assert.ok(Math.abs(cost.rankSeconds([200, 3]) / preset.rankSeconds([200, 3]) - 1) < 0.04);
      await writeFile(join(dir, 'loads.json'), '[[[9, 1, 4, 2]]]');
      const inspected = await eplb(['inspect', 'loads.json', '--cost', 'cost.json', '--ranks', '2'], {
        cwd: dir,
      });
      assert.match(inspected.stdout, /on 2 ranks \(nvidia h200:7168x2048:bf16\)/);
    });
  });

  test('the script writes what it takes: cells, and links by what the busiest rank sends', async (t) => {
    if ((await python('')).code !== 0) return t.skip('no python3');
    // Times of a device that is known: the fit finds it again.
    const made = await python(`
import json
o = c.parse_args(['--hidden', '512', '--intermediate', '256', '--slots', '8', '--precision', 'fp8'])
cells = c.slot_cells(o.slots, o.tokens, o.seed)
slot = lambda n: 0 if n == 0 else max(20.0, 0.1 * (-(-n // 128) * 128))
times = [[50 + sum(map(slot, cell)) + extra for extra in (0, 5, -0.1)] for cell in cells]
assert cells == c.slot_cells(o.slots, o.tokens, o.seed) != c.slot_cells(o.slots, o.tokens, 1)
assert {len(cell) for cell in cells} == {8, 4, 2}
line = lambda rounds, size, start, rate: rounds * start + size / rate
exchanges = [{'bytes': n, 'seconds': line(1, n, 4e-5, 3e11)} for n in (10**5, 10**6, 10**7, 10**8)]
transfers = []
for name, rounds in c.transfer_patterns(4):
    size = c.busiest(rounds, 4) * 10**7
    transfers.append({'pattern': name, 'rounds': len(rounds), 'bytes': size, 'seconds': line(len(rounds), size, 2e-4, 1.5e11)})
links = {'numRanks': 4, 'exchanges': exchanges, 'transfers': transfers}
print(json.dumps(c.document(o, {'device': 'known', 'torch': '0', 'kernel': 'none', 'date': '2026-01-01'}, cells, times, links)))
`);
    assert.equal(made.stderr, '');
    const measured = JSON.parse(made.stdout);
    assert.ok(measured.slots.length > 100);
    const { seconds, fastestSeconds, slowestSeconds, ...first } = measured.slots[0];
    assert.deepEqual(first, { tokensPerSlot: [0, 0, 0, 0, 0, 0, 0, 0], passes: 3 });
    [seconds, fastestSeconds, slowestSeconds].forEach((time, i) => {
      assert.ok(Math.abs(time - [50e-6, 49.9e-6, 55e-6][i]!) < 1e-12, `${time}`);
    });
    // Late passes take less here: -0.1 in place of 0.
    assert.ok(measured.drift < 0 && measured.drift > -0.002, `${measured.drift}`);
    const byName = new Map(measured.transfers.map((one: { pattern: string }) => [one.pattern, one]));
    const bytes = (name: string) => (byName.get(name) as { bytes: number }).bytes / 1e7;
    assert.deepEqual(
      ['pair', 'ring', 'batch of all pairs', 'all pairs in rounds', 'one source'].map(bytes),
      [1, 1, 3, 3, 6],
    );
    await inTempDir(async (dir) => {
      await writeFile(join(dir, 'measured.json'), made.stdout);
      const run = await eplb(['calibrate', 'measured.json', '-o', 'cost.json', '--name', 'mine'], {
        cwd: dir,
      });
      assert.equal(run.stderr, '');
      const cost = costModel(JSON.parse(await readFile(join(dir, 'cost.json'), 'utf8')));
      const near = (actual: number, expected: number) =>
        assert.ok(Math.abs(actual / expected - 1) < 0.01, `${actual}, not ${expected}`);
      assert.match(
        run.stdout,
        /^ passes +differ by [\d.]+% in the median of the cells, 10\.2% at worst; late/m,
      );
      assert.match(run.stdout, /^ no tokens +50\.0 µs a rank: left out of the fit$/m);
      near(cost.rankSeconds([1, 500, 0, 1300]), 50e-6 + 20e-6 + 51.2e-6 + 140.8e-6);
      near(cost.link('intraNode').bytesPerSecond, 3e11);
      near(cost.link('intraNode').latencySeconds, 4e-5);
      near(cost.moveSeconds(3e9, 'intraNode', 2), 4e-4 + 0.02);
      assert.equal(cost.name, 'mine');
      assert.equal(cost.bytesPerExpert, Math.round(3 * 512 * 256 * (1 + 4 / 128 ** 2)));
      assert.equal(cost.toJSON().dispatchBytesPerToken, 512);
    });
  });

  test('the script says what it lacks', async (t) => {
    const run = await runProgram('python3', [SCRIPT, '--hidden', '8', '--intermediate', '8', '--slots', '0']);
    if (run.code === 127 || /ENOENT/.test(run.stderr)) return t.skip('no python3');
    assert.match(run.stderr, /not at least 1/);
    assert.equal(run.code, 2);
  });

  test('what is not a measurement is refused in one line, and nothing is written', async () => {
    const cells = MEASURED.slots;
    const cases: readonly [object, RegExp][] = [
      [[1], /writes format "eplb-calibration", version 1; this has format undefined, version undefined/],
      [{ ...MEASURED, version: 2 }, /this has format "eplb-calibration", version 2$/],
      [{ ...MEASURED, precision: 'fp4' }, /precision: "fp4" is none of bf16, fp16, fp8/],
      [{ ...MEASURED, slots: 7 }, /slots: 7 is not a list/],
      [{ ...MEASURED, slots: cells.slice(0, 8) }, /slots: has 7 cells with tokens, and a fit needs 8/],
      [
        { ...MEASURED, slots: [{ tokensPerSlot: [-1], seconds: 1 }, ...cells] },
        /slots\[0\]\.tokensPerSlot\[0\]: -1/,
      ],
      [
        { ...MEASURED, slots: [...cells, { tokensPerSlot: [1], seconds: 0 }] },
        /slots\[79\]\.seconds: 0 is not/,
      ],
      [{ ...MEASURED, slots: [...cells, null] }, /slots\[79\]: null is not an object/],
      [{ ...MEASURED, hiddenSize: 0 }, /hiddenSize: 0 is not/],
      [{ ...MEASURED, drift: 0 }, /slots\[0\]\.fastestSeconds: undefined/],
      [
        {
          ...MEASURED,
          drift: 'none',
          slots: cells.map((cell) => ({ ...cell, fastestSeconds: 1, slowestSeconds: 1 })),
        },
        /drift: "none"/,
      ],
      [{ ...MEASURED, transfers: [{ rounds: 0, bytes: 1, seconds: 1 }] }, /transfers\[0\]\.rounds: 0/],
    ];
    for (const [measured, message] of cases) {
      assert.throws(
        () => readCalibration(JSON.parse(JSON.stringify(measured))),
        (error: Error) => 'code' in error && error.code === 'EPLB_FORMAT' && message.test(error.message),
        String(message),
      );
    }
    await inTempDir(async (dir) => {
      await writeFile(join(dir, 'm.json'), '[1]');
      const args = ['calibrate', 'm.json', '-o', 'cost.json'];
      assertRefused(
        await eplb(args, { cwd: dir }),
        'FORMAT',
        /^measured: "m.json": eplb_calibrate.py writes format .*; this has format undefined/,
      );
      await assert.rejects(readFile(join(dir, 'cost.json')));
      await writeFile(join(dir, 'm.json'), JSON.stringify(MEASURED));
      assertRefused(
        await eplb(['calibrate', 'm.json', '--base', 'h300:x'], { cwd: dir }),
        'RANGE',
        /^--base: device: "h300"/,
      );
      assertRefused(
        await eplb(['calibrate', '-o', 'cost.json'], { cwd: dir }),
        'RANGE|OPTION',
        /--output: the script is printed/,
      );
      assertRefused(await eplb(['calibrate', 'none.json'], { cwd: dir }), 'FILE', /cannot read "none.json"/);
    });
  });
});
