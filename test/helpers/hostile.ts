import fc from 'fast-check';

// Values that nobody should give to a function, and objects that are nearly right.

/**
 * Numbers at and beyond the edges of what is accepted. None is so large and yet accepted that it takes
 * gigabytes.
 */
const hostileNumber: fc.Arbitrary<unknown> = fc.constantFrom(
  ...[0, -0, 1, 2, -1, 0.5, 1.5, 1e-320, 3.5e38, 1e308, -1e308],
  ...[2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 31), Number.MAX_VALUE, Number.MIN_VALUE],
  ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
);

const detached = () => {
  const array = new Float32Array(4);
  structuredClone(array, { transfer: [array.buffer] });
  return array;
};

/** Anything, of any kind. */
export const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  hostileNumber,
  fc.constantFrom(
    undefined,
    null,
    true,
    false,
    '',
    '1',
    'NaN',
    '__proto__',
    'a\u001b[31mb',
    5n,
    [],
    {},
    [[]],
    [1],
  ),
  fc
    .constantFrom<() => unknown>(
      () => Symbol('s'),
      () => () => 1,
      () => new Date(0),
      () => new Map([[1, 2]]),
      () => new Proxy([], {}),
      () => Object.create(null),
      () => Promise.resolve(1),
      () => new Array(3),
      () => ({ length: 4 }),
      () => ({ valueOf: () => 3 }),
      () => new SharedArrayBuffer(16),
      () => new ArrayBuffer(0),
      () => new DataView(new ArrayBuffer(8)),
      () => new BigInt64Array(4),
      () => new Uint8Array(4),
      () => new Float32Array(0),
      () => new Float32Array([Number.NaN, 1, 1, 1]),
      () => new Float64Array(4).fill(1e300),
      detached,
      () => new URL('file:///nowhere/policy.mjs'),
    )
    .map((make) => make()),
  fc.anything({ withBigInt: true, withDate: true, withSparseArray: true, withTypedArray: true, maxDepth: 2 }),
);

/** Mostly what is right, else anything. */
export function nearly<T>(right: fc.Arbitrary<T>, weight = 7): fc.Arbitrary<unknown> {
  return fc.oneof(
    { weight, arbitrary: right as fc.Arbitrary<unknown> },
    { weight: 1, arbitrary: hostileValue },
  );
}

/** An object whose fields are mostly right, and are sometimes left out; or, seldom, something else. */
export function nearlyObject(
  fields: Record<string, fc.Arbitrary<unknown>>,
  required: string[] = [],
): fc.Arbitrary<unknown> {
  const entries = Object.entries(fields).map(([name, right]) => [name, nearly(right, 12)] as const);
  return nearly(fc.record(Object.fromEntries(entries), { requiredKeys: required }), 20);
}

/** Loads of a small layer, in one of the shapes they may have. */
export function loadRow(length: number): fc.Arbitrary<unknown> {
  const load = fc.oneof(fc.nat(1000), fc.constantFrom(0, 0.5, 1e30, 3.4e38));
  return fc
    .tuple(fc.array(load, { minLength: length, maxLength: length }), fc.nat(4))
    .map(
      ([loads, kind]) =>
        [loads, new Float32Array(loads), new Float64Array(loads), new Uint16Array(loads), shared(loads)][
          kind
        ],
    );
}

/** A load matrix, nested or flat, plain or shared. */
export function loadMatrix(numLayers: number, numExperts: number): fc.Arbitrary<unknown> {
  const rows = fc.array(fc.array(fc.nat(1000), { minLength: numExperts, maxLength: numExperts }), {
    minLength: numLayers,
    maxLength: numLayers,
  });
  return fc.tuple(rows, fc.nat(2)).map(([nested, kind]) => {
    const data = [undefined, new Float32Array(nested.flat()), shared(nested.flat())][kind];
    return data === undefined ? nested : { data, numLayers, numExperts };
  });
}

/** [samples x layers x experts] */
export function loadSamples(numLayers: number, numExperts: number): fc.Arbitrary<unknown> {
  return fc.nat(4).chain((numSamples) =>
    fc
      .array(fc.nat(1000), {
        minLength: numSamples * numLayers * numExperts,
        maxLength: numSamples * numLayers * numExperts,
      })
      .map((loads) => ({ data: new Float32Array(loads), numSamples, numLayers, numExperts })),
  );
}

function shared(values: readonly number[]): Float32Array {
  const array = new Float32Array(new SharedArrayBuffer(4 * values.length));
  array.set(values);
  return array;
}
