import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { loadsArbitrary, sizeArbitrary } from '../helpers/arbitraries.ts';
import { assertSameNumbers, loadKernels } from '../helpers/kernels.ts';
import { assertForAll } from '../helpers/property.ts';
import { addSample, narrowRow } from '../oracle/window.ts';

const { kernels, arena } = loadKernels();

/** Narrows a row, and widens it again when it fits. */
function check(row: readonly number[]): void {
  arena.reset();
  const n = row.length;
  const input = arena.input(Float32Array.from(row));
  const narrow = arena.output(Uint16Array, n);
  const fits = kernels.narrowRow(input.ptr, narrow.ptr, n);
  arena.check();
  const expected = narrowRow(Array.from(input.view));
  assert.equal(fits, expected === undefined ? 0 : 1);
  if (expected === undefined) return;
  assert.deepEqual(Array.from(narrow.view), expected);
  const wide = arena.output(Float32Array, n);
  kernels.widenRow(narrow.ptr, wide.ptr, n);
  arena.check();
  assert.deepEqual(Array.from(wide.view), expected);
}

/** Puts a row in the place of a narrow one. */
function checkReplace(row: readonly number[], kept: readonly number[]): void {
  arena.reset();
  const n = row.length;
  const input = arena.input(Float32Array.from(row));
  const place = arena.inOut(Uint16Array.from(kept));
  const before = kept.map((load, i) => load + 70_000 * i);
  const sums = arena.inOut(Float64Array.from(before));
  const replaced = kernels.replaceRow(input.ptr, place.ptr, sums.ptr, n, arena.scratch(2 * n));
  arena.check();
  const expected = narrowRow(Array.from(input.view));
  assert.equal(replaced, expected === undefined ? 0 : 1);
  assertSameNumbers(place.view, expected ?? kept, 'what is kept');
  const after = expected && addSample(expected, addSample(kept, before, -1), 1);
  assertSameNumbers(sums.view, after ?? before, 'sums');
}

const loadArbitrary = fc.oneof(fc.nat(65_535), fc.constantFrom(0, 65_535));

test('a narrow row takes the place of another one, and its loads that of the other in the sums', () => {
  const rows = (max: number) =>
    sizeArbitrary(max).chain((size) => {
      const whole = fc.array(loadArbitrary, { minLength: size, maxLength: size });
      return fc.record({ row: fc.oneof(whole, loadsArbitrary(size)), kept: whole });
    });
  assertForAll(rows, { small: 5000, large: 800 }, ({ row, kept }) => checkReplace(row, kept));
});

test('rows of whole loads up to 65,535 are narrowed and widened without loss, others are refused', () => {
  const whole = (max: number) =>
    sizeArbitrary(max).chain((size) => fc.array(loadArbitrary, { minLength: size, maxLength: size }));
  const rows = (max: number) => fc.oneof(whole(max), sizeArbitrary(max).chain(loadsArbitrary));
  assertForAll(rows, { small: 5000, large: 800 }, check);
});

test('one load decides: at every place of a row', () => {
  for (const odd of [0.5, 65_535.5, 65_536, 65_534.996, 2 ** 31, 2 ** 32, 3.4e38, 2 ** -149]) {
    for (let n = 1; n <= 17; n++) {
      for (let at = 0; at < n; at++)
        check(Array.from({ length: n }, (_, i) => (i === at ? odd : 65_535 - i)));
    }
  }
  check(Array.from({ length: 17 }, () => -0));
});
