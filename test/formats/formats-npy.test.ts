import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { MemorySource } from '../../src/formats/bytes/source.ts';
import { npyTensor } from '../../src/formats/npy/tensor.ts';
import { decodeNumbers } from '../../src/formats/tensor/decode.ts';
import { BYTES_PER_NUMBER } from '../../src/formats/tensor/number-type.ts';
import { countOf } from '../../src/formats/tensor/shape.ts';
import { readTensor } from '../../src/formats/tensor/stored.ts';
import { RECORDING } from '../helpers/cli.ts';
import { type NpyParts, npyFile } from '../helpers/npy.ts';
import { isEplbError } from '../helpers/recording.ts';
import { allIds, allLoads, withRecording } from '../helpers/recordings.ts';

const DTYPES = ['i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8', 'f2', 'f4', 'f8'];

const small: NpyParts = { descr: '<f4', shape: [2, 3], values: [0, 1, 2, 3, 4, 5] };

/** All numbers of a .npy file, row-major. */
async function read(file: Uint8Array): Promise<{ shape: readonly number[]; data: number[] }> {
  const { tensor } = await npyTensor(new MemorySource(file, 'a.npy'), 'recording: "a.npy"');
  const bytes = new Uint8Array(countOf(tensor.shape) * BYTES_PER_NUMBER[tensor.type]);
  await readTensor(tensor, bytes);
  return { shape: tensor.shape, data: Array.from(decodeNumbers(bytes, tensor.type)) };
}

/** Any good file, with the values in row-major order. */
const goodFile = fc
  .record({
    dtype: fc.constantFrom(...DTYPES),
    order: fc.constantFrom('<', '>'),
    shape: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
    fortranOrder: fc.boolean(),
    version: fc.constantFrom(1 as const, 2 as const, 3 as const),
    align: fc.constantFrom(1, 8, 16, 64),
    seed: fc.integer({ min: 0, max: 100 }),
  })
  .map(({ dtype, order, seed, ...rest }) => {
    const count = rest.shape.reduce((product, size) => product * size, 1);
    const values = Array.from({ length: count }, (_, i) => (i * 7 + seed) % 128);
    const stored = rest.fortranOrder ? columnMajor(values, rest.shape) : values;
    const byteOrder = dtype.endsWith('1') ? '|' : order;
    return {
      values,
      shape: rest.shape,
      file: npyFile({ ...rest, descr: `${byteOrder}${dtype}`, values: stored }),
    };
  });

/** Row-major values in the order in which Fortran stores them, by the definition of both orders. */
function columnMajor(values: readonly number[], shape: readonly number[]): number[] {
  const out = new Array<number>(values.length).fill(0);
  values.forEach((value, i) => {
    let rest = i;
    let at = 0;
    let stride = values.length;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      stride /= shape[axis]!;
      at += (rest % shape[axis]!) * stride;
      rest = Math.floor(rest / shape[axis]!);
    }
    out[at] = value;
  });
  return out;
}

describe('.npy files', () => {
  test('every number type, byte order, memory order, version and alignment is read', async () => {
    await fc.assert(
      fc.asyncProperty(goodFile, async ({ file, values, shape }) => {
        assert.deepEqual(await read(file), { shape, data: values });
      }),
      { numRuns: 1000 },
    );
  });

  test('negative, fractional and non-finite numbers come through', async () => {
    const values = [-1.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 1e30];
    assert.deepEqual((await read(npyFile({ descr: '>f8', shape: [2, 3], values }))).data, values);
    const whole = npyFile({ descr: '>i8', shape: [1, 2], values: [-5, 2 ** 40] });
    assert.deepEqual((await read(whole)).data, [-5, 2 ** 40]);
  });

  test('a view into a larger buffer is read as what it is', async () => {
    const file = npyFile(small);
    const pool = new Uint8Array(file.length + 13);
    pool.set(file, 5);
    assert.deepEqual((await read(pool.subarray(5, 5 + file.length))).data, small.values);
  });

  test('the shipped recording has the shape that its page says', async () => {
    await withRecording({}, RECORDING, { numExperts: 64 }, async (recording) => {
      assert.deepEqual([recording.numLayers, recording.numLogicalExperts], [26, 64]);
      assert.deepEqual([recording.routes?.numTokens, recording.routes?.topK], [8327, 6]);
      assert.deepEqual([recording.format, recording.numberType], ['npy', 'uint8']);
    });
  });

  test('bytes without a type are bfloat16, and said to be', async () => {
    // 1, 2.5 and 300 in bfloat16: the upper halves of their float32.
    const bits = [0x3f80, 0x4020, 0x4396];
    for (const descr of ['<V2', '|V2', '>V2']) {
      const file = new Uint8Array(npyFile({ descr, shape: [1, 3], values: [0, 0, 0] }));
      const view = new DataView(file.buffer, file.length - 6);
      bits.forEach((half, i) => {
        view.setUint16(2 * i, half, descr[0] !== '>');
      });
      await withRecording({ 'a.npy': file }, 'a.npy', {}, async (recording) => {
        assert.deepEqual(await allLoads(recording), [[1, 2.5, 300]]);
        assert.match(recording.notes.join(), /read as bfloat16/);
      });
    }
  });
});

