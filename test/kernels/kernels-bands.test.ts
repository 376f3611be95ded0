import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FLOAT32_MAX, loadsArbitrary, seededRandom, sizeArbitrary } from '../helpers/arbitraries.ts';
import { assertSameNumbers, loadKernels } from '../helpers/kernels.ts';
import { assertForAll } from '../helpers/property.ts';
import { addToBands, bandOf } from '../oracle/window.ts';

const { kernels, arena } = loadKernels();

interface Problem {
  sample: number[];
  phyToLog: number[];
  numExperts: number;
  shift: number;
  sign: 1 | -1;
}

function problemsArbitrary(max: number): fc.Arbitrary<Problem> {
  return fc.tuple(sizeArbitrary(max), sizeArbitrary(max)).chain(([numSlots, numExperts]) =>
    fc
      .record({
        sample: loadsArbitrary(numSlots),
        shift: fc.constantFrom(23, 25, 26, 27),
        sign: fc.constantFrom(1 as const, -1 as const),
        seed: fc.integer(),
      })
      .map(({ sample, seed, ...rest }) => {
        const random = seededRandom(seed);
        // The step's row has no negative zeros: it begins with zeros, and what is added to them is not below
        // 0.
        const loads = sample.map((load) => load + 0);
        const phyToLog = loads.map(() => Math.floor(random() * (numExperts + 1)) - 1);
        return { sample: loads, phyToLog, numExperts, ...rest };
      }),
  );
}

/** Calls one of the kernels on bands that have something, and compares bands and flags with the oracle. */
function check(
  { sample, shift, sign }: Problem,
  experts: readonly number[],
  width: number,
  call: (bands: number, stride: number, used: number) => void,
): void {
  const numBands = 2 ** (31 - shift);
  const before = Array.from({ length: numBands }, (_, band) => new Array<number>(width).fill(band));
  const bands = arena.inOut(Float64Array.from(before.flat()));
  const usedBytes = arena.inOut(new Uint16Array(numBands / 2));
  call(bands.ptr, 8 * width, usedBytes.ptr);
  arena.check();
  assertSameNumbers(bands.view, addToBands(sample, experts, before, shift, sign).flat(), 'bands');
  const used = new Uint8Array(usedBytes.view.buffer, usedBytes.ptr, numBands);
  const expected = new Set(
    sample.flatMap((load, i) => (load > 0 && experts[i]! >= 0 ? [bandOf(load, shift)] : [])),
  );
  assert.deepEqual(
    Array.from(used),
    Array.from({ length: numBands }, (_, band) => (expected.has(band) ? 1 : 0)),
  );
}

function checkBoth(problem: Problem): void {
  const { sample, phyToLog, numExperts, shift, sign } = problem;
  const n = sample.length;
  arena.reset();
  const row = arena.input(Float32Array.from(sample)).ptr;
  check(problem, [...sample.keys()], n, (bands, stride, used) =>
    kernels.addToBands(row, bands, stride, shift, n, sign, used),
  );
  const slots = arena.input(Int32Array.from(phyToLog)).ptr;
  check(problem, phyToLog, numExperts, (bands, stride, used) =>
    kernels.foldToBands(row, slots, bands, stride, shift, n, sign, used),
  );
}

test('addToBands and foldToBands equal their oracle', () => {
  assertForAll(problemsArbitrary, { small: 800, large: 30 }, checkBoth);
});

test('addToBands: a load in every band at every place of a row, nothing, the ends of the range', () => {
  for (const shift of [23, 26, 27]) {
    for (const load of [2 ** -149, 2 ** -126, 1, 2 ** 31, FLOAT32_MAX]) {
      for (let n = 1; n <= 9; n++) {
        for (let at = 0; at < n; at++) {
          const sample = Array.from({ length: n }, (_, i) => (i === at ? load : i % 2 === 0 ? 3 : 0));
          checkBoth({ sample, phyToLog: sample.map((_, i) => i % 2), numExperts: 2, shift, sign: 1 });
        }
      }
    }
    checkBoth({
      sample: new Array(13).fill(0),
      phyToLog: new Array(13).fill(0),
      numExperts: 1,
      shift,
      sign: -1,
    });
  }
});

test('a band takes loads back exactly, as many and as large as it may have', () => {
  // 16 exponents of 24 bits leave 14 bits: 2^14 loads.
  const shift = 27;
  const random = seededRandom(7);
  arena.reset();
  const loads = Array.from({ length: 2 ** 14 }, () => Math.fround(2 ** (1 + 15 * random()) + random()));
  const sample = loads.map((load) => Math.max(2, Math.min(load, 131_071.99)));
  const row = arena.input(Float32Array.from(sample));
  const bands = arena.inOut(new Float64Array(16));
  const used = arena.output(Uint16Array, 8).ptr;
  const experts = arena.input(new Int32Array(sample.length)).ptr;
  const add = (sign: number) =>
    kernels.foldToBands(row.ptr, experts, bands.ptr, 8, shift, sample.length, sign, used);
  add(1);
  const once = Array.from(bands.view);
  assert.ok(once[8]! > 0);
  kernels.addToBands(arena.input(Float32Array.of(2 + 2 ** -22)).ptr, bands.ptr, 8, shift, 1, 1, used);
  add(-1);
  assert.equal(bands.view[8], 2 + 2 ** -22);
});
