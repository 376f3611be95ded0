import type { Topology } from '../index.ts';
import { leastOfLargest } from './largest.ts';
import { MAX_HOT_EXPERTS, type PlacedExpert } from './result.ts';
import type { LoadSum } from './scorer.ts';

/** After so many steps one of several stands for them: all would take half as long as scoring them. */
const WHOLE_STEPS = 256;
const STRIDE = 16;

/** Adds up the loads of experts, for the hottest of them. */
export class ExpertTally {
  readonly #topology: Topology;
  readonly #sum: LoadSum;
  #numSteps = 0;

  /** @param sum of nothing yet */
  constructor(topology: Topology, sum: LoadSum) {
    this.#topology = topology;
    this.#sum = sum;
  }

  /** Adds a step, whose loads lie in the scorer of the sum. */
  add(): void {
    const index = this.#numSteps++;
    if (index < WHOLE_STEPS) this.#sum.add();
    else if (index % STRIDE === 0) this.#sum.add(STRIDE);
  }

  /** [layers x logical]: what they got in all steps that were added, as far as these are looked at. */
  loads(): Float32Array {
    return Float32Array.from(this.#sum.values);
  }

  /**
   * The experts with the highest loads in means of their layer, the hottest first.
   *
   * @param slots [layers x physical], of the mapping that shows where they are
   */
  hottest(slots: Int32Array): PlacedExpert[] {
    const { numLogicalExperts, numPhysicalExperts, numRanks } = this.#topology;
    const shares = this.#shares();
    const least = leastOfLargest(shares, Math.min(MAX_HOT_EXPERTS, shares.length));
    const order = Array.from(shares.keys()).filter((at) => shares[at]! >= least);
    order.sort((a, b) => shares[b]! - shares[a]! || a - b);
    return order.slice(0, MAX_HOT_EXPERTS).map((at) => {
      const layer = Math.floor(at / numLogicalExperts);
      const expert = at % numLogicalExperts;
      const own = slots.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts);
      const ranks = Array.from(own).flatMap((held, slot) =>
        held === expert ? [Math.floor((slot * numRanks) / numPhysicalExperts)] : [],
      );
      return { layer, expert, timesMean: shares[at]!, ranks };
    });
  }

  #shares(): Float64Array {
    const { numLogicalExperts } = this.#topology;
    const shares = new Float64Array(this.#sum.values.length);
    for (let from = 0; from < shares.length; from += numLogicalExperts) {
      const row = this.#sum.values.subarray(from, from + numLogicalExperts);
      const mean = row.reduce((sum, load) => sum + load, 0) / numLogicalExperts;
      row.forEach((load, expert) => {
        shares[from + expert] = mean === 0 ? 1 : load / mean;
      });
    }
    return shares;
  }
}
