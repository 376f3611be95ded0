/**
 * Load imbalance: the largest load divided by the smallest positive one; 1 when no load is positive.
 *
 * @param loads f32[n], >= 0
 */
export function loadImbalance(loads: usize, n: i32): f64 {
  let most = f32x4.splat(0);
  let least = f32x4.splat(f32.MAX_VALUE);
  const end = loads + ((<usize>n) << 2);
  const vectorEnd = loads + ((<usize>(n & ~3)) << 2);
  let at = loads;
  for (; at < vectorEnd; at += 16) {
    const x = v128.load(at);
    most = f32x4.pmax(most, x);
    // A load of zero takes no part in the minimum: it is replaced by the minimum so far.
    least = f32x4.pmin(least, v128.bitselect(x, least, f32x4.gt(x, f32x4.splat(0))));
  }
  let high = max(
    max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
    max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)),
  );
  let low = min(
    min(f32x4.extract_lane(least, 0), f32x4.extract_lane(least, 1)),
    min(f32x4.extract_lane(least, 2), f32x4.extract_lane(least, 3)),
  );
  for (; at < end; at += 4) {
    const x = load<f32>(at);
    if (x > 0) {
      high = max(high, x);
      low = min(low, x);
    }
  }
  return high > 0 ? <f64>high / <f64>low : 1;
}
