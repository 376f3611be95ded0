/**
 * Files of tens of megabytes, good ones and ones that are made to take much memory, each written in a few
 * lines.
 */
import { gzipSync } from 'node:zlib';
import { npyFile } from './npy.ts';
import { tensorPickle, text, torchArchive, whole } from './torch.ts';
import { zipFile } from './zip.ts';

const MB = 1e6;

/** Size of the text files; those of packed data and of pickles, which take longer to read, have less. */
const SIZE = 32 * MB;

export interface LargeFile {
  readonly title: string;
  /** Name of the file, or of several in a directory. */
  readonly files: () => Readonly<Record<string, Uint8Array>>;
  readonly holds: 'loads' | 'placements';
  readonly options?: { readonly numExperts?: number; readonly format?: string };
  /** What reading it comes to: `read: json, ...` or the code and message of an error. */
  readonly outcome: RegExp;
}

/** Pieces one after the other: texts of bytes, and bytes. */
function joined(...parts: readonly (string | Uint8Array)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)));
}

/** A piece over and over, about so many bytes. */
function repeated(piece: string, size = SIZE): Buffer {
  return Buffer.alloc(Math.floor(size / piece.length) * piece.length, piece, 'latin1');
}

function numbered(size: number, piece: (i: number) => string): Buffer {
  const pieces: string[] = [];
  for (let length = 0; length < size; ) length += pieces[pieces.push(piece(pieces.length)) - 1]!.length;
  return Buffer.from(pieces.join(''), 'latin1');
}

const row = (length: number) => `[${'0,'.repeat(length - 1)}0]`;
const step = `[${Array(58).fill(row(256)).join(',')}]`;

/** A .npy file of one byte over and over. */
function evenNpy(
  descr: string,
  shape: readonly number[],
  fortranOrder = false,
  fill: number | Uint8Array = 1,
): Buffer {
  const count = shape.reduce((product, size) => product * size, 1);
  const head = npyFile({ descr, shape, values: [], fortranOrder });
  return joined(head, Buffer.alloc(count * Number(descr.slice(2)), fill));
}

const packed = (name: string, data: Uint8Array) => zipFile([{ name, data, isPacked: true }]);
const storage = (numNumbers: number) => Int32Array.from({ length: numNumbers }, (_, i) => i % 100);

/** SGLang's file of forward passes [2, 8], a tensor each. */
function passes(count: number): Buffer {
  const record = (pass: number) =>
    `}(${text('forward_pass_id')}${whole(pass)}${text('rank')}${whole(0)}` +
    `${text('gatherer_key')}${text('primary')}` +
    `${text('global_physical_count')}${tensorPickle([8, 64], String(pass + 1))}u`;
  const records = Array.from({ length: count }, (_, pass) => record(pass)).join('');
  const map = Int32Array.from({ length: 8 * 64 }, (_, i) => i % 64);
  return torchArchive(
    `}(${text('records')}](${records}e${text('last_physical_to_logical_map')}${tensorPickle([8, 64])}u`,
    [map, ...Array.from({ length: count }, () => storage(8 * 64))],
  );
}

/** TensorRT-LLM's counts of 58 layers, which may all be the same bytes of the file. */
function counts(numTensors: number, numExperts: number, isShared: boolean): Buffer {
  const entries = Array.from({ length: numTensors }, (_, i) => {
    const at = isShared ? 0 : i * numExperts * 4;
    const place = `"${Math.floor(i / 58)}_${i % 58}"`;
    return `${place}:{"dtype":"I32","shape":[${numExperts}],"data_offsets":[${at},${at + numExperts * 4}]}`;
  });
  const header = `{${entries.join(',')}}`;
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return joined(length, header, Buffer.alloc((isShared ? 1 : numTensors) * numExperts * 4, 1));
}

