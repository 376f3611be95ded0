import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExpertMapping, type ExpertMappingInit } from 'expert-load-balancer';
import { type Refusal, refusal } from '../helpers/library.ts';

const valid = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0]]);

/** Tables that are not a mapping, and what is said about them. */
const badTables: readonly (readonly [title: string, init: object, ...Refusal])[] = [
  [
    'no expert 1',
    {
      phyToLog: [
        [0, 1],
        [0, 0],
      ],
    },
    'range',
    'EPLB_MAPPING',
    /layer 1.*expert 1 /,
  ],
  [
    'no last expert',
    { phyToLog: [[0, 1]], numLogicalExperts: 3 },
    'range',
    'EPLB_MAPPING',
    /layer 0.*expert 2 /,
  ],
  [
    'expert beyond',
    { phyToLog: [[0, 5]], numLogicalExperts: 2 },
    'range',
    'EPLB_MAPPING',
    /layer 0.*slot 1 .*5.*0 to 1/,
  ],
  [
    '-2',
    {
      phyToLog: [
        [0, 1],
        [1, -2],
      ],
    },
    'range',
    'EPLB_MAPPING',
    /layer 1.* 1.*-2/,
  ],
  [
    '-2, flat',
    { phyToLog: Int32Array.of(0, -2), numLayers: 1 },
    'range',
    'EPLB_MAPPING',
    /layer 0.*slot 1 .*-2/,
  ],
  ['only empty slots', { phyToLog: [[-1, -1]] }, 'range', 'EPLB_MAPPING', /layer 0.*expert 0 /],
  ['a fraction', { phyToLog: [[0, 0.5]] }, 'range', 'EPLB_NOT_WHOLE', /layer 0.* 1.*0\.5/],
  ['not a number', { phyToLog: [[0, Number.NaN]] }, 'range', 'EPLB_NOT_WHOLE', /layer 0.* 1.*NaN/],
  ['a string', { phyToLog: [[0, '1']] }, 'type', 'EPLB_KIND', /layer 0.* 1.*"1"/],
  ['null', { phyToLog: [[0, null]] }, 'type', 'EPLB_KIND', /layer 0.* 1.*null/],
  // biome-ignore lint/suspicious/noSparseArray: a hole is not an expert
  ['a hole', { phyToLog: [[0, , 1]] }, 'type', 'EPLB_KIND', /layer 0.* 1.*undefined/],
  // biome-ignore lint/suspicious/noSparseArray: a hole is not a row
  ['a missing row', { phyToLog: [[0], , [0]] }, 'type', 'EPLB_KIND', /layer 1/],
  ['a row that is not an array', { phyToLog: [[0, 1], 'ab'] }, 'type', 'EPLB_KIND', /layer 1/],
  [
    'ragged rows',
    {
      phyToLog: [
        [0, 1],
        [0, 1, 1],
      ],
    },
    'range',
    'EPLB_SHAPE',
    /layer 1.*3.*2/,
  ],
  ['no rows', { phyToLog: [] }, 'range', 'EPLB_SHAPE', /phyToLog/],
  ['empty rows', { phyToLog: [[]] }, 'range', 'EPLB_SHAPE', /phyToLog/],
  ['no table', {}, 'type', 'EPLB_KIND', /phyToLog.*undefined/],
  ['a table of strings', { phyToLog: 'abc' }, 'type', 'EPLB_KIND', /phyToLog.*"abc"/],
  [
    'another typed array',
    { phyToLog: Float32Array.of(0), numLayers: 1 },
    'type',
    'EPLB_KIND',
    /phyToLog.*Float32Array/,
  ],
  ['flat without layers', { phyToLog: Int32Array.of(0, 1) }, 'type', 'EPLB_KIND', /numLayers.*undefined/],
  [
    'layers that do not divide',
    { phyToLog: Int32Array.of(0, 1, 0), numLayers: 2 },
    'range',
    'EPLB_SHAPE',
    /3.*2 layers/,
  ],
  ['flat and empty', { phyToLog: new Int32Array(0), numLayers: 1 }, 'range', 'EPLB_SHAPE', /0 slots/],
  ['layers that disagree', { phyToLog: [[0]], numLayers: 2 }, 'range', 'EPLB_SHAPE', /1 layers, not 2/],
  [
    'layers that are a symbol',
    { phyToLog: [[0]], numLayers: Symbol('two') },
    'range',
    'EPLB_SHAPE',
    /not Symbol\(two\)/,
  ],
  [
    'experts not whole',
    { phyToLog: [[0]], numLogicalExperts: 1.5 },
    'range',
    'EPLB_NOT_WHOLE',
    /numLogicalExperts.*1\.5/,
  ],
  [
    'experts as text',
    { phyToLog: [[0]], numLogicalExperts: '1' },
    'type',
    'EPLB_KIND',
    /numLogicalExperts.*"1"/,
  ],
  [
    'more experts than slots',
    { phyToLog: [[0, 1]], numLogicalExperts: 2 ** 24 },
    'range',
    'EPLB_MAPPING',
    /16777216|layer 0.*expert 2 /,
  ],
  [
    'wrong count',
    { phyToLog: [[0, 1, 0]], replicaCount: [[1, 1]] },
    'range',
    'EPLB_MAPPING',
    /layer 0.*1.*expert 0.*2/,
  ],
  ['short counts', { phyToLog: [[0, 1]], replicaCount: [[1]] }, 'range', 'EPLB_SHAPE', /replicaCount.*1.*2/],
  [
    'counts of more layers',
    { phyToLog: [[0]], replicaCount: [[1], [1]] },
    'range',
    'EPLB_SHAPE',
    /replicaCount.*2.*1/,
  ],
  ['counts, a number', { phyToLog: [[0]], replicaCount: 5 }, 'type', 'EPLB_KIND', /replicaCount.*5/],
  ['counts, null', { phyToLog: [[0]], replicaCount: null }, 'type', 'EPLB_KIND', /replicaCount.*null/],
  [
    'slot of another',
    { phyToLog: [[0, 1]], logToPhy: [[[1], [0]]] },
    'range',
    'EPLB_MAPPING',
    /layer 0.*expert 0.*slot 1/,
  ],
  [
    'slot out of range',
    { phyToLog: [[0, 1]], logToPhy: [[[0], [2]]] },
    'range',
    'EPLB_MAPPING',
    /layer 0.*expert 1.*slot 2/,
  ],
  [
    'slot named twice',
    { phyToLog: [[0, 0]], logToPhy: [[[0, 0]]] },
    'range',
    'EPLB_MAPPING',
    /layer 0.*slot 0 twice/,
  ],
  [
    'slot left out',
    { phyToLog: [[0, 0]], logToPhy: [[[0]]] },
    'range',
    'EPLB_MAPPING',
    /layer 0.*1 slots.*expert 0.*2/,
  ],
  [
    'expert left out',
    { phyToLog: [[0, 1]], logToPhy: [[[0]]] },
    'type',
    'EPLB_KIND',
    /logToPhy.*layer 0.*expert 1/,
  ],
  [
    'an expert too many',
    { phyToLog: [[0, 1]], logToPhy: [[[0], [1], [1]]] },
    'range',
    'EPLB_SHAPE',
    /logToPhy.*3.*2/,
  ],
  [
    'a layer too many',
    { phyToLog: [[0]], logToPhy: [[[0]], [[0]]] },
    'range',
    'EPLB_SHAPE',
    /logToPhy.*2.*1/,
  ],
  ['logToPhy, null', { phyToLog: [[0]], logToPhy: null }, 'type', 'EPLB_KIND', /logToPhy.*null/],
  [
    'flat logToPhy',
    { phyToLog: [[0, 1]], logToPhy: Int32Array.of(0, 1, 1) },
    'range',
    'EPLB_SHAPE',
    /logToPhy.*3.*1 x 2/,
  ],
];

