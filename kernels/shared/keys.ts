// 64-bit sort keys: the bits of a load >= 0 above, the complement of an index below. Non-negative floats
// order as their bits do, so one unsigned compare orders by load and sends every tie to the lowest index.
// Read as doubles the keys order the same, and vectors have minimum and maximum for doubles.

/** The key of `load` (>= 0) at `index`: greater means a larger load or, at equal loads, a lower index. */
export function makeKey(load: f32, index: i32): u64 {
  // Adding zero turns -0, whose bits would be the greatest of all, into +0.
  return ((<u64>reinterpret<u32>(load + 0.0)) << 32) | <u64>~(<u32>index);
}

/** The index that `makeKey` put into `key`. */
export function keyIndex(key: u64): i32 {
  return <i32>~(<u32>key);
}

/**
 * Writes the keys of two rows side by side: keys[i] holds those of a[i] and b[i].
 *
 * @param a f32[n], >= 0
 * @param b f32[n], >= 0
 * @param size places to fill, at least `n`: those past `n` get zeros, which sort last
 * @param keys v128[size], out
 */
export function makeKeyPairs(a: usize, b: usize, n: i32, size: i32, keys: usize): void {
  const zero = f32x4.splat(0);
  const one = i32x4.splat(1);
  const fourEnd = n & ~3;
  let index = i32x4.splat(-1); // ~0, then ~1, ...
  let to = keys;
  for (let i = 0; i < fourEnd; i += 4, to += 64) {
    const x = f32x4.add(v128.load(a + ((<usize>i) << 2)), zero);
    const y = f32x4.add(v128.load(b + ((<usize>i) << 2)), zero);
    const low = v128.shuffle<u32>(x, y, 0, 4, 1, 5);
    const high = v128.shuffle<u32>(x, y, 2, 6, 3, 7);
    v128.store(to, v128.shuffle<u32>(index, low, 0, 4, 0, 5));
    index = i32x4.sub(index, one);
    v128.store(to, v128.shuffle<u32>(index, low, 0, 6, 0, 7), 16);
    index = i32x4.sub(index, one);
    v128.store(to, v128.shuffle<u32>(index, high, 0, 4, 0, 5), 32);
    index = i32x4.sub(index, one);
    v128.store(to, v128.shuffle<u32>(index, high, 0, 6, 0, 7), 48);
    index = i32x4.sub(index, one);
  }
  for (let i = fourEnd; i < n; i++, to += 16) {
    store<u64>(to, makeKey(load<f32>(a + ((<usize>i) << 2)), i));
    store<u64>(to, makeKey(load<f32>(b + ((<usize>i) << 2)), i), 8);
  }
  for (let i = n; i < size; i++, to += 16) v128.store(to, zero);
}

/** Places to reserve for sorting `n` keys: the least power of two that is at least `n` and 8. */
export function sizeClass(n: i32): i32 {
  return n <= 8 ? 8 : 1 << (32 - clz(n - 1));
}
