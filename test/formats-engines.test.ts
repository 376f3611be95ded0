import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { byTimeInName } from '../src/formats/file-order.ts';
import { LOAD_FORMATS } from '../src/formats/table.ts';
import { count, fixture, LOADS, SIZES, stepLoads, withFixture } from './helpers/fixtures.ts';
import { npyFile } from './helpers/npy.ts';
import { allIds, allLoads, type Files, withRecording } from './helpers/recordings.ts';
import { tensorPickle, torchFile } from './helpers/torch.ts';

/** All files of a folder of fixtures. */
async function filesOf(folder: string): Promise<Record<string, Buffer>> {
  const names = await readdir(fixture(folder));
  const entries = names.map(async (name) => [name, await readFile(fixture(`${folder}/${name}`))] as const);
  return Object.fromEntries(await Promise.all(entries));
}

const refused = (files: Files, name: string, error: { code: string; message: RegExp }, numExperts?: number) =>
  assert.rejects(
    withRecording(files, name, { numExperts }, (recording) => allLoads(recording)),
    error,
  );

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
  ];
  for (const [name, format] of cases) {
    test(`${name} is recognised as ${format}, and its loads are read`, () =>
      withFixture(name, {}, async (recording) => {
        assert.equal(recording.format, format);
        assert.deepEqual([recording.numLayers, recording.numLogicalExperts], [SIZES.layers, SIZES.experts]);
        assert.ok(
          recording.numSteps === SIZES.steps || (recording.numSteps === undefined && format === 'json-lines'),
        );
        assert.deepEqual(await allLoads(recording), LOADS);
        assert.deepEqual(await allLoads(recording, { from: 1, to: 3 }), LOADS.slice(1, 3));
        assert.deepEqual(await allLoads(recording, { from: 3 }), LOADS.slice(3));
        assert.deepEqual(await allLoads(recording, { from: 2, to: 2 }), []);
      }));
  }

  test('every format of loads has a file here', () => {
    const seen = new Set([...cases.map(([, format]) => format), 'sglang-records', 'msit-csv']);
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
      { code: 'EPLB_KIND', message: /line 1: ".*" in column 1 is no number/ },
    );
    await assert.rejects(
      withRecording(files, 'a.txt', { format: 'excel' }, () => undefined),
      { code: 'EPLB_OPTION', message: /"excel" is no format of loads; there are npy, sglang-stat/ },
    );
  });

  test('what is of no format is refused, with the reason where the name tells what it should be', async () => {
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
    await refused(files, 'a.npy', { code: 'EPLB_FORMAT', message: /no \.npy file/ });
    await refused(files, 'a.pt', { code: 'EPLB_FORMAT', message: /malformed zip archive/ });
    await refused(files, 'a.npz', { code: 'EPLB_FORMAT', message: /malformed zip archive/ });
    await refused(files, 'a.safetensors', { code: 'EPLB_FORMAT', message: /truncated: 5 bytes/ });
  });
});

