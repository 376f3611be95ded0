// The window's running sums: a sample is added when it comes and taken back when it goes. That is exact for
// rows of whole loads up to 65,535, all the window's memory full of them: no sum reaches 2^53. Other rows
// have sums of their own: see bands.ts.

/** sums[i] += sign * sample[i]. sample f32[n], sums f64[n]. */
export function addSample(sample: usize, sums: usize, n: i32, sign: f64): void {
  const signs = f64x2.splat(sign);
  const end = sample + ((<usize>n) << 2);
  // Pointers that move and eight at a time: .63 of what four take by an index (measured).
  for (const last = sample + ((<usize>(n & ~7)) << 2); sample < last; sample += 32, sums += 64) {
    addFour(v128.load(sample), signs, sums);
    addFour(v128.load(sample, 16), signs, sums + 32);
  }
  for (; sample < end; sample += 4, sums += 8)
    store<f64>(sums, load<f64>(sums) + sign * <f64>load<f32>(sample));
}

function addFour(x: v128, signs: v128, to: usize): void {
  const low = f64x2.promote_low_f32x4(x);
  const high = f64x2.promote_low_f32x4(v128.shuffle<u64>(x, x, 1, 1));
  v128.store(to, f64x2.add(v128.load(to), f64x2.mul(low, signs)));
  v128.store(to, f64x2.add(v128.load(to, 16), f64x2.mul(high, signs)), 16);
}

/** out[i] = a[i] + b[i], all f64[n]. */
export function addSums(a: usize, b: usize, out: usize, n: i32): void {
  const vectorEnd = (<usize>(n & ~1)) << 3;
  let at: usize = 0;
  for (; at < vectorEnd; at += 16) v128.store(out + at, f64x2.add(v128.load(a + at), v128.load(b + at)));
  if (n & 1) store<f64>(out + at, load<f64>(a + at) + load<f64>(b + at));
}
