// How fast the ranks are. A rank's time is its load / its speed. Each power of a time counts by the rank's
// speed: so of a sum of loads that ranks may share at will, the powers come to least where all take as long.
// Unweighted, slow ranks would take less time than fast ones: 3 % of speeds from .25 to 1 (measured). Where
// all are alike every factor in here is 1, which changes no bit of a product.

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { AdaptiveTerms } from './terms';
import { power } from './vectors';

/**
 * Of norm 16 the powers of loads, of speeds and of their quotients are in float32 within these bounds, where
 * a rank may have no more than so many times its mean time.
 */
const LEAST_SHARP: f32 = 0.125;
const MOST_SHARP: f32 = 8;
const MOST_SHARP_TIME: f32 = 2048;
/** The same of what a shared expert loads a rank with, in mean loads. */
const MOST_SHARP_SHARE: f32 = 128;
/** Of norm 8 a rank may have so many times its mean time, were all load on it: no rank counts as slower. */
const MOST_TIME: f32 = 32768;
const LEAST_SPEED: f32 = 1 / 4096;

/** Whether norm 16 is asked for, and can be had of these ranks. */
export function isSharpFor(terms: AdaptiveTerms): bool {
  if (terms.isSharp === 0 || hasHeavyShare(terms)) return false;
  if (terms.rankSpeed === 0) return true;
  for (let rank = 0; rank < terms.numRanks; rank++) {
    const speed = givenSpeed(terms, rank);
    if (speed < LEAST_SHARP || speed > MOST_SHARP || <f32>terms.numRanks > speed * MOST_SHARP_TIME)
      return false;
  }
  return true;
}

/** Whether a shared expert loads a rank so much that sharp powers leave float32. */
function hasHeavyShare(terms: AdaptiveTerms): bool {
  if (terms.fixedShare === 0) return false;
  for (let rank = 0; rank < terms.numRanks; rank++) {
    const share = load<f32>(terms.fixedShare + ((<usize>rank) << 2));
    if (share * <f32>terms.numRanks > MOST_SHARP_SHARE) return true;
  }
  return false;
}

function givenSpeed(terms: AdaptiveTerms, rank: i32): f32 {
  return load<f32>(terms.rankSpeed + ((<usize>rank) << 2));
}

/**
 * Writes what follows from the speeds of the ranks.
 *
 * @param speeds f32[numRanks]: how fast a rank counts as
 * @param powers f32[numRanks]: what the power of its load counts as
 * @param paces f64[numRanks]: what it takes for a load of 1
 */
export function writeSpeeds(
  terms: AdaptiveTerms,
  isSharp: bool,
  speeds: usize,
  powers: usize,
  paces: usize,
): void {
  const least = max(LEAST_SPEED, <f32>terms.numRanks / MOST_TIME);
  for (let rank = 0; rank < terms.numRanks; rank++) {
    const at = (<usize>rank) << 2;
    const speed: f32 = terms.rankSpeed === 0 ? 1 : max(givenSpeed(terms, rank), least);
    store<f32>(speeds + at, speed);
    store<f32>(powers + at, speed * f32x4.extract_lane(power(f32x4.splat(1 / speed), isSharp), 0));
    store<f64>(paces + 2 * at, 1 / <f64>speed);
  }
}
