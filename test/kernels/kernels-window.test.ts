import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FLOAT32_MAX, loadsArbitrary, seededRandom, sizeArbitrary } from '../helpers/arbitraries.ts';
import { assertSameNumbers, loadKernels } from '../helpers/kernels.ts';
import { assertForAll } from '../helpers/property.ts';
import { addSample, addSums, firstInvalid, recordRow } from '../oracle/window.ts';

const { kernels, arena } = loadKernels();
const BAD_LOADS = [
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  -1,
  -(2 ** -149),
  -FLOAT32_MAX,
];

interface Rows {
  loads: number[];
  others: number[];
  seed: number;
}

function rowsArbitrary(max: number): fc.Arbitrary<Rows> {
  return sizeArbitrary(max).chain((size) =>
    fc.record({ loads: loadsArbitrary(size), others: loadsArbitrary(size), seed: fc.integer() }),
  );
}

/** Makes none, one or a few of the loads bad. */
function spoil(loads: number[], seed: number): number[] {
  const random = seededRandom(seed);
  const spoiled = [...loads];
  for (let n = Math.floor(random() * 3); n > 0; n--) {
    spoiled[Math.floor(random() * loads.length)] = BAD_LOADS[Math.floor(random() * BAD_LOADS.length)]!;
  }
  return spoiled;
}

function checkValidation(loads: number[], before: number[]): void {
  arena.reset();
  const row = arena.input(Float32Array.from(loads));
  assert.equal(kernels.firstInvalid(row.ptr, loads.length), firstInvalid(loads));
  const pass = arena.inOut(Float32Array.from(before));
  const refused = kernels.recordRow(row.ptr, pass.ptr, loads.length);
  arena.check();
  const expected = recordRow(loads, before);
  assert.equal(refused, expected.refused);
  assertSameNumbers(pass.view, expected.pass, 'pass');
}

function checkSums(sample: number[], before: number[], sign: number): void {
  arena.reset();
  const sums = arena.inOut(Float64Array.from(before));
  kernels.addSample(arena.input(Float32Array.from(sample)).ptr, sums.ptr, sample.length, sign);
  arena.check();
  assertSameNumbers(sums.view, addSample(sample, before, sign), 'sums');

  const out = arena.output(Float64Array, sample.length);
  const other = sample.map((load) => load * Math.PI);
  kernels.addSums(
    arena.input(Float64Array.from(before)).ptr,
    arena.input(Float64Array.from(other)).ptr,
    out.ptr,
    sample.length,
  );
  arena.check();
  assertSameNumbers(out.view, addSums(before, other), 'out');
}

test('firstInvalid and recordRow equal their oracles', () => {
  assertForAll(rowsArbitrary, { small: 5000, large: 800 }, ({ loads, others, seed }) => {
    checkValidation(spoil(loads, seed), others);
  });
});

test('firstInvalid and recordRow find each kind of bad load in each place', () => {
  for (let size = 1; size <= 9; size++) {
    for (let at = 0; at < size; at++) {
      for (const bad of BAD_LOADS) {
        const loads = new Array<number>(size).fill(1);
        loads[at] = bad;
        checkValidation(loads, new Array<number>(size).fill(2));
      }
      // Good loads whose sum is beyond float32.
      const loads = new Array<number>(size).fill(0);
      loads[at] = FLOAT32_MAX;
      checkValidation(loads, new Array<number>(size).fill(FLOAT32_MAX));
    }
  }
});

test('addSample and addSums equal their oracles', () => {
  assertForAll(rowsArbitrary, { small: 5000, large: 800 }, ({ loads, others, seed }) => {
    checkSums(
      loads,
      others.map((load) => load * Math.E),
      seed % 2 === 0 ? 1 : -1,
    );
  });
});
