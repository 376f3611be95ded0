/** Archives that are damaged or disagree with themselves: what they hold is never taken for loads. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { crc32 as nodeCrc32 } from 'node:zlib';
import { parsePlacement } from 'expert-load-balancer/formats';
import fc from 'fast-check';
import { inputBytes } from '../../src/formats/input-file.ts';
import { fallbackFormat, recogniseLoads } from '../../src/formats/loads/registry.ts';
import { openFiles } from '../../src/formats/open.ts';
import { openedRecording } from '../../src/formats/opened-recording.ts';
import type { LoadRecording, StepRange } from '../../src/formats/recording.ts';
import { crc32, slicedCrc32 } from '../../src/formats/zip/crc32.ts';
import { fixture } from '../helpers/fixtures.ts';
import { npyFile } from '../helpers/npy.ts';
import { isEplbError } from '../helpers/recording.ts';
import { allLoads } from '../helpers/recordings.ts';
import { tensorPickle, text } from '../helpers/torch.ts';
import { type ZipMember, zipFile } from '../helpers/zip.ts';

async function open(bytes: Uint8Array, name: string, as?: 'loads'): Promise<LoadRecording> {
  const file = inputBytes(bytes, name, 'recording');
  const format = (await recogniseLoads(file)) ?? fallbackFormat(file);
  return openedRecording(await openFiles([file], format, { as, numExperts: EXPERTS }));
}

async function read(recording: LoadRecording, range?: StepRange): Promise<number> {
  let numSteps = 0;
  for await (const _ of recording.steps(range)) numSteps++;
  return numSteps;
}

const readAll = async (bytes: Uint8Array, name = 'a.npz') => read(await open(bytes, name));

const refused = (bytes: Uint8Array, name: string, message: RegExp) =>
  assert.rejects(readAll(bytes, name), { code: 'EPLB_FORMAT', message });

const STEPS = 40;
const [LAYERS, EXPERTS] = [3, 8];
const loads = Array.from(
  { length: STEPS * LAYERS * EXPERTS },
  (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 8) % 251,
);
const array = (more: object = {}) =>
  npyFile({ descr: '<i4', shape: [STEPS, LAYERS, EXPERTS], values: loads, ...more });

/** An archive of one array, as NumPy writes it. */
const npz = (more: Partial<ZipMember> = {}, data = array()) => zipFile([{ name: 'a.npy', data, ...more }]);

/** What torch.save writes of a tensor of these loads. */
const torch = (pickle: string, more: Partial<ZipMember> = {}, all: Partial<ZipMember> = {}) =>
  zipFile([
    { name: 'archive/data.pkl', data: Buffer.from(`\x80\x02${pickle}.`, 'latin1'), ...all },
    {
      name: 'archive/data/0',
      data: new Uint8Array(Int32Array.from(loads).buffer),
      ...all,
      ...more,
    },
    { name: 'archive/byteorder', data: Buffer.from('little'), ...all },
  ]);
const tensor = tensorPickle([STEPS, LAYERS, EXPERTS]);
const statistics = `}(${text('logical_count')}${tensor}u`;

/** The bytes with one bit of the given place in them the other way round. */
function flipped(bytes: Buffer, place: number): Buffer {
  const out = Buffer.from(bytes);
  out[place]! ^= 1 << (place % 8);
  return out;
}

/** Where the numbers of a member lie in the archive. */
function dataOf(zip: Buffer, name: string): { start: number; end: number } {
  const header = zip.indexOf(name) - 30;
  const start = header + 30 + zip.readUInt16LE(header + 26) + zip.readUInt16LE(header + 28);
  return { start, end: zip.indexOf('PK', start) };
}