describe('.npy files that are refused', () => {
  const refused = async (bytes: Uint8Array, message: RegExp) =>
    assert.rejects(read(bytes), (error: unknown) => {
      assert.ok(isEplbError(error), String(error));
      assert.match(error.message, message);
      assert.match(error.message, /^recording: "a\.npy": /);
      assert.equal(error.code, 'EPLB_FORMAT');
      return true;
    });
  const withHeader = (header: string) => npyFile({ ...small, header });

  test('cut off anywhere', async () => {
    const file = npyFile(small);
    for (let length = 0; length < 6; length++) await refused(file.subarray(0, length), /not a \.npy file/);
    for (let length = 6; length < file.length; length++) await refused(file.subarray(0, length), /truncated/);
  });

  test('with bytes behind the data', async () => {
    await refused(
      new Uint8Array([...npyFile(small), 0]),
      /1 bytes too many: shape \(2, 3\) of float32 needs 24 bytes of data, the file has 25/,
    );
  });

  test('with another magic or an unknown version', async () => {
    await refused(
      Uint8Array.from([...Buffer.from('PK\u0003\u0004..........')]),
      /begins with the bytes 504b03042e2e/,
    );
    for (const version of [0, 4, 255]) {
      const file = npyFile(small);
      file[6] = version;
      await refused(file, /version \d+\.0; versions 1, 2 and 3/);
    }
  });

  test('of types that hold no loads', async () => {
    const types = ['|b1', '<c8', '<c16', '<U5', '|S3', '|O', '<M8[ns]', '<f16', '|V4', '=f4', 'f4', ''];
    for (const descr of types) {
      await refused(npyFile({ ...small, descr }), /the type is .*; numbers are read from int8 to uint64/);
    }
    await refused(
      withHeader("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3), }"),
      /not a plain type/,
    );
  });

  test('with a header that is not a header', async () => {
    for (const header of ['', '{}', "{'descr': '<f4', 'shape': (2, 3)}", '\u0000'.repeat(40)]) {
      await refused(withHeader(header), /malformed \.npy header/);
    }
    for (const shape of ['-2, 3', '2.5, 3', 'a', '1e1, 3', '2,,3', '2 3', '0x2, 3']) {
      await refused(
        withHeader(`{'descr': '<f4', 'fortran_order': False, 'shape': (${shape}), }`),
        /no shape of whole numbers/,
      );
    }
    await refused(
      withHeader("{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3), }"),
      /'fortran_order' is neither/,
    );
    await refused(
      npyFile({ ...small, version: 2, header: ' '.repeat(70_000) }),
      /a \.npy header of 7\d{4} bytes/,
    );
  });

  test('with a shape that the data cannot have', async () => {
    const absurd = [
      '4294967296, 4294967296',
      '99999999999999999999, 26, 6',
      `${'9'.repeat(400)}, 2`,
      '2, 4',
      '1000000000,',
    ];
    for (const shape of absurd) {
      await refused(
        withHeader(`{'descr': '<f4', 'fortran_order': False, 'shape': (${shape}), }`),
        /truncated: shape/,
      );
    }
    await refused(
      withHeader("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"),
      /8 bytes too many/,
    );
  });

  test('with terminal control in the header: it is escaped', async () => {
    const file = withHeader("{'descr': '\u001b[31m\u009b', 'fortran_order': False, 'shape': (2, 3), }");
    await assert.rejects(read(file), (error: Error) => !/\p{Cc}/u.test(error.message));
  });
});

