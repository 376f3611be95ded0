import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, test } from 'node:test';
import { inputBytes } from '../../src/formats/input-file.ts';
import { fallbackFormat, recogniseLoads } from '../../src/formats/loads/registry.ts';
import { openFiles } from '../../src/formats/open.ts';
import type { OpenOptions } from '../../src/formats/open-options.ts';
import { countingAllocations } from '../helpers/fuzz.ts';
import { npyFile } from '../helpers/npy.ts';
import { storedZip, tensorPickle, text, torchArchive, torchFile, tuple, whole } from '../helpers/torch.ts';
import { zipFile } from '../helpers/zip.ts';

/** Opens bytes as a file and reads all of its steps. */
async function readAll(bytes: Uint8Array, name: string, options: OpenOptions = {}): Promise<number> {
  const file = inputBytes(bytes, name, 'recording');
  const format = (await recogniseLoads(file)) ?? fallbackFormat(file);
  const recording = await openFiles([file], format, options);
  let numSteps = 0;
  for await (const _ of recording.steps()) numSteps++;
  return numSteps;
}

const refused = (bytes: Uint8Array, name: string, code: string, message: RegExp) =>
  assert.rejects(readAll(bytes, name), { code, message });

/** A zip archive of one deflated member, which may claim another size. */
function packedZip(name: string, data: Uint8Array, size = data.length): Buffer<ArrayBuffer> {
  return zipFile([{ name, data, isPacked: true, central: { size }, local: { size } }]);
}

const npz = (array: Uint8Array, claimedSize?: number) => packedZip('a.npy', array, claimedSize);
const zeros = (descr: string, shape: number[]) => {
  const head = npyFile({ descr, shape, values: [] });
  const count = shape.reduce((product, size) => product * size, 1);
  return Buffer.concat([head, Buffer.alloc(count * Number(descr.slice(2)))]);
};

describe('zip bombs', () => {
  test('an array of which little is there is unpacked a piece at a time', async () => {
    const bomb = npz(zeros('<i4', [2000, 8, 1024]));
    assert.ok(bomb.length < 80_000, '64 MB packed a thousand times');
    const allocated = await countingAllocations(async () => assert.equal(await readAll(bomb, 'a.npz'), 2000));
    assert.ok(allocated < 8 * 2 ** 20, `${allocated} bytes`);
  });

  /** A file in Fortran order. */
  const scattered = (shape: number[]) => {
    const file = zeros('<i4', shape);
    const header = file.indexOf("'fortran_order': False");
    file.write("'fortran_order': True, ", header, 'latin1');
    return file;
  };

  test('one in Fortran order, whose steps lie across it, is unpacked some steps at a time', async () => {
    assert.equal(await readAll(npz(scattered([2000, 8, 1024])), 'a.npz'), 2000);
  });

  test('one of these that would be unpacked too often is refused before that', async () => {
    const header = scattered([9000, 8, 1024]).subarray(0, 128);
    const size = 128 + 9000 * 8 * 1024 * 4;
    const bomb = packedZip('a.npy', Buffer.concat([header, Buffer.alloc(1000)]), size);
    const allocated = await countingAllocations(() =>
      refused(bomb, 'a.npz', 'EPLB_FORMAT', /packed and in Fortran order, 294912128 bytes when unpacked/),
    );
    assert.ok(allocated < 2 ** 20, `${allocated} bytes`);
  });

  test('one step of an absurd size is refused before it is unpacked', async () => {
    const head = npyFile({ descr: '|u1', shape: [1, 1000, 1_000_000], values: [] });
    const bomb = packedZip('a.npy', head, head.length + 1e9);
    const allocated = await countingAllocations(() =>
      refused(
        bomb,
        'a.npz',
        'EPLB_SHAPE',
        /a step of the shape \(1000, 1000000\) has 1,000,000,000 loads, too many/,
      ),
    );
    assert.ok(allocated < 2 ** 20, `${allocated} bytes`);
  });

  test('a member that is not as long as it says is refused, and not unpacked further', async () => {
    const array = zeros('<i4', [20, 8, 1024]);
    await refused(npz(array, array.length - 5000), 'a.npz', 'EPLB_FORMAT', /truncated: shape/);
    await refused(npz(array, array.length + 5000), 'a.npz', 'EPLB_FORMAT', /5000 bytes too many/);
    const header = zeros('<i4', [40, 8, 1024]).subarray(0, 128);
    const claims = Buffer.concat([header, Buffer.alloc(20 * 8 * 1024 * 4)]);
    await refused(
      npz(claims, 128 + 40 * 8 * 1024 * 4),
      'a.npz',
      'EPLB_FORMAT',
      /it unpacks to less than the/,
    );
    const broken = npz(array);
    broken.fill(0xff, 60, 120);
    await refused(broken, 'a.npz', 'EPLB_FORMAT', /cannot be unpacked/);
  });

  test('a packed member in a file of PyTorch is refused: it writes none', () =>
    refused(
      packedZip('archive/data.pkl', Buffer.alloc(1000)),
      'a.pt',
      'EPLB_FORMAT',
      /is packed; PyTorch stores it/,
    ));
});

