import { zeros } from '../memory/allocate.ts';
import type { HotExpert, Inspection, LayerSkew, NoiseShare } from './inspection.ts';
import { samplingNoisePeak } from './noise.ts';
import { shares } from './trigger.ts';

/** Steps between those that are correlated. */
const LAGS = [1, 4, 16, 64];
const BLOCK_STEPS = 32;

/** What all steps of a recording come to, in memory that does not grow with them. */
export class InspectTally {
  numSteps = 0;
  readonly #numLayers: number;
  readonly #numExperts: number;
  readonly #numRanks: number;
  readonly #sums: Float64Array;
  readonly #squares: Float64Array;
  readonly #loadPerStep = { sum: 0, min: Number.POSITIVE_INFINITY, max: 0 };
  /** The last steps, as a ring. */
  readonly #recent: Float32Array[] = [];
  readonly #correlations = LAGS.map(() => ({ sum: 0, count: 0 }));
  readonly #block: Float32Array;
  #blockSteps = 0;
  #lastBlock: Float64Array | undefined;
  #firstBlock: Float64Array | undefined;
  readonly #blockDrift = { sum: 0, noise: 0, count: 0 };
  #sumOfPeaks = 0;

  constructor(numLayers: number, numExperts: number, numRanks: number) {
    this.#numLayers = numLayers;
    this.#numExperts = numExperts;
    this.#numRanks = numRanks;
    const what = `inspect: ${numLayers} layers x ${numExperts} experts`;
    this.#sums = zeros(what, Float64Array, numLayers * numExperts);
    this.#squares = zeros(what, Float64Array, numLayers * numExperts);
    this.#block = zeros(what, Float32Array, numLayers * numExperts);
  }

