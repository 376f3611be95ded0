import { SeededRandom } from './random.ts';
import { thinned } from './resize.ts';
import type { BatchSaving, BatchSavings } from './savings.ts';
import type { ScoredPlacement } from './scorer.ts';
import type { SlotTimes } from './unit-counter.ts';

/** Batches from 1/64 to 256 times the one that is replayed. */
const EXPONENTS = Array.from({ length: 15 }, (_, i) => i - 6);
/** Steps, and layers of each, that are looked at: many more would take longer than the replay. */
const MAX_STEPS = 16;
const MAX_LAYERS = 12;

interface Sample {
  readonly index: number;
  /** [sizes] */
  readonly seconds: Float64Array;
  readonly unbalancedSeconds: Float64Array;
}

/** What batches of other sizes take under the placements of a replay, on some of its steps. */
export class BatchTally {
  readonly #times: SlotTimes;
  readonly #layers: readonly number[];
  readonly #numLayers: number;
  #samples: Sample[] = [];
  #stride = 1;

  constructor(times: SlotTimes, numLayers: number) {
    this.#times = times;
    this.#numLayers = numLayers;
    const count = Math.min(numLayers, MAX_LAYERS);
    this.#layers = Array.from({ length: count }, (_, i) => Math.floor((i * numLayers) / count));
  }

  /**
   * Looks at a step.
   *
   * @param index its place among the steps replayed, from 0
   * @param loads [layers x logical]
   * @param first the first placement; the live one while nothing has changed
   */
  add(index: number, loads: Float32Array, live: ScoredPlacement, first: ScoredPlacement): void {
    if (index % this.#stride !== 0) return;
    const sample = {
      index,
      seconds: new Float64Array(EXPONENTS.length),
      unbalancedSeconds: new Float64Array(EXPONENTS.length),
    };
    const numExperts = loads.length / this.#numLayers;
    const random = new SeededRandom(1, index);
    EXPONENTS.forEach((exponent, at) => {
      for (const layer of this.#layers) {
        const recorded = loads.subarray(layer * numExperts, (layer + 1) * numExperts);
        const resized = thinned(recorded, 2 ** exponent, random);
        const unbalanced = this.#times.layerSeconds(resized, first, layer);
        sample.unbalancedSeconds[at]! += unbalanced;
        sample.seconds[at]! += live === first ? unbalanced : this.#times.layerSeconds(resized, live, layer);
      }
    });
    this.#samples.push(sample);
    while (this.#samples.length > MAX_STEPS) {
      this.#stride *= 2;
      this.#samples = this.#samples.filter((kept) => kept.index % this.#stride === 0);
    }
  }

  /** @param secondsPerStep what moves and plans take, spread over the steps replayed */
  savings(secondsPerStep: number): BatchSavings {
    const numSteps = this.#samples.length;
    const counted = (secondsPerStep * this.#layers.length * numSteps) / this.#numLayers;
    const sizes = EXPONENTS.map((exponent, at): BatchSaving => {
      const sum = (of: (sample: Sample) => Float64Array) =>
        this.#samples.reduce((all, sample) => all + of(sample)[at]!, 0);
      const unbalanced = sum(({ unbalancedSeconds }) => unbalancedSeconds);
      const saved = unbalanced - sum(({ seconds }) => seconds) - counted;
      return { times: 2 ** exponent, savedShare: unbalanced === 0 ? 0 : saved / unbalanced };
    });
    return { numSteps, numLayers: this.#layers.length, sizes };
  }
}