describe('a checksum', { concurrency: 1 }, () => {
  const kinds: [string, Buffer, string, string][] = [
    ['a stored array', npz(), 'a.npz', 'a.npy'],
    ['a packed array', npz({ isPacked: true }), 'a.npz', 'a.npy'],
    ['a stored array in Fortran order', npz({}, array({ fortranOrder: true })), 'a.npz', 'a.npy'],
    ['a tensor', torch(tensor), 'a.pt', 'archive/data/0'],
    ["SGLang's statistics", torch(statistics), 'a.pt', 'archive/data/0'],
  ];
  for (const [title, good, file, member] of kinds) {
    test(`of ${title} tells every bit that is wrong, and names the member`, async () => {
      const wanted = await allLoads(await open(good, file));
      assert.equal(wanted.length, STEPS);
      const { start, end } = dataOf(good, member);
      assert.ok(end - start > 900, `${end - start}`);
      let told = 0;
      for (let place = start; place < end; place += 29) {
        try {
          // Some bits of packed data stand for nothing: then the loads are as they should be.
          assert.deepEqual(await allLoads(await open(flipped(good, place), file)), wanted, `byte ${place}`);
        } catch (error) {
          assert.ok(isEplbError(error) && error.code === 'EPLB_FORMAT', String(error));
          const name = `recording: "${file}": member "${member}": `;
          const sums = /^damaged: its checksum is ([\da-f]{8}), the archive says ([\da-f]{8})$/;
          // What is wrong with a header or with packed data is told before its end is reached.
          const match = sums.exec(error.message.replace(name, ''));
          if (match !== null && match[1] !== match[2]) told++;
        }
      }
      assert.ok(told > 10, `${told}`);
    });
  }

  test('of the pickle is looked at before anything of it is used', async () => {
    const good = torch(statistics);
    const { start } = dataOf(good, 'archive/data.pkl');
    const changed = Buffer.from(good);
    changed.write('logical_c0unt', start, 'latin1');
    await refused(changed, 'a.pt', /member "archive\/data\.pkl": damaged/);
  });

  test('of files that NumPy and PyTorch wrote is right, and a flipped bit is told', async () => {
    for (const name of ['numpy/stored.npz', 'numpy/packed.npz', 'torch/int32.pt', 'torch/zip64.pt']) {
      const bytes = await readFile(fixture(name));
      assert.ok((await readAll(bytes, name)) > 0);
    }
    const bytes = await readFile(fixture('torch/int32.pt'));
    const { start } = dataOf(bytes, 'archive/data/0');
    await refused(flipped(bytes, start + 9), 'a.pt', /member "archive\/data\/0": damaged: its checksum is/);
  });

  test('is told once more when the recording is read again', async () => {
    const good = npz();
    const { end } = dataOf(good, 'a.npy');
    const recording = await open(flipped(good, end - 3), 'a.npz');
    for (let i = 0; i < 2; i++)
      await assert.rejects(read(recording), { code: 'EPLB_FORMAT', message: /: damaged:/ });
  });

  test('of a part that does not reach the end, or begins behind the start, cannot be known', async () => {
    const good = npz();
    const { start, end } = dataOf(good, 'a.npy');
    const bad = flipped(good, start + 200);
    assert.equal(await read(await open(bad, 'a.npz', 'loads'), { from: 0, to: STEPS - 1 }), STEPS - 1);
    assert.equal(await read(await open(bad, 'a.npz', 'loads'), { from: 1 }), STEPS - 1);
    assert.equal((await open(good, 'a.npz')).hasChecksums, true);
    assert.equal((await open(array(), 'a.npy')).hasChecksums, undefined);
    await refused(flipped(good, end - 1), 'a.npz', /: damaged:/);
  });

  test('is known for what a tensor does not reach of its storage', async () => {
    const part = tensorPickle([STEPS / 2, LAYERS, EXPERTS], '0', loads.length);
    const good = torch(part);
    assert.equal(await readAll(good, 'a.pt'), STEPS / 2);
    const { end } = dataOf(good, 'archive/data/0');
    await refused(flipped(good, end - 1), 'a.pt', /: damaged:/);
  });

  test('that torch.save was told not to write is not missed, and a note says so', async () => {
    const bare = torch(tensor, {}, { central: { checksum: 0 }, local: { checksum: 0 } });
    const recording = await open(bare, 'a.pt');
    assert.equal(await read(recording), STEPS);
    assert.match(recording.notes.join(), /torch\.save wrote no checksums/);
    assert.equal(recording.hasChecksums, undefined);
    assert.doesNotMatch((await open(torch(tensor), 'a.pt')).notes.join(), /checksum/);
    await refused(
      npz({ central: { checksum: 0 }, local: { checksum: 0 } }),
      'a.npz',
      /the archive says 00000000/,
    );
  });

  test('of a placement is looked at', async () => {
    const table = npyFile({ descr: '<i8', shape: [2, 4], values: [0, 1, 2, 3, 3, 2, 1, 0] });
    const map = text('physical_to_logical_map');
    const slots = { data: new Uint8Array(Int32Array.of(0, 1, 2, 3, 3, 2, 1, 0).buffer) };
    for (const isPacked of [true, false]) {
      const good = zipFile([{ name: 'phy2log.npy', data: table, isPacked }]);
      assert.equal((await parsePlacement(good)).numLayers, 2);
      const bad = zipFile([
        { name: 'phy2log.npy', data: table, isPacked, central: { checksum: 7 }, local: { checksum: 7 } },
      ]);
      await assert.rejects(parsePlacement(bad), {
        code: 'EPLB_FORMAT',
        message: /member "phy2log\.npy": damaged: its checksum is [\da-f]{8}, the archive says 00000007/,
      });
    }
    const pickle = `}(${map}${tensorPickle([2, 4])}u`;
    assert.equal((await parsePlacement(torch(pickle, slots))).numLayers, 2);
    await assert.rejects(
      parsePlacement(torch(pickle, { ...slots, central: { checksum: 7 }, local: { checksum: 7 } })),
      {
        code: 'EPLB_FORMAT',
        message: /member "archive\/data\/0": damaged/,
      },
    );
  });
});

