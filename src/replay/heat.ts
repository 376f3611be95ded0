import { zeros } from '../memory/allocate.ts';
import type { HeatMap } from './result.ts';

/** Sums rank loads for the heat map, under the first mapping and the live ones, from a step on. */
export class HeatTally {
  readonly #numLayers: number;
  readonly #numRanks: number;
  readonly #before: Float64Array;
  readonly #after: Float64Array;
  #fromStep = 0;
  #toStep = 0;
  #isEmpty = true;

  constructor(numLayers: number, numRanks: number) {
    this.#numLayers = numLayers;
    this.#numRanks = numRanks;
    this.#before = zeros('replay: a heat map', Float64Array, numLayers * numRanks);
    this.#after = zeros('replay: a heat map', Float64Array, numLayers * numRanks);
  }

  /** Forgets the steps so far. */
  restart(): void {
    this.#before.fill(0);
    this.#after.fill(0);
    this.#isEmpty = true;
  }

  /** Adds a step's rank loads [layers x ranks]. */
  add(step: number, before: Float64Array, after: Float64Array): void {
    if (this.#isEmpty) this.#fromStep = step;
    this.#isEmpty = false;
    this.#toStep = step + 1;
    addTo(this.#before, before);
    addTo(this.#after, after);
  }

  heatMap(): HeatMap {
    return {
      fromStep: this.#fromStep,
      toStep: this.#toStep,
      before: this.#rows(this.#before),
      after: this.#rows(this.#after),
    };
  }

  #rows(sums: Float64Array): number[][] {
    return Array.from({ length: this.#numLayers }, (_, layer) => {
      const row = sums.subarray(layer * this.#numRanks, (layer + 1) * this.#numRanks);
      const mean = row.reduce((sum, load) => sum + load, 0) / this.#numRanks;
      return Array.from(row, (load) => (mean === 0 ? 1 : load / mean));
    });
  }
}

function addTo(sums: Float64Array, values: Float64Array): void {
  for (let i = 0; i < sums.length; i++) sums[i]! += values[i]!;
}
