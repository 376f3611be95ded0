/** What engines' loaders ask of a file's keys. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parsePlacement, validatePlacement, writePlacement } from 'expert-load-balancer/formats';
import fc from 'fast-check';
import { LOADERS } from '../../src/formats/placements/loader-keys.ts';

const layer = (more: object = {}) => ({
  layer_id: 0,
  device_count: 2,
  device_list: [
    { device_id: 0, device_expert: [0, 1] },
    { device_id: 1, device_expert: [2, 0] },
  ],
  ...more,
});
const ascend = (more: object = {}) => ({ moe_layer_count: 1, layer_list: [layer()], ...more });
const sglang = (more: object = {}) => ({ physical_to_logical_map: [[0, 1, 2, 0]], ...more });
const trt = (more: object = {}) => ({
  num_slots: 4,
  initial_global_assignments: { 0: [0, 1, 2, 0] },
  ...more,
});

async function verdict(file: object, engine: string) {
  const placement = await parsePlacement(Buffer.from(JSON.stringify(file)));
  const { engines } = validatePlacement(placement, { numRanks: 2 });
  const { takes, problems } = engines.find((one) => one.engine === engine)!;
  return { takes, problems: problems.join('\n') };
}

describe("keys that an engine's loader", () => {
  const cases: [title: string, engine: string, file: object, takes: string, problems: RegExp][] = [
    ['knows are taken', 'vllm-ascend', ascend(), 'yes', /^$/],
    ['does not look at are taken', 'vllm-ascend', ascend({ note: 'x' }), 'yes', /^$/],
    ['needs', 'vllm-ascend', { layer_list: [layer()] }, 'no', /^no moe_layer_count, which it needs$/],
    [
      'needed in older releases',
      'vllm-ascend',
      ascend({ layer_list: [{ device_list: layer().device_list }] }),
      'unknown',
      /^no layer_list\[0\]\.device_count, which releases with vllm_ascend\/ops\/.* need$/,
    ],
    ['knows are taken', 'sglang', sglang(), 'yes', /^$/],
    [
      'does not know',
      'sglang',
      sglang({ note: 1 }),
      'no',
      /^the key "note", which it does not know and refuses$/,
    ],
    ['knows are taken', 'tensorrt-llm', trt({ layer_updates_per_iter: 2 }), 'yes', /^$/],
    [
      'needs',
      'tensorrt-llm',
      { initial_global_assignments: { 0: [0, 1, 2, 0] } },
      'no',
      /^no num_slots, which/,
    ],
    [
      'does not know',
      'tensorrt-llm',
      trt({ comment: 'mine' }),
      'no',
      /^the key "comment", which it does not/,
    ],
    [
      'wants of a kind',
      'tensorrt-llm',
      trt({ layer_updates_per_iter: 'x' }),
      'no',
      /_iter is the text "x"; it must/,
    ],
  ];
  for (const [title, engine, file, takes, problems] of cases) {
    test(`${title}: ${engine} ${takes}`, async () => {
      const found = await verdict(file, engine);
      assert.equal(found.takes, takes);
      assert.match(found.problems, problems);
    });
  }

  test('are those that our own files have', async () => {
    const slots = fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4, maxLength: 4 });
    const rows = fc.array(slots, { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(rows, fc.constantFrom(...Object.keys(LOADERS)), async (table, format) => {
        const read = await parsePlacement(Buffer.from(JSON.stringify({ physical_to_logical_map: table })));
        const { bytes } = await writePlacement(read, format, { numRanks: 2 });
        const placement = await parsePlacement(bytes);
        assert.equal(placement.format, format);
        assert.equal(placement.keyProblems, undefined);
      }),
      { numRuns: 30 },
    );
  });

  test('of what eplb plan --json prints make no placement', async () => {
    const report = { ...sglang(), topology: {}, planningMs: 1, recording: {} };
    await assert.rejects(parsePlacement(Buffer.from(JSON.stringify(report))), {
      code: 'EPLB_FORMAT',
      message: /what eplb plan --json prints, and no placement: eplb plan -o FILE writes one/,
    });
  });

  test('have a source each', () => {
    for (const { source } of Object.values(LOADERS)) assert.match(source, /^[\w-]+\/[\w-]+: .*\.py$/);
  });
});
