import { evenExchange } from '../cost/exchange.ts';
import { makeCostTally } from '../cost/layer-costs.ts';
import { type LayerTimer, makeLayerTimer } from '../cost/layer-timer.ts';
import type { CostModel } from '../index.ts';
import type { TimeInspection } from './inspection.ts';

/** What the layers of all steps take, the experts in order on the ranks of one node. */
export class TimeTally {
  readonly #cost: CostModel;
  readonly #timer: LayerTimer;
  readonly #tally = makeCostTally();
  readonly #numLayers: number;
  readonly #numExperts: number;
  readonly #numRanks: number;
  readonly #inOrder: Int32Array;
  readonly #once: Int32Array;
  readonly #isEnlarged: boolean;
  #numSteps = 0;

  /** @param isEnlarged whether the counts are larger than what was recorded */
  constructor(cost: CostModel, numLayers: number, numExperts: number, numRanks: number, isEnlarged: boolean) {
    this.#isEnlarged = isEnlarged;
    this.#cost = cost;
    this.#numLayers = numLayers;
    this.#numExperts = numExperts;
    this.#numRanks = numRanks;
    this.#inOrder = Int32Array.from({ length: numExperts }, (_, expert) => expert);
    this.#once = new Int32Array(numExperts).fill(1);
    const rankStarts = Array.from({ length: numRanks + 1 }, (_, rank) =>
      Math.floor((rank * numExperts) / numRanks),
    );
    const sizes = { numLogicalExperts: numExperts, rankStarts };
    this.#timer = makeLayerTimer(cost, sizes, evenExchange(cost, numRanks, 1));
  }

  /** Adds a step. @param loads [layers x logical], checked */
  add(loads: Float32Array): void {
    this.#numSteps++;
    for (let layer = 0; layer < this.#numLayers; layer++) {
      const row = loads.subarray(layer * this.#numExperts, (layer + 1) * this.#numExperts);
      this.#tally.add(this.#timer.cost(row, this.#inOrder, this.#once));
    }
  }

  inspection(): TimeInspection {
    const summary = this.#tally.summary();
    return {
      ...summary,
      cost: this.#cost.name,
      numRanks: this.#numRanks,
      ...(this.#isEnlarged ? { isEnlarged: true } : {}),
      secondsPerLayer: summary.seconds / (this.#numSteps * this.#numLayers),
      secondsPerStep: summary.seconds / this.#numSteps,
      secondsAtBalancePerStep: summary.secondsAtBalance / this.#numSteps,
    };
  }
}
