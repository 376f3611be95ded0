import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  computeBalancedPacking,
  computeExpertReplication,
  computeLoadImbalance,
  DefaultEplbPolicy,
  type LoadMatrix,
} from 'expert-load-balancer';
import {
  loadsArbitrary,
  packProblemArbitrary,
  rowProblemArbitrary,
  sizeArbitrary,
} from '../helpers/arbitraries.ts';
import { type Refusal, refusal } from '../helpers/library.ts';
import { assertForAll } from '../helpers/property.ts';
import { balancedPacking, replicateExperts } from '../oracle/default-policy.ts';
import { loadImbalance } from '../oracle/imbalance.ts';

const policy = new DefaultEplbPolicy();
const pack = [computeBalancedPacking, policy.balancedPacking.bind(policy)];
const replicate = [computeExpertReplication, policy.replicateExperts.bind(policy)];

/** Three rows: the loads, the loads backwards, the loads again. */
const threeRows = (weight: number[]) => [weight, weight.toReversed(), weight];

const flat = (rows: number[][]): LoadMatrix => ({
  data: Float32Array.from(rows.flat()),
  numLayers: rows.length,
  numExperts: rows[0]!.length,
});

const ints = (rows: readonly (readonly number[])[]) => Int32Array.from(rows.flat());

test('balanced packing equals the oracle, row by row, from nested and flat loads', () => {
  assertForAll(packProblemArbitrary, { small: 500, large: 50 }, ({ weight, numPacks }) => {
    const rows = threeRows(weight);
    const expected = rows.map((row) => balancedPacking(row, numPacks));
    for (const packing of [
      ...pack.map((run) => run(rows, numPacks)),
      computeBalancedPacking(flat(rows), numPacks),
    ]) {
      assert.deepEqual(packing, {
        packIndex: ints(expected.map((row) => row.packIndex)),
        rankInPack: ints(expected.map((row) => row.rankInPack)),
      });
    }
  });
});

test('expert replication equals the oracle, layer by layer, from nested and flat loads', () => {
  assertForAll(rowProblemArbitrary, { small: 500, large: 50 }, ({ weight, numSlots }) => {
    const rows = threeRows(weight);
    const expected = rows.map((row) => replicateExperts(row, numSlots));
    for (const given of [
      ...replicate.map((run) => run(rows, numSlots)),
      computeExpertReplication(flat(rows), numSlots),
    ]) {
      assert.deepEqual(given, {
        phyToLog: ints(expected.map((row) => row.phyToLog)),
        rank: ints(expected.map((row) => row.rank)),
        logCount: ints(expected.map((row) => row.count)),
      });
    }
  });
});

test('load imbalance equals the oracle, from arrays and typed arrays', () => {
  const rows = (max: number) => sizeArbitrary(max).chain(loadsArbitrary);
  assertForAll(rows, { small: 1000, large: 100 }, (loads) => {
    const expected = loadImbalance(loads);
    assert.equal(computeLoadImbalance(loads), expected);
    assert.equal(computeLoadImbalance(Float32Array.from(loads)), expected);
    assert.equal(computeLoadImbalance(Float64Array.from(loads)), expected);
  });
});

test('loads beyond float32 are rounded to it once', () => {
  // 0.1 and the next double are one float32: a tie, which goes to the lowest index.
  const { phyToLog } = computeExpertReplication([[0.1, 0.10000000000000002]], 3);
  assert.deepEqual(phyToLog, Int32Array.of(0, 1, 0));
});

test('results are the caller’s own', () => {
  const [first, second] = [
    computeBalancedPacking([[4, 3, 2, 1]], 2),
    computeBalancedPacking([[1, 2, 3, 4]], 2),
  ];
  assert.deepEqual([...first.packIndex], [0, 1, 1, 0]);
  first.packIndex.fill(9);
  assert.deepEqual([...second.packIndex], [0, 1, 1, 0]);
});

