import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { filesOf, refused } from '../helpers/engine-files.ts';
import { LOADS, stepLoads, withFixture } from '../helpers/fixtures.ts';
import { allLoads, withRecording } from '../helpers/recordings.ts';

describe('TensorRT-LLM', () => {
  test('ranks are added, layers keep the numbers of the model', () =>
    withFixture('tensorrt-llm', {}, async (recording) => {
      assert.deepEqual(recording.layerNumbers, [3, 4, 5]);
      assert.match(
        recording.notes[0]!,
        /steps are the iterations 100 to 103; layers keep the model's numbers, 3 to 5/,
      );
    }));

  test('what each rank counted is what its tokens were sent to, where all ranks are there', async () => {
    const files = await filesOf('tensorrt-llm');
    await withRecording(files, '.', {}, async (recording) => {
      assert.equal(recording.numSourceRanks, 2);
      for await (const { step, loads, sourceLoads } of recording.steps()) {
        for (let layer = 0; layer < 3; layer++) {
          const ofRank = (rank: number) =>
            Array.from(sourceLoads!.subarray((2 * layer + rank) * 8, (2 * layer + rank + 1) * 8));
          const all = Array.from(loads.subarray(layer * 8, layer * 8 + 8));
          assert.deepEqual(
            ofRank(1),
            all.map((load) => load - 1),
            `step ${step}`,
          );
          assert.deepEqual(ofRank(0), new Array<number>(8).fill(1));
        }
      }
    });
    const { 'rank0.safetensors': _, ...one } = files;
    await withRecording(one, '.', {}, ({ numSourceRanks }) => assert.equal(numSourceRanks, undefined));
  });

  test('one rank alone, without meta_info.json, is read; what newer versions add is left', async () => {
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
        /"weights" is not "<iteration>_<layer>"/,
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
      message: /"__proto__" is not "<iteration>_<layer>"/,
    });
    const hollow = '{"5_3": {"__proto__": {"dtype": "I64", "shape": [8], "data_offsets": [0, 64]}}}';
    await refused({ 'rank0.safetensors': tensors(hollow) }, 'rank0.safetensors', {
      code: 'EPLB_FORMAT',
      message: /the type is missing/,
    });
    assert.equal(({} as { dtype?: string }).dtype, undefined);
  });
});
