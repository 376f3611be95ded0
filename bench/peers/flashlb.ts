import { ExpertMapping } from 'expert-load-balancer';
import { assign } from './assignment.ts';
import { findCopies } from './flashlb-copies.ts';
import { deploy } from './flashlb-deploy.ts';
import { type Hotness, hotnessOf, meanPeak } from './flashlb-hotness.ts';

/** A layer is planned anew when its balance is less than this part of what was promised, or than this. */
const LEAST_OF_PROMISE = 0.95;
const LEAST_BALANCE = 0.9;

/**
 * FlashLB v2, a load balancing policy of vllm-ascend, written from its description. It looks at each layer's
 * balance over the window: mean / largest rank load, as one over the mean of the inverse. A layer that is bad
 * enough is placed anew, for mean and covariances of its experts' loads; the new ranks are then matched with
 * the live ones so that the fewest experts move, and the layer is changed when that is better on the window.
 *
 * The order of slots within a rank is left as it is found: it moves nothing.
 */
export class FlashLb {
  /** What each layer's placement was made to reach; 0 before it is first changed. */
  readonly #promised: number[] = [];

  /**
   * @param window the last steps, each [layers x experts]
   * @returns the live mapping itself when no layer is changed
   */
  plan(window: readonly Float32Array[], live: ExpertMapping, numRanks: number): ExpertMapping {
    const { numLayers, numLogicalExperts, numPhysicalExperts, phyToLog } = live;
    let isChanged = false;
    const rows = Array.from({ length: numLayers }, (_, layer) => {
      const row = phyToLog.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts);
      const hotness = hotnessOf(window, layer, numLogicalExperts);
      const next = this.#planLayer(layer, hotness, row, numRanks);
      isChanged ||= next !== row;
      return [...next];
    });
    return isChanged ? ExpertMapping.fromPhysicalToLogical(rows, numLogicalExperts) : live;
  }

  #planLayer(layer: number, hotness: Hotness, live: Int32Array, numRanks: number): Int32Array {
    const numSlots = live.length;
    const balanceOf = (placement: Int32Array) => 1 / meanPeak(hotness, placement, numSlots, numRanks);
    const current = balanceOf(live);
    const promised = this.#promised[layer] ?? 0;
    const isBad = current < promised * LEAST_OF_PROMISE || current < LEAST_BALANCE;
    if (promised > 0 && !isBad) return live;
    const place = (copies: Int32Array) => deploy(hotness, copies, numSlots, numRanks);
    const copies = findCopies(hotness.risk, numSlots, numRanks, (tried) =>
      meanPeak(hotness, place(tried), numSlots, numRanks),
    );
    const placement = place(copies);
    const reached = balanceOf(placement);
    if (reached <= current) return live;
    this.#promised[layer] = reached;
    return matchRanks(live, placement, numRanks);
  }
}

/** Gives each live rank the new rank that it has most experts of: the fewest moves over all ranks. */
export function matchRanks(live: Int32Array, placement: Int32Array, numRanks: number): Int32Array {
  const slotsPerRank = live.length / numRanks;
  const ranksOf = (table: Int32Array) =>
    Array.from({ length: numRanks }, (_, rank) =>
      table.subarray(rank * slotsPerRank, (rank + 1) * slotsPerRank),
    );
  const news = ranksOf(placement);
  const costs = ranksOf(live).flatMap((before) => {
    const experts = new Set(before);
    return news.map((rank) => rank.reduce((moves, expert) => moves + (experts.has(expert) ? 0 : 1), 0));
  });
  const matched = new Int32Array(live.length);
  for (const [rank, taken] of assign(Float64Array.from(costs), numRanks).entries()) {
    matched.set(news[taken]!, rank * slotsPerRank);
  }
  return matched;
}
