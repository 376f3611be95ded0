import { zeros } from '../memory/allocate.ts';
import { leastOfLargest } from './largest.ts';
import type { HeatMap } from './result.ts';
import { meansOf, type ScoredPlacement } from './scorer.ts';

/** Most steps, and most numbers of a mapping, that percentiles are found in. */
const MOST_STEPS = 1024;
const MOST_NUMBERS = 2 ** 19;
const LEAST_STEPS = 64;

/** What a step is added from. */
type Scored = Pick<ScoredPlacement, 'rankLoads' | 'stats'>;

/** Sums rank loads for the heat map, under the first mapping and the live ones, from a step on. */
export class HeatTally {
  readonly #numLayers: number;
  readonly #numRanks: number;
  readonly #isEven: boolean;
  /** Of this many steps at most the rank loads themselves are kept: every stride-th. */
  readonly #mostKept: number;
  #before: LoadTally;
  /** The same as before until a step differs. */
  #after: LoadTally;
  #stride = 1;
  #fromStep = 0;
  #toStep = 0;
  #numSteps = 0;

  /** @param isEven whether all ranks live and are alike: then their mean is that of the layer */
  constructor(numLayers: number, numRanks: number, isEven = true) {
    this.#numLayers = numLayers;
    this.#numRanks = numRanks;
    this.#isEven = isEven;
    this.#before = this.#after = new LoadTally(numLayers, numRanks, isEven);
    const affordable = Math.floor(MOST_NUMBERS / (numLayers * numRanks));
    this.#mostKept = Math.min(MOST_STEPS, Math.max(LEAST_STEPS, affordable));
  }

  /** Forgets the steps so far. */
  restart(): void {
    this.#before = this.#after = new LoadTally(this.#numLayers, this.#numRanks, this.#isEven);
    this.#numSteps = 0;
    this.#stride = 1;
  }

  /**
   * Adds a step, as the first mapping and as the live one have it; the same object where none has changed.
   */
  add(step: number, before: Scored, after: Scored): void {
    if (this.#numSteps === 0) this.#fromStep = step;
    this.#toStep = step + 1;
    if (before !== after && this.#before === this.#after) this.#after = this.#before.copy();
    const isKept = this.#numSteps % this.#stride === 0;
    this.#before.add(before, isKept);
    if (this.#after !== this.#before) this.#after.add(after, isKept);
    this.#numSteps++;
    if (this.#before.numKept <= this.#mostKept) return;
    this.#stride *= 2;
    for (const tally of new Set([this.#before, this.#after])) tally.keepHalf();
  }

  heatMap(): HeatMap {
    const [before, after] = [this.#before, this.#after];
    return {
      fromStep: this.#fromStep,
      toStep: this.#toStep,
      before: before.means(),
      after: after.means(),
      p95Before: before.percentiles(0.95),
      p95After: after.percentiles(0.95),
      maximumBefore: before.maxima(),
      maximumAfter: after.maxima(),
    };
  }
}

/** A step of which the rank loads are kept. */
interface KeptStep {
  /** [layers x ranks] */
  readonly rankLoads: Float32Array;
  /** [layers] */
  readonly means: Float32Array;
}

/** Rank loads over steps, under one mapping after the other. */
class LoadTally {
  readonly #numLayers: number;
  readonly #numRanks: number;
  /** [layers x ranks] */
  readonly #sums: Float64Array;
  /** [layers]: of the largest rank loads. */
  readonly #sumsOfMaxima: Float64Array;
  /** [layers]: of the means, where they are not those of the rank loads. */
  readonly #sumsOfMeans: Float64Array;
  readonly #isEven: boolean;
  #kept: KeptStep[] = [];

  constructor(numLayers: number, numRanks: number, isEven: boolean) {
    this.#isEven = isEven;
    this.#sumsOfMeans = new Float64Array(numLayers);
    this.#numLayers = numLayers;
    this.#numRanks = numRanks;
    this.#sums = zeros('replay: a heat map', Float64Array, numLayers * numRanks);
    this.#sumsOfMaxima = new Float64Array(numLayers);
  }

  get numKept(): number {
    return this.#kept.length;
  }

  copy(): LoadTally {
    const copy = new LoadTally(this.#numLayers, this.#numRanks, this.#isEven);
    copy.#sums.set(this.#sums);
    copy.#sumsOfMeans.set(this.#sumsOfMeans);
    copy.#sumsOfMaxima.set(this.#sumsOfMaxima);
    copy.#kept = this.#kept.slice();
    return copy;
  }

  add({ rankLoads, stats }: Scored, isKept: boolean): void {
    addTo(this.#sums, rankLoads);
    addStats(stats, this.#sumsOfMaxima, this.#sumsOfMeans);
    if (!isKept) return;
    const kept = zeros('replay: a heat map', Float32Array, rankLoads.length);
    kept.set(rankLoads);
    this.#kept.push({ rankLoads: kept, means: meansOf(stats) });
  }

  /** Forgets every other step. */
  keepHalf(): void {
    this.#kept = this.#kept.filter((_, i) => i % 2 === 0);
  }

  means(): number[][] {
    return this.#rows((cell, layer) => shareOf(this.#sums[cell]!, this.#meanOf(layer)));
  }

  /** What a share of the steps kept do not exceed. */
  percentiles(share: number): number[][] {
    const kept = this.#kept;
    if (kept.length === 0) return this.#rows(() => 1);
    const values = new Float32Array(kept.length);
    const numAbove = kept.length - Math.max(0, Math.ceil(share * kept.length) - 1);
    return this.#rows((cell, layer) => {
      for (let i = 0; i < kept.length; i++) {
        const { rankLoads, means } = kept[i]!;
        values[i] = shareOf(rankLoads[cell]!, means[layer]!);
      }
      return leastOfLargest(values, numAbove);
    });
  }

  maxima(): number[] {
    return Array.from(this.#sumsOfMaxima, (sum, layer) => shareOf(sum, this.#meanOf(layer)));
  }

  /** Sum over steps of a layer's mean rank load. */
  #meanOf(layer: number): number {
    if (!this.#isEven) return this.#sumsOfMeans[layer]!;
    const row = this.#sums.subarray(layer * this.#numRanks, (layer + 1) * this.#numRanks);
    return row.reduce((sum, load) => sum + load, 0) / this.#numRanks;
  }

  #rows(value: (cell: number, layer: number) => number): number[][] {
    return Array.from({ length: this.#numLayers }, (_, layer) =>
      Array.from({ length: this.#numRanks }, (_, rank) => value(layer * this.#numRanks + rank, layer)),
    );
  }
}

/** In means; 1 where there is no load. */
function shareOf(load: number, mean: number): number {
  return mean === 0 ? 1 : load / mean;
}

function addStats(stats: Float64Array, maxima: Float64Array, means: Float64Array): void {
  for (let layer = 0; layer < maxima.length; layer++) {
    maxima[layer]! += stats[2 * layer]!;
    means[layer]! += stats[2 * layer + 1]!;
  }
}

/** A function of its own: where a loop reads fields of the class, it takes four times as long. */
function addTo(sums: Float64Array, values: Float64Array): void {
  for (let i = 0; i < sums.length; i++) sums[i]! += values[i]!;
}
