import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
  ExpertMapping,
  type LoadMatrix,
  LocalityAwarePolicy,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { type Refusal, refusal, SEED, stateOf, withBalancer } from '../helpers/library.ts';

const good = {
  numLayers: 2,
  numLogicalExperts: 4,
  numPhysicalExperts: 6,
  numRanks: 2,
  windowSize: 3,
  threads: 0,
} as const;

/** Options of a balancer that are refused, each in place of a good one. */
const badOptions: readonly (readonly [options: object, ...Refusal])[] = [
  [
    { numPhysicalExperts: 2 },
    'range',
    'EPLB_TOPOLOGY',
    /numPhysicalExperts: 2 is less than numLogicalExperts 4/,
  ],
  [
    { numPhysicalExperts: 7 },
    'range',
    'EPLB_TOPOLOGY',
    /numPhysicalExperts: 7 is not a multiple of numRanks 2/,
  ],
  [{ numNodes: 4 }, 'range', 'EPLB_TOPOLOGY', /numRanks: 2 is not a multiple of numNodes 4/],
  [{ numGroups: 3 }, 'range', 'EPLB_TOPOLOGY', /numLogicalExperts: 4 is not a multiple of numGroups 3/],
  [{ numLayers: 0 }, 'range', 'EPLB_RANGE', /numLayers: 0 .*1/],
  [{ numRanks: -2 }, 'range', 'EPLB_RANGE', /numRanks: -2 .*1/],
  [{ windowSize: 0 }, 'range', 'EPLB_RANGE', /windowSize: 0 .*1/],
  [{ threads: -1 }, 'range', 'EPLB_RANGE', /threads: -1 .*0/],
  [{ threads: 5000 }, 'range', 'EPLB_RANGE', /threads: 5000 /],
  [{ policy: 'default' }, 'type', 'EPLB_KIND', /policy: "default"/],
  [{ policy: 'file:///policy.mjs' }, 'type', 'EPLB_KIND', /policy: "file:\/\/\/policy.mjs".*URL/],
  [{ policy: null }, 'type', 'EPLB_KIND', /policy: null/],
  [{ policy: { name: 'x' } }, 'type', 'EPLB_KIND', /policy: an Object/],
  [{ policy: () => {} }, 'type', 'EPLB_KIND', /policy: a function/],
];

const whole = [
  ...['numLayers', 'numLogicalExperts', 'numPhysicalExperts', 'numRanks', 'numNodes', 'numGroups'],
  ...['windowSize', 'threads'],
];