describe('SGLang', () => {
  test('stat: dense layers and unused steps are left out, and said to be', () =>
    withFixture('sglang-stat-dense', {}, async (recording) => {
      assert.deepEqual(recording.layerNumbers, [3, 4, 5]);
      assert.deepEqual(recording.notes, [
        'layers 0, 1, 2 have no load in any step and were left out as dense',
        "the last 2 of 6 steps are empty and were left out: the recorder's buffer was not full",
      ]);
    }));

  test('stat: a layer whose only load is in the last step is no dense layer, and zero steps in between stay', async () => {
    const values = new Array<number>(5 * 4 * 2).fill(0);
    values[4 * 8 + 2] = 7; // step 4, layer 1, expert 0
    values[2] = 3; // step 0, layer 1, expert 0
    values[3 * 8 + 6] = 9; // step 3, layer 3, expert 0
    await withStat(values, [5, 4, 2], async (recording) => {
      assert.deepEqual(recording.layerNumbers, [1, 3]);
      assert.deepEqual(await allLoads(recording), [
        [3, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 9, 0],
        [7, 0, 0, 0],
      ]);
    });
  });

  test('stat: a recording without any load keeps everything', () =>
    withStat(new Array<number>(12).fill(0), [2, 3, 2], async (recording) => {
      assert.deepEqual([recording.numSteps, recording.numLayers], [2, 3]);
      assert.equal(recording.layerNumbers, undefined);
    }));

  test('per_pass: ranks are added, passes joined by their numbers, slots folded through the mapping', () =>
    withFixture('sglang-per-pass', {}, async (recording) => {
      assert.deepEqual([recording.format, recording.numSteps], ['sglang-records', 3]);
      assert.deepEqual([recording.numLayers, recording.numLogicalExperts], [3, 8]);
      const expected = [0, 1, 2].map((step) => {
        const loads = new Array<number>(24).fill(0);
        for (let layer = 0; layer < 3; layer++) {
          const experts = [0, 1, 2, 3, 4, 5, 6, 7, layer, layer + 3];
          // Rank 1, which has the slots from 5 on, recorded two passes only.
          for (let slot = 0; slot < (step < 2 ? 10 : 5); slot++) {
            loads[layer * 8 + experts[slot]!]! += count(step, layer, slot);
          }
        }
        return loads;
      });
      assert.deepEqual(await allLoads(recording), expected);
      assert.deepEqual(await allLoads(recording, { from: 1, to: 2 }), [expected[1]]);
      assert.match(
        recording.notes.join('\n'),
        /folded to experts through the mapping .*\ncounts were added over 2 ranks\n1 forward pass is missing for some ranks/,
      );
    }));

  test('per_token: tokens are counted, padding is none, a dense layer is left out', () =>
    withFixture('sglang-per-token', {}, async (recording) => {
      assert.deepEqual(recording.layerNumbers, [1, 2, 3]);
      const expected = [0, 1].map((pass) => {
        const loads = new Array<number>(24).fill(0);
        for (let rank = 0; rank < 2; rank++) {
          for (let layer = 0; layer < 3; layer++) {
            const experts = [0, 1, 2, 3, 4, 5, 6, 7, layer, layer + 3];
            for (let token = 0; token < 3 + rank; token++) {
              for (let k = 0; k < 2; k++) {
                const slot = (pass * 3 + rank * 2 + layer + token * 4 + k * 5) % 10;
                loads[layer * 8 + experts[slot]!]! += 1;
              }
            }
          }
        }
        return loads;
      });
      assert.deepEqual(await allLoads(recording), expected);
    }));

  test('a file of one rank is read, with a note; dumps follow each other by their times', async () => {
    const files = await filesOf('sglang-per-pass');
    const [first, second] = Object.keys(files).sort() as [string, string];
    await withRecording(files, first, {}, async (recording) => {
      assert.equal(recording.numSteps, 3);
      assert.match(recording.notes.join(), /these are the counts of rank 0 only/);
    });
    // The same passes of the same ranks again, later: another dump, whose passes are steps of their own.
    const later = {
      ...files,
      'expert_distribution_recorder_1751000900.5_0.pt': files[first]!,
      'expert_distribution_recorder_1751000900.75_1.pt': files[second]!,
    };
    await withRecording(later, '.', {}, async (recording) => {
      assert.equal(recording.numSteps, 6);
      const loads = await allLoads(recording);
      assert.deepEqual(loads.slice(3), loads.slice(0, 3));
    });
  });

  test('another number of experts than asked is refused', async () => {
    await assert.rejects(
      withFixture('sglang-per-pass', { numExperts: 9 }, () => undefined),
      { code: 'EPLB_SHAPE', message: /its mapping has 8 logical experts; --experts says 9/ },
    );
    await assert.rejects(
      withFixture('sglang-stat', { numExperts: 9 }, () => undefined),
      { code: 'EPLB_SHAPE', message: /holds loads of 8 experts; --experts says 9/ },
    );
  });
});

/** Opens counts as SGLang's recorder writes them: the fixture's archive with other numbers in it. */
async function withStat(
  values: number[],
  shape: [number, number, number],
  work: (recording: Parameters<typeof allLoads>[0]) => Promise<void>,
): Promise<void> {
  const file = torchFile({ logical_count: tensorPickle(shape) }, [Int32Array.from(values)]);
  await withRecording({ 'a.pt': file }, 'a.pt', {}, work);
}

