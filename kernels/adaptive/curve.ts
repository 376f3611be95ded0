// What a slot takes for its tokens, where that is not in proportion: read off points that lie close where
// tokens are few.

/** Points of each octave of tokens, and the first octave: from 2^-6 tokens on. */
const STEP_BITS: i32 = 3;
const FIRST_OCTAVE: i32 = -6;
const OCTAVES: i32 = 28;
/** Bits of a float32 below those that tell the point, and their part of the way to the next one. */
const PART_BITS: i32 = 23 - STEP_BITS;
const PART: f32 = 1 / <f32>(1 << PART_BITS);
/** The float32 1 has this in its bits above those of the part, for octave 0. */
const FIRST_STEP: i32 = (127 + FIRST_OCTAVE) << STEP_BITS;
const LAST: i32 = (OCTAVES << STEP_BITS) - 1;

/**
 * What a slot takes, between the points on the straight line, and beyond the last as between the last two.
 *
 * @param curve f32[2 + 8 x octaves]: for no token, for 2^-6 tokens, and then for each eighth of an octave
 * @param tokens at least 0
 */
export function costAt(curve: usize, tokens: f32): f32 {
  const bits = reinterpret<i32>(tokens);
  const step = (bits >> PART_BITS) - FIRST_STEP;
  if (step < 0) {
    const none = load<f32>(curve);
    return none + (load<f32>(curve, 4) - none) * tokens * <f32>(1 << -FIRST_OCTAVE);
  }
  const at = curve + ((<usize>(1 + min(step, LAST))) << 2);
  const below = load<f32>(at);
  const slope = load<f32>(at, 4) - below;
  if (step > LAST) return below + (slope * (tokens - pointAt(LAST))) / spanAt(LAST);
  return below + slope * (<f32>(bits & ((1 << PART_BITS) - 1)) * PART);
}

/** Tokens at which a step begins, and how many it spans. */
function pointAt(step: i32): f32 {
  return reinterpret<f32>((step + FIRST_STEP) << PART_BITS);
}

function spanAt(step: i32): f32 {
  return pointAt(step + 1) - pointAt(step);
}