test('sizes that are not whole numbers are refused', () => {
  const kinds = [
    ['4', '"4"'],
    [4n, '4n'],
    [{}, 'an Object'],
    [[4], 'an Array of length 1'],
    [true, 'true'],
  ] as const;
  for (const field of whole) {
    const refuses = (value: unknown, ...expected: Refusal) =>
      assert.throws(() => new ExpertLoadBalancer({ ...good, [field]: value }), refusal(...expected));
    for (const value of [1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      refuses(value, 'range', 'EPLB_NOT_WHOLE', new RegExp(`${field}: ${value} .*whole`));
    }
    for (const [value, text] of kinds) refuses(value, 'type', 'EPLB_KIND', new RegExp(`${field}: ${text}`));
  }
});

test('options that do not fit each other are refused', () => {
  for (const [options, ...expected] of badOptions) {
    const make = () => new ExpertLoadBalancer({ ...good, ...options } as ExpertLoadBalancerOptions);
    assert.throws(make, refusal(...expected));
  }
});

test('options that are left out, or none at all, are refused by name', () => {
  for (const field of ['numLayers', 'numLogicalExperts', 'numPhysicalExperts', 'numRanks'] as const) {
    const { [field]: _, ...rest } = good;
    const make = () => new ExpertLoadBalancer(rest as unknown as ExpertLoadBalancerOptions);
    assert.throws(make, refusal('type', 'EPLB_KIND', new RegExp(`${field}: undefined`)));
  }
  assert.throws(
    () => new ExpertLoadBalancer({} as never),
    refusal('type', 'EPLB_KIND', /numLayers: undefined/),
  );
});

test('no options at all are refused', () => {
  for (const options of [undefined, null]) {
    const make = () => new ExpertLoadBalancer(options as never);
    assert.throws(make, refusal('type', 'EPLB_KIND', /options/));
  }
});

test('a topology whose memory would not fit is refused, with what it needs', () => {
  const sizes = { numLayers: 1000, numLogicalExperts: 1000, numPhysicalExperts: 2000, numRanks: 2 };
  // The ring alone: 1,000 steps of 1,000 layers of 2,000 slots of 2 and of 4 bytes, 11,444 MiB. Sums in 32
  // bands: 732 MiB.
  const make = () => new ExpertLoadBalancer({ ...sizes, windowSize: 1000 });
  assert.throws(
    make,
    refusal('range', 'EPLB_MEMORY', /1000 layers.*window of 1000 needs 12[2-4]\d\d MiB.*4096 MiB/),
  );
  for (const options of [
    { ...sizes, numLayers: 2 ** 24 },
    { ...sizes, numPhysicalExperts: 2 ** 24 },
    { ...good, windowSize: 2 ** 24, numLayers: 2 ** 20 },
  ]) {
    assert.throws(() => new ExpertLoadBalancer(options), refusal('range', 'EPLB_MEMORY', /needs \d+ MiB/));
  }
});

/** A balancer in the middle of its work. */
function used(options: Partial<ExpertLoadBalancerOptions> = {}): ExpertLoadBalancer {
  const balancer = new ExpertLoadBalancer({ ...good, ...options });
  const slots = [...Array(balancer.topology.numPhysicalExperts).keys()];
  for (let step = 0; step < 4; step++) {
    balancer.recordLoad(
      0,
      slots.map((slot) => slot * step),
    );
    balancer.recordLogicalLoad(1, [5, step, 7, 8]);
    balancer.advanceWindow();
    if (step === 2) balancer.rebalanceSync();
  }
  balancer.recordLoad(0, slots);
  balancer.recordLogicalLoad(0, [1, 2, 3, 4]);
  return balancer;
}

/** Rows of four that are not loads, and what is said about them. */
const badRows: readonly (readonly [row: unknown, ...Refusal])[] = [
  [[1, 2, Number.NaN, 4], 'range', 'EPLB_LOAD', /layer 1.*index 2.*NaN/],
  [[1, 2, 3, -0.5], 'range', 'EPLB_LOAD', /layer 1.*index 3.*-0\.5/],
  [[Number.POSITIVE_INFINITY, 2, 3, 4], 'range', 'EPLB_LOAD', /layer 1.*index 0.*Infinity/],
  [[1, Number.NEGATIVE_INFINITY, 3, 4], 'range', 'EPLB_LOAD', /layer 1.*index 1.*-Infinity/],
  [[1, 1e39, 3, 4], 'range', 'EPLB_LOAD', /layer 1.*index 1.*1e\+39.*float32/],
  [Float32Array.of(1, Number.NaN, 3, 4), 'range', 'EPLB_LOAD', /layer 1.*index 1.*NaN/],
  [Float64Array.of(1, 2, 3, -1e-50), 'range', 'EPLB_LOAD', /layer 1.*index 3.*-1e-50/],
  [Float64Array.of(1, 1e39, 3, 4), 'range', 'EPLB_LOAD', /layer 1.*index 1.*1e\+39.*float32/],
  [Float64Array.of(1, 2, 3, -1e-3), 'range', 'EPLB_LOAD', /layer 1.*index 3.*-0\.001/],
  [Int16Array.of(1, 2, -3, 4), 'range', 'EPLB_LOAD', /layer 1.*index 2.*-3/],
  [[1, 2, 3], 'range', 'EPLB_SHAPE', /layer 1.*3.*4/],
  [[1, 2, 3, 4, 5], 'range', 'EPLB_SHAPE', /layer 1.*5.*4/],
  [new Float32Array(0), 'range', 'EPLB_SHAPE', /layer 1.*0.*4/],
  [new Uint32Array(100), 'range', 'EPLB_SHAPE', /layer 1.*100.*4/],
  [['1', 2, 3, 4], 'type', 'EPLB_KIND', /layer 1.*index 0.*"1"/],
  [[1, 2, 3, 4n], 'type', 'EPLB_KIND', /layer 1.*index 3.*4n/],
  [[1, [2], 3, 4], 'type', 'EPLB_KIND', /layer 1.*index 1.*Array/],
  [[1, undefined, 3, 4], 'type', 'EPLB_KIND', /layer 1.*index 1.*undefined/],
  // biome-ignore lint/suspicious/noSparseArray: a hole is not a load
  [[1, , 3, 4], 'type', 'EPLB_KIND', /layer 1.*index 1.*undefined/],
  [BigUint64Array.of(1n, 2n, 3n, 4n), 'type', 'EPLB_KIND', /layer 1.*BigUint64Array/],
  [new DataView(new ArrayBuffer(16)), 'type', 'EPLB_KIND', /layer 1.*DataView/],
  [new ArrayBuffer(16), 'type', 'EPLB_KIND', /layer 1.*ArrayBuffer/],
  [{ 0: 1, 1: 2, 2: 3, 3: 4, length: 4 }, 'type', 'EPLB_KIND', /layer 1.*Object/],
  [new Set([1, 2, 3, 4]), 'type', 'EPLB_KIND', /layer 1.*Set/],
  ['1234', 'type', 'EPLB_KIND', /layer 1.*"1234"/],
  [undefined, 'type', 'EPLB_KIND', /layer 1.*undefined/],
  [null, 'type', 'EPLB_KIND', /layer 1.*null/],
  [7, 'type', 'EPLB_KIND', /layer 1.*7/],
];

test('loads that are refused are not recorded, not even in part', () => {
  const balancer = used({ numLogicalExperts: 4, numPhysicalExperts: 4 });
  const before = stateOf(balancer);
  for (const [row, ...expected] of badRows) {
    assert.throws(() => balancer.recordLoad(1, row as number[]), refusal(...expected));
    assert.throws(() => balancer.recordLogicalLoad(1, row as number[]), refusal(...expected));
    assert.deepEqual(stateOf(balancer), before);
  }
  assert.throws(() => balancer.recordLoad(0, []), refusal('range', 'EPLB_SHAPE', /^recordLoad: /));
  assert.throws(
    () => balancer.recordLogicalLoad(0, []),
    refusal('range', 'EPLB_SHAPE', /^recordLogicalLoad: /),
  );
});

test('one bad load among many good ones is refused wherever it is, and nothing is recorded', () => {
  const sizes = { ...good, numLogicalExperts: 37, numPhysicalExperts: 37, numRanks: 1 };
  const balancer = new ExpertLoadBalancer(sizes);
  const before = stateOf(balancer);
  const value = fc.constantFrom(
    Number.NaN,
    -1,
    -(2 ** -149),
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
  );
  fc.assert(
    fc.property(fc.nat({ max: 36 }), value, fc.boolean(), fc.boolean(), (index, bad, isTyped, isLogical) => {
      const row = Array.from({ length: 37 }, (_, i) => (i === index ? bad : i));
      const loads = isTyped ? Float32Array.from(row) : row;
      const expected = refusal('range', 'EPLB_LOAD', new RegExp(`layer 1, index ${index}: ${bad} `));
      if (isLogical) assert.throws(() => balancer.recordLogicalLoad(1, loads), expected);
      else assert.throws(() => balancer.recordLoad(1, loads), expected);
      assert.deepEqual(stateOf(balancer), before);
    }),
    { numRuns: 300, seed: SEED },
  );
});

test('a load that would bring the step beyond float32 is refused; the message names the sum', () => {
  const balancer = new ExpertLoadBalancer(good);
  balancer.recordLogicalLoad(0, [0, 3e38, 0, 0]);
  const before = stateOf(balancer);
  const again = () => balancer.recordLogicalLoad(0, [1, 3e38, 0, 0]);
  assert.throws(again, refusal('range', 'EPLB_LOAD', /layer 0.*index 1.*(sum|step|together|added)/));
  assert.deepEqual(stateOf(balancer), before);
});

test('a layer that is none is refused', () => {
  const balancer = used();
  const before = stateOf(balancer);
  const cases: readonly (readonly [layer: unknown, ...Refusal])[] = [
    [2, 'range', 'EPLB_LAYER', /layer: 2 .*0 to 1/],
    [-1, 'range', 'EPLB_LAYER', /layer: -1 .*0 to 1/],
    [0.5, 'range', 'EPLB_NOT_WHOLE', /layer: 0\.5/],
    [Number.NaN, 'range', 'EPLB_NOT_WHOLE', /layer: NaN/],
    ['0', 'type', 'EPLB_KIND', /layer: "0"/],
    [undefined, 'type', 'EPLB_KIND', /layer: undefined/],
    [0n, 'type', 'EPLB_KIND', /layer: 0n/],
  ];
  for (const [layer, ...expected] of cases) {
    assert.throws(() => balancer.recordLoad(layer as number, [1, 2, 3, 4, 5, 6]), refusal(...expected));
    assert.throws(() => balancer.recordLogicalLoad(layer as number, [1, 2, 3, 4]), refusal(...expected));
    assert.deepEqual(stateOf(balancer), before);
  }
});

test('loads to plan for that are refused change nothing, inline and in the pool', async () => {
  const flat = (data: unknown, numLayers: unknown = 2, numExperts: unknown = 4) =>
    ({ data, numLayers, numExperts }) as LoadMatrix;
  const row = [1, 2, 3, 4];
  const cases: readonly (readonly [weight: unknown, ...Refusal])[] = [
    ...badRows
      .filter(([bad]) => Array.isArray(bad))
      .map(([bad, ...expected]) => [[row, bad], ...expected] as const),
    [[row], 'range', 'EPLB_SHAPE', /weight.*1 layers, not 2/],
    [[row.slice(1), row.slice(1)], 'range', 'EPLB_SHAPE', /weight.*3 experts.*not 4/],
    [[], 'range', 'EPLB_SHAPE', /weight/],
    [null, 'type', 'EPLB_KIND', /weight.*null/],
    [7, 'type', 'EPLB_KIND', /weight.*7/],
    ['text', 'type', 'EPLB_KIND', /weight.*"text"/],
    [flat(new Float64Array(8)), 'type', 'EPLB_KIND', /weight/],
    [flat(new Float32Array(7)), 'range', 'EPLB_SHAPE', /weight\.data.*7.*2 x 4/],
    [flat(new Float32Array(4), 1), 'range', 'EPLB_SHAPE', /weight.*1 layers, not 2/],
    [flat(new Float32Array(8), '2'), 'type', 'EPLB_KIND', /weight\.numLayers.*"2"/],
    [flat(Float32Array.of(1, 1, 1, 1, 1, 1, Number.NaN, 1)), 'range', 'EPLB_LOAD', /layer 1.*index 2.*NaN/],
  ];
  for (const threads of [0, 1]) {
    const balancer = used({ threads });
    const before = stateOf(balancer);
    for (const [weight, ...expected] of cases) {
      await assert.rejects(balancer.plan(weight as LoadMatrix), refusal(...expected));
      await assert.rejects(balancer.rebalance(weight as LoadMatrix), refusal(...expected));
      assert.throws(() => balancer.rebalanceSync(weight as LoadMatrix), refusal(...expected));
    }
    assert.deepEqual(stateOf(balancer), before);
    await balancer.close();
  }
});

test('co-activation of another shape is refused, inline and in the pool', async () => {
  for (const threads of [0, 1]) {
    await withBalancer({ ...good, threads }, async (balancer) => {
      const weight = [0, 1].map(() => [1, 2, 3, 4]);
      const coactivation = { data: new Float32Array(31), numLayers: 2, numExperts: 4 };
      const expected = refusal('range', 'EPLB_SHAPE', /coactivation\.data.*31.*32/);
      await assert.rejects(balancer.plan(weight, { coactivation }), expected);
      assert.throws(() => balancer.rebalanceSync(weight, { coactivation }), expected);
    });
  }
});

test('co-activation that is not a count is refused, inline and pooled; its diagonal is free', async () => {
  const policy = new LocalityAwarePolicy();
  const weight = [0, 1].map(() => [1, 2, 3, 4]);
  for (const threads of [0, 1]) {
    await withBalancer({ ...good, threads, policy }, async (balancer) => {
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, -1]) {
        const data = new Float32Array(32).fill(1);
        for (const expert of [0, 1, 2, 3]) data[16 + 5 * expert] = Number.NaN;
        const coactivation = { data, numLayers: 2, numExperts: 4 };
        await balancer.plan(weight, { coactivation });
        data[16 + 4 * 2 + 3] = bad;
        const expected = refusal(
          'range',
          'EPLB_RANGE',
          /coactivation: layer 1, experts 2 and 3: (NaN|Infinity|-1) is not/,
        );
        await assert.rejects(balancer.plan(weight, { coactivation }), expected);
        assert.throws(() => balancer.rebalanceSync(weight, { coactivation }), expected);
      }
    });
  }
});

