import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'npyjs';
import { MemorySource } from '../../src/formats/bytes/source.ts';
import { MemoryBudget } from '../../src/formats/memory-budget.ts';
import { blocksOf } from '../../src/formats/tensor/blocks.ts';
import { denseStrides } from '../../src/formats/tensor/shape.ts';
import { readTensor, type StoredTensor } from '../../src/formats/tensor/stored.ts';
import { readPickle } from '../../src/formats/torch/pickle.ts';
import { TENSOR_MAKER } from '../../src/formats/torch/tensor-ref.ts';
import { fixture, LOADS, SIZES, stepLoads, withFixture } from '../helpers/fixtures.ts';
import { isEplbError } from '../helpers/recording.ts';
import { allLoads, withRecording } from '../helpers/recordings.ts';
import { storedZip, tensorPickle, text, tuple, whole } from '../helpers/torch.ts';

describe('arrays that NumPy wrote', () => {
  test('every number type, byte order and memory order', async () => {
    const files = (await readdir(fixture('numpy'))).filter((name) => /^(le|be|[iu])[-\d]/.test(name));
    assert.equal(files.length, 22);
    for (const file of files) {
      await withFixture(`numpy/${file}`, { numExperts: 8 }, async (recording) => {
        assert.deepEqual(await allLoads(recording), LOADS, file);
        assert.deepEqual(await allLoads(recording, { from: 1, to: 3 }), LOADS.slice(1, 3), file);
      });
    }
  });

  test('what npyjs can read too, it reads alike', async () => {
    for (const file of ['u1', 'i1', 'le-i4', 'le-i8', 'le-f2', 'le-f4']) {
      const { data, shape } = parse(new Uint8Array(await readFile(fixture(`numpy/${file}.npy`))).buffer);
      assert.deepEqual(shape, [SIZES.steps, SIZES.layers, SIZES.experts]);
      assert.deepEqual(Array.from(data as unknown as ArrayLike<number | bigint>, Number), LOADS.flat(), file);
    }
  });

  test('archives, as they are and packed, in both orders', async () => {
    for (const file of ['stored.npz', 'packed.npz', 'packed-fortran.npz']) {
      await withFixture(`numpy/${file}`, { numExperts: 8 }, async (recording) => {
        assert.equal(recording.format, 'npz');
        assert.deepEqual(await allLoads(recording), LOADS, file);
        // Once more, and from the middle: a packed member is unpacked from its beginning again.
        assert.deepEqual(await allLoads(recording, { from: 2 }), LOADS.slice(2), file);
        assert.deepEqual(await allLoads(recording), LOADS, file);
      });
    }
  });
});

