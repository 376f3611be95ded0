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