const loads = (
  title: string,
  name: string,
  bytes: () => Uint8Array,
  outcome: RegExp,
  options = {},
): LargeFile => ({ title, files: () => ({ [name]: bytes() }), holds: 'loads', options, outcome });

const placement = (title: string, name: string, bytes: () => Uint8Array, outcome: RegExp): LargeFile => ({
  title,
  files: () => ({ [name]: bytes() }),
  holds: 'placements',
  outcome,
});

const TOO_MANY = /^EPLB_FORMAT: .* its many small values would take more than \d+ bytes of memory$/;
const TOO_DEEP = /^EPLB_FORMAT: .* malformed JSON: nested more than 64 deep$/;

/** A good file of every format of loads. */
export const GOOD_LOADS: readonly LargeFile[] = [
  loads('npy', 'a.npy', () => evenNpy('<i4', [404, 58, 256]), /^read: npy, 404 x 58 x 256$/),
  loads('npy in Fortran order', 'a.npy', () => evenNpy('<f4', [404, 58, 256], true), /^read: npy, 404 x/),
  loads('npy of one step', 'a.npy', () => evenNpy('|u1', [1, 1000, 32_000]), /^read: npy, 1 x 1000 x 32000$/),
  loads(
    'npy of routes',
    'a.npy',
    () => evenNpy('|u1', [150_000, 20, 8], false, Uint8Array.of(9, 1, 2, 3, 4, 5, 6, 63)),
    /^read: npy, 1172 x 20 x 64$/,
    {
      numExperts: 64,
    },
  ),
  loads(
    'npz',
    'a.npz',
    () => packed('a.npy', evenNpy('<i4', [1616, 58, 256])),
    /^read: npz, 1616 x 58 x 256$/,
  ),
  loads(
    'npz in Fortran order',
    'a.npz',
    () => packed('a.npy', evenNpy('<i4', [1000, 58, 256], true)),
    /^read: npz, 1000 x 58 x 256$/,
  ),
  loads(
    'torch-tensor',
    'a.pt',
    () => torchArchive(tensorPickle([404, 58, 256]), [storage(404 * 58 * 256)]),
    /^read: torch-tensor, 404 x 58 x 256$/,
  ),
  loads(
    'sglang-stat',
    'a.pt',
    () =>
      torchArchive(`}(${text('logical_count')}${tensorPickle([404, 58, 256])}u`, [storage(404 * 58 * 256)]),
    /^read: sglang-stat, 404 x 58 x 256$/,
  ),
  loads('sglang-records', 'a.pt', () => passes(10_000), /^read: sglang-records, 10000 x 8 x 64$/),
  {
    title: 'tensorrt-llm',
    files: () => ({
      'meta_info.json': joined('{"num_experts": 256, "num_experts_per_token": 8}'),
      'rank0.safetensors': counts(58 * 300, 256, false),
    }),
    holds: 'loads',
    outcome: /^read: tensorrt-llm, 300 x 58 x 256$/,
  },
  loads(
    'json',
    'a.json',
    () => joined('{"logical_count": [', repeated(`${step},`), step, ']}'),
    /^read: json, \d+ x 58 x 256$/,
  ),
  loads(
    'json of short rows',
    'a.json',
    () => joined('[', repeated('[1],'), '[1]]'),
    /^read: json, 1 x 8000001 x 1$/,
  ),
  loads(
    'adrs',
    'a.json',
    () => {
      const entry = `{"logical_expert_load":${step}}`;
      return joined('{"load_history":[', repeated(`${entry},`), entry, ']}');
    },
    /^read: adrs, \d+ x 58 x 256$/,
  ),
  loads(
    'json-lines',
    'a.jsonl',
    () =>
      numbered(
        SIZE,
        (i) => `{"step":${Math.floor(i / 58)},"layer":${i % 58},"loads":${row(256)}}\n`,
      ).subarray(0, -1),
    /^(read: json-lines, \d+ x 58 x 256|EPLB_SHAPE: .*step \d+ has no layer \d+, which the first step has)$/,
  ),
  loads(
    'json-lines of one line',
    'a.jsonl',
    () => joined('{"step":0,"layer":0,"loads":[', repeated('0,'), '0]}'),
    /^read: json-lines, 1 x 1 x 16000001$/,
  ),
  loads(
    'msit-csv',
    'decode_0.csv',
    () => repeated(`${'0,'.repeat(255)}0\n`),
    /^read: msit-csv, 1 x 62500 x 256$/,
  ),
  loads(
    'msit-csv of short lines',
    'a.csv',
    () => repeated('1\n', 62_000_000),
    /^read: msit-csv, 1 x 31000000 x 1$/,
  ),
  loads(
    'omni-infer',
    'a.txt',
    () => repeated(`${'0\t'.repeat(255)}0\n`),
    /^read: omni-infer, 1 x 62500 x 256$/,
  ),
  loads(
    'csv-counts',
    'a.csv',
    () =>
      joined(
        'layer_id,expert_id,count\n',
        numbered(4 * MB, (i) => `${Math.floor(i / 256)},${i % 256},7\n`),
      ),
    /^read: csv-counts, 1 x \d+ x 256$/,
  ),
  loads(
    'fastdeploy-stats',
    'a.json',
    () => joined('{"tokens_per_expert_stats_list":[', repeated(`${row(256)},`, 8 * MB), row(256), ']}'),
    /^read: fastdeploy-stats, 1 x \d+ x 256$/,
  ),
  loads(
    'vllm-stats',
    'a.jsonl',
    () =>
      numbered(
        4 * MB,
        (i) =>
          `{"record_type":"eplb_load_stats","step":${i},"expert_load":${step},"p2l_map":[${Array(58)
            .fill(`[${Array.from({ length: 256 }, (_, slot) => slot).join(',')}]`)
            .join(',')}]}\n`,
      ),
    /^read: vllm-stats, \d+ x 58 x 256$/,
  ),
  loads(
    'megatron-trace',
    'a.jsonl',
    () =>
      numbered(
        4 * MB,
        (i) =>
          `{"step":${Math.floor(i / 58)},"layer":${i % 58},"rank":0,"top_indices":[${'[0,9,63],'.repeat(99)}[1,2,3]]}\n`,
      ),
    /^read: megatron-trace, \d+ x 58 x 64$/,
  ),
  loads(
    'npy, packed by gzip',
    'a.npy.gz',
    () => gzipSync(evenNpy('<i4', [1000, 58, 256])),
    /^read: npy, 1000 x 58 x 256$/,
  ),
];

