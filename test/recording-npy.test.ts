import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readBytes } from '../src/cli/recording/read.ts';
import { RECORDING } from './helpers/cli.ts';
import { type NpyParts, npyFile } from './helpers/npy.ts';
import { isEplbError } from './helpers/recording.ts';

const DTYPES = ['i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8', 'f2', 'f4', 'f8'];

const read = (bytes: Uint8Array) => readBytes(bytes, 'a.npy');
const small: NpyParts = { descr: '<f4', shape: [2, 3], values: [0, 1, 2, 3, 4, 5] };

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
  test('every number type, byte order, memory order, version and alignment is read', () => {
    fc.assert(
      fc.property(goodFile, ({ file, values, shape }) => {
        const tensor = read(file);
        assert.deepEqual(tensor.shape, shape);
        assert.deepEqual(Array.from(tensor.data), values);
      }),
      { numRuns: 1000 },
    );
  });

  test('negative, fractional and non-finite numbers come through', () => {
    const values = [-1.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 1e30];
    const tensor = read(npyFile({ descr: '>f8', shape: [2, 3], values }));
    assert.deepEqual(Array.from(tensor.data), values);
    assert.deepEqual(Array.from(read(npyFile({ descr: '>i8', shape: [1, 2], values: [-5, 2 ** 40] })).data), [
      -5,
      2 ** 40,
    ]);
  });

  test('the type is told in NumPy words', () => {
    assert.equal(read(npyFile(small)).format, '.npy, float32');
    assert.equal(read(npyFile({ ...small, descr: '|u1' })).format, '.npy, uint8');
  });

  test('the shipped recording has the shape that its page says', () => {
    const tensor = read(readFileSync(RECORDING));
    assert.deepEqual(tensor.shape, [8327, 26, 6]);
    assert.ok(tensor.data.every((id) => id < 64));
  });

  test('a view into a larger buffer is read as what it is', () => {
    const file = npyFile(small);
    const pool = new Uint8Array(file.length + 13);
    pool.set(file, 5);
    assert.deepEqual(Array.from(read(pool.subarray(5, 5 + file.length)).data), small.values);
  });

  test('a mutated file ends in a result or in an error with a code', () => {
    const mutation = fc.oneof(
      fc.record({ kind: fc.constant('set'), at: fc.nat(), byte: fc.nat(255) }),
      fc.record({ kind: fc.constant('cut'), at: fc.nat(), byte: fc.nat(40) }),
      fc.record({ kind: fc.constant('insert'), at: fc.nat(), byte: fc.nat(255) }),
    );
    fc.assert(
      fc.property(goodFile, fc.array(mutation, { minLength: 1, maxLength: 4 }), ({ file }, mutations) => {
        let bytes: number[] = Array.from(file);
        for (const { kind, at, byte } of mutations) {
          // The header is where files break; most changes go there.
          const place = at % Math.min(bytes.length + 1, at % 4 === 0 ? bytes.length + 1 : 130);
          if (kind === 'set') bytes[Math.min(place, bytes.length - 1)] = byte;
          if (kind === 'cut') bytes.splice(place, byte);
          if (kind === 'insert') bytes = [...bytes.slice(0, place), byte, ...bytes.slice(place)];
        }
        try {
          const tensor = read(Uint8Array.from(bytes));
          assert.equal(
            tensor.data.length,
            tensor.shape.reduce((product, size) => product * size, 1),
          );
        } catch (error) {
          assert.ok(isEplbError(error), String(error));
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe('.npy files that are refused', () => {
  const refused = (bytes: Uint8Array, message: RegExp, code = 'EPLB_FORMAT') =>
    assert.throws(
      () => read(bytes),
      (error: unknown) => {
        assert.ok(isEplbError(error), String(error));
        assert.match(error.message, message);
        assert.match(error.message, /^recording: "a\.npy": /);
        assert.equal(error.code, code);
        return true;
      },
    );
  const withHeader = (header: string) => npyFile({ ...small, header });

  test('cut off anywhere', () => {
    const file = npyFile(small);
    for (let length = 0; length < 6; length++) refused(file.subarray(0, length), /no \.npy file/);
    for (let length = 6; length < file.length; length++) refused(file.subarray(0, length), /truncated/);
  });

  test('with bytes behind the data', () => {
    refused(
      new Uint8Array([...npyFile(small), 0]),
      /1 bytes too many: shape \(2, 3\) of float32 needs 24 bytes of data, the file has 25/,
    );
  });

  test('with another magic or an unknown version', () => {
    refused(
      Uint8Array.from([...Buffer.from('PK\u0003\u0004..........')]),
      /begins with the bytes 504b03042e2e/,
    );
    for (const version of [0, 4, 255]) {
      const file = npyFile(small);
      file[6] = version;
      refused(file, /version \d+\.0; versions 1, 2 and 3/);
    }
  });

  test('of types that hold no loads', () => {
    for (const descr of [
      '|b1',
      '<c8',
      '<c16',
      '<U5',
      '|S3',
      '|O',
      '<M8[ns]',
      '<f16',
      '|V2',
      '=f4',
      'f4',
      '',
    ]) {
      refused(
        npyFile({ ...small, descr }),
        /the type is .*; loads and expert ids are read from int8 to uint64/,
      );
    }
    refused(
      withHeader("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3), }"),
      /not a plain type/,
    );
  });

  test('with a header that is no header', () => {
    for (const header of ['', '{}', "{'descr': '<f4', 'shape': (2, 3)}", '\u0000'.repeat(40)]) {
      refused(withHeader(header), /malformed \.npy header/);
    }
    const odd = ['', '-2, 3', '2.5, 3', 'a', '1e1, 3', '2,,3', '2 3', '0x2, 3'];
    for (const shape of odd.slice(1)) {
      refused(
        withHeader(`{'descr': '<f4', 'fortran_order': False, 'shape': (${shape}), }`),
        /no shape of whole numbers/,
      );
    }
    refused(
      withHeader("{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3), }"),
      /'fortran_order' is neither/,
    );
  });

  test('with a shape that the data cannot have', () => {
    const absurd = [
      '4294967296, 4294967296',
      '99999999999999999999, 26, 6',
      `${'9'.repeat(400)}, 2`,
      '2, 4',
      '1000000000,',
    ];
    for (const shape of absurd) {
      refused(
        withHeader(`{'descr': '<f4', 'fortran_order': False, 'shape': (${shape}), }`),
        /truncated: shape/,
      );
    }
    refused(withHeader("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"), /8 bytes too many/);
  });

  test('with 64-bit integers that are not exact', () => {
    refused(
      npyFile({ ...small, descr: '<i8', values: [0, 0, 0, 0, 2 ** 60, 0] }),
      /number 4 is 1152921504606846976/,
      'EPLB_RANGE',
    );
  });

  test('with terminal control in the header: it is escaped', () => {
    const file = withHeader("{'descr': '\u001b[31m\u009b', 'fortran_order': False, 'shape': (2, 3), }");
    assert.throws(
      () => read(file),
      (error: Error) => !/\p{Cc}/u.test(error.message),
    );
  });
});