for (const [title, init, ...expected] of badTables) {
  test(`no mapping: ${title}`, () => {
    assert.throws(() => new ExpertMapping(init as ExpertMappingInit), refusal(...expected));
    if ('phyToLog' in init) assert.throws(() => ExpertMapping.fromJSON(init), refusal(...expected));
  });
}

test('no mapping: not even an object', () => {
  for (const value of [undefined, null, 5, 'abc', true, []]) {
    assert.throws(() => ExpertMapping.fromJSON(value), refusal('type', 'EPLB_KIND', /mapping: /));
    assert.throws(() => new ExpertMapping(value as never), refusal('type', 'EPLB_KIND', /mapping: /));
  }
});

test('no mapping: bytes that are cut, changed or of another kind', () => {
  const bytes = valid.toBytes();
  const changed = (at: number, value: number) => bytes.map((byte, i) => (i === at ? value : byte));
  const refuses = (value: unknown, ...expected: Refusal) =>
    assert.throws(() => ExpertMapping.fromBytes(value as Uint8Array), refusal(...expected));
  for (let length = 0; length < bytes.length; length++) {
    refuses(
      bytes.subarray(0, length),
      'range',
      'EPLB_FORMAT',
      new RegExp(`${length < 20 ? length : length - 20} bytes`),
    );
  }
  refuses(changed(0, 0), 'range', 'EPLB_FORMAT', /EPLB/);
  refuses(changed(4, 2), 'range', 'EPLB_FORMAT', /version 1/);
  refuses(changed(8, 2), 'range', 'EPLB_FORMAT', /16 bytes.*2 x 4/);
  refuses(changed(16, 4), 'range', 'EPLB_MAPPING', /layer 0.*expert 3/);
  refuses(changed(20, 9), 'range', 'EPLB_MAPPING', /layer 0.*slot 0.*9/);
  refuses('EPLB', 'type', 'EPLB_KIND', /"EPLB"|Uint8Array/);
  refuses(Array.from(bytes), 'type', 'EPLB_KIND', /Uint8Array/);
});