/** Files that are made to take much memory, for every kind of reader of loads. */
export const HOSTILE_LOADS: readonly LargeFile[] = [
  loads(
    'routes of absurdly many layers',
    'a.npy',
    () => evenNpy('|u1', [1, SIZE, 1]),
    /^EPLB_SHAPE: .* too many for so small a file$/,
    {
      numExperts: 65_535,
    },
  ),
  loads(
    'a packed step of 200 MB',
    'a.npz',
    () => packed('a.npy', evenNpy('|u1', [1, 1000, 200_000])),
    /^EPLB_SHAPE: .* too many for so small a file$/,
  ),
  loads(
    'a tensor that repeats its numbers',
    'a.pt',
    () => {
      const dense = tensorPickle([1, 64, 4 * MB], '0', 4 * MB);
      // The stride of the second axis is 0, so that all 64 rows are one.
      return torchArchive(dense.replace(`(${whole(256 * MB)}${whole(4 * MB)}`, `(${whole(0)}${whole(0)}`), [
        storage(4 * MB),
      ]);
    },
    /^EPLB_SHAPE: .* too many for so small a file$/,
  ),
  loads('a pickle of lists', 'a.pt', () => torchArchive(']'.repeat(8 * MB), []), TOO_MANY),
  loads(
    'a pickle of tuples in tuples',
    'a.pt',
    () => torchArchive(`)${'\x85'.repeat(8 * MB)}`, []),
    TOO_MANY,
  ),
  loads(
    'a pickle of dicts',
    'a.pt',
    () => torchArchive(`](${`}${text('')}Ns`.repeat(1.5 * MB)}e`, []),
    TOO_MANY,
  ),
  loads(
    'a pickle that keeps all it can',
    'a.pt',
    () => torchArchive(`N${Array.from({ length: 2 * MB }, (_, i) => `r${whole(i).slice(1)}`).join('')}`, []),
    TOO_MANY,
  ),
  loads(
    'a pickle of one list a million times',
    'a.pt',
    () => torchArchive(`]q\x00](${'h\x00'.repeat(8 * MB)}e`, []),
    TOO_MANY,
  ),
  loads(
    'an archive of many members',
    'a.pt',
    () => {
      const others = Array.from({ length: 60_000 }, (_, i) => ({ name: `a/${i}`, data: Buffer.alloc(0) }));
      return zipFile([...others, { name: 'a/data.pkl', data: joined('\x80\x02N.') }]);
    },
    /^EPLB_KIND: .* it holds null/,
  ),
  loads('brackets alone', 'a.json', () => repeated('['), TOO_DEEP),
  loads('objects in objects', 'a.json', () => repeated('{"a":'), TOO_DEEP),
  loads(
    'empty arrays',
    'a.json',
    () => joined('[[', repeated('[],'), '[]]]'),
    /^EPLB_SHAPE: .* holds nothing/,
  ),
  loads(
    'empty objects',
    'a.json',
    () => joined('{"logical_count":[', repeated('{},'), '{}]}'),
    /^EPLB_SHAPE: .* nested 1 deep/,
  ),
  loads(
    'millions of keys',
    'a.json',
    () =>
      joined(
        '{',
        numbered(SIZE / 2, (i) => `"${i.toString(36)}":1,`),
        '"z":1}',
      ),
    /^EPLB_KIND: .* an object with the keys/,
  ),
  loads(
    'a number of millions of digits',
    'a.json',
    () => joined('[[', repeated('1'), ']]'),
    /^EPLB_LOAD: .* load Infinity/,
  ),
  loads(
    'a line of brackets',
    'a.jsonl',
    () => joined('{"step":0,"layer":0,"loads":', repeated('[')),
    /^EPLB_KIND: .* loads\[0\] is an array/,
  ),
  loads(
    'millions of empty lines',
    'a.jsonl',
    () => joined('{"step":0,"layer":0,"loads":[1]}', repeated('\n')),
    /^read: json-lines, 1 x 1 x 1$/,
  ),
  loads(
    'a step of many layers',
    'a.jsonl',
    () => numbered(12 * MB, (i) => `{"step":0,"layer":${i},"loads":[1]}\n`),
    /^read: json-lines, 1 x \d+ x 1$/,
  ),
  loads(
    'a line of blanks',
    'a.csv',
    () => joined('1', repeated(' '), 'x'),
    /^EPLB_KIND: .* is not a number$/,
  ),
  loads('counts that are all the same bytes', 'a.safetensors', () => counts(240_000, 1, true), TOO_MANY),
  loads(
    'counts that are all the same many bytes',
    'a.safetensors',
    () => counts(3000, 250_000, true),
    /^EPLB_SHAPE: .* too many for so small a file$/,
  ),
];

