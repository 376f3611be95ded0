// Rows of whole loads in half the memory: tokens are whole and rarely more than 65,535 a slot and step.

/**
 * Writes a row as 16-bit numbers, if that loses nothing.
 *
 * @param row f32[n], >= 0
 * @param out u16[n], out; of no use when the row does not fit
 * @returns 1 when every load is whole and at most 65,535, else 0
 */
export function narrowRow(row: usize, out: usize, n: i32): i32 {
  const eightEnd = n & ~7;
  const greatest = f32x4.splat(65535);
  let fits = i32x4.splat(-1);
  let i = 0;
  for (; i < eightEnd; i += 8) {
    const a = v128.load(row + ((<usize>i) << 2));
    const b = v128.load(row + ((<usize>i) << 2), 16);
    const wholeA = i32x4.trunc_sat_f32x4_s(a);
    const wholeB = i32x4.trunc_sat_f32x4_s(b);
    const inRange = v128.and(f32x4.le(a, greatest), f32x4.le(b, greatest));
    const isWhole = v128.and(
      f32x4.eq(f32x4.convert_i32x4_s(wholeA), a),
      f32x4.eq(f32x4.convert_i32x4_s(wholeB), b),
    );
    fits = v128.and(fits, v128.and(inRange, isWhole));
    v128.store(out + ((<usize>i) << 1), i16x8.narrow_i32x4_u(wholeA, wholeB));
  }
  if (!i32x4.all_true(fits)) return 0;
  for (; i < n; i++) {
    const value = load<f32>(row + ((<usize>i) << 2));
    if (!(value <= 65535 && floor<f32>(value) === value)) return 0;
    store<u16>(out + ((<usize>i) << 1), <u16>value);
  }
  return 1;
}

/**
 * Keeps a row where a narrow one is kept that leaves the sums, if it is narrow itself: as `narrowRow`,
 * `widenRow` and twice `addSample` do, in half the time (measured). Their difference is whole, so the sums
 * come to the same bits.
 *
 * @param row f32[n], >= 0
 * @param kept u16[n], in and out
 * @param sums f64[n], in and out
 * @param scratch u16[n]
 * @returns 1; or 0 when the row is not narrow, and nothing was changed
 */
export function replaceRow(row: usize, kept: usize, sums: usize, n: i32, scratch: usize): i32 {
  if (narrowRow(row, scratch, n) === 0) return 0;
  const eightEnd = n & ~7;
  let i = 0;
  for (; i < eightEnd; i += 8) {
    const at = kept + ((<usize>i) << 1);
    const next = v128.load(scratch + ((<usize>i) << 1));
    const last = v128.load(at);
    v128.store(at, next);
    const low = i32x4.sub(i32x4.extend_low_i16x8_u(next), i32x4.extend_low_i16x8_u(last));
    const high = i32x4.sub(i32x4.extend_high_i16x8_u(next), i32x4.extend_high_i16x8_u(last));
    const to = sums + ((<usize>i) << 3);
    addFour(to, low);
    addFour(to + 32, high);
  }
  for (; i < n; i++) {
    const at = kept + ((<usize>i) << 1);
    const next = load<u16>(scratch + ((<usize>i) << 1));
    const to = sums + ((<usize>i) << 3);
    store<f64>(to, load<f64>(to) + <f64>(<i32>next - <i32>load<u16>(at)));
    store<u16>(at, next);
  }
  return 1;
}

/** sums[i] += whole[i]: f64[4] and i32x4. */
function addFour(sums: usize, whole: v128): void {
  v128.store(sums, f64x2.add(v128.load(sums), f64x2.convert_low_i32x4_s(whole)));
  const high = f64x2.convert_low_i32x4_s(v128.shuffle<u64>(whole, whole, 1, 1));
  v128.store(sums, f64x2.add(v128.load(sums, 16), high), 16);
}

/** Writes 16-bit numbers as floats: row u16[n], out f32[n]. */
export function widenRow(row: usize, out: usize, n: i32): void {
  const eightEnd = n & ~7;
  let i = 0;
  for (; i < eightEnd; i += 8) {
    const x = v128.load(row + ((<usize>i) << 1));
    const to = out + ((<usize>i) << 2);
    v128.store(to, f32x4.convert_i32x4_u(i32x4.extend_low_i16x8_u(x)));
    v128.store(to, f32x4.convert_i32x4_u(i32x4.extend_high_i16x8_u(x)), 16);
  }
  for (; i < n; i++) store<f32>(out + ((<usize>i) << 2), <f32>load<u16>(row + ((<usize>i) << 1)));
}
