/** How far the samples of a layer are to be drawn together before they are planned for. */
export interface Shrinkage {
  /** Toward their mean, in [0, 1]: 1 makes all samples the mean. */
  readonly shrink: number;
  /** Their mean toward equal loads, in [0, 1]. */
  readonly prior: number;
  /** Whether nothing tells the samples from chance draws out of equal loads. */
  readonly isNoise: boolean;
}

/**
 * At most so much of what samples differ is taken for chance. Measured on four recordings, on steps that were
 * not planned with: 0.1 to 0.4 is the same without a price; at a tenth and a thirtieth of the default
 * policy's moves 0.1 is 0.002 to 0.004 better than 0.3. 0.6 loses 0.004 of balancedness, and 0.9, nearly the
 * mean alone, 0.025: steps tell which experts peak together.
 */
const MOST_SHRINK = 0.15;
/**
 * Experts that were popular are less so in the next steps, by more than chance tells. On five recordings,
 * each from eight first steps on, 0.04 to 0.1 of equal loads in the mean are the same, 0.15 is 0.0005 to
 * 0.0015 worse and 0.2 0.003.
 */
const LEAST_PRIOR = 0.08;
/**
 * Of the normal distribution: differences that chance makes more seldom than once in 30,000 layers are none
 * of chance's.
 */
const QUANTILE = 4;
/**
 * Counts of tokens spread by chance spread about as a Poisson variable. What spreads less than this much of
 * it is no such count.
 */
const LEAST_DISPERSION = 0.5;

/**
 * Estimates how much of what samples differ is the chance of which tokens came: experts are picked by single
 * tokens, so that even an expert of constant popularity varies as a Poisson variable. The rest is what
 * experts really do, in bursts and drifts. Where nothing is left, and the mean is within chance of equal
 * loads too, all samples become equal loads: then no placement is better than another, and nothing moves for
 * noise, whatever the price. Chance around unequal means is planned for as it is: even steps that differ by
 * chance alone tell how far loads stray, and the mean alone plans 0.03 worse (measured).
 *
 * @param rows loads [samples x experts], in tokens a step
 * @param steps [samples]: steps that each sample is the mean of
 */
export function estimateShrinkage(rows: Float32Array, steps: Float64Array, numExperts: number): Shrinkage {
  const totals = steps.map((_, t) => totalOf(rows, t, numExperts));
  let n = 0;
  for (const total of totals) if (total > 0) n++;
  if (n < 2 || numExperts < 2) return { shrink: 0, prior: LEAST_PRIOR, isNoise: false };
  // The mean over samples of 1 / tokens: a share that a sample estimates has a variance of share x (1 -
  // share) / tokens.
  let inverse = 0;
  for (const [t, total] of totals.entries()) if (total > 0) inverse += 1 / (total * steps[t]!) / n;
  // Sample by sample, as they lie in memory: expert by expert takes twice as long.
  const means = new Float64Array(numExperts);
  const squares = new Float64Array(numExperts);
  for (let t = 0; t < totals.length; t++) addShares(rows, t, totals[t]!, means);
  for (let expert = 0; expert < numExperts; expert++) means[expert]! /= n;
  for (let t = 0; t < totals.length; t++) addSquares(rows, t, totals[t]!, means, squares);
  let spread = 0;
  let chance = 0;
  let between = 0;
  for (let expert = 0; expert < numExperts; expert++) {
    const mean = means[expert]!;
    spread += squares[expert]! / (n - 1);
    chance += mean * (1 - mean) * inverse;
    between += (mean - 1 / numExperts) ** 2;
  }
  const ofMean = spread / n;
  const dispersion = spread / chance;
  const isChance = dispersion > LEAST_DISPERSION && dispersion < mostByChance((n - 1) * (numExperts - 1));
  const isEqual =
    isChance && (between * numExperts) / (numExperts - 1) < ofMean * mostByChance(numExperts - 1);
  return {
    shrink: isEqual ? 1 : share(chance, spread, MOST_SHRINK),
    prior: isEqual ? 1 : Math.max(LEAST_PRIOR, share(ofMean, between, 1)),
    isNoise: isEqual,
  };
}

/** Adds each expert's share of a sample that has load. */
function addShares(rows: Float32Array, sample: number, total: number, sums: Float64Array): void {
  if (total === 0) return;
  const first = sample * sums.length;
  for (let expert = 0; expert < sums.length; expert++) sums[expert]! += rows[first + expert]! / total;
}

/** Adds the square of what each expert's share of a sample that has load is off its mean. */
function addSquares(
  rows: Float32Array,
  sample: number,
  total: number,
  means: Float64Array,
  squares: Float64Array,
): void {
  if (total === 0) return;
  const first = sample * means.length;
  for (let expert = 0; expert < means.length; expert++) {
    const off = rows[first + expert]! / total - means[expert]!;
    squares[expert]! += off * off;
  }
}

/**
 * How many times its mean a variance of so many degrees of freedom hardly ever exceeds (Wilson and Hilferty's
 * formula).
 */
function mostByChance(degrees: number): number {
  const width = 2 / (9 * degrees);
  const root = 1 - width + QUANTILE * Math.sqrt(width);
  return root * root * root;
}

/** A share of a whole, at most so much; none of nothing. */
function share(part: number, whole: number, most: number): number {
  return whole > 0 ? Math.min(most, part / whole) : 0;
}

function totalOf(rows: Float32Array, sample: number, numExperts: number): number {
  let total = 0;
  for (let i = sample * numExperts; i < (sample + 1) * numExperts; i++) total += rows[i]!;
  return total;
}