describe('an archive that disagrees with itself', () => {
  test('about a member is refused, and the fields are named', async () => {
    const wrong: [Partial<ZipMember>, RegExp][] = [
      [{ local: { name: 'b.npy' } }, /member "a\.npy": its own header has the name "b\.npy"/],
      [{ local: { method: 8 } }, /member "a\.npy": its own header has the method 8, the directory 0/],
      [{ local: { flags: 1 } }, /its own header says that it is encrypted, the directory does not/],
      [{ local: { size: 4 } }, /its own header has the size 4, the directory 3968/],
      [{ local: { packedSize: 4 } }, /its own header has the packed size 4, the directory 3968/],
      [{ local: { checksum: 0xabc } }, /its own header has the checksum 00000abc, the directory [\da-f]{8}/],
      [{ isZip64: true, local: { size: 4 } }, /its own header has the size 4, the directory 3968/],
    ];
    for (const [member, message] of wrong) await refused(npz(member), 'a.npz', message);
    assert.equal(await readAll(npz({ isZip64: true })), STEPS);
  });

  for (const isPacked of [false, true]) {
    test(`in the descriptor behind ${isPacked ? 'packed' : 'stored'} data is refused`, async () => {
      for (const descriptor of ['signed', 'unsigned', 'signed, zip64', 'unsigned, zip64'] as const) {
        assert.equal(await readAll(npz({ isPacked, descriptor })), STEPS, descriptor);
        for (const local of [{ checksum: 1 }, { size: 1 }, { packedSize: 1 }]) {
          await refused(
            npz({ isPacked, descriptor, local }),
            'a.npz',
            /member "a\.npy": the descriptor behind it/,
          );
        }
      }
      const cut = npz({ isPacked, descriptor: 'signed', central: { flags: 0 } });
      await refused(cut, 'a.npz', /says that a descriptor stands behind the data, the directory does not/);
    });
  }

  test('about sizes is refused', async () => {
    const data = array();
    const size = data.length;
    const longer = { central: { size: size + 8 }, local: { size: size + 8 } };
    const shorter = { central: { size: size - 8 }, local: { size: size - 8 } };
    await refused(npz({ isPacked: true, ...longer }), 'a.npz', /8 bytes too many/);
    await refused(npz({ isPacked: true, ...shorter }), 'a.npz', /it unpacks to more than the 3960 bytes/);
    await refused(npz(longer), 'a.npz', /compressed\/uncompressed size mismatch/);
    // A header that says as much as the directory, of an array that is longer or shorter in truth.
    const claims = array({ shape: [STEPS + 1, LAYERS, EXPERTS] });
    const claimed = { size: size + 4 * LAYERS * EXPERTS };
    await refused(
      npz({ isPacked: true, central: claimed, local: claimed }, claims),
      'a.npz',
      /it unpacks to less than/,
    );
    const less = array({ shape: [STEPS - 1, LAYERS, EXPERTS] });
    const told = { size: size - 4 * LAYERS * EXPERTS };
    await refused(
      npz({ isPacked: true, central: told, local: told }, less),
      'a.npz',
      /it unpacks to more than/,
    );
  });

  test('and has a name twice is refused', () => {
    const member = { name: 'a.npy', data: array() };
    return refused(zipFile([member, member]), 'a.npz', /two members have the name/);
  });
});

test('the checksum in JavaScript is that of zlib', () => {
  const bytes = fc.uint8Array({ maxLength: 300 });
  fc.assert(
    fc.property(bytes, fc.nat(16), fc.integer({ min: 0, max: 2 ** 32 - 1 }), (data, from, start) => {
      const piece = data.subarray(from);
      const expected = piece.length === 0 ? start : nodeCrc32(piece, start);
      assert.equal(slicedCrc32(piece, start), expected);
      assert.equal(crc32(piece, start), expected);
    }),
    { seed: 20_240_607, numRuns: 1000 },
  );
});
