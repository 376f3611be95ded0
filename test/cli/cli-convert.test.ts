import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { CLI, eplbMany, inTempDir, type LineRun, RECORDING, sharedEplb } from '../helpers/cli.ts';
import { npyFile } from '../helpers/npy.ts';
import { assertRefused } from '../helpers/refusal.ts';

const eplb = sharedEplb();

const SIZES = ['--experts', '64', '--replicas', '80', '--ranks', '16', '--nodes', '2', '--groups', '8'];

/** What `--json` printed; the run must have succeeded. */
async function json(args: readonly string[], cwd: string) {
  const run = await eplb([...args, '--json'], { cwd });
  assert.equal(run.stderr, '');
  assert.equal(run.code, 0);
  return JSON.parse(run.stdout);
}

const rows = async (path: string) => JSON.parse(await readFile(path, 'utf8')).physical_to_logical_map;

describe('eplb convert', { concurrency: 2 }, () => {
  test('a plan goes through every format and back', async () => {
    await inTempDir(async (dir) => {
      const plan = await json(['plan', RECORDING, ...SIZES, '--policy', 'locality', '-o', 'p.json'], dir);
      assert.equal(plan.outputFormat, 'sglang');
      const steps = ['expert_map.json', 'p.yaml', 'p.npy', 'back.json'];
      let before = 'p.json';
      for (const path of steps) {
        const report = await json(['convert', before, path, '--ranks', '16'], dir);
        assert.equal(report.converted, 'placement');
        assert.equal(report.to.bytes, (await readFile(join(dir, path))).length);
        before = path;
      }
      assert.deepEqual(await rows(join(dir, 'back.json')), plan.physicalToLogical);
    });
  });

  test('plan writes the format that --to or the name says, and starts from any', async () => {
    await inTempDir(async (dir) => {
      const plan = ['plan', RECORDING, ...SIZES];
      const first = await json([...plan, '-o', 'moe.yaml', '--first-layer', '1'], dir);
      assert.equal(first.outputFormat, 'tensorrt-llm');
      assert.deepEqual(first.outputNotes, ['layers are numbered 1 to 26, as the model counts them']);
      const yaml = await readFile(join(dir, 'moe.yaml'), 'utf8');
      assert.match(yaml, /^num_slots: 80\ninitial_global_assignments:\n {2}1: \[\d+, /);
      const second = await json([...plan, '--start-from', 'moe.yaml', '-o', 'x', '--to', 'vllm-ascend'], dir);
      assert.equal(second.moves, 0);
      assert.equal(second.outputFormat, 'vllm-ascend');
      const third = await json([...plan, '--start-from', 'x', '-o', 'y.json', '--first-layer', '1'], dir);
      assert.deepEqual(second.outputNotes, [
        'vllm-ascend refuses an expert twice on a device: 18 times, layer 0: rank 12 holds expert 16 twice',
      ]);
      assert.equal(third.digest, first.digest);
      const withDense = await rows(join(dir, 'y.json'));
      assert.equal(withDense.length, 27);
      assert.deepEqual(withDense.slice(1), first.physicalToLogical);
      assert.deepEqual(
        withDense[0],
        Array.from({ length: 80 }, (_, slot) => slot % 64),
      );
    });
  });

  test('rows of dense layers go and come back', async () => {
    await inTempDir(async (dir) => {
      const moe = [
        [3, 2, 1, 0],
        [1, 3, 2, 0],
      ];
      const all = { physical_to_logical_map: [[0, 1, 2, 3], [0, 1, 2, 3], ...moe] };
      await writeFile(join(dir, 'all.json'), JSON.stringify(all));
      const report = await json(['convert', 'all.json', 'moe.yaml', '--dense-rows', '2'], dir);
      assert.deepEqual(report.shape, [2, 4]);
      assert.deepEqual(report.notes, [
        '2 rows of dense layers left out',
        'layers are numbered 2 to 3, as the model counts them',
      ]);
      await json(['convert', 'moe.yaml', 'back.json'], dir);
      assert.deepEqual(await rows(join(dir, 'back.json')), all.physical_to_logical_map);
    });
  });

  test('loads: every writer gives what is read back as the same loads', async () => {
    await inTempDir(async (dir) => {
      const values = Array.from({ length: 3 * 2 * 5 }, (_, i) => (i % 7) * 1.5 + i);
      await writeFile(join(dir, 'in.npy'), npyFile({ descr: '<f8', shape: [3, 2, 5], values }));
      const report = await json(['convert', 'in.npy', 'out.json'], dir);
      assert.equal(report.converted, 'loads');
      assert.deepEqual(report.shape, [3, 2, 5]);
      const counts: number[][][] = JSON.parse(await readFile(join(dir, 'out.json'), 'utf8')).logical_count;
      assert.deepEqual(counts.flat(2), values);
      await json(['convert', 'out.json', 'out.npy', '--steps', '1:3'], dir);
      const bytes = await readFile(join(dir, 'out.npy'));
      assert.match(bytes.subarray(10, 128).toString(), /'shape': \(2, 2, 5\)/);
      assert.deepEqual(
        Array.from(
          new Float32Array(bytes.buffer.slice(bytes.byteOffset + 128, bytes.byteOffset + bytes.length)),
        ),
        values.slice(10),
      );
      await json(['convert', 'out.npy', 'out.npz'], dir);
      await json(['convert', 'out.npz', 'out.jsonl'], dir);
      const lines = (await readFile(join(dir, 'out.jsonl'), 'utf8'))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      assert.deepEqual(lines[3], { step: 1, layer: 1, loads: values.slice(25) });
      assert.equal(lines.length, 4);
      await json(['convert', 'out.jsonl', 'again.npy'], dir);
      assert.deepEqual(await readFile(join(dir, 'again.npy')), bytes);
    });
  });

  test('the report says what was assumed and dropped', async () => {
    await inTempDir(async (dir) => {
      const run = await eplb(
        ['convert', RECORDING, 'l.npy', '--experts', '64', '--tokens-per-step', '1000'],
        { cwd: dir },
      );
      assert.equal(run.code, 0);
      assert.match(run.stdout, /^ holds +9 steps x 26 layers x 64 experts\n/m);
      assert.match(run.stdout, /^ note +routes of 1,000 tokens are added up to a step\n/m);
      await writeFile(join(dir, 'twice.json'), '{"physical_to_logical_map": [[0, 0, 1, 1]]}');
      const omni = await json(['convert', 'twice.json', 'o.npy', '--to', 'omni-infer', '--ranks', '2'], dir);
      assert.ok(omni.notes.includes('2 slots dropped: a rank holds an expert once at most in a pattern'));
    });
  });
});

const ARRAYS = {
  // 0 and 1, three dimensions, every expert somewhere: a pattern, or loads of single tokens.
  'pattern.npy': npyFile({ descr: '<i4', shape: [2, 1, 4], values: [1, 1, 0, 0, 0, 0, 1, 1] }),
  'few.npy': npyFile({ descr: '<i4', shape: [2, 4], values: [0, 1, 2, 2, 2, 1, 0, 0] }),
  'ids.npy': npyFile({ descr: '<i8', shape: [1, 10], values: [7, 6, 5, 4, 3, 2, 1, 0, 0, 7] }),
  'empty.npy': npyFile({ descr: '<i4', shape: [1, 3], values: [0, 1, -1] }),
  'loads.npy': npyFile({ descr: '<i4', shape: [2, 4], values: [5, 1, 2, 2, 2, 1, 0, 0] }),
  'single.npy': npyFile({ descr: '<i4', shape: [2, 1, 4], values: [1, 1, 0, 0, 0, 1, 1, 0] }),
};

describe('what an array holds', { concurrency: 2 }, () => {
  const cases = [
    ['pattern.npy', undefined, 'omni-infer'],
    ['few.npy', undefined, 'tables-npy'],
    ['ids.npy', 'placement'],
    ['empty.npy', 'placement'],
    ['loads.npy', 'loads'],
    ['single.npy', 'loads'],
  ] as const;
  const lines = cases.flatMap(([file, kind, asPlacement]) => {
    const args = ['convert', file, 'out.npy', '--json', '--to', kind === 'placement' ? 'tables-npy' : 'npy'];
    const told = (from: string) => ({ args: ['convert', file, 'told.npy', '--json', '--from', from] });
    return [{ args }, ...(kind === undefined ? [told(asPlacement), told('npy')] : [])];
  });
  let runs: readonly LineRun[];
  before(() =>
    inTempDir(async (dir) => {
      await Promise.all(Object.entries(ARRAYS).map(([file, bytes]) => writeFile(join(dir, file), bytes)));
      runs = await eplbMany(lines, dir);
    }),
  );
  for (const [file, kind, asPlacement] of cases) {
    test(`${file}: ${kind ?? 'is asked for'}`, () => {
      const at = lines.findIndex(({ args }) => args[1] === file);
      const [first, placement, loads] = runs.slice(at) as [LineRun, LineRun, LineRun];
      const converted = ({ stdout, stderr }: LineRun) => {
        assert.equal(stderr, '');
        return JSON.parse(stdout).converted;
      };
      if (kind !== undefined) {
        assert.equal(converted(first), kind);
        return;
      }
      assertRefused(
        first,
        'OPTION',
        /^in: "\w+\.npy" may hold loads or a placement; give --from npy for loads, /,
      );
      assert.ok(first.stderr.includes(`, --from ${asPlacement} for a placement (`), first.stderr);
      assert.equal(converted(placement), 'placement');
      assert.equal(converted(loads), 'loads');
    });
  }
});

const FILES = {
  'p.json': '{"physical_to_logical_map": [[0, 1, 2, 0], [2, 1, 0, 0]]}',
  'l.json': '{"logical_count": [[1, 2, 3]]}',
  'nothing.json': '{}',
  'cut.yaml': 'num_slots: 4\ninitial_global_assignments:\n  3: [1, 2',
  'online.yaml': 'num_slots: 4\nlayer_updates_per_iter: 2\n',
  'odd.json': '{"layer_list": [{"device_list": [{"device_expert": [0]}, {"device_expert": [1, 2]}]}]}',
};

describe('wrong input of convert', { concurrency: 2 }, () => {
  const cases: readonly (readonly [string[], string, RegExp])[] = [
    [['none.json', 'o.json'], 'FILE', /^in: cannot read "none\.json": there is no such file/],
    [['p.json', 'none/o.json'], 'FILE', /^out: cannot write "none\/o\.json": its directory does not exist/],
    [['p.json', 'p.json'], 'FILE', /^out: .*it is the recording that is read/],
    [
      ['l.json', 'o.txt'],
      'OPTION',
      /^--to: the name "o\.txt" does not say which format of loads to write; give npy, npz, json, json-lines/,
    ],
    [['l.json', 'o.yaml', '--to', 'tensorrt-llm'], 'OPTION', /^loads are not written as "tensorrt-llm"/],
    [
      ['p.json', 'o.x', '--to', 'parquet'],
      'OPTION',
      /^--to: "parquet" is not a format of placements; known are sglang/,
    ],
    [['p.json', 'o.x', '--from', 'parquet'], 'OPTION', /^--from: "parquet" is not a format; known are npy/],
    [['p.json', 'expert_map.json'], 'OPTION', /^--ranks: a vllm-ascend file lists what each rank holds/],
    [
      ['p.json', 'expert_map.json', '--ranks', '3'],
      'TOPOLOGY',
      /^--ranks: 3 ranks do not divide the 4 slots/,
    ],
    [['p.json', 'o.json', '--steps', '0:1'], 'OPTION', /^--steps: it has no meaning for a placement/],
    [['l.json', 'o.npy', '--ranks', '2'], 'OPTION', /^--ranks: it has no meaning for recorded loads/],
    [['l.json', 'o.npy', '--steps', '0:2'], 'RANGE', /^--steps: "0:2" reaches outside/],
    [['nothing.json', 'o.npy'], 'KIND', /^recording: "nothing\.json": the JSON is an empty object/],
    [['cut.yaml', 'o.json'], 'FORMAT', /^in: "cut\.yaml": malformed YAML/],
    [['online.yaml', 'o.json'], 'KIND', /^in: "online\.yaml": it has no initial_global_assignments/],
    [['odd.json', 'o.json'], 'MAPPING', /^sglang has no empty slots; the placement has some/],
    [['p.json', 'o.json', '--dense-rows', '2'], 'OPTION', /^--dense-rows: 2, but in: "p\.json" has 2 rows/],
    [
      ['p.json', 'o.json', '--first-layer', '16000000'],
      'SHAPE',
      /^sglang: a row for every layer: 8 numbers would make a table of 64000008/,
    ],
    [['p.json'], 'OPTION', /^out: required/],
  ];
  let runs: readonly LineRun[];
  before(() =>
    inTempDir(async (dir) => {
      await mkdir(join(dir, 'dir'));
      await Promise.all(Object.entries(FILES).map(([file, text]) => writeFile(join(dir, file), text)));
      const lines = cases.map(([args]) => ({ args: ['convert', ...args] }));
      runs = await eplbMany(lines, dir);
    }),
  );
  for (const [i, [args, code, message]] of cases.entries()) {
    test(args.join(' '), () => {
      assertRefused(runs[i]!, code, message);
      assert.deepEqual(runs[i]!.files, [...Object.keys(FILES), 'dir'].sort());
    });
  }
});

test('stopped in the middle, nothing is left', { timeout: 60_000 }, async () => {
  await inTempDir(async (dir) => {
    const values = new Array<number>(1000 * 20 * 256).fill(1234.5);
    await writeFile(join(dir, 'in.npy'), npyFile({ descr: '<f4', shape: [1000, 20, 256], values }));
    const child = spawn(process.execPath, [CLI, 'convert', 'in.npy', 'out.json'], { cwd: dir });
    const ended = new Promise((resolve) => child.on('close', (_code, signal) => resolve(signal)));
    while ((await readdir(dir)).length === 1) await setTimeout(2);
    child.kill('SIGINT');
    assert.equal(await ended, 'SIGINT');
    assert.deepEqual(await readdir(dir), ['in.npy']);
  });
});

test('eplb formats lists what is read and written', async () => {
  const { stdout } = await eplb(['formats', '--json']);
  const formats: { name: string; holds: string; writes: boolean }[] = JSON.parse(stdout).formats;
  const named = (holds: string) => formats.filter((one) => one.holds === holds).map(({ name }) => name);
  const placements = [
    'sglang',
    'vllm-ascend',
    'vllm-mapping',
    'tensorrt-llm',
    'omni-infer',
    'fastdeploy',
    'vllm-expert-map',
    'vllm-ascend-npy',
    'tables-npy',
    'tables-npz',
    'tables-json',
    'vllm-map',
  ];
  assert.deepEqual(named('placements'), placements);
  for (const name of ['npy', 'npz', 'json', 'json-lines', 'csv-counts']) {
    assert.ok(formats.some((one) => one.name === name && one.holds === 'loads' && one.writes));
  }
  const text = (await eplb(['formats'])).stdout;
  for (const { name } of formats) assert.match(text, new RegExp(`^ ${name} +read`, 'm'));
  assert.ok(text.split('\n').every((line) => line.length <= 100));
});
