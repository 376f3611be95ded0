/**
 * A sequence of random numbers that follows from its seed alone (Mulberry32, by Tommy Ettinger, public
 * domain).
 */
export class SeededRandom {
  #state: number;

  /** @param stream different streams of one seed are different sequences */
  constructor(seed: number, stream = 0) {
    this.#state = (Math.imul(seed | 0, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b)) | 0;
    // The first numbers of near seeds are near each other.
    for (let i = 0; i < 4; i++) this.next();
  }

  /** Uniform in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Normal with mean 0 and deviation 1, by Box and Muller. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }

  /**
   * How many of `count` trials succeed. Exact by counting gaps between successes (geometric, Devroye 1986)
   * while few are expected; else the normal approximation, rounded into range.
   */
  binomial(count: number, probability: number): number {
    if (count <= 0 || probability <= 0) return 0;
    if (probability >= 1) return count;
    if (probability > 0.5) return count - this.binomial(count, 1 - probability);
    const mean = count * probability;
    if (mean > 30) {
      const drawn = Math.round(mean + Math.sqrt(mean * (1 - probability)) * this.normal());
      return Math.max(0, Math.min(count, drawn));
    }
    const logOfFailure = Math.log1p(-probability);
    let successes = -1;
    for (let trials = 0; trials <= count; successes++) {
      trials += 1 + Math.floor(Math.log(1 - this.next()) / logOfFailure);
    }
    return successes;
  }
}