describe('names in archives', () => {
  test('that lead out of a directory are refused, and nothing is written', async () => {
    for (const name of ['../a.npy', '/tmp/eplb-out.npy', 'x/../../a.npy', 'C:/a.npy', '..\\a.npy']) {
      const zip = storedZip([[name, npyFile({ descr: '|u1', shape: [1, 2], values: [1, 2] })]]);
      await refused(
        zip,
        'a.npz',
        'EPLB_FORMAT',
        /malformed zip archive: "(absolute path|invalid relative path)/,
      );
    }
    assert.equal(existsSync('/tmp/eplb-out.npy'), false);
  });

  test('that are there twice are refused', () => {
    const array = npyFile({ descr: '|u1', shape: [1, 2], values: [1, 2] });
    const zip = storedZip([
      ['a.npy', array],
      ['a.npy', array],
    ]);
    return refused(zip, 'a.npz', 'EPLB_FORMAT', /two members have the name/);
  });
});

describe('sizes that overflow, and offsets outside the file', () => {
  const counts = [Int32Array.from({ length: 12 }, (_, i) => i)];
  const tensor = (shape: number[], strides: number[], offset = 0, numNumbers = 12) =>
    torchArchive(
      `ctorch._utils\n_rebuild_tensor_v2\n((${text('storage')}ctorch\nIntStorage\n` +
        `${text('0')}${text('cpu')}${whole(numNumbers)}tQ` +
        `${whole(offset)}${tuple(shape)}${tuple(strides)}\x89ccollections\nOrderedDict\n)RtR`,
      counts,
    );

  test('a view of a tensor ends inside its storage', async () => {
    assert.equal(await readAll(tensor([2, 2, 3], [6, 3, 1]), 'a.pt'), 2);
    assert.equal(await readAll(tensor([2, 2], [6, 3], 2), 'a.pt'), 1);
    const most = 2 ** 31 - 1;
    await refused(
      tensor([2, 2, 3], [6, 3, 1], 1),
      'a.pt',
      'EPLB_FORMAT',
      /reaches to number 13 of a storage of 12/,
    );
    await refused(
      tensor([2, 2, 3], [6, 3, 2]),
      'a.pt',
      'EPLB_FORMAT',
      /reaches to number 14 of a storage of 12/,
    );
    await refused(tensor([most, most, most], [most, most, most]), 'a.pt', 'EPLB_FORMAT', /reaches to number/);
    await refused(tensor([2, 2], [6, -3], 3), 'a.pt', 'EPLB_FORMAT', /a tensor without a storage, an offset/);
    await refused(tensor([2, 2], [2, 1], -1), 'a.pt', 'EPLB_FORMAT', /a tensor without a storage, an offset/);
    await refused(
      tensor([2, 2], [2, 1], 0, 4000),
      'a.pt',
      'EPLB_FORMAT',
      /48 bytes; 4000 numbers of int32 need 16000/,
    );
  });

  test('strides of zero make no numbers out of nothing', async () => {
    const most = 2 ** 31 - 1;
    assert.equal(await readAll(tensor([1000, 1, 12], [0, 0, 1]), 'a.pt', { as: 'loads' }), 1000);
    for (const shape of [
      [most, 1, 1],
      [1, most, 1],
      [1, 40_000, 40_000],
      [1, 1, 100_000],
    ]) {
      const allocated = await countingAllocations(() =>
        refused(tensor(shape, [0, 0, 0]), 'a.pt', 'EPLB_FORMAT', /over a storage of 12: too many of each/),
      );
      assert.ok(allocated < 2 ** 20, `${allocated} bytes`);
    }
  });

  test('members of an archive lie inside it', async () => {
    const zip = torchFile({ logical_count: tensorPickle([1, 3, 4]) }, counts);
    assert.equal(await readAll(zip, 'a.pt'), 1);
    const central = zip.lastIndexOf(Buffer.from('PK\u0001\u0002', 'latin1'));
    const end = zip.lastIndexOf(Buffer.from('PK\u0005\u0006', 'latin1'));
    const changed = (at: number, value: number, width: 2 | 4) => {
      const out = Buffer.from(zip);
      out.writeUIntLE(value, at, width);
      return out;
    };
    const outside: [Buffer, RegExp][] = [
      [changed(central + 42, 2 ** 31, 4), /its header would begin at byte 2147483648, outside the file/],
      [changed(central + 42, 4, 4), /no header at byte 4, where the directory says/],
      [changed(end + 16, 2 ** 32 - 2, 4), /unexpected end of the file/],
      [changed(end + 10, 60_000, 2), /invalid central directory file header signature|unexpected end/],
      [changed(end + 4, 1, 2), /multi-disk/],
    ];
    const sizes = Buffer.from(zip);
    sizes.writeUInt32LE(2 ** 31, central + 20);
    sizes.writeUInt32LE(2 ** 31, central + 24);
    outside.push([sizes, /it would end at byte 21\d+, the file ends at byte/]);
    for (const [bytes, message] of outside) await refused(bytes, 'a.pt', 'EPLB_FORMAT', message);
  });

  test('a .npy shape that multiplies to what is there, through an overflow, is refused', async () => {
    // 2^32 x 2^32 is 0 in 64 bits.
    const header = "{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296, 0), }";
    await refused(
      npyFile({ descr: '|u1', shape: [], values: [], header }),
      'a.npy',
      'EPLB_SHAPE',
      /holds nothing/,
    );
    const wrapped = header.replace(', 0)', ', 1)');
    await refused(
      npyFile({ descr: '|u1', shape: [], values: [], header: wrapped }),
      'a.npy',
      'EPLB_FORMAT',
      /truncated/,
    );
  });
});

