import type { BalanceFigures, Percentiles } from './result.ts';

/** Bins of balancedness from 0 to 1: percentiles are right to one of them. */
const NUM_BINS = 10_000;

/** What a step comes to under one placement. */
export interface StepFigures {
  /** Ratio of sums over layers; 1 for a step without load. */
  readonly balancedness: number;
  /** Sum over layers of the units that the cost model counts. */
  readonly units: number;
  /** The largest PAR of a layer. */
  readonly worstPeak: number;
}

/** Balancedness and PAR of many steps, in memory that does not grow with them. */
export class BalanceTally {
  readonly #numLayers: number;
  readonly sumOfMaxima: Float64Array;
  readonly sumOfMeans: Float64Array;
  readonly sumOfBalancedness: Float64Array;
  readonly sumOfPeaks: Float64Array;
  readonly greatestPeak: Float64Array;
  readonly sumOfUnits: Float64Array;
  readonly #bins = new Uint32Array(NUM_BINS + 1);
  readonly #binSums = new Float64Array(NUM_BINS + 1);
  #numSteps = 0;
  #least = 1;
  #most = 0;

  constructor(numLayers: number) {
    this.#numLayers = numLayers;
    const perLayer = () => new Float64Array(numLayers);
    this.sumOfMaxima = perLayer();
    this.sumOfMeans = perLayer();
    this.sumOfBalancedness = perLayer();
    this.sumOfPeaks = perLayer();
    this.greatestPeak = perLayer();
    this.sumOfUnits = perLayer();
  }

  get numSteps(): number {
    return this.#numSteps;
  }

  /**
   * Adds a step.
   *
   * @param stats [layers][2]: the largest rank load and the mean of each layer
   * @param layerUnits [layers]: the units that the cost model counts
   */
  add(stats: Float64Array, layerUnits: Float64Array): StepFigures {
    // Locals: a field is looked up anew at every turn of the loop.
    const {
      sumOfMaxima: maxima,
      sumOfMeans: means,
      sumOfBalancedness,
      sumOfPeaks: peaks,
      greatestPeak,
      sumOfUnits,
    } = this;
    let sumOfMaxima = 0;
    let sumOfMeans = 0;
    let units = 0;
    let worstPeak = 1;
    for (let layer = 0; layer < maxima.length; layer++) {
      const most = stats[2 * layer]!;
      const mean = stats[2 * layer + 1]!;
      const peak = mean === 0 ? 1 : most / mean;
      maxima[layer]! += most;
      means[layer]! += mean;
      sumOfBalancedness[layer]! += most === 0 ? 1 : mean / most;
      peaks[layer]! += peak;
      if (peak > greatestPeak[layer]!) greatestPeak[layer] = peak;
      sumOfMaxima += most;
      sumOfMeans += mean;
      sumOfUnits[layer]! += layerUnits[layer]!;
      units += layerUnits[layer]!;
      if (peak > worstPeak) worstPeak = peak;
    }
    const balancedness = ratioOrOne(sumOfMeans, sumOfMaxima);
    this.#numSteps++;
    const bin = Math.min(NUM_BINS, Math.floor(balancedness * NUM_BINS));
    this.#bins[bin]!++;
    this.#binSums[bin]! += balancedness;
    this.#least = Math.min(this.#least, balancedness);
    this.#most = Math.max(this.#most, balancedness);
    return { balancedness, units, worstPeak };
  }

  figures(): BalanceFigures {
    const means = total(this.sumOfMeans);
    const maxima = total(this.sumOfMaxima);
    const count = this.#numSteps * this.#numLayers;
    const worst = this.#worstLayer();
    return {
      balancednessRatioOfSums: ratioOrOne(means, maxima),
      balancednessMeanOfRatios: count === 0 ? 1 : total(this.sumOfBalancedness) / count,
      peakToAverageRatioOfSums: ratioOrOne(maxima, means),
      peakToAverageMeanOfRatios: count === 0 ? 1 : total(this.sumOfPeaks) / count,
      worstLayer: {
        layer: worst,
        balancednessRatioOfSums: ratioOrOne(this.sumOfMeans[worst]!, this.sumOfMaxima[worst]!),
        peakToAverageRatioOfSums: ratioOrOne(this.sumOfMaxima[worst]!, this.sumOfMeans[worst]!),
      },
      balancednessPercentiles: this.#percentiles((share) => this.#lowQuantile(share), this.#min, this.#max),
      peakToAveragePercentiles: this.#percentiles(
        (share) => 1 / this.#highQuantile(share),
        1 / this.#max,
        1 / this.#min,
      ),
    };
  }

  get #min(): number {
    return this.#numSteps === 0 ? 1 : this.#least;
  }

  get #max(): number {
    return this.#numSteps === 0 ? 1 : this.#most;
  }

  #worstLayer(): number {
    let worst = 0;
    let least = Number.POSITIVE_INFINITY;
    for (let layer = 0; layer < this.#numLayers; layer++) {
      const own = ratioOrOne(this.sumOfMeans[layer]!, this.sumOfMaxima[layer]!);
      if (own >= least) continue;
      least = own;
      worst = layer;
    }
    return worst;
  }

  #percentiles(quantile: (share: number) => number, min: number, max: number): Percentiles {
    return { min, p5: quantile(0.05), p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99), max };
  }

  /** The least balancedness that a share of the steps does not exceed: the mean of the bin that holds it. */
  #lowQuantile(share: number): number {
    let left = Math.ceil(share * this.#numSteps);
    for (let bin = 0; bin <= NUM_BINS; bin++) {
      left -= this.#bins[bin]!;
      if (left <= 0 && this.#bins[bin]! > 0) return this.#binSums[bin]! / this.#bins[bin]!;
    }
    return 1;
  }

  /** The greatest balancedness that a share of the steps reaches: the mean of the bin that holds it. */
  #highQuantile(share: number): number {
    let left = Math.ceil(share * this.#numSteps);
    for (let bin = NUM_BINS; bin >= 0; bin--) {
      left -= this.#bins[bin]!;
      if (left <= 0 && this.#bins[bin]! > 0) return this.#binSums[bin]! / this.#bins[bin]!;
    }
    return 1;
  }
}

/** a / b, and 1 where there is no load. */
export function ratioOrOne(a: number, b: number): number {
  return b === 0 ? 1 : a / b;
}

function total(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0);
}
