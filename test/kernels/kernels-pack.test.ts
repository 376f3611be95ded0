import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FLOAT32_MAX, packProblemArbitrary, seededRandom, sizeArbitrary } from '../helpers/arbitraries.ts';
import { assertSameNumbers, loadKernels } from '../helpers/kernels.ts';
import { assertForAll } from '../helpers/property.ts';
import { balancedPacking } from '../oracle/default-policy.ts';
import { sortKeysDescending } from '../oracle/sort.ts';

const { kernels, arena } = loadKernels();

function checkPack(weight: number[], numPacks: number): void {
  arena.reset();
  const packIndex = arena.output(Int32Array, weight.length);
  const rankInPack = arena.output(Int32Array, weight.length);
  kernels.packLayer(
    arena.input(Float32Array.from(weight)).ptr,
    weight.length,
    numPacks,
    packIndex.ptr,
    rankInPack.ptr,
    arena.scratch(kernels.packLayerScratchBytes(weight.length)),
  );
  arena.check();
  const expected = balancedPacking(weight, numPacks);
  assertSameNumbers(packIndex.view, expected.packIndex, 'packIndex');
  assertSameNumbers(rankInPack.view, expected.rankInPack, 'rankInPack');
}

function checkSort(keys: readonly bigint[]): void {
  arena.reset();
  const sorted = arena.inOut(BigUint64Array.from(keys));
  kernels.sortKeysDescending(
    sorted.ptr,
    keys.length,
    arena.scratch(kernels.sortKeysScratchBytes(keys.length)),
  );
  arena.check();
  const expected = sortKeysDescending(keys);
  for (let i = 0; i < keys.length; i++) assert.equal(sorted.view[i], expected[i], `key ${i}`);
}

// Keys end where doubles stop being ordered as their bits are: at the bits of infinity.
const KEYS_END = 0x7ff0n << 48n;

/** Rows of keys: all over the range, few different ones, close together, or in order already. */
function keysArbitrary(max: number): fc.Arbitrary<bigint[]> {
  const shapes: ((random: () => number, index: number, size: number) => bigint)[] = [
    (random) => (BigInt(Math.floor(random() * 2 ** 53)) * 4093n) % KEYS_END,
    (random) => BigInt(Math.floor(random() * 3)) << 32n,
    (random) => (BigInt(Math.floor(random() * 4)) << 32n) | BigInt(Math.floor(random() * 2 ** 32)),
    (random) => KEYS_END - 1n - BigInt(Math.floor(random() * 10)),
    (random) => BigInt(Math.floor(random() * 10)),
    (_random, index) => BigInt(index) << 40n,
    (_random, index, size) => BigInt(size - index) << 40n,
    () => 0n,
  ];
  return fc
    .record({ size: sizeArbitrary(max), shape: fc.constantFrom(...shapes), seed: fc.integer() })
    .map(({ size, shape, seed }) => {
      const random = seededRandom(seed);
      return Array.from({ length: size }, (_, index) => shape(random, index, size));
    });
}

test('sortKeysDescending equals its oracle', () => {
  assertForAll(keysArbitrary, { small: 5000, large: 800 }, checkSort);
});

test('sortKeysDescending on every size to 300, and on sizes around the powers of two to 2,048', () => {
  const random = seededRandom(5);
  const sizes = Array.from({ length: 301 }, (_, size) => size).concat([
    511, 512, 513, 1023, 1024, 1025, 2047, 2048,
  ]);
  for (const size of sizes)
    checkSort(Array.from({ length: size }, () => BigInt(Math.floor(random() * 2 ** 53))));
});

test('packLayer equals its oracle', () => {
  assertForAll(packProblemArbitrary, { small: 5000, large: 800 }, ({ weight, numPacks }) =>
    checkPack(weight, numPacks),
  );
});

test('packLayer: one item a pack is the identity, one pack keeps the sorted order', () => {
  checkPack([3, 9, 1], 3);
  checkPack([3, 9, 1, 9], 1);
  checkPack([1], 1);
});

test('packLayer: zeros of either sign, ties, packs that are not a power of two', () => {
  checkPack([0, 0, 0, 0, 0, 0], 3);
  checkPack([0, -0, 1, -0, 0, 2], 2);
  checkPack([5, 5, 5, 5, 5, 5, 5, 5, 5, 5], 5);
  checkPack([1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2], 7);
});

test('packLayer: sums beyond float32, and loads that are infinite', () => {
  // A full pack is never chosen, though the packs that have room weigh as much: infinitely.
  checkPack(new Array<number>(12).fill(FLOAT32_MAX), 3);
  checkPack(new Array<number>(12).fill(Number.POSITIVE_INFINITY), 4);
  checkPack([Number.POSITIVE_INFINITY, 1, Number.POSITIVE_INFINITY, 0, FLOAT32_MAX, FLOAT32_MAX, 2, 3], 2);
  checkPack([FLOAT32_MAX, FLOAT32_MAX, 2 ** -149, 0, FLOAT32_MAX, 1, 1, 1, 1], 3);
});

test('packLayer: sums are rounded to float32 after each item', () => {
  // 2^24 + 1 is not float32: a pack that holds 2^24 stays as heavy when ones are added.
  checkPack([2 ** 24, 2 ** 24, 2 ** 24 + 2, 1, 1, 1, 1, 1, 1, 1, 1, 1], 3);
});