describe('records of SGLang that lie', () => {
  const counts = [Int32Array.from([0, 1, 0, 1]), Int32Array.from([5, 6, 7, 8])];
  const record = (pass: number, fields = '') =>
    `}(${text('forward_pass_id')}${whole(pass)}${text('rank')}${whole(0)}` +
    `${text('gatherer_key')}${text('primary')}` +
    `${fields || text('global_physical_count') + tensorPickle([2, 2], '1')}u`;
  const file = (records: string, map = tensorPickle([2, 2]), storages = counts) =>
    torchArchive(`}(${text('records')}](${records}e${text('last_physical_to_logical_map')}${map}u`, storages);

  test('are refused', async () => {
    assert.equal(await readAll(file(record(1) + record(2)), 'a.pt'), 2);
    const map = (...ids: number[]) => [Int32Array.from(ids), counts[1]!];
    const bad: [Buffer, string, RegExp][] = [
      [file(record(1) + record(1)), 'EPLB_FORMAT', /records\[1\]: pass 1 of rank 0 is recorded twice/],
      [file(''), 'EPLB_SHAPE', /it holds no forward pass/],
      [file('N'), 'EPLB_KIND', /records\[0\] is null; it must be a dict/],
      [file(record(1), 'N'), 'EPLB_KIND', /last_physical_to_logical_map is null; it must be a tensor/],
      [
        file(record(1), tensorPickle([4])),
        'EPLB_SHAPE',
        /has the shape \(4,\); \[layers, physical\] is wanted/,
      ],
      [
        file(record(1), undefined, map(0, 2, 0, 1)),
        'EPLB_RANGE',
        /has 2 at layer 0, slot 1; ids go from 0 to before the 2 slots/,
      ],
      [file(record(1), undefined, map(0, -2, 0, 1)), 'EPLB_RANGE', /has -2 at layer 0, slot 1/],
      [
        file(record(1), undefined, map(0, -1, 0, 0)),
        'EPLB_RANGE',
        /tokens went to slot 1 of layer 0, which is empty/,
      ],
      [
        file(record(1, text('other') + whole(1))),
        'EPLB_KIND',
        /a dict with a tensor global_physical_count or topk_ids/,
      ],
      [
        file(record(1, text('global_physical_count') + tensorPickle([4, 1], '1'))),
        'EPLB_SHAPE',
        /\(4, 1\); \(2, 2\) fits/,
      ],
      [
        file(record(1, text('topk_ids_of_layer') + tensorPickle([2, 1, 2], '1'))),
        'EPLB_RANGE',
        /slot 5 at layer 0; slots go from 0 to 1/,
      ],
      [
        file(record(1), undefined, [counts[0]!, Int32Array.from([1, 2, -3, 4])]),
        'EPLB_LOAD',
        /load -3 at layer 1, slot 0/,
      ],
    ];
    for (const [bytes, code, message] of bad) await refused(bytes, 'a.pt', code, message);
  });
});

