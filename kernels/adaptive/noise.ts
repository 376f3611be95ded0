// How far the samples of a layer are to be drawn together before they are planned for.

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { FOUR, high, low, Preparation, sumOfLanes } from './preparation';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { AdaptiveTerms } from './terms';

/**
 * At most so much of what samples differ is taken for chance. Measured on four recordings, on steps that were
 * not planned with: 0.1 to 0.4 is the same without a price; at a tenth and a thirtieth of the default
 * policy's moves 0.1 is 0.002 to 0.004 better than 0.3. 0.6 loses 0.004 of balancedness, and 0.9, nearly the
 * mean alone, 0.025: steps tell which experts peak together.
 */
const MOST_SHRINK: f64 = 0.15;
/**
 * Of the normal distribution: differences that chance makes more seldom than once in 30,000 layers are none
 * of chance's.
 */
const QUANTILE: f64 = 4;
/**
 * Counts of tokens spread by chance spread about as a Poisson variable. What spreads less than this much of
 * it is no such count, unless there are so few samples that chance makes as little.
 */
const LEAST_DISPERSION: f64 = 0.5;

/**
 * Estimates how much of what samples differ is the chance of which tokens came: experts are picked by single
 * tokens, so that even an expert of constant popularity varies as a Poisson variable. The rest is what
 * experts really do, in bursts and drifts. `shrink`, in [0, 1], draws samples toward their mean, and `prior`
 * that mean toward equal loads. Where nothing is left, and the mean is within chance of equal loads too,
 * `isNoise` is set, and all samples become equal loads: then no placement is better than another, and nothing
 * moves for noise, whatever the price. Chance around unequal means is planned for as it is: even steps that
 * differ by chance alone tell how far loads stray, and the mean alone plans 0.03 worse (measured).
 */
export function estimateShrinkage(a: AdaptiveTerms, p: Preparation): void {
  a.shrink = 0;
  a.prior = 0;
  a.isNoise = 0;
  const n = <f64>p.numSteps;
  const numExperts = <f64>a.numExperts;
  if (p.numSteps < 2 || a.numExperts < 2 || load<f64>(p.totals) === 0) return;
  // The mean over samples of 1 / tokens: a share that a sample estimates has a variance of share x (1 -
  // share) / tokens.
  let inverse: f64 = 0;
  let squares: f64 = 0;
  for (let t = 0; t < p.numSteps; t++) {
    const at = (<usize>t) << 3;
    const own = 1 / (load<f64>(p.totals + at) * load<f64>(p.lengths + at));
    inverse += own / n;
    squares += (own * own) / n;
  }
  const steps = f64x2.splat(n);
  const ranks = f64x2.splat(<f64>a.numRanks);
  const one = f64x2.splat(1);
  let spread0 = f64x2.splat(0);
  let spread1 = f64x2.splat(0);
  let chance0 = f64x2.splat(0);
  let chance1 = f64x2.splat(0);
  let between0 = f64x2.splat(0);
  let between1 = f64x2.splat(0);
  for (let e = 0; e < p.width; e += FOUR) {
    let mean0 = f64x2.splat(0);
    let mean1 = f64x2.splat(0);
    const column = p.shares + ((<usize>e) << 2);
    const stride = (<usize>p.width) << 2;
    let at = column;
    for (let t = 0; t < p.numSteps; t++, at += stride) {
      mean0 = f64x2.add(mean0, low(v128.load(at)));
      mean1 = f64x2.add(mean1, high(v128.load(at)));
    }
    mean0 = f64x2.div(mean0, steps);
    mean1 = f64x2.div(mean1, steps);
    at = column;
    for (let t = 0; t < p.numSteps; t++, at += stride) {
      const off0 = f64x2.sub(low(v128.load(at)), mean0);
      const off1 = f64x2.sub(high(v128.load(at)), mean1);
      spread0 = f64x2.add(spread0, f64x2.mul(off0, off0));
      spread1 = f64x2.add(spread1, f64x2.mul(off1, off1));
    }
    mean0 = f64x2.div(mean0, ranks);
    mean1 = f64x2.div(mean1, ranks);
    chance0 = f64x2.add(chance0, f64x2.mul(mean0, f64x2.sub(one, mean0)));
    chance1 = f64x2.add(chance1, f64x2.mul(mean1, f64x2.sub(one, mean1)));
    const off0 = f64x2.sub(mean0, equalShares(a, e));
    const off1 = f64x2.sub(mean1, equalShares(a, e + 2));
    between0 = f64x2.add(between0, f64x2.mul(off0, off0));
    between1 = f64x2.add(between1, f64x2.mul(off1, off1));
  }
  const scale = <f64>a.numRanks * <f64>a.numRanks * (n - 1);
  const spread = sumOfLanes(spread0, spread1) / scale;
  const chance = sumOfLanes(chance0, chance1) * inverse;
  const between = sumOfLanes(between0, between1);
  const ofMean = spread / n;
  const dispersion = spread / chance;
  const degrees = numExperts - 1;
  // Of samples of few and of many tokens those of few make most of the spread: that is known less well.
  const ofSpread = ((inverse * inverse) / squares) * (n - 1) * degrees;
  const leastByChance = min(LEAST_DISPERSION, byChance(ofSpread, -QUANTILE));
  const isChance = dispersion > leastByChance && dispersion < byChance(ofSpread, QUANTILE);
  // What few samples spread can be less than what chance makes.
  const ofChance = max(spread, chance) / n;
  const isEqual = isChance && (between * numExperts) / degrees < ofChance * byChance(degrees, QUANTILE);
  a.isNoise = isEqual ? 1 : 0;
  a.shrink = isEqual ? 1 : share(chance, spread, MOST_SHRINK);
  a.prior = isEqual ? 1 : share(ofMean, between, 1);
}

/** What two experts have of equal loads; none where there is no expert. */
function equalShares(a: AdaptiveTerms, expert: i32): v128 {
  const equal = 1 / <f64>a.numExperts;
  const first = f64x2.splat(expert < a.numExperts ? equal : 0);
  return f64x2.replace_lane(first, 1, expert + 1 < a.numExperts ? equal : 0);
}

/**
 * How many times its mean a variance of so many degrees of freedom is, where it is so many standard errors
 * off (Wilson and Hilferty's formula).
 */
function byChance(degrees: f64, errors: f64): f64 {
  const width = 2 / (9 * degrees);
  const root = 1 - width + errors * Math.sqrt(width);
  return root * root * root;
}

/** A share of a whole, at most so much; none of nothing. */
function share(part: f64, whole: f64, most: f64): f64 {
  return whole > 0 ? min(most, part / whole) : 0;
}
