import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CoactivationRecorder, EplbRangeError, EplbTypeError } from 'expert-load-balancer';
import fc from 'fast-check';

/** Tokens of a few layers, ids drawn with repeats. */
const recordings = fc
  .record({
    numLayers: fc.integer({ min: 1, max: 4 }),
    numExperts: fc.integer({ min: 1, max: 20 }),
    numTokens: fc.nat({ max: 12 }),
  })
  .chain((sizes) =>
    fc.integer({ min: 1, max: Math.min(6, sizes.numExperts) }).chain((topK) => {
      const length = sizes.numTokens * sizes.numLayers * topK;
      return fc.record({
        sizes: fc.constant({ ...sizes, topK }),
        ids: fc.array(fc.nat({ max: sizes.numExperts - 1 }), { minLength: length, maxLength: length }),
      });
    }),
  );

/** Counts pairs the obvious way: for each two different experts, the tokens that picked both. */
function countPairs(
  ids: readonly number[],
  { numLayers, numExperts, topK }: { numLayers: number; numExperts: number; topK: number },
): number[] {
  const counts = new Array<number>(numLayers * numExperts ** 2).fill(0);
  for (let start = 0; start < ids.length; start += topK) {
    const layer = (start / topK) % numLayers;
    const picked = new Set(ids.slice(start, start + topK));
    for (const a of picked) {
      for (const b of picked) if (a !== b) counts[(layer * numExperts + a) * numExperts + b]!++;
    }
  }
  return counts;
}

function recorderOf({
  numLayers,
  numExperts,
}: {
  numLayers: number;
  numExperts: number;
}): CoactivationRecorder {
  return new CoactivationRecorder({ numLayers, numExperts });
}

test('a pair is counted once a token, in both orders', () => {
  fc.assert(
    fc.property(recordings, ({ sizes, ids }) => {
      const recorder = recorderOf(sizes);
      recorder.record(Uint8Array.from(ids), sizes.numTokens, sizes.topK);
      const { data, numLayers, numExperts } = recorder.matrix();
      assert.deepEqual([numLayers, numExperts], [sizes.numLayers, sizes.numExperts]);
      assert.deepEqual([...data], countPairs(ids, sizes));
    }),
    { numRuns: 300 },
  );
});

test('tokens may come in pieces, in any type of numbers', () => {
  fc.assert(
    fc.property(recordings, fc.nat(), ({ sizes, ids }, at) => {
      const whole = recorderOf(sizes);
      whole.record(Float64Array.from(ids), sizes.numTokens, sizes.topK);
      const first = sizes.numTokens === 0 ? 0 : at % sizes.numTokens;
      const border = first * sizes.numLayers * sizes.topK;
      const pieces = recorderOf(sizes);
      pieces.record(Uint16Array.from(ids.slice(0, border)), first, sizes.topK);
      pieces.record(Int32Array.from(ids.slice(border)), sizes.numTokens - first, sizes.topK);
      assert.deepEqual(pieces.matrix(), whole.matrix());
    }),
    { numRuns: 100 },
  );
});

test('the matrix is a copy on shared memory, and reset forgets', () => {
  const recorder = new CoactivationRecorder({ numLayers: 1, numExperts: 3 });
  recorder.record(Uint8Array.of(0, 2), 1, 2);
  const before = recorder.matrix();
  assert.ok(before.data.buffer instanceof SharedArrayBuffer);
  recorder.record(Uint8Array.of(0, 2), 1, 2);
  assert.deepEqual([...before.data], [0, 0, 1, 0, 0, 0, 1, 0, 0]);
  assert.deepEqual([...recorder.matrix().data], [0, 0, 2, 0, 0, 0, 2, 0, 0]);
  recorder.reset();
  assert.ok(recorder.matrix().data.every((count) => count === 0));
});

const sizes = { numLayers: 2, numExperts: 4 };

const badRoutes: [
  what: string,
  routes: unknown,
  numTokens: unknown,
  topK: unknown,
  code: string,
  message: RegExp,
][] = [
  ['plain numbers', [0, 1, 2, 3], 1, 2, 'EPLB_KIND', /^routes: an Array of length 4 is not a typed array/],
  ['64-bit ids', BigInt64Array.of(0n, 1n), 1, 1, 'EPLB_KIND', /^routes: a BigInt64Array of length 2/],
  ['tokens as text', Uint8Array.of(0, 1), '1', 1, 'EPLB_KIND', /^numTokens: "1" is not a number/],
  ['half a token', Uint8Array.of(0, 1), 0.5, 1, 'EPLB_NOT_WHOLE', /^numTokens: 0.5/],
  ['no expert a token', Uint8Array.of(), 1, 0, 'EPLB_RANGE', /^topK: 0 is not from 1 to 4/],
  ['more than all experts', Uint8Array.of(), 1, 5, 'EPLB_RANGE', /^topK: 5 is not from 1 to 4/],
  [
    'too few ids',
    Uint8Array.of(0, 1, 2),
    1,
    2,
    'EPLB_SHAPE',
    /^routes: has 3 ids, not 4 \(1 tokens x 2 layers x 2\)/,
  ],
  [
    'an id too high',
    Uint8Array.of(0, 1, 2, 3, 0, 1, 2, 4),
    2,
    2,
    'EPLB_RANGE',
    /^routes: token 1, layer 1: expert id 4 /,
  ],
  [
    'a negative id',
    Int32Array.of(0, 1, 2, -1),
    1,
    2,
    'EPLB_RANGE',
    /^routes: token 0, layer 1: expert id -1 /,
  ],
  [
    'half an id',
    Float32Array.of(0, 1, 2, 1.5),
    1,
    2,
    'EPLB_RANGE',
    /^routes: token 0, layer 1: expert id 1.5 /,
  ],
  ['no id', Float32Array.of(NaN, 1, 2, 1), 1, 2, 'EPLB_RANGE', /^routes: token 0, layer 0: expert id NaN /],
];

for (const [what, routes, numTokens, topK, code, message] of badRoutes) {
  test(`${what}: refused, and nothing counted`, () => {
    const recorder = new CoactivationRecorder(sizes);
    const record = () => Reflect.apply(recorder.record, recorder, [routes, numTokens, topK]);
    const kind = code === 'EPLB_KIND' ? EplbTypeError : EplbRangeError;
    assert.throws(record, (error: Error) => {
      assert.ok(error instanceof kind);
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    });
    assert.ok(recorder.matrix().data.every((count) => count === 0));
  });
}

test('sizes are checked', () => {
  const make = (numLayers: number, numExperts: number) => () =>
    new CoactivationRecorder({ numLayers, numExperts });
  assert.throws(make(0, 4), { code: 'EPLB_RANGE', message: /^numLayers: 0 / });
  assert.throws(make(1, 2.5), { code: 'EPLB_NOT_WHOLE', message: /^numExperts: 2.5 / });
  assert.throws(make(2 ** 20, 2 ** 20), {
    code: 'EPLB_MEMORY',
    message: /^coactivation: .* needs 4398046511104 MiB of memory/,
  });
});