describe('deep nesting and keys of prototypes', () => {
  test('JSON ten million deep is refused', async () => {
    const deep = Buffer.concat([Buffer.alloc(10_000_000, '['), Buffer.alloc(10_000_000, ']')]);
    await refused(deep, 'a.json', 'EPLB_FORMAT', /malformed JSON: nested more than 64 deep/);
    const objects = Buffer.alloc(10_000_000, '{"a":');
    await refused(objects, 'a.json', 'EPLB_FORMAT', /malformed JSON: nested more than 64 deep/);
  });

  test('keys of prototypes are found nowhere and change nothing', async () => {
    const before = Object.keys(Object.prototype).length;
    const hidden = [
      '{"__proto__": {"logical_count": [[1]]}}',
      '{"constructor": {"prototype": {"load_history": []}}}',
    ];
    for (const json of hidden)
      await refused(
        Buffer.from(json),
        'a.json',
        'EPLB_KIND',
        /an object with the keys "(__proto__|constructor)"/,
      );
    const line = '{"step": 0, "layer": 0, "loads": [1], "__proto__": {"step": 5}}';
    assert.equal(await readAll(Buffer.from(line), 'a.jsonl'), 1);
    const dict = `}(${text('__proto__')}${whole(1)}${text('logical_count')}${tensorPickle([1, 1, 2])}u`;
    assert.equal(await readAll(torchArchive(dict, [Int32Array.of(1, 2)]), 'a.pt'), 1);
    assert.equal(Object.keys(Object.prototype).length, before);
  });

  test('a pickle that refers to one list a million times is read without spreading it', async () => {
    const laughs = torchArchive(`]q\x00](${'h\x00'.repeat(1_000_000)}e`, []);
    await refused(laughs, 'a.pt', 'EPLB_KIND', /it holds a list of 1000000/);
  });
});