test('a problem larger than all before it grows the memory', () => {
  const weight = Array.from({ length: 50_000 }, (_, i) => (i * 7919) % 1013);
  const { phyToLog } = computeExpertReplication([weight], 200_000);
  assert.equal(phyToLog.length, 200_000);
  const { packIndex } = computeBalancedPacking([weight], 50_000);
  assert.deepEqual([...packIndex.subarray(0, 3)], [0, 1, 2]);
  assert.equal(computeLoadImbalance(weight), 1012);
});

/** Loads that every function refuses, as rows of loads. */
const badRows: readonly (readonly [rows: unknown, ...Refusal])[] = [
  [[[1, Number.NaN]], 'range', 'EPLB_LOAD', /layer 0.*index 1.*NaN/],
  [
    [
      [1, 2],
      [-1, 2],
    ],
    'range',
    'EPLB_LOAD',
    /layer 1.*index 0.*-1/,
  ],
  [[[1, Number.POSITIVE_INFINITY]], 'range', 'EPLB_LOAD', /layer 0.*index 1.*Infinity/],
  [[[1, 1e39]], 'range', 'EPLB_LOAD', /layer 0.*index 1.*1e\+39.*float32/],
  [[[1, '2']], 'type', 'EPLB_KIND', /layer 0.*index 1.*"2"/],
  [[[1, 2n]], 'type', 'EPLB_KIND', /layer 0.*index 1.*2n/],
  [[[1, null]], 'type', 'EPLB_KIND', /layer 0.*index 1.*null/],
  // biome-ignore lint/suspicious/noSparseArray: a hole is not a load
  [[[1, ,]], 'type', 'EPLB_KIND', /layer 0.*index 1.*undefined/],
  [[[1, 2], [1]], 'range', 'EPLB_SHAPE', /layer 1.*1 loads, not 2/],
  [[[1, 2], 'ab'], 'type', 'EPLB_KIND', /layer 1.*"ab"/],
  [[], 'range', 'EPLB_SHAPE', /no loads/],
  [[[]], 'range', 'EPLB_SHAPE', /no loads/],
  [undefined, 'type', 'EPLB_KIND', /undefined/],
  [null, 'type', 'EPLB_KIND', /null/],
  ['text', 'type', 'EPLB_KIND', /"text"/],
  [Float32Array.of(1, 2), 'type', 'EPLB_KIND', /Float32Array of length 2/],
  [{ data: [1, 2], numLayers: 1, numExperts: 2 }, 'type', 'EPLB_KIND', /load matrix/],
  [{ data: Float32Array.of(1, 2), numLayers: 1, numExperts: 3 }, 'range', 'EPLB_SHAPE', /2 loads, not 1 x 3/],
  [{ data: Float32Array.of(1, 2), numLayers: 0, numExperts: 2 }, 'range', 'EPLB_RANGE', /numLayers.*0/],
  [{ data: Float32Array.of(1, 2), numLayers: 1 }, 'type', 'EPLB_KIND', /numExperts.*undefined/],
  [
    { data: Float32Array.of(1, -2), numLayers: 1, numExperts: 2 },
    'range',
    'EPLB_LOAD',
    /layer 0.*index 1.*-2/,
  ],
];

test('bad loads are refused by both functions', () => {
  for (const [rows, ...expected] of badRows) {
    for (const run of pack) assert.throws(() => run(rows as number[][], 1), refusal(...expected));
    for (const run of replicate) assert.throws(() => run(rows as number[][], 2), refusal(...expected));
  }
});

test('a missing row is refused, not read as zeros', () => {
  // biome-ignore lint/suspicious/noSparseArray: the row that is missing
  const rows = [[1, 2], , [1, 2]] as number[][];
  for (const run of [...pack, ...replicate]) {
    assert.throws(() => run(rows, 2), refusal('type', 'EPLB_KIND', /layer 1/));
  }
});