  add(loads: Float32Array): void {
    for (let i = 0; i < loads.length; i++) {
      const load = loads[i]!;
      this.#sums[i]! += load;
      this.#squares[i]! += load * load;
      this.#block[i]! += load;
    }
    for (let layer = 0; layer < this.#numLayers; layer++) this.#addLayer(this.#layer(loads, layer));
    this.#correlate(loads);
    this.numSteps++;
    if (++this.#blockSteps === BLOCK_STEPS) this.#endBlock();
  }

  #layer(loads: Float32Array, layer: number): Float32Array {
    return loads.subarray(layer * this.#numExperts, (layer + 1) * this.#numExperts);
  }

  #addLayer(row: Float32Array): void {
    const total = row.reduce((sum, load) => sum + load, 0);
    this.#loadPerStep.sum += total;
    this.#loadPerStep.min = Math.min(this.#loadPerStep.min, total);
    this.#loadPerStep.max = Math.max(this.#loadPerStep.max, total);
    let most = 0;
    for (let rank = 0; rank < this.#numRanks; rank++) {
      const from = Math.floor((rank * row.length) / this.#numRanks);
      const to = Math.floor(((rank + 1) * row.length) / this.#numRanks);
      let load = 0;
      for (let expert = from; expert < to; expert++) load += row[expert]!;
      most = Math.max(most, load);
    }
    this.#sumOfPeaks += total === 0 ? 1 : (most * this.#numRanks) / total;
  }

  #correlate(loads: Float32Array): void {
    const size = LAGS.at(-1)!;
    LAGS.forEach((lag, at) => {
      const before = this.#recent[(this.numSteps - lag + size) % size];
      if (this.numSteps < lag || before === undefined) return;
      for (let layer = 0; layer < this.#numLayers; layer++) {
        const value = pearson(this.#layer(before, layer), this.#layer(loads, layer));
        if (value === undefined) continue;
        this.#correlations[at]!.sum += value;
        this.#correlations[at]!.count++;
      }
    });
    const place = this.numSteps % size;
    if (this.#recent[place] === undefined) this.#recent[place] = loads.slice();
    else this.#recent[place].set(loads);
  }

  #endBlock(): void {
    const now = shares(this.#block, this.#numExperts);
    if (this.#lastBlock !== undefined) {
      this.#blockDrift.sum += distance(this.#lastBlock, now) / this.#numLayers;
      this.#blockDrift.noise += this.#noiseDistance(now) / this.#numLayers;
      this.#blockDrift.count++;
    }
    this.#firstBlock ??= now;
    this.#lastBlock = now;
    this.#block.fill(0);
    this.#blockSteps = 0;
  }

  /**
   * The total variation distance that two blocks of independent tokens with these shares would have, summed
   * over layers: half the sum of E|d|, d normal with variance 2 p (1 - p) / loads of a block, so E|d| =
   * sqrt(4 p (1 - p) / (pi x loads)).
   */
  #noiseDistance(now: Float64Array): number {
    let sum = 0;
    for (let layer = 0; layer < this.#numLayers; layer++) {
      const total = this.#layer(this.#block, layer).reduce((all, load) => all + load, 0);
      if (total === 0) continue;
      for (let i = layer * this.#numExperts; i < (layer + 1) * this.#numExperts; i++) {
        sum += Math.sqrt((4 * now[i]! * (1 - now[i]!)) / (Math.PI * total)) / 2;
      }
    }
    return sum;
  }

  inspection(numHottest: number, topK: number): Inspection {
    const { count, sum, noise } = this.#blockDrift;
    const { min, max } = this.#loadPerStep;
    const mean = this.#loadPerStep.sum / (this.numSteps * this.#numLayers);
    const hasBlocks = count > 0;
    return {
      numSteps: this.numSteps,
      numLayers: this.#numLayers,
      numLogicalExperts: this.#numExperts,
      loadPerStep: { mean, min, max },
      hottest: this.#hottest(numHottest),
      layers: Array.from({ length: this.#numLayers }, (_, layer) => this.#layerSkew(layer)),
      correlations: LAGS.flatMap((lag, at) => {
        const { sum: all, count: pairs } = this.#correlations[at]!;
        return pairs === 0 ? [] : [{ lag, correlation: all / pairs }];
      }),
      drift: {
        blockSteps: BLOCK_STEPS,
        nextBlock: hasBlocks ? sum / count : null,
        nextBlockByNoise: hasBlocks ? noise / count : null,
        firstToLast: hasBlocks ? distance(this.#firstBlock!, this.#lastBlock!) / this.#numLayers : null,
      },
      overdispersion: this.#overdispersion(),
      noise: this.#noise(mean, topK),
    };
  }

  #noise(meanLoad: number, topK: number): NoiseShare {
    const peakToAverage = this.#sumOfPeaks / (this.numSteps * this.#numLayers);
    const drawn = samplingNoisePeak(this.#numRanks, meanLoad / this.#numRanks);
    const differ = Math.sqrt((this.#numExperts - topK) / Math.max(1, this.#numExperts - 1));
    const peakToAverageByNoise = 1 + (drawn - 1) * differ;
    const share = peakToAverage > 1 ? Math.min(1, (peakToAverageByNoise - 1) / (peakToAverage - 1)) : 1;
    return { numRanks: this.#numRanks, peakToAverage, peakToAverageByNoise, share };
  }

  #sumsOf(layer: number): Float64Array {
    return this.#sums.subarray(layer * this.#numExperts, (layer + 1) * this.#numExperts);
  }

  #layerSkew(layer: number): LayerSkew {
    const sums = this.#sumsOf(layer);
    const total = sums.reduce((all, load) => all + load, 0);
    const mean = total / sums.length;
    const sorted = sums.slice().sort().reverse();
    const tenth = Math.max(1, Math.round(sums.length / 10));
    const top = sorted.subarray(0, tenth).reduce((all, load) => all + load, 0);
    const variance = sums.reduce((all, load) => all + (load - mean) ** 2, 0) / sums.length;
    return {
      layer,
      hottestExpert: sums.indexOf(sorted[0]!),
      hottestTimesMean: mean === 0 ? 1 : sorted[0]! / mean,
      variation: mean === 0 ? 0 : Math.sqrt(variance) / mean,
      hottestTenthShare: total === 0 ? tenth / sums.length : top / total,
      idleExperts: sums.filter((load) => load === 0).length,
    };
  }

  #hottest(count: number): HotExpert[] {
    const all: HotExpert[] = [];
    for (let layer = 0; layer < this.#numLayers; layer++) {
      const sums = this.#sumsOf(layer);
      const mean = sums.reduce((total, load) => total + load, 0) / sums.length;
      if (mean === 0) continue;
      sums.forEach((load, expert) => {
        all.push({ layer, expert, timesMean: load / mean });
      });
    }
    all.sort((a, b) => b.timesMean - a.timesMean || a.layer - b.layer || a.expert - b.expert);
    return all.slice(0, count);
  }

  #overdispersion(): number | null {
    if (this.numSteps < 2) return null;
    let observed = 0;
    let expected = 0;
    for (let layer = 0; layer < this.#numLayers; layer++) {
      const sums = this.#sumsOf(layer);
      const total = sums.reduce((all, load) => all + load, 0);
      sums.forEach((sum, expert) => {
        const squares = this.#squares[layer * this.#numExperts + expert]!;
        observed += Math.max(0, squares - sum ** 2 / this.numSteps) / (this.numSteps - 1);
        if (total > 0) expected += (sum / this.numSteps) * (1 - sum / total);
      });
    }
    return expected === 0 ? null : observed / expected;
  }
}

/** Half the sum of absolute differences. */
function distance(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i]! - b[i]!);
  return sum / 2;
}

/** Pearson's correlation; undefined where a row is constant. */
function pearson(a: Float32Array, b: Float32Array): number | undefined {
  const n = a.length;
  let sumA = 0;
  let sumB = 0;
  for (let i = 0; i < n; i++) {
    sumA += a[i]!;
    sumB += b[i]!;
  }
  let both = 0;
  let squaresA = 0;
  let squaresB = 0;
  for (let i = 0; i < n; i++) {
    const x = a[i]! - sumA / n;
    const y = b[i]! - sumB / n;
    both += x * y;
    squaresA += x * x;
    squaresB += y * y;
  }
  return squaresA === 0 || squaresB === 0 ? undefined : both / Math.sqrt(squaresA * squaresB);
}