describe('arrays as recordings', () => {
  const values = Array.from({ length: 60 }, (_, i) => i % 7);

  test('two dimensions are one step, three are steps', async () => {
    const files = {
      'one.npy': npyFile({ descr: '<i2', shape: [12, 5], values }),
      'more.npy': npyFile({ descr: '<i2', shape: [4, 3, 5], values }),
    };
    await withRecording(files, 'one.npy', {}, async (recording) => {
      assert.deepEqual([recording.numSteps, recording.numLayers, recording.numLogicalExperts], [1, 12, 5]);
      assert.deepEqual(await allLoads(recording), [values]);
      assert.deepEqual(recording.notes, []);
    });
    await withRecording(files, 'more.npy', { numExperts: 5 }, async (recording) => {
      assert.deepEqual([recording.numSteps, recording.numLayers, recording.numLogicalExperts], [4, 3, 5]);
      assert.deepEqual((await allLoads(recording)).flat(), values);
      assert.deepEqual(await allLoads(recording, { from: 1, to: 3 }), [
        values.slice(15, 30),
        values.slice(30, 45),
      ]);
      assert.deepEqual(await allLoads(recording, { from: 2, to: 2 }), []);
      assert.deepEqual(recording.notes, []);
    });
  });

  test('four dimensions are loads by the rank that tokens are on', async () => {
    for (const descr of ['|u1', '>i2', '<i8', '<f4', '<f2']) {
      const npy = npyFile({ descr, shape: [2, 3, 2, 5], values });
      const torn = npyFile({ descr: '<f4', shape: [2, 3, 2, 5], values: values.with(47, -1) });
      await withRecording({ 'a.npy': npy, 'torn.npy': torn }, 'a.npy', {}, async (recording) => {
        const { numSteps, numLayers, numLogicalExperts, numSourceRanks } = recording;
        assert.deepEqual([numSteps, numLayers, numSourceRanks, numLogicalExperts], [2, 3, 2, 5]);
        const sums = Array.from({ length: 30 }, (_, i) => {
          const first = 10 * Math.floor(i / 5) + (i % 5);
          return values[first]! + values[first + 5]!;
        });
        assert.deepEqual((await allLoads(recording)).flat(), sums);
        const sources: number[] = [];
        for await (const { sourceLoads } of recording.steps()) sources.push(...sourceLoads!);
        assert.deepEqual(sources, values);
        assert.deepEqual(await allLoads(recording, { from: 1 }), [sums.slice(15)]);
        assert.match(recording.notes.join(), /by the ranks that tokens are on: 2 of them/);
      });
      await withRecording({ 'torn.npy': torn }, 'torn.npy', {}, async (recording) => {
        const message = /load -1 at step 1, layer 1, rank 1, expert 2/;
        await assert.rejects(allLoads(recording), { code: 'EPLB_LOAD', message });
      });
    }
    const most = npyFile({ descr: '<f4', shape: [1, 1, 2, 1], values: [3e38, 3e38] });
    await assert.rejects(
      withRecording({ 'a.npy': most }, 'a.npy', {}, (recording) => allLoads(recording)),
      { code: 'EPLB_LOAD', message: /expert 0 of all ranks; a load must fit a float32/ },
    );
    const routes = { as: 'routes', numExperts: 8 } as const;
    await assert.rejects(
      withRecording({ 'a.npy': most }, 'a.npy', routes, () => undefined),
      { code: 'EPLB_SHAPE', message: /has 4 dimensions/ },
    );
  });

  test('three dimensions are routes when the last is below the experts, whatever their type', async () => {
    for (const descr of ['|u1', '>i2', '<i8', '<f4', '<f2']) {
      const files = { 'a.npy': npyFile({ descr, shape: [10, 3, 2], values }) };
      await withRecording(files, 'a.npy', { numExperts: 8, tokensPerStep: 4 }, async (recording) => {
        assert.deepEqual([recording.numSteps, recording.numLayers, recording.numLogicalExperts], [3, 3, 8]);
        const { numTokens, topK, tokensPerStep } = recording.routes!;
        assert.deepEqual([numTokens, topK, tokensPerStep], [10, 2, 4]);
        assert.deepEqual(await allIds(recording), values);
        assert.deepEqual(await allIds(recording, { from: 3, to: 5 }), values.slice(18, 30));
      });
    }
  });

  test('steps of routes count their tokens, the last one those that are left', async () => {
    const files = { 'a.npy': npyFile({ descr: '|u1', shape: [10, 3, 2], values }) };
    await withRecording(files, 'a.npy', { numExperts: 8, tokensPerStep: 4 }, async (recording) => {
      const expected = [0, 1, 2].map((step) => {
        const loads = new Array<number>(24).fill(0);
        values.forEach((id, i) => {
          if (Math.floor(i / 24) === step) loads[(Math.floor(i / 2) % 3) * 8 + id]! += 1;
        });
        return loads;
      });
      assert.deepEqual(await allLoads(recording), expected);
      assert.deepEqual(await allLoads(recording, { from: 1, to: 2 }), [expected[1]]);
      assert.deepEqual(await allLoads(recording, { from: 2 }), [expected[2]]);
    });
  });

  test('three dimensions are loads without a number of experts, noted where they may be routes', async () => {
    const fractions = values.map((value) => value + 0.5);
    const files = {
      'whole.npy': npyFile({ descr: '<f4', shape: [10, 3, 2], values }),
      'fractions.npy': npyFile({ descr: '<f4', shape: [10, 3, 2], values: fractions }),
    };
    await withRecording(files, 'whole.npy', {}, (recording) => {
      assert.equal(recording.routes, undefined);
      assert.match(recording.notes.join(), /if these are routes .* give --experts/);
    });
    await withRecording(files, 'fractions.npy', {}, (recording) => assert.deepEqual(recording.notes, []));
  });

  test('what fits neither is refused', async () => {
    const npy = (shape: number[], descr = '|u1', fill = 0) =>
      npyFile({
        descr,
        shape,
        values: new Array(shape.reduce((product, size) => product * size, 1)).fill(fill),
      });
    const bad: [Uint8Array, number | undefined, RegExp][] = [
      [npy([3, 8]), 64, /shape \(3, 8\) holds loads of 8 experts; --experts says 64/],
      [npy([5, 3, 8]), 4, /--experts says 4, the last dimension is larger/],
      [npy([5, 3, 2], '<f4', 0.5), 8, /not all whole/],
      [npy([8]), undefined, /shape \(8,\) has 1 dimensions/],
      [npy([2, 2, 2, 2, 2]), undefined, /has 5 dimensions/],
      [npy([2, 0, 2, 2]), undefined, /holds nothing/],
      [npy([2, 2, 2, 2]), 3, /\(2, 2, 2, 2\) holds loads of 2 experts; --experts says 3/],
      [npy([1, 1, 65_537, 1]), undefined, /loads of 65537 ranks, of which there are at most 65536/],
      [npy([]), undefined, /has 0 dimensions/],
      [npy([0, 3, 8]), 8, /holds nothing/],
      [npy([3, 0]), undefined, /holds nothing/],
    ];
    for (const [file, numExperts, message] of bad) {
      await assert.rejects(
        withRecording({ 'a.npy': file }, 'a.npy', { numExperts }, () => undefined),
        { code: 'EPLB_SHAPE', message },
      );
    }
    await assert.rejects(
      withRecording({ 'a.npy': npy([5, 3, 2]) }, 'a.npy', { numExperts: 70_000 }, () => undefined),
      { code: 'EPLB_RANGE', message: /up to 65535 experts/ },
    );
    await assert.rejects(
      withRecording(
        { 'a.npy': npy([5, 3, 2]) },
        'a.npy',
        { numExperts: 8, tokensPerStep: 0 },
        () => undefined,
      ),
      { code: 'EPLB_RANGE', message: /tokensPerStep: 0/ },
    );
  });

  test('an id that is not an expert is named with its token and layer', async () => {
    const bad: [descr: string, id: number, shown: string][] = [
      ['<i2', 8, '8'],
      ['<i2', -2, '-2'],
      ['<i4', 65_537, '65537'],
      ['<i8', -2, '-2'],
      ['<f8', 2.5, '2.5'],
      ['<f4', Number.NaN, 'NaN'],
    ];
    for (const [descr, id, shown] of bad) {
      const ids = Array.from({ length: 24 }, (_, i) => i % 2);
      ids[17] = id;
      const files = { 'a.npy': npyFile({ descr, shape: [4, 3, 2], values: ids }) };
      const opened = withRecording(files, 'a.npy', { numExperts: 8, tokensPerStep: 2 }, () => undefined);
      const message = new RegExp(`expert id ${shown} at token 2, layer 2; ids go from 0 to 7|not all whole`);
      await assert.rejects(opened, { code: Number.isInteger(id) ? 'EPLB_RANGE' : 'EPLB_SHAPE', message });
    }
  });

  test('a load that is not a load is named with its step, layer, expert and value', async () => {
    const bad: [descr: string, value: number, why: RegExp][] = [
      ['<f8', Number.NaN, /load NaN at step 3, layer 0, expert 1; a load must be finite/],
      ['<f4', Number.POSITIVE_INFINITY, /load Infinity at step 3, layer 0, expert 1;/],
      ['>f8', Number.NEGATIVE_INFINITY, /load -Infinity at/],
      ['<i1', -1, /load -1 at step 3/],
      ['<i8', -7, /load -7 at step 3/],
      ['<f8', 1e39, /load 1e\+39 at step 3, layer 0, expert 1; a load must fit a float32/],
    ];
    for (const [descr, value, message] of bad) {
      const data = new Array<number>(24).fill(1);
      data[19] = value;
      const files = {
        'steps.npy': npyFile({ descr, shape: [4, 3, 2], values: data }),
        'flat.npy': npyFile({ descr, shape: [12, 2], values: data }),
      };
      await withRecording(files, 'steps.npy', { numExperts: 2 }, async (recording) => {
        assert.equal((await allLoads(recording, { to: 3 })).length, 3);
        await assert.rejects(allLoads(recording), { code: 'EPLB_LOAD', message });
      });
      await withRecording(files, 'flat.npy', {}, (recording) =>
        assert.rejects(allLoads(recording), { code: 'EPLB_LOAD', message: /at layer 9, expert 1;/ }),
      );
    }
  });
});