describe('tensors that PyTorch wrote', () => {
  test('every number type, strided, transposed, expanded, zip64, and both byte orders', async () => {
    const files = (await readdir(fixture('torch'))).filter((name) => !/one-step|scalar|expanded/.test(name));
    assert.equal(files.length, 14);
    for (const file of files) {
      await withFixture(`torch/${file}`, { numExperts: 8 }, async (recording) => {
        assert.equal(recording.format, 'torch-tensor');
        assert.deepEqual(await allLoads(recording), LOADS, file);
      });
    }
    await withFixture('torch/expanded.pt', { numExperts: 8 }, async (recording) => {
      assert.deepEqual(
        await allLoads(recording),
        [0, 1, 2, 3].map(() => stepLoads(0)),
      );
    });
    await withFixture('torch/one-step.pt', {}, async (recording) => {
      assert.deepEqual([recording.numSteps, recording.numberType], [1, 'int32']);
      assert.deepEqual(await allLoads(recording), [stepLoads(0)]);
    });
  });

  test('what is not a tensor of loads is refused, and nothing is run', async () => {
    const refused: [file: string, code: string, message: RegExp][] = [
      ['system.pt', 'EPLB_FORMAT', /the global "(posix|os)\.system" is refused/],
      ['set.pt', 'EPLB_FORMAT', /the global "(__builtin__|builtins)\.set" is refused/],
      ['module.pt', 'EPLB_FORMAT', /the global "torch\.nn\.modules\.linear\.Linear" is refused/],
      ['bool.pt', 'EPLB_FORMAT', /the global "torch\.BoolStorage" is refused/],
      ['other-keys.pt', 'EPLB_KIND', /it holds a dict with the keys "weights"; loads are a tensor, or/],
    ];
    for (const [file, code, message] of refused) {
      await assert.rejects(
        withFixture(`torch-refused/${file}`, {}, () => undefined),
        { code, message },
        file,
      );
    }
    assert.equal(existsSync('/tmp/eplb-evil-was-here'), false);
    await assert.rejects(
      withFixture('torch/scalar.pt', {}, () => undefined),
      {
        code: 'EPLB_SHAPE',
        message: /shape \(\) has 0 dimensions/,
      },
    );
  });

  test('a file without a zip archive, as before PyTorch 1.6, is read', async () => {
    await withFixture('torch-refused/legacy.pt', {}, async (recording) => {
      assert.deepEqual([recording.numLayers, recording.numLogicalExperts], [2, 2]);
      assert.deepEqual(await allLoads(recording), [[0, 0, 0, 0]]);
      assert.match(recording.notes.join(), /no checksums/);
    });
    // The same with other numbers, and cut off or changed anywhere: it is read or refused.
    const file = await readFile(fixture('torch-refused/legacy.pt'));
    const numbers = new DataView(file.buffer, file.byteOffset + file.length - 16);
    for (let i = 0; i < 4; i++) numbers.setFloat32(4 * i, i + 1, true);
    await withRecording({ 'a.pt': file }, 'a.pt', {}, async (recording) => {
      assert.deepEqual(await allLoads(recording), [[1, 2, 3, 4]]);
    });
    for (let length = 15; length < file.length; length++) {
      const cut = file.subarray(0, length);
      await assert.rejects(
        withRecording({ 'a.pt': cut }, 'a.pt', {}, allLoads),
        { code: 'EPLB_FORMAT' },
        `${length}`,
      );
    }
    for (let at = 15; at < file.length - 16; at++) {
      const changed = Uint8Array.from(file);
      changed[at]! ^= 0x55;
      await withRecording({ 'a.pt': changed }, 'a.pt', {}, (recording) => allLoads(recording)).catch(
        (error: unknown) => assert.ok(isEplbError(error), `byte ${at}: ${error}`),
      );
    }
  });

  test('a file that is cut off anywhere is refused', async () => {
    const file = await readFile(fixture('torch/int32.pt'));
    for (let length = 1; length < file.length; length += 13) {
      await assert.rejects(
        withRecording({ 'a.pt': file.subarray(0, length) }, 'a.pt', {}, () => undefined),
        { code: 'EPLB_FORMAT', message: /malformed zip archive|"a\.pt"/ },
      );
    }
  });
});