const slots = row(320);
const tables = (value: string) => joined('{"physical_to_logical_map":[', repeated(`${value},`), value, ']}');
const layersOf = (...rows: readonly (string | Uint8Array)[]) =>
  joined('initial_global_assignments:\n', ...rows);

/** A good file of every kind of placement. */
export const GOOD_PLACEMENTS: readonly LargeFile[] = [
  placement('sglang', 'a.json', () => tables(slots), /^read: sglang, \d+ x 320$/),
  placement(
    'sglang, of tensors',
    'a.pt',
    () =>
      torchArchive(`}(${text('physical_to_logical_map')}${tensorPickle([6000, 1000])}u`, [storage(6 * MB)]),
    /^read: sglang, 6000 x 1000$/,
  ),
  placement(
    'sglang, of lists',
    'a.pt',
    () =>
      torchArchive(
        `}(${text('physical_to_logical_map')}](${`](${'K\x01'.repeat(320)}e`.repeat(25_000)}eu`,
        [],
      ),
    /^read: sglang, 25000 x 320$/,
  ),
  placement(
    'vllm-ascend',
    'expert_map.json',
    () => {
      const device = `{"device_id":0,"device_expert":${row(40)}}`;
      const layer = `{"layer_id":0,"device_list":[${Array(32).fill(device).join(',')}]}`;
      return joined('{"layer_list":[', repeated(`${layer},`), layer, ']}');
    },
    /^read: vllm-ascend, \d+ x 1280$/,
  ),
  placement(
    'tensorrt-llm',
    'a.yaml',
    () => layersOf(numbered(SIZE, (i) => `  ${i}: ${row(20_000)}\n`)),
    /^read: tensorrt-llm, \d+ x 20000$/,
  ),
  placement(
    'tensorrt-llm in lines',
    'a.yaml',
    () => layersOf(numbered(SIZE, (i) => `  ${i}:\n${'    - 1\n'.repeat(20_000)}`)),
    /^read: tensorrt-llm, \d+ x 20000$/,
  ),
  placement(
    'omni-infer',
    'a.npy',
    () => evenNpy('|i1', [10, 100, 12_000]),
    /^read: omni-infer, 100 x 120000$/,
  ),
  placement('tables-npy', 'a.npy', () => evenNpy('|i1', [240_000, 100]), /^read: tables-npy, 240000 x 100$/),
  placement(
    'tables-npy of half floats',
    'a.npy',
    () => evenNpy('<f2', [12_000, 1000], false, 0),
    /^read: tables-npy, 12000 x 1000$/,
  ),
  placement(
    'tables-npz',
    'a.npz',
    () => {
      const values = new Array<number>(320 * 1024).fill(-1);
      for (let expert = 0; expert < 320; expert++) values[1024 * expert] = expert;
      const table = npyFile({ descr: '<i8', shape: [1, 320, 1024], values });
      const layer = table.subarray(128);
      const head = npyFile({ descr: '<i8', shape: [32, 320, 1024], values: [] });
      return packed('logical_to_physical_map.npy', joined(head, ...Array<Uint8Array>(32).fill(layer)));
    },
    /^read: tables-npz, 32 x 320$/,
  ),
  placement(
    'tables-json',
    'a.json',
    () => {
      const layer = `[${Array.from({ length: 256 }, (_, expert) => `[${expert}]`).join(', ')}]`;
      return joined('{"logical_to_physical_map": [', repeated(`${layer}, `, 4 * MB), layer, ']}');
    },
    /^read: tables-json, \d+ x 256$/,
  ),
  placement(
    'vllm-map',
    'a.json',
    () => joined('[', repeated('0,1,2,3,', 8 * MB), '4]'),
    /^read: vllm-map, 1 x \d+$/,
  ),
  placement(
    'vllm-mapping',
    'a.jsonl',
    () =>
      joined(
        '{"record_type":"eplb_initial_mapping","version":1,"num_slots":320,"initial_global_assignments":{',
        numbered(4 * MB, (i) => `${i === 0 ? '' : ','}"${i}":${slots}`),
        '}}',
      ),
    /^read: vllm-mapping, \d+ x 320$/,
  ),
  placement(
    'fastdeploy',
    'a.json',
    () => joined('{"ep_rank_to_expert_id_list":[', repeated('[0,1,2,3],', 4 * MB), '[0,1,2,3]]}'),
    /^read: fastdeploy, \d+ x 4$/,
  ),
  placement(
    'vllm-expert-map',
    'a.npy',
    () =>
      evenNpy(
        '|i1',
        [4000, 16, 64],
        false,
        Uint8Array.of(...Array.from({ length: 64 }, (_, i) => (i < 8 ? i : 255))),
      ),
    /^read: vllm-expert-map, 4000 x 128$/,
  ),
  {
    ...placement(
      'vllm-ascend-npy',
      'a.npy',
      () => evenNpy('|i1', [4000, 16, 64]),
      /^read: vllm-ascend-npy, 4000 x 1024$/,
    ),
    options: { format: 'vllm-ascend-npy' },
  },
];

