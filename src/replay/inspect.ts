import { checkObject, checkWhole } from '../core/checks.ts';
import { EplbError } from '../core/errors.ts';
import { checkSource, checkStep, stepsOf } from '../formats/check-recording.ts';
import { zeros } from '../memory/allocate.ts';
import { samplingNoisePeak } from './noise.ts';
import type { ReplaySource } from './source.ts';
import { shares } from './trigger.ts';

/** What a recording is like, before any placement is thought of. All of whole steps, in memory that does not grow with them. */
export interface Inspection {
  readonly numSteps: number;
  readonly numLayers: number;
  readonly numLogicalExperts: number;
  /** Loads of a layer in a step: tokens x topK. Over all layers and steps. */
  readonly loadPerStep: { readonly mean: number; readonly min: number; readonly max: number };
  /** The hottest experts over the whole recording, the hottest first. */
  readonly hottest: readonly HotExpert[];
  readonly layers: readonly LayerSkew[];
  /** Correlation of loads with those some steps later: for each lag, the mean over layers and steps of Pearson's. */
  readonly correlations: readonly { readonly lag: number; readonly correlation: number }[];
  /** How shares move, as total variation distance (half the sum of absolute differences), the mean over layers. */
  readonly drift: {
    /** Steps of a block. */
    readonly blockSteps: number;
    /** Mean distance from each block to the next; null with fewer than two blocks. */
    readonly nextBlock: number | null;
    /** What sampling noise alone would give. */
    readonly nextBlockByNoise: number | null;
    /** From the first block to the last. */
    readonly firstToLast: number | null;
  };
  /**
   * Variance of loads from step to step / that of independent tokens with the same popularities: 1 is sampling noise
   * alone. Null with fewer than two steps.
   */
  readonly overdispersion: number | null;
  readonly noise: NoiseShare;
}

/** An expert beside the mean of its layer. */
export interface HotExpert {
  readonly layer: number;
  readonly expert: number;
  /** Its load / the mean of its layer's. */
  readonly timesMean: number;
}

/** How unevenly a layer's experts are used over the whole recording. */
export interface LayerSkew {
  readonly layer: number;
  readonly hottestExpert: number;
  /** The hottest expert's load / the mean. */
  readonly hottestTimesMean: number;
  /** Standard deviation of the experts' loads / their mean. */
  readonly variation: number;
  /** Share of the load that the hottest tenth of the experts has. */
  readonly hottestTenthShare: number;
  /** Experts without any load. */
  readonly idleExperts: number;
}

/** How much of a step's imbalance is the chance of sampling, which no placement can foresee. */
export interface NoiseShare {
  readonly numRanks: number;
  /** Mean PAR of steps and layers, the experts in order on the ranks, none replicated. */
  readonly peakToAverage: number;
  /**
   * The least mean PAR that any placement could have: {@link samplingNoisePeak} at the mean load of a rank. Where topK is known, its
   * distance from 1 is taken times sqrt((experts - topK) / (experts - 1)), as a token's experts all differ.
   */
  readonly peakToAverageByNoise: number;
  /** (the second - 1) / (the first - 1): that part of the imbalance stays whatever is balanced. */
  readonly share: number;
}

/** How to look. */
export interface InspectOptions {
  /** Ranks that noise is reckoned for; 8, or as many as there are experts, when left out. */
  readonly numRanks?: number;
  /** Experts of a token in a layer, where it is known. */
  readonly topK?: number;
  /** How many hottest experts are named; 10 when left out. */
  readonly numHottest?: number;
  readonly steps?: { readonly from?: number; readonly to?: number };
  /** Called after every step. Returning false ends the reading. */
  readonly onStep?: (progress: {
    readonly numSteps: number;
    readonly bytesRead: number;
  }) => boolean | undefined;
}

/** Steps between those that are correlated. */
const LAGS = [1, 4, 16, 64];
const BLOCK_STEPS = 32;

/**
 * Looks at all steps of a recording, once.
 *
 * @throws EplbError `EPLB_FORMAT` when it holds no step; what the source throws
 */
export async function inspect(source: ReplaySource, options: InspectOptions = {}): Promise<Inspection> {
  const { numLayers, numLogicalExperts } = checkSource(source);
  const {
    numRanks = Math.min(8, numLogicalExperts),
    numHottest = 10,
    onStep,
    steps,
  } = checkObject('options', options);
  checkWhole('numRanks', numRanks, 1, numLogicalExperts);
  const tally = new InspectTally(numLayers, numLogicalExperts, numRanks);
  for await (const step of stepsOf(source, steps)) {
    checkStep(step, numLayers, numLogicalExperts);
    const { loads, bytesRead } = step;
    tally.add(loads);
    if (onStep?.({ numSteps: tally.numSteps, bytesRead }) === false) break;
  }
  if (tally.numSteps === 0) throw new EplbError('EPLB_FORMAT', 'recording: holds no step');
  const topK = checkWhole('topK', options.topK ?? 1, 1, numLogicalExperts);
  return tally.inspection(checkWhole('numHottest', numHottest, 0), topK);
}

class InspectTally {
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
   * The total variation distance that two blocks of independent tokens with these shares would have, summed over layers: half
   * the sum of E|d|, d normal with variance 2 p (1 - p) / loads of a block, so E|d| = sqrt(4 p (1 - p) / (pi x loads)).
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