describe('pickles', () => {
  const read = (...bytes: (number | string)[]) => {
    const parts = bytes.map((part) =>
      typeof part === 'string' ? Buffer.from(part, 'latin1') : Buffer.of(part),
    );
    return readPickle(Buffer.concat(parts), 'a.pt', TENSOR_MAKER, new MemoryBudget(0, 'a.pt'));
  };

  test('every instruction that torch.save does not write is refused, by its code', () => {
    const known = new Set(
      [...'(0NJKMGX]ae)t}suqrhjcRQ.']
        .map((letter) => letter.charCodeAt(0))
        .concat([0x80, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a]),
    );
    for (let code = 0; code < 256; code++) {
      if (known.has(code)) continue;
      const hex = code.toString(16).padStart(2, '0');
      assert.throws(() => read(0x80, 2, code, '.'), {
        code: 'EPLB_FORMAT',
        message: new RegExp(`at byte 3 of its pickle: the instruction .*0x${hex}\\)? is refused`),
      });
    }
  });

  test('globals are refused by name, whatever they are called with', () => {
    for (const name of [
      'os\nsystem',
      'builtins\neval',
      'torch\nload',
      'torch._utils\n_rebuild_qtensor',
      '\n',
    ]) {
      assert.throws(() => read(0x80, 2, 'c', `${name}\n`, ')R.'), /the global ".*" is refused/);
    }
    assert.throws(() => read(0x80, 2, ']', ')R.'), /a call of a list of 0 is refused/);
    assert.throws(
      () => read(0x80, 2, 'ctorch\nIntStorage\n', ')R.'),
      /a call of torch\.IntStorage .* is refused/,
    );
  });

  test('broken ones are refused', () => {
    const broken: [(number | string)[], RegExp][] = [
      [[''], /ends inside an instruction/],
      [[0x80, 6, 'N.'], /protocol 6; the protocols 2 to 5 are read/],
      [[0x80, 1, 'N.'], /protocol 1/],
      [[0x80, 2, '.'], /the stack is empty/],
      [[0x80, 2, 'X', '\xff\xff\xff\xff', 'a.'], /ends inside an instruction/],
      [[0x80, 2, 'ctorch'], /ends inside a name/],
      [[0x80, 2, 'h', 7, '.'], /nothing was kept under 7/],
      [[0x80, 2, 'NNa.'], /not a list/],
      [[0x80, 2, 'NNNs.'], /not a dict/],
      [[0x80, 2, '}(NNu.'], /a key of a dict is neither text/],
      [[0x80, 2, '}(Nu.'], /a key has no value/],
      [[0x80, 2, '](.'], /a mark stands where/],
      [[0x80, 2, ']e.'], /there is no mark/],
      [[0x80, 2, 0x8a, 9, '123456789.'], /a whole number of 9 bytes/],
      [[0x80, 2, 'NQ.'], /names no storage/],
    ];
    for (const [bytes, message] of broken)
      assert.throws(() => read(...bytes), { code: 'EPLB_FORMAT', message });
  });

  test('a million levels of nesting are read without recursion', () => {
    const deep = Buffer.concat([
      Buffer.of(0x80, 2),
      Buffer.alloc(1_000_000, ']'),
      Buffer.alloc(999_999, 'a'),
      Buffer.from('.'),
    ]);
    assert.ok(readPickle(deep, 'a.pt', TENSOR_MAKER, new MemoryBudget(deep.length, 'a.pt')));
  });

  test('whole numbers of any length come through', () => {
    assert.equal(read(0x80, 2, 0x8a, 0, '.'), 0);
    assert.equal(read(0x80, 2, 0x8a, 1, 0xff, '.'), -1);
    assert.equal(read(0x80, 2, 0x8a, 5, 0, 0, 0, 0, 1, '.'), 2 ** 32);
    assert.equal(read(0x80, 2, 0x8a, 8, ...[0, 0, 0, 0, 0, 0, 0, 0x40], '.'), 2n ** 62n);
    assert.equal(read(0x80, 2, 'J', '\xfe\xff\xff\xff', '.'), -2);
  });
});

describe('tensors in a file', () => {
  /**
   * A view of a storage of whole numbers that count up, and the numbers that it shows, by the definition of
   * strides.
   */
  const views = fc
    .record({
      shape: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 4 }),
      order: fc.array(fc.nat(100), { minLength: 4, maxLength: 4 }),
      gaps: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 4, maxLength: 4 }),
      isRepeated: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
      offset: fc.nat(9),
      // So far apart that a view is not read in one piece.
      factor: fc.constantFrom(1, 1, 40_000),
      bigEndian: fc.boolean(),
    })
    .map(({ shape, order, gaps, isRepeated, offset, factor, bigEndian }) => {
      const axes = shape.map((_, axis) => axis).sort((a, b) => order[a]! - order[b]!);
      const strides = shape.map(() => 0);
      let stride = 1;
      for (const [turn, axis] of axes.entries()) {
        stride *= gaps[axis]! * (turn === axes.length - 1 ? factor : 1);
        strides[axis] = isRepeated[axis] && turn % 2 === 1 ? 0 : stride;
        stride *= shape[axis]!;
      }
      const numNumbers = offset + shape.reduce((span, size, axis) => span + (size - 1) * strides[axis]!, 1);
      const expected: number[] = [];
      const walk = (axis: number, at: number): void => {
        if (axis === shape.length) expected.push(at);
        else for (let i = 0; i < shape[axis]!; i++) walk(axis + 1, at + i * strides[axis]!);
      };
      walk(0, offset);
      const bytes = Buffer.alloc(4 * numNumbers);
      for (const at of expected) bigEndian ? bytes.writeInt32BE(at, 4 * at) : bytes.writeInt32LE(at, 4 * at);
      const source = new MemorySource(bytes, 'memory');
      const tensor: StoredTensor = { source, offset: 4 * offset, type: 'int32', bigEndian, shape, strides };
      return { tensor, expected };
    });

  test('any view is read as its strides say, whole and in rows', async () => {
    await fc.assert(
      fc.asyncProperty(views, fc.nat(), fc.nat(), async ({ tensor, expected }, a, b) => {
        const whole = new Uint8Array(4 * expected.length);
        await readTensor(tensor, whole);
        assert.deepEqual(Array.from(new Int32Array(whole.buffer)), expected);
        const rows = tensor.shape[0]!;
        const from = a % rows;
        const to = from + (b % (rows - from + 1));
        const found: number[] = [];
        for await (const { bytes } of blocksOf(tensor, from, to)) {
          found.push(...new Int32Array(bytes.slice().buffer));
        }
        const perRow = expected.length / rows;
        assert.deepEqual(found, expected.slice(from * perRow, to * perRow));
      }),
      { numRuns: 500 },
    );
  });

  test('strides of dense arrays', () => {
    assert.deepEqual(denseStrides([2, 3, 4]), [12, 4, 1]);
    assert.deepEqual(denseStrides([2, 3, 4], true), [1, 2, 6]);
  });
});

