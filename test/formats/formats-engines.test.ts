import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LOAD_FORMATS } from '../../src/formats/loads/registry.ts';
import { refused } from '../helpers/engine-files.ts';
import { LOADS, SIZES, stepLoads, withFixture } from '../helpers/fixtures.ts';
import { npyFile } from '../helpers/npy.ts';
import { allLoads, type Files, withRecording } from '../helpers/recordings.ts';

describe('the formats of engines', () => {
  const cases: [fixture: string, format: string][] = [
    ['numpy/le-i4.npy', 'npy'],
    ['numpy/stored.npz', 'npz'],
    ['torch/int32.pt', 'torch-tensor'],
    ['sglang-stat', 'sglang-stat'],
    ['sglang-stat-dense', 'sglang-stat'],
    ['tensorrt-llm', 'tensorrt-llm'],
    ['adrs.json', 'adrs'],
    ['logical_count.json', 'json'],
    ['lines.jsonl', 'json-lines'],
    ['omni-infer', 'omni-infer'],
    ['vllm-stats.jsonl', 'vllm-stats'],
    ['megatron', 'megatron-trace'],
    ['counts.csv', 'csv-counts'],
  ];
  for (const [name, format] of cases) {
    test(`${name} is recognised as ${format}, and its loads are read`, () =>
      withFixture(name, {}, async (recording) => {
        assert.equal(recording.format, format);
        assert.deepEqual([recording.numLayers, recording.numLogicalExperts], [SIZES.layers, SIZES.experts]);
        assert.ok(
          recording.numSteps === SIZES.steps ||
            (recording.numSteps === undefined && ['json-lines', 'vllm-stats'].includes(format)),
        );
        assert.deepEqual(await allLoads(recording), LOADS);
        assert.deepEqual(await allLoads(recording, { from: 1, to: 3 }), LOADS.slice(1, 3));
        assert.deepEqual(await allLoads(recording, { from: 3 }), LOADS.slice(3));
        assert.deepEqual(await allLoads(recording, { from: 2, to: 2 }), []);
      }));
  }

  test('every format of loads has a file here', () => {
    const seen = new Set([
      ...cases.map(([, format]) => format),
      'sglang-records',
      'msit-csv',
      'fastdeploy-stats',
    ]);
    assert.deepEqual(
      LOAD_FORMATS.map(({ name }) => name).filter((name) => !seen.has(name)),
      [],
    );
  });

  test('a format that is named is taken, whatever the content looks like', async () => {
    const files = {
      'a.txt': '1,2\n3,4\n',
      'b.bin': npyFile({ descr: '|u1', shape: [1, 2], values: [5, 6] }),
    };
    await withRecording(files, 'a.txt', { format: 'msit-csv' }, async (recording) => {
      assert.deepEqual(await allLoads(recording), [[1, 2, 3, 4]]);
    });
    await withRecording(files, 'b.bin', {}, async (recording) => assert.equal(recording.format, 'npy'));
    await assert.rejects(
      withRecording(files, 'b.bin', { format: 'msit-csv' }, () => undefined),
      { code: 'EPLB_KIND', message: /line 1: ".*" in column 1 is not a number/ },
    );
    await assert.rejects(
      withRecording(files, 'a.txt', { format: 'excel' }, () => undefined),
      { code: 'EPLB_OPTION', message: /"excel" is not a format of loads; there are npy, sglang-stat/ },
    );
  });

  test('what is of no format is refused, with the reason where the name says what it is', async () => {
    const files = {
      'a.dat': 'hello',
      'a.npy': 'hello',
      'a.pt': 'hello',
      'a.npz': 'PK',
      'a.safetensors': 'hello',
    };
    await refused(files, 'a.dat', {
      code: 'EPLB_FORMAT',
      message: /a\.dat" is of no known format of loads/,
    });
    await refused(files, 'a.npy', { code: 'EPLB_FORMAT', message: /not a \.npy file/ });
    await refused(files, 'a.pt', { code: 'EPLB_FORMAT', message: /malformed zip archive/ });
    await refused(files, 'a.npz', { code: 'EPLB_FORMAT', message: /malformed zip archive/ });
    await refused(files, 'a.safetensors', { code: 'EPLB_FORMAT', message: /truncated: 5 bytes/ });
  });
});

