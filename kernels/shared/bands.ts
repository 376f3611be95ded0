// Sums of loads that are exact, whatever is added and taken back later. A load is added to the sum of its
// band: of the loads whose exponents lie in the same few. All loads of a band are multiples of its smallest
// step, and no sum of it needs more than the 53 bits of a float64: so nothing is ever rounded, and taking a
// load back leaves no trace of it.
//
// bands: f64[bands][loads], of which a row begins at `bands` in the first and `stride` bytes on in each
// other. A load's band is its bits >> shift. used: u8[bands], set to 1 for the bands that are added to.

const NO_BAND = i32.MAX_VALUE;

/** Adds `sign` times each load of a row to its band. sample f32[n], >= 0. */
export function addToBands(
  sample: usize,
  bands: usize,
  stride: usize,
  shift: i32,
  n: i32,
  sign: f64,
  used: usize,
): void {
  let band = lowestBand(sample, shift, n);
  while (band !== NO_BAND) {
    store<u8>(used + <usize>band, 1);
    band = addBand(sample, bands + <usize>band * stride, shift, n, sign, band);
  }
}

/** The lowest band that a row has a load in; NO_BAND when all are 0. */
function lowestBand(sample: usize, shift: i32, n: i32): i32 {
  const vectorEnd = n & ~3;
  // One less than the bits: zeros are then the greatest of all.
  let lowest = i32x4.splat(-1);
  const one = i32x4.splat(1);
  let i = 0;
  for (; i < vectorEnd; i += 4)
    lowest = i32x4.min_u(lowest, i32x4.sub(v128.load(sample + ((<usize>i) << 2)), one));
  let least = min(
    min(<u32>i32x4.extract_lane(lowest, 0), <u32>i32x4.extract_lane(lowest, 1)),
    min(<u32>i32x4.extract_lane(lowest, 2), <u32>i32x4.extract_lane(lowest, 3)),
  );
  for (; i < n; i++) least = min(least, load<u32>(sample + ((<usize>i) << 2)) - 1);
  return least === u32.MAX_VALUE ? NO_BAND : <i32>((least + 1) >>> shift);
}

/** Adds what a row has in one band. @returns the next band that it has a load in, or NO_BAND */
function addBand(sample: usize, sums: usize, shift: i32, n: i32, sign: f64, band: i32): i32 {
  const signs = f64x2.splat(sign);
  const wanted = i32x4.splat(band);
  const vectorEnd = n & ~3;
  let next = i32x4.splat(NO_BAND);
  let i = 0;
  for (; i < vectorEnd; i += 4) {
    const loads = v128.load(sample + ((<usize>i) << 2));
    const its = i32x4.shr_u(loads, shift);
    const x = v128.and(loads, i32x4.eq(its, wanted));
    const to = sums + ((<usize>i) << 3);
    const low = f64x2.promote_low_f32x4(x);
    const high = f64x2.promote_low_f32x4(v128.shuffle<u64>(x, x, 1, 1));
    v128.store(to, f64x2.add(v128.load(to), f64x2.mul(low, signs)));
    v128.store(to, f64x2.add(v128.load(to, 16), f64x2.mul(high, signs)), 16);
    next = i32x4.min_s(next, v128.bitselect(its, next, i32x4.gt_s(its, wanted)));
  }
  let least = min(
    min(i32x4.extract_lane(next, 0), i32x4.extract_lane(next, 1)),
    min(i32x4.extract_lane(next, 2), i32x4.extract_lane(next, 3)),
  );
  for (; i < n; i++) {
    const at = sample + ((<usize>i) << 2);
    const its = <i32>(load<u32>(at) >>> shift);
    if (its > band) least = min(least, its);
    if (its !== band) continue;
    const to = sums + ((<usize>i) << 3);
    store<f64>(to, load<f64>(to) + sign * <f64>load<f32>(at));
  }
  return least;
}

/** As addToBands, for the experts of the slots: see foldSample. */
export function foldToBands(
  sample: usize,
  phyToLog: usize,
  bands: usize,
  stride: usize,
  shift: i32,
  numPhysical: i32,
  sign: f64,
  used: usize,
): void {
  for (let slot = 0; slot < numPhysical; slot++) {
    const at = (<usize>slot) << 2;
    const expert = load<i32>(phyToLog + at);
    const bits = load<u32>(sample + at);
    if (expert < 0 || bits === 0) continue;
    const band = <usize>(bits >>> shift);
    const sum = bands + band * stride + ((<usize>expert) << 3);
    store<f64>(sum, load<f64>(sum) + sign * <f64>load<f32>(sample + at));
    store<u8>(used + band, 1);
  }
}
