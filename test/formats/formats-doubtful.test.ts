/** Loads that cannot be true are refused, and what is doubtful is said. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parsePlacement } from 'expert-load-balancer/formats';
import fc from 'fast-check';
import { nearest } from '../../src/core/known-keys.ts';
import { fileGapNotes, gapNotes } from '../../src/formats/numbered.ts';
import type { OpenOptions } from '../../src/formats/open-options.ts';
import { filesOf } from '../helpers/engine-files.ts';
import { type NpyParts, npyFile } from '../helpers/npy.ts';
import { allIds, allLoads, type Files, withRecording } from '../helpers/recordings.ts';
import { tensorPickle, text, torchArchive, whole } from '../helpers/torch.ts';

const notesOf = (files: Files, name: string, options: OpenOptions = {}) =>
  withRecording(files, name, options, (recording) => recording.notes.join('\n'));
const npyNotes = (parts: NpyParts, options: OpenOptions = {}) =>
  notesOf({ 'a.npy': npyFile(parts) }, 'a.npy', options);

/** Routes whose experts of a token are distinct. */
const routes = (numTokens: number, numLayers: number, topK: number, numExperts: number) =>
  Array.from({ length: numTokens * numLayers * topK }, (_, i) => {
    const row = Math.floor(i / topK);
    return (row * 7 + Math.floor(row / 3) + (i % topK)) % numExperts;
  });

