/** Files that are right, whatever they are wrapped in, and the formats that engines came to write. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import {
  openPlacement,
  openRecording,
  parsePlacement,
  writeLoads,
  writePlacement,
} from 'expert-load-balancer/formats';
import fc from 'fast-check';
import { inTempDir } from '../helpers/cli.ts';
import { fixture, LOADS, stepLoads } from '../helpers/fixtures.ts';
import { npyFile } from '../helpers/npy.ts';
import { allLoads, withRecording } from '../helpers/recordings.ts';
import { tensorPickle, torchArchive } from '../helpers/torch.ts';

const json = (value: unknown) => Buffer.from(JSON.stringify(value));

describe('gzip', () => {
  test('is read as what is packed, of every format', async () => {
    for (const name of [
      'numpy/le-f4.npy',
      'lines.jsonl',
      'logical_count.json',
      'counts.csv',
      'numpy/packed.npz',
    ]) {
      const bytes = gzipSync(await readFile(fixture(name)));
      const file = `${name.split('/').at(-1)}.gz`;
      await withRecording({ [file]: bytes }, file, { numExperts: 8 }, async (recording) =>
        assert.deepEqual(await allLoads(recording), LOADS, name),
      );
      await withRecording({ plain: bytes }, 'plain', { numExperts: 8 }, async (recording) =>
        assert.deepEqual(await allLoads(recording), LOADS, name),
      );
    }
  });

  test('of a long file is unpacked a piece at a time, and again from its beginning', async () => {
    const values = Array.from({ length: 9 * 2 ** 20 }, (_, i) => i % 1000);
    const bytes = gzipSync(npyFile({ descr: '<f4', shape: [9, 1024, 1024], values }), { level: 1 });
    await withRecording({ 'a.npy.gz': bytes }, 'a.npy.gz', { numExperts: 1024 }, async (recording) => {
      for (let turn = 0; turn < 2; turn++) {
        let sum = 0;
        for await (const { loads } of recording.steps()) sum += loads[5]!;
        assert.equal(
          sum,
          Array.from({ length: 9 }, (_, step) => values[step * 2 ** 20 + 5]!).reduce((a, b) => a + b),
        );
      }
    });
  });

  test('that is damaged or cut off is refused', async () => {
    const good = gzipSync(npyFile({ descr: '<f4', shape: [2, 3], values: [1, 2, 3, 4, 5, 6] }));
    const bad = Buffer.from(good);
    bad[bad.length - 6]! ^= 1;
    for (const bytes of [bad, good.subarray(0, good.length - 9), good.subarray(0, 12)]) {
      await assert.rejects(withRecording({ 'a.npy.gz': bytes }, 'a.npy.gz', {}, allLoads), {
        code: 'EPLB_FORMAT',
      });
    }
  });

  test('of a placement is read', () =>
    inTempDir(async (dir) => {
      const path = join(dir, 'map.json.gz');
      await writeFile(path, gzipSync(json({ physical_to_logical_map: [[0, 1, 0]] })));
      assert.deepEqual([...(await openPlacement(path)).slots], [0, 1, 0]);
    }));
});

describe('what is not the file that it seems', () => {
  const refused = (bytes: Uint8Array | string, message: RegExp) =>
    assert.rejects(
      withRecording({ 'a.json': bytes }, 'a.json', {}, () => undefined),
      { code: 'EPLB_FORMAT', message },
    );

  test('is named: a pointer of Git LFS, and UTF-16 with a mark or without', async () => {
    await refused(
      'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n',
      /Git LFS.*git lfs pull/,
    );
    const text = '{"logical_count": [[1, 2]]}';
    for (const bytes of [Buffer.from(`\ufeff${text}`, 'utf16le'), Buffer.from(text, 'utf16le')]) {
      await refused(bytes, /in UTF-16: save it as UTF-8/);
      await refused(Buffer.from(bytes).swap16(), /in UTF-16: save it as UTF-8/);
    }
  });
});

describe('YAML and JSON', () => {
  test('are read as what they are, whatever they begin with', async () => {
    const texts = [
      '{num_slots: 4, initial_global_assignments: {0: [0, 1, 2, 0]}}',
      '\ufeff{"num_slots": 4, "initial_global_assignments": {"0": [0, 1, 2, 0]}}',
      '%YAML 1.2\n---\nnum_slots: 4\ninitial_global_assignments:\n  0: [0, 1, 2, 0]\n',
      '# a # b\nnum_slots: 4\ninitial_global_assignments: {"0": [0, 1, 2, 0]} # "x\n',
    ];
    for (const text of texts) {
      const placement = await parsePlacement(Buffer.from(text));
      assert.deepEqual([...placement.slots], [0, 1, 2, 0], text);
    }
    await assert.rejects(parsePlacement(Buffer.from('{"num_slots": 4,, }')), { message: /malformed JSON/ });
  });
});

describe('a bare tensor', () => {
  test('is a placement where that is said', () =>
    inTempDir(async (dir) => {
      const path = join(dir, 'map.pt');
      await writeFile(path, torchArchive(tensorPickle([2, 3]), [Int32Array.of(0, 1, 0, 1, 0, 1)]));
      for (const format of ['tables-npy', 'sglang']) {
        const placement = await openPlacement(path, { format });
        assert.deepEqual([placement.numLayers, ...placement.slots], [2, 0, 1, 0, 1, 0, 1]);
      }
    }));
});

describe('placements of engines', () => {
  const rows = [
    [0, 1, 2, 0, 3, 1],
    [3, 2, 1, 0, 2, 1],
  ];

  test('go out and come back, whatever is placed', async () => {
    const layer = fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 6, maxLength: 6 });
    const formats = ['vllm-map', 'vllm-mapping', 'fastdeploy', 'vllm-ascend-npy', 'vllm-expert-map'];
    await fc.assert(
      fc.asyncProperty(
        fc.array(layer, { minLength: 1, maxLength: 3 }),
        fc.constantFrom(...formats),
        async (table, format) => {
          // Of six slots two hold a second copy, on another rank.
          const slots = table.map((row) => [...row, row[2]!, row[0]!]);
          const from = await parsePlacement(json({ physical_to_logical_map: slots }));
          const { bytes } = await writePlacement(from, format, { numRanks: 2 });
          const back = await parsePlacement(bytes, { format });
          assert.deepEqual([...back.slots], slots.flat());
          assert.deepEqual([back.format, back.numLogicalExperts, back.numLayers], [format, 6, table.length]);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('are recognised', async () => {
    const read = async (value: unknown) => (await parsePlacement(json(value))).format;
    assert.equal(await read([0, 1, 2, 0]), 'vllm-map');
    const mapping = {
      record_type: 'eplb_initial_mapping',
      version: 1,
      num_redundant_experts: 2,
      num_slots: 6,
    };
    const record = { ...mapping, initial_global_assignments: { 0: rows[0], 1: rows[1] } };
    const loads = '{"record_type": "eplb_load_stats"}\n';
    const many = await parsePlacement(Buffer.from(`${loads}${JSON.stringify(record)}\n${loads}`));
    assert.deepEqual(
      [many.format, many.numLogicalExperts, ...many.slots],
      ['vllm-mapping', 4, ...rows.flat()],
    );
    assert.match(many.notes.join(), /2 records of other types were skipped/);
    await assert.rejects(
      parsePlacement(Buffer.from(`${JSON.stringify(record)}\n${JSON.stringify(record)}\n`)),
      {
        message: /holds 2 mappings, in the lines 1 and 2: keep that of one model/,
      },
    );
    assert.equal((await openPlacement(fixture('rearrange-experts.json'))).format, 'fastdeploy');
    const map = npyFile({ descr: '<i4', shape: [1, 2, 3], values: [0, -1, 1, -1, 0, 1] });
    const expertMap = await parsePlacement(map);
    assert.deepEqual(
      [expertMap.format, expertMap.numRanks, ...expertMap.slots],
      ['vllm-expert-map', 2, 0, 2, 1, 2],
    );
  });
});

describe('loads of engines', () => {
  test('of vLLM: other models in the file are left out, and picked by their experts', async () => {
    const record = (step: number, load: number[], map: number[]) =>
      `${JSON.stringify({ record_type: 'eplb_load_stats', version: 1, step, expert_load: [load], p2l_map: [map] })}\n`;
    const main = (step: number) => record(step, [5, 1, 2, 3], [0, 1, 2, 0]);
    const draft = (step: number) => record(step, [7, 9], [1, 0]);
    const file = { 'a.jsonl': main(1) + draft(1) + main(2) + draft(2) };
    await withRecording(file, 'a.jsonl', {}, async (recording) => {
      assert.deepEqual(await allLoads(recording), [
        [8, 1, 2],
        [8, 1, 2],
      ]);
      assert.match(
        recording.notes.join(),
        /2 records of another model were left out: --experts N picks a model/,
      );
    });
    await withRecording(file, 'a.jsonl', { numExperts: 2 }, async (recording) =>
      assert.deepEqual(await allLoads(recording), [
        [9, 7],
        [9, 7],
      ]),
    );
  });

  test('of FastDeploy', async () => {
    const bytes = await readFile(fixture('rearrange-experts.json'));
    await withRecording({ 'a.json': bytes }, 'a.json', {}, async (recording) => {
      assert.equal(recording.format, 'fastdeploy-stats');
      assert.deepEqual(await allLoads(recording), [stepLoads(0)]);
    });
  });

  test('of Megatron: choices of a token are distinct, and ranks are added', async () => {
    const line = (rank: number, top: number[][]) =>
      `${JSON.stringify({ step: 3, layer: 1, rank, num_tokens: top.length, topk: 2, top_indices: top })}\n`;
    const files = {
      'r0.jsonl': line(0, [
        [0, 2],
        [2, 1],
      ]),
      'r1.jsonl': line(1, [
        [3, 2],
        [0, -1],
      ]),
    };
    await withRecording(files, '.', {}, async (recording) => {
      assert.deepEqual([recording.format, recording.layerNumbers], ['megatron-trace', [1]]);
      assert.deepEqual(await allLoads(recording), [[2, 1, 3, 1]]);
      assert.match(recording.notes.join('\n'), /added over 2 ranks\n1 ids are -1/);
    });
    await assert.rejects(
      withRecording({ 'r0.jsonl': line(0, [[5, 5]]) }, 'r0.jsonl', {}, () => undefined),
      {
        code: 'EPLB_FORMAT',
        message: /step 3, token 0, layer 1 names expert 5 2 times/,
      },
    );
  });

  test('a line a count: what has no line is 0, and what has two is added, which is said', async () => {
    const csv = 'layer_id,expert_id,count\n3,0,5\n3,1,7\n5,1,2\n5,1,4\n';
    await withRecording({ 'a.csv': csv }, 'a.csv', {}, async (recording) => {
      assert.deepEqual(recording.layerNumbers, [3, 5]);
      assert.deepEqual(await allLoads(recording), [[5, 7, 0, 6]]);
      assert.match(recording.notes.join(), /1 of 4 loads have no line.*1 lines name a load once more/);
    });
    await assert.rejects(
      withRecording({ 'a.csv': 'layer,expert,count\n0,1.5,3\n' }, 'a.csv', {}, () => undefined),
      {
        code: 'EPLB_RANGE',
        message: /line 2: expert 1\.5 is not a whole number/,
      },
    );
  });

  test('a line a count may name the rank that its tokens are on', async () => {
    const csv = 'step,layer_id,source_rank,expert_id,count\n0,0,0,0,5\n0,0,2,1,7\n1,0,0,1,2\n1,0,0,1,4\n';
    await withRecording({ 'a.csv': csv }, 'a.csv', {}, async (recording) => {
      assert.equal(recording.numSourceRanks, 3);
      assert.deepEqual(await allLoads(recording), [
        [5, 7],
        [0, 6],
      ]);
      const sources: number[][] = [];
      for await (const { sourceLoads } of recording.steps()) sources.push([...sourceLoads!]);
      assert.deepEqual(sources, [
        [5, 0, 0, 0, 0, 7],
        [0, 6, 0, 0, 0, 0],
      ]);
      assert.match(recording.notes.join(), /source rank 1 of 0 to 2 is missing/);
    });
    const bad = {
      'a.csv': csv.replace('0,0,2,1,7', '0,0,16000000,1,7'),
      'b.csv': csv.replace(',2,', ',0.5,'),
    };
    await assert.rejects(
      withRecording(bad, 'a.csv', {}, () => undefined),
      { code: 'EPLB_SHAPE', message: /too few of them/ },
    );
    await assert.rejects(
      withRecording(bad, 'b.csv', {}, () => undefined),
      { code: 'EPLB_RANGE', message: /line 3: source rank 0\.5 is not a whole number/ },
    );
  });

  test('a line a count is written, and read back', async () => {
    const recording = await openRecording(fixture('lines.jsonl'));
    const { chunks } = writeLoads('csv-counts', { recording, from: 0, to: 4 });
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    await recording.close();
    await withRecording({ 'a.csv': Buffer.concat(parts) }, 'a.csv', {}, async (read) =>
      assert.deepEqual(await allLoads(read), LOADS),
    );
  });
});