/** Files that are made to take much memory, for every kind of reader of placements. */
export const HOSTILE_PLACEMENTS: readonly LargeFile[] = [
  placement('brackets alone', 'a.json', () => repeated('['), TOO_DEEP),
  placement('empty arrays', 'a.json', () => tables('[]'), TOO_MANY),
  placement('arrays of one number', 'a.json', () => tables('[0]'), TOO_MANY),
  placement('empty objects', 'a.json', () => joined('{"layer_list":[', repeated('{},'), '{}]}'), TOO_MANY),
  placement(
    'devices of one expert',
    'a.json',
    () =>
      joined(
        '{"layer_list":[{"device_list":[',
        repeated('{"device_expert":[0]},'),
        '{"device_expert":[0]}]}]}',
      ),
    TOO_MANY,
  ),
  placement(
    'millions of keys',
    'a.json',
    () =>
      joined(
        '{',
        numbered(SIZE / 2, (i) => `"${i.toString(36)}":1,`),
        '"layer_list":1}',
      ),
    TOO_MANY,
  ),
  placement(
    'a packed table of 200 MB',
    'a.npz',
    () => packed('physical_to_logical_map.npy', evenNpy('|i1', [1000, 200_000])),
    /^EPLB_FORMAT: .* is too long for a table in so small a file$/,
  ),
  placement(
    'YAML of one list',
    'a.yaml',
    () => layersOf('  0:\n', repeated('    - 1\n')),
    /^read: tensorrt-llm, 1 x 4000000$/,
  ),
  placement(
    'YAML of brackets',
    'a.yaml',
    () => layersOf('  0: ', repeated('[')),
    /^EPLB_FORMAT: .* bytes beside its rows of numbers$/,
  ),
  placement(
    'YAML of lists in lists',
    'a.yaml',
    () => layersOf('  0:\n', repeated('- ')),
    /^EPLB_FORMAT: .* bytes beside its rows/,
  ),
  placement(
    'YAML of commas',
    'a.yaml',
    () => layersOf('  0: [', repeated(','), ']'),
    /^EPLB_FORMAT: .* in a row is not a whole number$/,
  ),
  placement(
    'YAML of anchors',
    'a.yaml',
    () => layersOf(numbered(SIZE, (i) => `  ${i}: &a${i} [0]\n`)),
    /^EPLB_FORMAT: .* bytes beside its rows/,
  ),
  placement(
    'YAML of aliases',
    'a.yaml',
    () =>
      layersOf(
        `  0: &a ${row(40_000)}\n`,
        numbered(30_000, (i) => `  ${i + 1}: *a\n`),
      ),
    /^EPLB_SHAPE: .* numbers would make a table of/,
  ),
  placement(
    'YAML of comments',
    'a.yaml',
    () => joined('num_slots: 1\n', repeated('# \n')),
    /^EPLB_KIND: .* it places nothing/,
  ),
  placement(
    'YAML of a long number',
    'a.yaml',
    () => joined('num_slots: ', repeated('1')),
    /^EPLB_FORMAT: .* bytes beside its rows/,
  ),
];