test('bad numbers of packs and slots are refused', () => {
  const bad: readonly (readonly [packs: unknown, ...Refusal])[] = [
    [0, 'range', 'EPLB_RANGE', /numPacks.*0/],
    [-2, 'range', 'EPLB_RANGE', /numPacks.*-2/],
    [1.5, 'range', 'EPLB_NOT_WHOLE', /numPacks.*1\.5/],
    [Number.NaN, 'range', 'EPLB_NOT_WHOLE', /numPacks.*NaN/],
    ['2', 'type', 'EPLB_KIND', /numPacks.*"2"/],
    [undefined, 'type', 'EPLB_KIND', /numPacks.*undefined/],
    [3, 'range', 'EPLB_TOPOLOGY', /4.*numPacks 3/],
    [8, 'range', 'EPLB_TOPOLOGY', /4.*numPacks 8/],
  ];
  for (const [packs, ...expected] of bad) {
    for (const run of pack) assert.throws(() => run([[1, 2, 3, 4]], packs as number), refusal(...expected));
  }
  const badSlots: readonly (readonly [slots: unknown, ...Refusal])[] = [
    [3, 'range', 'EPLB_RANGE', /numPhysical.*3.*4/],
    [4.5, 'range', 'EPLB_NOT_WHOLE', /numPhysical.*4\.5/],
    [2 ** 40, 'range', 'EPLB_RANGE', /numPhysical.*1099511627776/],
    ['4', 'type', 'EPLB_KIND', /numPhysical.*"4"/],
  ];
  for (const [slots, ...expected] of badSlots) {
    for (const run of replicate)
      assert.throws(() => run([[1, 2, 3, 4]], slots as number), refusal(...expected));
  }
});

test('load imbalance refuses what is not a row of loads', () => {
  const bad: readonly (readonly [loads: unknown, ...Refusal])[] = [
    [undefined, 'type', 'EPLB_KIND', /loads.*undefined/],
    [null, 'type', 'EPLB_KIND', /loads/],
    [7, 'type', 'EPLB_KIND', /loads/],
    ['12', 'type', 'EPLB_KIND', /loads.*"12"/],
    [[], 'range', 'EPLB_SHAPE', /loads.*0/],
    [BigInt64Array.of(1n), 'type', 'EPLB_KIND', /BigInt64Array/],
    [new DataView(new ArrayBuffer(8)), 'type', 'EPLB_KIND', /loads/],
    [[1, Number.NaN], 'range', 'EPLB_LOAD', /index 1.*NaN/],
    [Int8Array.of(1, -1), 'range', 'EPLB_LOAD', /index 1.*-1/],
    [Float64Array.of(1, 1e300), 'range', 'EPLB_LOAD', /index 1.*1e\+300.*float32/],
    [['1'], 'type', 'EPLB_KIND', /index 0.*"1"/],
  ];
  for (const [loads, ...expected] of bad) {
    assert.throws(() => computeLoadImbalance(loads as number[]), refusal(...expected));
  }
});

test('the imbalance of a load matrix is over all of its entries, nested or flat', () => {
  const nested = [
    [100, 10],
    [1, 5],
  ];
  assert.equal(computeLoadImbalance(nested), 100);
  assert.equal(computeLoadImbalance(nested.map((row) => Float32Array.from(row)) as never), 100);
  assert.equal(
    computeLoadImbalance({ data: Float32Array.from(nested.flat()), numLayers: 2, numExperts: 2 }),
    100,
  );
  assert.equal(computeLoadImbalance([[0, 0]]), 1);
  assert.equal(
    computeLoadImbalance([
      [0, 3],
      [0, 0],
    ]),
    1,
  );
  const refuses = (loads: unknown, ...expected: Parameters<typeof refusal>) =>
    assert.throws(() => computeLoadImbalance(loads as number[]), refusal(...expected));
  refuses([[1, 2], [3]], 'range', 'EPLB_SHAPE', /layer 1: has 1 loads, not 2/);
  refuses(
    [
      [1, 2],
      [3, -1],
    ],
    'range',
    'EPLB_LOAD',
    /layer 1, index 1: -1/,
  );
  refuses([[1, 2], 3], 'type', 'EPLB_KIND', /layer 1: 3/);
  refuses(
    { data: Float32Array.of(1, Number.NaN), numLayers: 2, numExperts: 1 },
    'range',
    'EPLB_LOAD',
    /layer 1, index 0: NaN/,
  );
  refuses(new Array(2 ** 28), 'type', 'EPLB_KIND', /index 0: undefined/);
});
