// Checking and adding a row of loads in vectors. The row is checked whole before anything is written.

/**
 * The index of the first load that is negative, NaN or infinite, or n.
 *
 * @param loads f32[n]
 */
export function firstInvalid(loads: usize, n: i32): i32 {
  const vectorEnd = n & ~3;
  const greatest = f32x4.splat(f32.MAX_VALUE);
  const zero = f32x4.splat(0);
  let i = 0;
  for (; i < vectorEnd; i += 4) {
    const x = v128.load(loads + ((<usize>i) << 2));
    if (!i32x4.all_true(v128.and(f32x4.ge(x, zero), f32x4.le(x, greatest)))) break;
  }
  for (; i < n; i++) {
    const x = load<f32>(loads + ((<usize>i) << 2));
    if (!(x >= 0 && x <= f32.MAX_VALUE)) break;
  }
  return i;
}

/**
 * Adds a row to the step's row: pass[i] += loads[i]. Nothing is written when a load, or a sum, is not a
 * finite number >= 0.
 *
 * @param loads f32[n]
 * @param pass f32[n], in and out
 * @returns the index of the first value that is refused, or n
 */
export function recordRow(loads: usize, pass: usize, n: i32): i32 {
  const zero = f32x4.splat(0);
  const greatest = f32x4.splat(f32.MAX_VALUE);
  const vectorEnd = (<usize>(n & ~3)) << 2;
  const end = (<usize>n) << 2;
  let valid = i32x4.splat(-1);
  let at: usize = 0;
  for (; at < vectorEnd; at += 16) {
    const x = v128.load(loads + at);
    const inRange = v128.and(f32x4.ge(x, zero), f32x4.le(f32x4.add(x, v128.load(pass + at)), greatest));
    valid = v128.and(valid, inRange);
  }
  let tailValid = true;
  for (; at < end; at += 4) {
    const x = load<f32>(loads + at);
    tailValid = tailValid && x >= 0 && x + load<f32>(pass + at) <= f32.MAX_VALUE;
  }
  if (!tailValid || !i32x4.all_true(valid)) return firstRefused(loads, pass, n);
  for (at = 0; at < vectorEnd; at += 16)
    v128.store(pass + at, f32x4.add(v128.load(pass + at), v128.load(loads + at)));
  for (; at < end; at += 4) store<f32>(pass + at, load<f32>(pass + at) + load<f32>(loads + at));
  return n;
}

function firstRefused(loads: usize, pass: usize, n: i32): i32 {
  let i = 0;
  for (; i < n; i++) {
    const x = load<f32>(loads + ((<usize>i) << 2));
    if (!(x >= 0 && x + load<f32>(pass + ((<usize>i) << 2)) <= f32.MAX_VALUE)) break;
  }
  return i;
}