test('a mapping of another shape, or what is none, is not committed', () => {
  const balancer = used();
  const before = stateOf(balancer);
  const row = [0, 1, 2, 3, 0, 1];
  const cases: readonly (readonly [mapping: unknown, ...Refusal])[] = [
    [ExpertMapping.fromPhysicalToLogical([row]), 'range', 'EPLB_SHAPE', /mapping.*1 layers.*2 layers/],
    [
      ExpertMapping.fromPhysicalToLogical([row, row].map((r) => r.slice(1, 5))),
      'range',
      'EPLB_SHAPE',
      /4 slots.*6 slots/,
    ],
    [
      ExpertMapping.fromPhysicalToLogical([row, row].map((r) => r.map((e) => e % 3))),
      'range',
      'EPLB_SHAPE',
      /3 experts.*4 experts/,
    ],
    [balancer.mapping.toJSON(), 'type', 'EPLB_KIND', /mapping: an Object/],
    [undefined, 'type', 'EPLB_KIND', /mapping: undefined/],
    [null, 'type', 'EPLB_KIND', /mapping: null/],
  ];
  for (const [mapping, ...expected] of cases) {
    assert.throws(() => balancer.commit(mapping as ExpertMapping), refusal(...expected));
  }
  assert.deepEqual(stateOf(balancer), before);
});
