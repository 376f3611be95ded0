import type { LoadSamples } from '../index.ts';

/** Sizes of a recording. */
interface Sizes {
  readonly numLayers: number;
  readonly numLogicalExperts: number;
}

/**
 * The loads of a range of tokens or steps in runs of equal length: what a policy gets that plans from
 * samples.
 */
export class SampleRuns {
  readonly #sizes: Sizes;
  readonly #from: number;
  readonly #length: number;
  readonly #last: number;
  /** One a run. */
  readonly #sums: readonly Float64Array[];

  /** @param maxSamples - the most runs there may be */
  constructor(
    sizes: Sizes,
    { from, to }: { readonly from: number; readonly to: number },
    maxSamples: number,
  ) {
    this.#sizes = sizes;
    this.#from = from;
    this.#length = Math.ceil((to - from) / maxSamples);
    const numRuns = Math.ceil((to - from) / this.#length);
    this.#last = to - from - (numRuns - 1) * this.#length;
    const size = sizes.numLayers * sizes.numLogicalExperts;
    this.#sums = Array.from({ length: numRuns }, () => new Float64Array(size));
  }

  /** Where the run ends that a token or step is in. */
  endOf(at: number): number {
    return this.#from + (this.#runOf(at) + 1) * this.#length;
  }

  /** What the loads of a token or step are to be added to: [layers x logical]. */
  sumsOf(at: number): Float64Array {
    return this.#sums[this.#runOf(at)]!;
  }

  /** Runs of steps as their mean step; a run of tokens is a step. */
  toSamples(unit: 'token' | 'step'): LoadSamples {
    const { numLayers, numLogicalExperts: numExperts } = this.#sizes;
    const step = numLayers * numExperts;
    const data = new Float32Array(this.#sums.length * step);
    for (const [i, sums] of this.#sums.entries()) {
      const steps = unit === 'token' ? 1 : i === this.#sums.length - 1 ? this.#last : this.#length;
      data.set(
        sums.map((sum) => sum / steps),
        i * step,
      );
    }
    const sizes = { data, numSamples: this.#sums.length, numLayers, numExperts };
    if (unit === 'token') return sizes;
    return { ...sizes, stepsPerSample: this.#length, newestShare: this.#last / this.#length };
  }

  #runOf(at: number): number {
    return Math.floor((at - this.#from) / this.#length);
  }
}
