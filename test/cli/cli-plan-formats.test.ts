import assert from 'node:assert/strict';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { inTempDir, sharedEplb } from '../helpers/cli.ts';
import { fixture, LOADS } from '../helpers/fixtures.ts';
import { npyFile } from '../helpers/npy.ts';

const eplb = sharedEplb();

const SIZES = ['--replicas', '12', '--ranks', '4'];

async function planJson(args: readonly string[], cwd?: string) {
  const run = await eplb(['plan', ...args, ...SIZES, '--json'], cwd === undefined ? {} : { cwd });
  assert.equal(run.stderr, '');
  assert.equal(run.code, 0);
  return JSON.parse(run.stdout);
}

describe('eplb plan on the formats of engines', { concurrency: 2 }, () => {
  test('the same loads in any format give the same placement', async () => {
    const formats = {
      'numpy/le-i4.npy': 'npy, int32',
      'numpy/packed.npz': 'npz, int32',
      'torch/strided.pt': 'torch-tensor, int32',
      'sglang-stat': 'sglang-stat, int32',
      'sglang-stat-dense': 'sglang-stat, int32',
      'tensorrt-llm': 'tensorrt-llm',
      'adrs.json': 'adrs, float64',
      'logical_count.json': 'json, float64',
      'lines.jsonl': 'json-lines',
      'omni-infer': 'omni-infer',
    };
    const digests = new Set<string>();
    for (const [name, format] of Object.entries(formats)) {
      const report = await planJson([fixture(name), '--threads', '0']);
      assert.equal(report.recording.format, format);
      assert.deepEqual(report.recording.steps, { from: 0, to: 4, of: 4 });
      assert.deepEqual(report.recording.shape, [4, 3, 8]);
      digests.add(report.digest);
    }
    assert.equal(digests.size, 1);
  });

  test('a range of steps is that range, where their number is known and where it is not', async () => {
    await inTempDir(async (dir) => {
      await writeFile(
        join(dir, 'part.npy'),
        npyFile({ descr: '<i4', shape: [2, 3, 8], values: LOADS.slice(1, 3).flat() }),
      );
      const part = await planJson(['part.npy'], dir);
      for (const name of ['sglang-stat', 'lines.jsonl', 'tensorrt-llm']) {
        const report = await planJson([fixture(name), '--steps', '1:-1']);
        assert.deepEqual(report.recording.steps, { from: 1, to: 3, of: 4 });
        assert.equal(report.digest, part.digest);
      }
    });
  });

  test('what the reader left out or assumed is told', async () => {
    const run = await eplb(['plan', fixture('sglang-stat-dense'), ...SIZES]);
    assert.equal(run.code, 0);
    assert.match(run.stdout, /read as +loads: 4 steps x 3 layers x 8 experts\n/);
    assert.match(run.stdout, /note +layers 0, 1, 2 have no load in any step and were left out as dense\n/);
    const report = await planJson([fixture('tensorrt-llm')]);
    assert.match(report.recording.notes[0], /layers keep the model's numbers, 3 to 5/);
  });

  test('a directory of files is one recording, and its files are not replaced by the output', async () => {
    await inTempDir(async (dir) => {
      await mkdir(join(dir, 'recorded'));
      for (const [step, loads] of LOADS.entries()) {
        const file = npyFile({ descr: '<f4', shape: [1, 3, 8], values: loads });
        await writeFile(join(dir, 'recorded', `load_${step + 8}.npy`), file);
      }
      const whole = await planJson([fixture('numpy/le-i4.npy')]);
      const report = await planJson(['recorded', '-o', 'out.json'], dir);
      assert.equal(report.digest, whole.digest);
      assert.deepEqual(report.recording.steps, { from: 0, to: 4, of: 4 });
      assert.ok((await readFile(join(dir, 'out.json'), 'utf8')).startsWith('{"physical_to_logical_map"'));
      const over = await eplb(['plan', 'recorded', ...SIZES, '-o', 'recorded/load_8.npy'], { cwd: dir });
      assert.equal(over.code, 2);
      assert.match(
        over.stderr,
        /^eplb: --output: .* it is a part of the recording that is read \(EPLB_FILE\)\n$/,
      );
    });
  });

  test('--from names the format; a wrong one is one line', async () => {
    await inTempDir(async (dir) => {
      await cp(fixture('msit-csv/decode_0.csv'), join(dir, 'loads.dat'));
      const named = await planJson(['loads.dat', '--from', 'msit-csv'], dir);
      assert.deepEqual(named.recording.shape, [1, 3, 4]);
      const wrong: [args: string[], message: RegExp][] = [
        [
          ['loads.dat', '--from', 'excel'],
          /^eplb: --from: "excel" is not a format of loads; there are npy, .* \(EPLB_OPTION\)\n$/,
        ],
        [
          ['loads.dat', '--from', 'npy'],
          /^eplb: recording: "loads\.dat": not a \.npy file: .* \(EPLB_FORMAT\)\n$/,
        ],
        [
          [fixture('torch-refused/system.pt')],
          /^eplb: recording: ".*system\.pt": at byte \d+ .* "posix\.system" is refused: .* \(EPLB_FORMAT\)\n$/,
        ],
        [[fixture('torch-refused')], /EPLB_/],
      ];
      for (const [args, message] of wrong) {
        const run = await eplb(['plan', ...args, ...SIZES], { cwd: dir });
        assert.match(run.stderr, message);
        assert.deepEqual([run.code, run.stdout, run.stderr.match(/\n/g)?.length], [2, '', 1]);
      }
    });
  });
});