describe('what torch.save writes beside a tensor', () => {
  /** A pickle by protocol 4 and later: texts are short, and everything is kept. */
  const short = (value: string) => `\x8c${String.fromCharCode(value.length)}${value}\x94`;
  const global = (module: string, name: string) => `${short(module)}${short(name)}\x93\x94`;
  const scalar = (type: string, bytes: string) =>
    `${global('numpy._core.multiarray', 'scalar')}${global('numpy', 'dtype')}${short(type)}\x89\x88\x87R\x94` +
    `(K\x03${short('<')}NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb` +
    `C${String.fromCharCode(bytes.length)}${bytes}\x94\x86R\x94`;
  const archive = (protocol: number, pickle: string, storage: Uint8Array) =>
    storedZip([
      ['archive/data.pkl', Buffer.from(`\x80${String.fromCharCode(protocol)}${pickle}.`, 'latin1')],
      ['archive/data/0', storage],
    ]);
  const counts = Int32Array.of(9, 1, 4, 2);
  const bytes = new Uint8Array(counts.buffer);
  const read = (file: Uint8Array, name = 'a.pt') =>
    withRecording({ [name]: file }, name, {}, async (recording) => (await allLoads(recording))[0]);

  test("is read past: NumPy's scalars, in the protocols 2 to 5", async () => {
    const loads = `${text('logical_count')}${tensorPickle([2, 2])}`;
    const old =
      `${text('rate')}cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n${text('f4')}\x89\x88\x87R` +
      `(K\x03${text('<')}NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbc_codecs\nencode\n` +
      `${text('\u0000\u0000\u00c0?')}${text('latin1')}\x86R\x86R`;
    assert.deepEqual(await read(archive(2, `}(${old}${loads}u`, bytes)), [9, 1, 4, 2]);
    for (const protocol of [4, 5]) {
      const frame = `\x95\x10${'\x00'.repeat(7)}`;
      const rate = `${short('rate')}${scalar('f8', '\x00'.repeat(8))}${short('rank')}${scalar('i2', '\x07\x00')}`;
      assert.deepEqual(await read(archive(protocol, `${frame}}\x94(${rate}${loads}u`, bytes)), [9, 1, 4, 2]);
    }
    assert.deepEqual(await read(archive(3, `}(${loads}${text('b')}C\x02okK\x05Nu`, bytes)), [9, 1, 4, 2]);
  });

  test('is the tensor of a parameter', async () => {
    const parameter = `ctorch._utils\n_rebuild_parameter\n(${tensorPickle([2, 2])}\x88ccollections\nOrderedDict\n)RtR`;
    assert.deepEqual(await read(archive(2, parameter, bytes)), [9, 1, 4, 2]);
  });

  test('are numbers of every integer type', async () => {
    for (const [type, numbers] of [
      ['uint16', Uint16Array.of(9, 65_535, 4, 2)],
      ['uint32', Uint32Array.of(9, 2 ** 31, 4, 2)],
      ['uint64', BigUint64Array.of(9n, 2n ** 33n, 4n, 2n)],
      ['int64', BigInt64Array.of(9n, 1n, 4n, 2n)],
    ] as const) {
      const storage = new Uint8Array(numbers.buffer);
      const pickle =
        `ctorch._utils\n_rebuild_tensor_v3\n((${text('storage')}ctorch.storage\nUntypedStorage\n${text('0')}` +
        `${text('cpu')}${whole(storage.length)}tQ${whole(0)}${tuple([2, 2])}${tuple([2, 1])}` +
        `\x89ccollections\nOrderedDict\n)Rctorch\n${type}\ntR`;
      assert.deepEqual(await read(archive(2, pickle, storage)), Array.from(numbers, Number));
    }
  });
});