test('no mapping: a snapshot of no layers, or of no slots', () => {
  for (const at of [8, 12]) {
    const header = valid.toBytes().slice(0, 20);
    header[at] = 0;
    assert.throws(() => ExpertMapping.fromBytes(header), refusal('range', 'EPLB_FORMAT', /0/));
  }
});

test('no mapping: a small file cannot claim experts that would fill the memory', () => {
  // 4,000 layers of one slot each, and 2^24 experts: 256 GiB of counts.
  const bytes = new Uint8Array(20 + 4 * 4000);
  bytes.set(valid.toBytes().subarray(0, 8));
  new DataView(bytes.buffer).setUint32(8, 4000, true);
  new DataView(bytes.buffer).setUint32(12, 1, true);
  new DataView(bytes.buffer).setUint32(16, 2 ** 24, true);
  assert.throws(() => ExpertMapping.fromBytes(bytes), refusal('range', 'EPLB_MAPPING', /expert/));
});

test('mappings are compared with mappings of their own shape only', () => {
  const narrow = ExpertMapping.fromPhysicalToLogical([[0, 1, 2]]);
  assert.equal(valid.equals(narrow), false);
  assert.throws(() => valid.movesFrom(narrow, 1), refusal('range', 'EPLB_SHAPE', /previous.*1 x 3.*1 x 4/));
  assert.throws(() => valid.movesFrom(valid, 3), refusal('range', 'EPLB_TOPOLOGY', /numRanks.*3.*4/));
  assert.throws(() => valid.movesFrom(valid, 0), refusal('range', 'EPLB_RANGE', /numRanks.*0/));
  assert.throws(() => valid.movesFrom(valid, 1.5), refusal('range', 'EPLB_NOT_WHOLE', /numRanks.*1\.5/));
  for (const other of [undefined, null, {}, valid.toJSON()]) {
    assert.throws(() => valid.movesFrom(other as never, 1), refusal('type', 'EPLB_KIND', /previous: /));
    assert.throws(() => valid.equals(other as never), refusal('type', 'EPLB_KIND', /other: /));
  }
});
