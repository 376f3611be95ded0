import { MAX_RANK_LOADS, type RankLoadSamples } from './result.ts';
import { meansOf, type ScoredPlacement } from './scorer.ts';

/** What a step is taken from. */
type Scored = Pick<ScoredPlacement, 'rankLoads' | 'stats'>;

interface Sample {
  readonly index: number;
  readonly step: number;
  /** [layers x ranks] */
  readonly loads: Float32Array;
  /** [layers] */
  readonly means: Float32Array;
}

/** Keeps the rank loads of some steps: of every `stride`-th, the stride growing, and of the slowest. */
export class RankLoadSampler {
  readonly #numLayers: number;
  readonly #numRanks: number;
  readonly #most: number;
  readonly #isEven: boolean;
  #samples: Sample[] = [];
  #stride = 1;
  #slowest: Sample | undefined;
  #slowestUnits = Number.NEGATIVE_INFINITY;

  /** @param isEven whether all ranks live and are alike: then their mean is that of the layer */
  constructor(numLayers: number, numRanks: number, isEven = true) {
    this.#isEven = isEven;
    this.#numLayers = numLayers;
    this.#numRanks = numRanks;
    this.#most = Math.max(2, Math.floor(MAX_RANK_LOADS / (numLayers * numRanks)));
  }

  /**
   * Looks at a step.
   *
   * @param index its place among the steps replayed, from 0
   * @param units what it took
   * @param placement what the live mapping was scored to; copied when kept
   */
  add(index: number, step: number, units: number, { rankLoads, stats }: Scored): void {
    const isSlowest = units > this.#slowestUnits;
    if (!isSlowest && index % this.#stride !== 0) return;
    const sample = { index, step, loads: Float32Array.from(rankLoads), means: meansOf(stats) };
    if (isSlowest) {
      this.#slowest = sample;
      this.#slowestUnits = units;
    }
    if (index % this.#stride !== 0) return;
    this.#samples.push(sample);
    while (this.#samples.length > this.#most) {
      this.#stride *= 2;
      this.#samples = this.#samples.filter((kept) => kept.index % this.#stride === 0);
    }
  }

  samples(): RankLoadSamples {
    const slowest = this.#slowest;
    const kept = this.#samples.filter(({ index }) => index !== slowest?.index);
    if (slowest !== undefined) kept.push(slowest);
    kept.sort((a, b) => a.index - b.index);
    return {
      stride: this.#stride,
      steps: kept.map(({ step }) => step),
      slowestStep: slowest?.step ?? 0,
      loads: kept.map(({ loads }) => this.#rows(loads)),
      ...(this.#isEven ? {} : { means: kept.map(({ means }) => Array.from(means, roundedLoad)) }),
    };
  }

  #rows(loads: Float32Array): number[][] {
    return Array.from({ length: this.#numLayers }, (_, layer) =>
      Array.from(loads.subarray(layer * this.#numRanks, (layer + 1) * this.#numRanks), roundedLoad),
    );
  }
}

/** A load to five figures: more than is shown, and shorter to write. */
export function roundedLoad(load: number): number {
  return Number(load.toPrecision(5));
}