describe('routes', () => {
  const shape = [546, 4, 8];
  const good = routes(546, 4, 8, 64);

  test('of which over a hundredth name an expert twice are refused, or read if allowed', async () => {
    const file = { 'a.npy': npyFile({ descr: '|u1', shape, values: new Array(546 * 32).fill(0) }) };
    await assert.rejects(notesOf(file, 'a.npy', { numExperts: 64 }), {
      code: 'EPLB_FORMAT',
      message:
        /token 0, layer 0 names expert 0 8 times; so do 2,184 of 2,184 \(token, layer\) rows \(100\.0%\)/,
    });
    await withRecording(file, 'a.npy', { numExperts: 64, allowDuplicates: true }, async (recording) => {
      assert.match(recording.notes.join(), /names expert 0 8 times/);
      assert.equal((await allLoads(recording))[0]![0], 128 * 8);
    });
  });

  test('of which less do are read, and the first is named', async () => {
    const values = good.slice();
    values[(5 * 4 + 2) * 8 + 3] = values[(5 * 4 + 2) * 8]!;
    const notes = await npyNotes({ descr: '|u1', shape, values }, { numExperts: 64 });
    const twice = values[(5 * 4 + 2) * 8];
    assert.match(notes, new RegExp(`token 5, layer 2 names expert ${twice} 2 times; so do 1 of 2,184`));
    assert.equal(await npyNotes({ descr: '|u1', shape, values: good }, { numExperts: 64 }), '');
  });

  test('with -1 name no expert there, which is counted', async () => {
    const values = [0, -1, 3, 2, -1, -1, 1, 0];
    for (const descr of ['|i1', '<i4', '<i8', '<f4']) {
      const file = { 'a.npy': npyFile({ descr, shape: [2, 2, 2], values }) };
      await withRecording(file, 'a.npy', { numExperts: 4 }, async (recording) => {
        assert.deepEqual(recording.notes, ['3 ids are -1 and were read as no expert']);
        assert.deepEqual(await allIds(recording), [0, 65_535, 3, 2, 65_535, 65_535, 1, 0]);
        assert.deepEqual(await allLoads(recording), [[1, 0, 0, 0, 1, 1, 1, 1]]);
      });
    }
  });

  test('have the loads that counting gives, whatever the type and however many are none', async () => {
    const sizes = fc.record({
      tokens: fc.integer({ min: 1, max: 9 }),
      layers: fc.integer({ min: 1, max: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(sizes, fc.constantFrom('|i1', '<i2', '<f8'), fc.nat(), async (size, descr, seed) => {
        const { tokens, layers } = size;
        const values = routes(tokens, layers, 3, 8).map((id, i) => ((i * 31 + seed) % 5 === 0 ? -1 : id));
        const wanted = new Array(layers * 8).fill(0);
        values.forEach((id, i) => {
          if (id >= 0) wanted[(Math.floor(i / 3) % layers) * 8 + id]++;
        });
        const file = { 'a.npy': npyFile({ descr, shape: [tokens, layers, 3], values }) };
        await withRecording(file, 'a.npy', { numExperts: 8 }, async (recording) =>
          assert.deepEqual(await allLoads(recording), [wanted]),
        );
      }),
      { numRuns: 40 },
    );
  });

  test('of a type that cannot name all experts are said to be', async () => {
    const parts = { descr: '|u1', shape, values: good };
    assert.match(await npyNotes(parts, { numExperts: 384 }), /ids of uint8 end at 255: experts 256 to 383/);
    assert.equal(await npyNotes(parts, { numExperts: 256 }), '');
    assert.match(await npyNotes({ ...parts, descr: '|i1' }, { numExperts: 160 }), /ids of int8 end at 127/);
  });

  test('without the number of experts are asked for', async () => {
    const parts = { descr: '<i4', shape, values: good };
    const asked = { code: 'EPLB_OPTION', message: /give --experts for routes, --as loads for loads/ };
    await assert.rejects(npyNotes(parts), asked);
    await assert.rejects(
      npyNotes({ ...parts, descr: '|u1', shape: [4, 2, 2], values: good.slice(0, 16) }),
      asked,
    );
    await assert.rejects(
      notesOf(
        {
          'a.json': JSON.stringify([
            [[5], [2]],
            [[9], [1]],
          ]),
        },
        'a.json',
      ),
      asked,
    );
    await withRecording({ 'a.npy': npyFile(parts) }, 'a.npy', { as: 'loads' }, (recording) => {
      assert.deepEqual([recording.numLogicalExperts, recording.routes], [8, undefined]);
      assert.deepEqual(recording.notes, []);
    });
    const numExperts = 64;
    await withRecording({ 'a.npy': npyFile(parts) }, 'a.npy', { as: 'routes', numExperts }, (recording) =>
      assert.equal(recording.routes!.topK, 8),
    );
    await assert.rejects(npyNotes(parts, { as: 'routes' }), {
      code: 'EPLB_OPTION',
      message: /give numExperts/,
    });
  });

  test('are not seen in loads whose layers have one sum, or that are large', async () => {
    const even = [9, 1, 4, 2, 3, 6, 7, 0, 1, 8, 2, 5, 4, 9, 0, 3];
    for (const values of [even, even.map((load) => 5000 + 7 * load)]) {
      assert.match(await npyNotes({ descr: '<i2', shape: [2, 2, 4], values }), /if these are routes/);
    }
  });

  test("of SGLang's tokens are looked at too", async () => {
    const tensor = tensorPickle([1, 2, 2], '1');
    const record =
      `}(${text('forward_pass_id')}${whole(7)}${text('rank')}${whole(0)}` +
      `${text('gatherer_key')}${text('primary')}${text('topk_ids_of_layer')}${tensor}u`;
    const dict = `}(${text('records')}](${record}e${text('last_physical_to_logical_map')}${tensorPickle([1, 4])}u`;
    const pt = (ids: number[]) => torchArchive(dict, [Int32Array.of(0, 1, 2, 3), Int32Array.from(ids)]);
    await assert.rejects(notesOf({ 'a.pt': pt([0, 1, 2, 2]) }, 'a.pt'), {
      code: 'EPLB_FORMAT',
      message: /token 1, layer 0 names expert 2 2 times; so do 1 of 2/,
    });
    assert.doesNotMatch(await notesOf({ 'a.pt': pt([0, 1, 2, -1]) }, 'a.pt'), /names expert/);
  });
});

describe('arrays', () => {
  test('of 0 and 1 that may be a pattern are asked about', async () => {
    const values = Array.from({ length: 16 * 5 * 32 }, (_, i) =>
      Number((i % 32) >> 1 === Math.floor(i / 160)),
    );
    const parts = { descr: '<i4', shape: [16, 5, 32], values };
    const asked = { code: 'EPLB_OPTION', message: /a pattern of 0 and 1.*give --as loads/ };
    await assert.rejects(npyNotes(parts), asked);
    await assert.rejects(npyNotes(parts, { numExperts: 32 }), asked);
    await withRecording({ 'a.npy': npyFile(parts) }, 'a.npy', { as: 'loads' }, (recording) =>
      assert.equal(recording.numSteps, 16),
    );
    // An expert that is nowhere.
    values.fill(0, 0, 1);
    assert.match(await npyNotes(parts, { numExperts: 32 }), /^$|different sums/);
  });

  test('that are a table of slots are not loads', async () => {
    const values = Array.from({ length: 4 * 24 }, (_, i) => (i * 5) % 16);
    for (const descr of ['<i4', '<i8']) {
      await assert.rejects(npyNotes({ descr, shape: [4, 24], values }), {
        code: 'EPLB_OPTION',
        message: /holds a placement \(a physical-to-logical table\)/,
      });
    }
  });

  test('that are tables of the experts of ranks are none either, and are read as what they are', async () => {
    // Four ranks of four slots: ten experts, and six of them again.
    const values = [0, 1, 2].flatMap((layer) => Array.from({ length: 16 }, (_, i) => (i * 3 + layer) % 10));
    const table = { descr: '<i4', shape: [3, 4, 4], values };
    const asked = { code: 'EPLB_OPTION', message: /holds a placement \(a table of the experts of ranks/ };
    await assert.rejects(npyNotes(table), asked);
    const placement = await parsePlacement(npyFile(table));
    assert.deepEqual([placement.format, placement.numRanks], ['vllm-ascend-npy', 4]);
    assert.deepEqual([...placement.slots], values);
    // Each expert once may be a table of slots as well; small loads have far more of them than numbers.
    const once = { descr: '<i4', shape: [1, 4, 2], values: [0, 1, 2, 3, 4, 5, 6, 7] };
    assert.equal((await parsePlacement(npyFile(once))).format, 'tables-npy');
    const small = Array.from({ length: 2 * 8 * 64 }, (_, i) => (i * 7) % 20);
    assert.doesNotMatch(await npyNotes({ descr: '<i4', shape: [2, 8, 64], values: small }), /placement/);
  });

  test('[ranks, layers, slots] are told by the sums of their layers', async () => {
    const [ranks, layers, slots] = [4, 3, 6];
    const values = Array.from({ length: ranks * layers * slots }, (_, i) => 100 + ((i * 37) % 50));
    // Each layer gets as many tokens, over all ranks.
    for (let layer = 0; layer < layers; layer++) {
      let sum = 0;
      for (let rank = 0; rank < ranks; rank++)
        for (let slot = 0; slot < slots; slot++) sum += values[(rank * layers + layer) * slots + slot]!;
      values[layer * slots] = values[layer * slots]! + 4000 - sum;
    }
    const said = /different sums.*\[ranks, layers, slots\]/;
    assert.match(await npyNotes({ descr: '<f4', shape: [ranks, layers, slots], values }), said);
    const steps = values.map((_, i) => (i % slots) + 1);
    assert.doesNotMatch(await npyNotes({ descr: '<f4', shape: [ranks, layers, slots], values: steps }), said);
  });

  test('in which hardly any expert has load are said to be', async () => {
    const values = Array.from({ length: 3 * 2 * 40 }, (_, i): number => (i % 40 < 7 ? 3 : 0));
    const said = /in every layer at least 33 of 40 experts have no load in any step/;
    assert.match(await npyNotes({ descr: '<f4', shape: [3, 2, 40], values }), said);
    // One layer of them is enough.
    values.fill(1, 2 * 80 + 40);
    assert.doesNotMatch(await npyNotes({ descr: '<f4', shape: [3, 2, 40], values }), /no load in any step/);
    const none = { descr: '<f4', shape: [3, 2, 4], values: new Array(24).fill(0) };
    assert.match(await npyNotes(none), /no expert has load in any step/);
  });
});

describe('options', () => {
  test('of unknown names are refused, with the nearest one that there is', async () => {
    await assert.rejects(
      npyNotes({ descr: '<f4', shape: [1, 2], values: [1, 2] }, { experts: 64 } as object),
      {
        code: 'EPLB_OPTION',
        message: 'options: there is no option "experts"; did you mean numExperts?',
      },
    );
    assert.equal(nearest('prise', ['price', 'maxMoves']), 'price');
    assert.equal(nearest('zzz', ['price', 'maxMoves']), undefined);
  });
});

describe('CSV', () => {
  const rows = ['12,3,44', '5,60,7'];
  const read = (lines: string[], name = 'a.csv') =>
    withRecording({ [name]: `${lines.join('\n')}\n` }, name, {}, async (recording) => ({
      loads: (await allLoads(recording))[0],
      ...{ layers: recording.numLayers, numbers: recording.layerNumbers, notes: recording.notes.join('\n') },
    }));

  test('of pandas has its header and its index left out, and says so', async () => {
    const loads = [12, 3, 44, 5, 60, 7];
    const indexed = rows.map((row, i) => `${i},${row}`);
    const quoted = rows.map((row) => row.replace(/\d+/g, '"$&"'));
    const cases: [string[], RegExp][] = [
      [rows, /^$/],
      [['0,1,2', ...rows], /^the first line was read as a header$/],
      [['"0","1","2"', ...quoted], /^the first line was read as a header$/],
      [['expert_0,expert_1,expert_2', ...rows], /^the first line was read as a header$/],
      [[',0,1,2', ...indexed], /header\nthe first column was read as the numbers/],
      [['layer,e0,e1,e2', ...indexed], /header\nthe first column was read as the numbers/],
      [['e0,e1,e2', ...indexed], /header\nthe first column was read as the numbers/],
    ];
    for (const [lines, notes] of cases) {
      const found = await read(lines);
      assert.deepEqual([found.layers, found.loads, found.numbers], [2, loads, undefined], lines[0]);
      assert.match(found.notes, notes);
    }
    assert.deepEqual((await read(['layer,a,b,c', `3,${rows[0]}`, `5,${rows[1]}`])).numbers, [3, 5]);
  });

  test('whose first column counts the rows has it left out from four rows on', async () => {
    const four = await read(['0,9,8', '1,9,7', '2,9,6', '3,9,5']);
    assert.deepEqual([four.loads, four.layers], [[9, 8, 9, 7, 9, 6, 9, 5], 4]);
    const two = await read(['0,9,8', '1,9,7']);
    assert.deepEqual(two.loads, [0, 9, 8, 1, 9, 7]);
    assert.match(two.notes, /if it numbers the rows, leave it out/);
  });
});

describe('numbered sets', () => {
  test('say what is missing', () => {
    assert.deepEqual(gapNotes('rank', [0, 1, 3], 0), ['rank 2 of 0 to 3 is missing']);
    assert.deepEqual(gapNotes('rank', [1, 2], 0), ['rank 0 of 0 to 2 is missing']);
    assert.deepEqual(gapNotes('step', [100, 200, 400]), ['step 300 of 100 to 400 is missing']);
    assert.deepEqual(gapNotes('forward pass', [1, 3, 5, 6]), ['forward passes 2, 4 of 1 to 6 are missing']);
    assert.deepEqual(gapNotes('layer', [3, 4, 5]), []);
    assert.deepEqual(gapNotes('step', [17]), []);
    assert.deepEqual(fileGapNotes(['a_1751.npy', 'a_9123.npy', 'a_9944.npy']), []);
    assert.deepEqual(fileGapNotes(['a_8.npy', 'a_9.npy', 'a_11.npy']), [
      'file number 10 of 8 to 11 is missing',
    ]);
  });

  test('name each number that is not there, and no other', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(12), { minLength: 9 }), (numbers) => {
        const most = Math.max(...numbers);
        const missing = Array.from({ length: most + 1 }, (_, i) => i).filter((i) => !numbers.includes(i));
        const [note] = gapNotes('rank', numbers, 0);
        const named =
          note === undefined
            ? []
            : note
                .replace(/ of 0 to.*/, '')
                .match(/\d+/g)!
                .map(Number);
        assert.deepEqual(named, missing);
      }),
    );
  });

  test('of TensorRT-LLM: a rank, a count, an iteration or a layer', async () => {
    const files = await filesOf('tensorrt-llm');
    const { 'rank1.safetensors': second, 'meta_info.json': meta, ...rest } = files;
    const three = { ...rest, 'meta_info.json': meta!, 'rank2.safetensors': second! };
    assert.match(await notesOf(three, '.'), /rank 1 of 0 to 2 is missing/);
    const told = { ...JSON.parse(meta!.toString()), ep_size: 4 };
    const fewer = { ...files, 'meta_info.json': JSON.stringify(told) };
    assert.match(await notesOf(fewer, '.'), /meta_info\.json says 4 ranks, of which 2 files are there/);
    // A key of the header under another name, of the same length.
    const renamed = (from: string, to: string) =>
      Buffer.from(second!.toString('latin1').replace(from, to), 'latin1');
    const without = { ...files, 'rank1.safetensors': renamed('"102_4"', '"105_4"') };
    const notes = await notesOf(without, '.');
    assert.match(notes, /iteration 104 of 100 to 105 is missing/);
    assert.match(notes, /2 counts of no rank: first iteration 105, layer 3/);
    assert.match(
      notes,
      /"rank0\.safetensors" lacks 1 count that other ranks have: first iteration 105, layer 4/,
    );
    assert.doesNotMatch(await notesOf(files, '.'), /missing|lacks/);
  });

  test('of files, devices and steps', async () => {
    const npy = npyFile({ descr: '<f4', shape: [1, 2], values: [1, 2] });
    assert.match(
      await notesOf({ 'a_1.npy': npy, 'a_2.npy': npy, 'a_4.npy': npy }, '.'),
      /file number 3 of 1 to 4/,
    );
    const csv = { 'decode_0.csv': '1,2\n', 'decode_1.csv': '3,4\n', 'decode_3.csv': '5,6,7\n' };
    const devices = await notesOf(csv, '.');
    assert.match(devices, /device 2 of 0 to 3 is missing/);
    assert.match(devices, /device 2 has 3 columns, device 0 has 2/);
    const line = (step: number) => `{"step": ${step}, "layer": 0, "loads": [1, 2]}\n`;
    const steps = { 'a.jsonl': [0, 1, 4].map(line).join('') };
    await withRecording(steps, 'a.jsonl', {}, async (recording) => {
      await allLoads(recording);
      assert.deepEqual(recording.notes, ['2 steps are missing, first between 1 and 4']);
    });
  });
});