describe('TensorRT-LLM', () => {
  test('ranks are added, layers keep the numbers of the model', () =>
    withFixture('tensorrt-llm', {}, async (recording) => {
      assert.deepEqual(recording.layerNumbers, [3, 4, 5]);
      assert.match(
        recording.notes[0]!,
        /steps are the iterations 100 to 103; layers keep the model's numbers, 3 to 5/,
      );
    }));

  test('one rank alone, without meta_info.json, is read; what newer versions write beside it is left alone', async () => {
    const files = await filesOf('tensorrt-llm');
    await withRecording(files, 'rank1.safetensors', {}, async (recording) => {
      assert.deepEqual(
        (await allLoads(recording))[0],
        stepLoads(0).map((load) => load - 1),
      );
    });
    const more = { ...files, 'rank0_numtokens.json': '{"100_3": 512, "100_4": 512}' };
    await withRecording(more, '.', {}, async (recording) =>
      assert.deepEqual(await allLoads(recording), LOADS),
    );
  });

  const tensors = (header: unknown, bytes = 64) => {
    const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([length, text, Buffer.alloc(bytes)]);
  };
  const entry = (more: object = {}) => ({
    '5_3': { dtype: 'I64', shape: [8], data_offsets: [0, 64], ...more },
  });

  test('broken files are refused', async () => {
    const whole = tensors(entry());
    const bad: [Uint8Array, string, RegExp][] = [
      [
        whole.subarray(0, 40),
        'EPLB_FORMAT',
        /truncated: the \.safetensors header ends at byte \d+, the file at byte 40/,
      ],
      [whole.subarray(0, whole.length - 1), 'EPLB_FORMAT', /truncated: it ends at byte/],
      [tensors('{"5_3"'), 'EPLB_FORMAT', /malformed JSON/],
      [tensors(entry({ dtype: 'BOOL' })), 'EPLB_FORMAT', /tensor "5_3": the type is the text "BOOL"/],
      [tensors(entry({ shape: [7] })), 'EPLB_FORMAT', /its shape needs 56 bytes, its data_offsets hold 64/],
      [tensors(entry({ data_offsets: [64, 0] })), 'EPLB_FORMAT', /hold -64/],
      [tensors(entry({ data_offsets: [2 ** 52, 2 ** 52 + 64] })), 'EPLB_FORMAT', /truncated/],
      [tensors(entry({ shape: [2 ** 30, 2 ** 30] })), 'EPLB_FORMAT', /its shape needs/],
      [tensors(entry({ shape: [-8] })), 'EPLB_FORMAT', /no shape/],
      [tensors(entry({ shape: [4, 2] })), 'EPLB_SHAPE', /has the shape \(4, 2\)/],
      [
        tensors({ weights: { dtype: 'I64', shape: [8], data_offsets: [0, 64] } }),
        'EPLB_FORMAT',
        /"weights" is no "<iteration>_<layer>"/,
      ],
      [tensors({ __metadata__: { a: 'b' } }), 'EPLB_FORMAT', /no counts of any iteration/],
    ];
    for (const [file, code, message] of bad) {
      await refused({ 'rank0.safetensors': file }, 'rank0.safetensors', { code, message });
    }
    const length = Buffer.from(whole);
    length.writeBigUInt64LE(2n ** 63n);
    await refused({ 'rank0.safetensors': length }, 'rank0.safetensors', {
      code: 'EPLB_FORMAT',
      message: /header of 922337203685477\d+ bytes/,
    });
    const negative = Buffer.from(whole);
    negative.writeBigInt64LE(-3n, negative.length - 64);
    await refused({ 'rank0.safetensors': negative }, 'rank0.safetensors', {
      code: 'EPLB_LOAD',
      message: /load -3 at "5_3", expert 0/,
    });
    const meta = '{"num_experts": 9, "num_experts_per_token": 2}';
    await refused({ 'rank0.safetensors': whole, 'meta_info.json': meta }, '.', {
      code: 'EPLB_SHAPE',
      message: /counts of 9 experts are wanted/,
    });
    await refused({ 'meta_info.json': meta }, '.', {
      code: 'EPLB_FORMAT',
      message: /no counts of any iteration/,
    });
    await refused(
      { 'rank0.safetensors': whole, 'meta_info.json': meta },
      '.',
      { code: 'EPLB_SHAPE', message: /num_experts is 9; --experts says 8/ },
      8,
    );
  });

  test('keys of prototypes are keys like others', async () => {
    const header = '{"__proto__": {"dtype": "I64", "shape": [8], "data_offsets": [0, 64]}}';
    await refused({ 'rank0.safetensors': tensors(header) }, 'rank0.safetensors', {
      code: 'EPLB_FORMAT',
      message: /"__proto__" is no "<iteration>_<layer>"/,
    });
    const hollow = '{"5_3": {"__proto__": {"dtype": "I64", "shape": [8], "data_offsets": [0, 64]}}}';
    await refused({ 'rank0.safetensors': tensors(hollow) }, 'rank0.safetensors', {
      code: 'EPLB_FORMAT',
      message: /the type is undefined/,
    });
    assert.equal(({} as { dtype?: string }).dtype, undefined);
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
      [{ 'a.csv': '1,2\n3,x\n' }, 'EPLB_KIND', /a\.csv": line 2: "x" in column 2 is no number/],
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
        /other\.txt": its name tells no recordstep/,
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
      [{ load_history: [{ other: 1 }] }, 'EPLB_KIND', /load_history\[0\]\.logical_expert_load is undefined/],
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

describe('directories', () => {
  test('names are ordered by their times and numbers', () => {
    const names = [
      'a_9.npy',
      'a_10.npy',
      'a_10_b.npy',
      'r_1751.5.pt',
      'r_1751.75.pt',
      'r_1752.pt',
      'r_1752_1.pt',
      'r_1752_2.pt',
    ];
    assert.deepEqual([...names].reverse().sort(byTimeInName), names);
    const times = ['x-2025-07-01T09:05:00.json', 'x-2025-07-01T10:00:00.json', 'x-2025-11-01T00:00:00.json'];
    assert.deepEqual([...times].reverse().sort(byTimeInName), times);
  });

  test('files follow each other, and what is no recording is left out and named', async () => {
    const npy = (...values: number[]) => npyFile({ descr: '<f4', shape: [values.length / 2, 1, 2], values });
    const files = {
      'run_10.npy': npy(9.5, 10),
      'run_9.npy': npy(1.5, 2, 3, 4),
      'README.md': 'loads of a day\n',
      'index.json': '[{"shape": [1, 2]}]',
      '.hidden.npy': 'x',
    };
    await withRecording(files, '.', {}, async (recording) => {
      assert.deepEqual([recording.numSteps, recording.format], [3, 'npy']);
      assert.deepEqual(await allLoads(recording), [
        [1.5, 2],
        [3, 4],
        [9.5, 10],
      ]);
      assert.deepEqual(await allLoads(recording, { from: 1, to: 3 }), [
        [3, 4],
        [9.5, 10],
      ]);
      assert.deepEqual(await allLoads(recording, { from: 2 }), [[9.5, 10]]);
      assert.match(recording.notes.join(), /"README\.md" was left out.*"index\.json" was left out/);
    });
  });

  test('routes follow each other', async () => {
    const npy = (values: number[]) => npyFile({ descr: '|u1', shape: [values.length / 2, 1, 2], values });
    const files = { 'a_1.npy': npy([0, 1, 2, 3, 0, 2]), 'a_2.npy': npy([3, 1]) };
    await withRecording(files, '.', { numExperts: 4, tokensPerStep: 2 }, async (recording) => {
      assert.equal(recording.routes!.numTokens, 4);
      assert.deepEqual(await allIds(recording), [0, 1, 2, 3, 0, 2, 3, 1]);
      assert.deepEqual(await allIds(recording, { from: 2, to: 4 }), [0, 2, 3, 1]);
      assert.deepEqual(await allLoads(recording), [
        [1, 1, 1, 1],
        [1, 0, 1, 0],
        [0, 1, 0, 1],
      ]);
    });
  });

  test('JSON Lines, whose lengths are not known, follow each other', async () => {
    const line = (step: number, load: number) => `${JSON.stringify({ step, layer: 0, loads: [load] })}\n`;
    const files = { 'a_1.jsonl': line(0, 1) + line(1, 2), 'a_2.jsonl': line(0, 3) };
    await withRecording(files, '.', {}, async (recording) => {
      assert.equal(recording.numSteps, undefined);
      assert.deepEqual(await allLoads(recording), [[1], [2], [3]]);
      assert.deepEqual(await allLoads(recording, { from: 1, to: 3 }), [[2], [3]]);
      assert.deepEqual(await allLoads(recording, { from: 2 }), [[3]]);
    });
  });

  test('files that do not fit each other are refused', async () => {
    const files = {
      'a.npy': npyFile({ descr: '|u1', shape: [1, 2], values: [1, 2] }),
      'b.npy': npyFile({ descr: '|u1', shape: [1, 3], values: [1, 2, 3] }),
    };
    await refused(files, '.', {
      code: 'EPLB_SHAPE',
      message:
        /b\.npy" holds loads of 1 layer with 3 experts; .*a\.npy", which comes before it, holds loads of 1 layer with 2 experts/,
    });
    await refused({ 'a.npy': files['a.npy'], 'b.json': '[[1, 2]]' }, '.', {
      code: 'EPLB_FORMAT',
      message: /b\.json" is of the format json, .*a\.npy" of the format npy/,
    });
    await refused({}, '.', { code: 'EPLB_FORMAT', message: /holds no file of a known format/ });
  });
});
