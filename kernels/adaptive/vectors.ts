// Powers and sums of vectors of four samples.

/** The eighth power, or, sharp, the sixteenth. */
export function power(x: v128, isSharp: bool): v128 {
  const square = f32x4.mul(x, x);
  const fourth = f32x4.mul(square, square);
  const eighth = f32x4.mul(fourth, fourth);
  return isSharp ? f32x4.mul(eighth, eighth) : eighth;
}

export function root(x: v128, isSharp: bool): v128 {
  const eighth = f32x4.sqrt(f32x4.sqrt(f32x4.sqrt(x)));
  return isSharp ? f32x4.sqrt(eighth) : eighth;
}

/** The sum of the four lanes. */
export function sumOf(x: v128): f32 {
  const pairs = f32x4.add(x, v128.shuffle<u64>(x, x, 1, 0));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}

/** The least of the four lanes; what is not a number is passed over. */
export function leastOfLanes(x: v128): f32 {
  const pairs = f32x4.pmin(x, v128.shuffle<u64>(x, x, 1, 0));
  return f32x4.extract_lane(f32x4.pmin(pairs, v128.shuffle<f32>(pairs, pairs, 1, 0, 3, 2)), 0);
}

/** The index of the first of the greatest of a table f32[n], with room up to a multiple of four. */
export function indexOfMost(table: usize, n: i32): i32 {
  // What fills up the last vector is never more.
  for (let i = n; i < ((n + 3) & ~3); i++) store<f32>(table + ((<usize>i) << 2), -Infinity);
  const end = table + ((<usize>n) << 2);
  let most = v128.load(table);
  for (let at = table + 16; at < end; at += 16) most = f32x4.pmax(most, v128.load(at));
  const pairs = f32x4.pmax(most, v128.shuffle<u64>(most, most, 1, 0));
  const all = f32x4.pmax(pairs, v128.shuffle<f32>(pairs, pairs, 1, 0, 3, 2));
  return indexOf(table, n, all);
}

/** And that of the least. */
export function indexOfLeast(table: usize, n: i32): i32 {
  for (let i = n; i < ((n + 3) & ~3); i++) store<f32>(table + ((<usize>i) << 2), Infinity);
  const end = table + ((<usize>n) << 2);
  let least = v128.load(table);
  for (let at = table + 16; at < end; at += 16) least = f32x4.pmin(least, v128.load(at));
  return indexOf(table, n, f32x4.splat(leastOfLanes(least)));
}

/** The index of the first entry of a table that is what all lanes of the value are; 0 where none is. */
function indexOf(table: usize, n: i32, value: v128): i32 {
  for (let i = 0; i < n; i += 4) {
    const mask = i32x4.bitmask(f32x4.eq(value, v128.load(table + ((<usize>i) << 2))));
    if (mask !== 0) return i + ctz(mask);
  }
  return 0;
}

/** The sums of the lanes of each of four vectors. */
export function sumsOf(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 1, 4, 5), v128.shuffle<f32>(a, b, 2, 3, 6, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 1, 4, 5), v128.shuffle<f32>(c, d, 2, 3, 6, 7));
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 2, 4, 6), v128.shuffle<f32>(ab, cd, 1, 3, 5, 7));
}

/** The loads of all experts. */
export function totalOf(loads: usize, numExperts: i32): f64 {
  let total: f64 = 0;
  for (let expert = 0; expert < numExperts; expert++) total += <f64>load<f32>(loads + ((<usize>expert) << 2));
  return total;
}