describe('msit', () => {
  test('CSV of devices stands side by side', () =>
    withFixture('msit-csv', {}, async (recording) => {
      assert.equal(recording.format, 'msit-csv');
      assert.deepEqual(await allLoads(recording), [stepLoads(0)]);
      assert.deepEqual(recording.notes, ['the columns of 2 files, one a device, stand side by side']);
    }));

  test('device 10 comes after device 9', async () => {
    const files = Object.fromEntries(
      Array.from({ length: 12 }, (_, i) => [`decode_${i}.csv`, `${i}\n${2 * i}\n`]),
    );
    await withRecording(files, '.', {}, async (recording) => {
      const first = Array.from({ length: 12 }, (_, i) => i);
      assert.deepEqual(await allLoads(recording), [[...first, ...first.map((i) => 2 * i)]]);
    });
  });

  test('broken tables are refused', async () => {
    const bad: [Files, string, RegExp][] = [
      [{ 'a.csv': '1,2\n3,x\n' }, 'EPLB_KIND', /a\.csv": line 2: "x" in column 2 is not a number/],
      [{ 'a.csv': '1,2\n3,0x10\n' }, 'EPLB_KIND', /"0x10"/],
      [{ 'a.csv': '1,2\n3,,4\n' }, 'EPLB_KIND', /line 2: "" in column 2/],
      [{ 'a.csv': '1,2\n3\n' }, 'EPLB_SHAPE', /line 2 has 1 numbers, the first one 2/],
      [{ 'a.csv': '1,2\n\n3,4' }, 'EPLB_SHAPE', /line 2 has 0 numbers/],
      [{ 'a.csv': '1,-2\n' }, 'EPLB_LOAD', /load -2 at line 1, column 2/],
      [{ 'a.csv': '1,1e999\n' }, 'EPLB_LOAD', /load Infinity at line 1, column 2/],
      [
        { 'decode_0.csv': '1,2\n', 'decode_1.csv': '1,2\n3,4\n' },
        'EPLB_SHAPE',
        /decode_1\.csv" has 2 lines, .*decode_0\.csv" has 1/,
      ],
      [
        { 'decode_0.csv': '1,2\n', 'prefill_0.csv': '1,2\n' },
        'EPLB_FORMAT',
        /files of different kinds .*"decode_\*", "prefill_\*"/,
      ],
    ];
    for (const [files, code, message] of bad) await refused(files, '.', { code, message });
  });
});

describe('omni-infer', () => {
  const name = (step: number, rank: number) => `activation_counts_recordstep_${step}_rank_${rank}.txt`;

  test('broken recordings are refused', async () => {
    const bad: [Files, string, RegExp][] = [
      [
        { [name(1, 0)]: '1\t2\t\n', [name(1, 1)]: '1\t2\t\n', [name(2, 0)]: '1\t2\t\n' },
        'EPLB_SHAPE',
        /step 2 lacks rank 1/,
      ],
      [
        { [name(1, 0)]: '1\t2\t\n', [name(2, 0)]: '1\t2\t\n', [name(2, 1)]: '1\t2\t\n' },
        'EPLB_SHAPE',
        /step 1 lacks ranks that step 2 has/,
      ],
      [
        { [name(1, 0)]: '1\t2\t\n', [name(2, 0)]: '1\t2\t3\n' },
        'EPLB_SHAPE',
        /its step has 1 layers of 3 slots; .* has 1 of 2/,
      ],
      [
        { [name(1, 0)]: '1\t2\t\n', 'other.txt': '1\t2\n' },
        'EPLB_FORMAT',
        /other\.txt": its name has no recordstep/,
      ],
      [{ [name(1, 0)]: '1\t-2\t\n' }, 'EPLB_LOAD', /load -2 at line 1, column 2/],
    ];
    for (const [files, code, message] of bad) {
      await assert.rejects(
        withRecording(files, '.', { format: 'omni-infer' }, (recording) => allLoads(recording)),
        { code, message },
      );
    }
  });

  test('one file of any name is one step', () =>
    withRecording({ 'dump.txt': '1\t2\t\n3\t4\t\n' }, 'dump.txt', {}, async (recording) => {
      assert.deepEqual(await allLoads(recording), [[1, 2, 3, 4]]);
    }));
});

describe('ADRS', () => {
  test('broken files are refused', async () => {
    const entry = (rows: unknown) => ({ logical_expert_load: rows });
    const bad: [unknown, string, RegExp][] = [
      [{ load_history: 5 }, 'EPLB_KIND', /load_history is 5; it must be an array/],
      [{ load_history: [] }, 'EPLB_SHAPE', /holds nothing/],
      [{ load_history: [{ other: 1 }] }, 'EPLB_KIND', /load_history\[0\]\.logical_expert_load is missing/],
      [{ load_history: [entry([[[1]]])] }, 'EPLB_SHAPE', /nested 3 deep/],
      [
        { load_history: [entry([[1, 2]]), entry([[1]])] },
        'EPLB_SHAPE',
        /load_history\[1\] has the shape \(1, 1\), the first one \(1, 2\)/,
      ],
      [{ load_history: [entry([[1, 'x']])] }, 'EPLB_KIND', /logical_expert_load\[0\]\[1\] is the text "x"/],
      [{ load_history: [entry([[1, -1]])] }, 'EPLB_LOAD', /load -1 at step 0, layer 0, expert 1/],
    ];
    for (const [root, code, message] of bad) {
      await refused({ 'a.json': JSON.stringify(root) }, 'a.json', { code, message });
    }
  });
});

describe('JSON Lines', () => {
  const line = (step: number, layer: number, loads: unknown) => JSON.stringify({ step, layer, loads });

  test("layers may come in any order and keep the file's numbers; steps may leave numbers out", async () => {
    const text = [line(5, 4, [1, 2]), line(5, 3, [3, 4]), '', line(9, 3, [5, 6]), line(9, 4, [7, 8])].join(
      '\r\n',
    );
    await withRecording({ 'a.txt': text }, 'a.txt', {}, async (recording) => {
      assert.equal(recording.format, 'json-lines');
      assert.deepEqual(recording.layerNumbers, [3, 4]);
      assert.deepEqual(await allLoads(recording), [
        [3, 4, 1, 2],
        [5, 6, 7, 8],
      ]);
    });
  });

  test('lines longer than what is read at once come through', async () => {
    const loads = Array.from({ length: 300_000 }, (_, i) => i % 1000);
    const text = `${line(0, 0, loads)}\n${line(1, 0, loads)}\n`;
    await withRecording({ 'a.jsonl': text }, 'a.jsonl', {}, async (recording) => {
      assert.deepEqual(await allLoads(recording), [loads, loads]);
    });
  });

  test('broken files are refused', async () => {
    const bad: [string[], string, RegExp][] = [
      [[line(0, 0, [1]), line(0, 0, [1])], 'EPLB_RANGE', /line 2: layer 0 of step 0 is there twice/],
      [[line(1, 0, [1]), line(0, 0, [1])], 'EPLB_RANGE', /line 2: step 0 comes after step 1/],
      [[line(0, 0, [1]), line(1, 1, [1])], 'EPLB_SHAPE', /step 1 has no layer 0/],
      [
        [line(0, 0, [1]), line(1, 0, [1]), line(1, 1, [1])],
        'EPLB_SHAPE',
        /step 1 has 2 layers; the first step has 1/,
      ],
      [
        [line(0, 0, [1]), line(1, 0, [1, 2])],
        'EPLB_SHAPE',
        /step 1 has 2 loads in layer 0; the first step has 1/,
      ],
      [[line(0, 0, [])], 'EPLB_SHAPE', /holds nothing/],
      [[line(0, 0, 7)], 'EPLB_KIND', /line 1: loads is 7/],
      [[line(0, 0, ['x'])], 'EPLB_KIND', /line 1: loads\[0\] is the text "x"/],
      [[line(0, 0, [-1])], 'EPLB_LOAD', /line 1: load -1 at expert 0/],
      [[line(0, 0.5, [1])], 'EPLB_KIND', /line 1: layer is 0\.5; it must be a whole number/],
      [[line(0, 0, [1]), '{"step": 1'], 'EPLB_FORMAT', /line 2: malformed JSON/],
    ];
    for (const [lines, code, message] of bad) {
      await refused({ 'a.jsonl': lines.join('\n') }, 'a.jsonl', { code, message });
    }
  });
});
