import type { Dispatch } from '../core/dispatch.ts';
import { nodesOfRanks } from '../core/nodes.ts';
import type { Topology } from '../core/topology.ts';
import { makeCopyShares } from '../mapping/copy-shares.ts';
import { makeSlotShares, type SlotShares } from '../mapping/slot-shares.ts';
import { zeros } from '../memory/allocate.ts';
import type { CostModel } from './cost-model.ts';
import { type Exchange, type ExchangeRanks, exchangeByLink, exchangeOf } from './exchange.ts';
import { makeLeastExchange } from './least-exchange.ts';

/** What the copies of a layer get of the tokens of their experts, which begin on all ranks alike. */
export interface SlotDispatch {
  /** `[physical]`: the share of its expert's tokens that each slot gets. */
  readonly shares: Float64Array;
  /** `[physical]`: seconds of dispatch and combine that a slot's rank takes for a token of its expert. */
  readonly seconds: Float64Array;
}

/** Room for the slots of a layer, or of several. */
export function slotDispatchOf(numSlots: number): SlotDispatch {
  const what = `dispatch to ${numSlots} slots`;
  return { shares: zeros(what, Float64Array, numSlots), seconds: zeros(what, Float64Array, numSlots) };
}

type LayerSizes = Pick<Topology, 'numLogicalExperts' | 'numPhysicalExperts'>;

/** Makes a {@link NearestExchange}. A function, as an import of the library leaves this module out. */
export const makeNearestExchange = (...of: ConstructorParameters<typeof NearestExchange>): NearestExchange =>
  new NearestExchange(...of);

/**
 * What dispatch and combine take where tokens take the nearest copy: each token and expert a transfer of its
 * own, over the link of its two ranks, and nothing where it stays on its rank.
 */
export class NearestExchange implements Exchange {
  /** Once for a rank that has tokens. */
  readonly latencySeconds: number;
  /** What slots have counts in place of it. */
  readonly secondsPerToken = 0;
  readonly leastSeconds: (loads: ArrayLike<number>) => number;
  readonly #ranks: ExchangeRanks;
  readonly #numExperts: number;
  readonly #dispatch: Dispatch;
  readonly #shares: SlotShares;
  readonly #live: readonly number[];
  /** [ranks]: for a token that comes from any rank that lives. */
  readonly #fromAny: number | ArrayLike<number>;
  readonly #between: (source: number, target: number) => number;

  /** @throws EplbRangeError `EPLB_RANGE` for a class of links that the model does not have */
  constructor(cost: CostModel, ranks: ExchangeRanks, sizes: LayerSizes, dispatch: Dispatch) {
    const { numLogicalExperts, numPhysicalExperts } = sizes;
    const least = makeLeastExchange(cost, ranks, numLogicalExperts, numPhysicalExperts);
    this.leastSeconds = (loads) => least.seconds(loads);
    const { secondsPerToken, latencySeconds } = exchangeOf(cost, ranks);
    this.latencySeconds = latencySeconds;
    this.#ranks = ranks;
    this.#numExperts = numLogicalExperts;
    this.#dispatch = dispatch;
    this.#shares = makeSlotShares(ranks, numLogicalExperts, dispatch);
    const all = Array.from({ length: ranks.numRanks }, (_, rank) => rank);
    this.#live = all.filter((rank) => !(ranks.deadRanks ?? []).includes(rank));
    this.#fromAny = secondsPerToken;
    this.#between = secondsBetween(cost, ranks);
  }

  /** Writes what the slots `[physical]` of a layer get, and take. */
  write(slots: Int32Array, { shares, seconds }: SlotDispatch): void {
    this.#shares.write(slots, shares);
    const topology = { ...this.#ranks, numLogicalExperts: this.#numExperts };
    const copies = makeCopyShares(slots, topology, this.#dispatch);
    const counts = new Int32Array(this.#numExperts);
    for (const expert of slots) if (expert >= 0) counts[expert]!++;
    const perRank = slots.length / this.#ranks.numRanks;
    const fromAny = this.#fromAny;
    seconds.fill(0);
    for (const [slot, expert] of slots.entries())
      if (expert >= 0 && counts[expert] === 1)
        seconds[slot] = typeof fromAny === 'number' ? fromAny : fromAny[Math.floor(slot / perRank)]!;
    for (const [expert, count] of counts.entries()) {
      if (count < 2) continue;
      for (const source of this.#live) {
        const numTaken = copies.findSlots(expert, source);
        for (let i = 0; i < numTaken; i++) {
          const slot = copies.slots[i]!;
          const one = this.#between(source, Math.floor(slot / perRank));
          seconds[slot]! += one / numTaken / this.#live.length;
        }
      }
    }
  }
}

/**
 * Seconds of a token's dispatch and combine between two ranks; 0 where it stays.
 * @throws EplbRangeError `EPLB_RANGE` for a class of links that the model does not have
 */
export function secondsBetween(
  cost: CostModel,
  ranks: ExchangeRanks,
): (source: number, target: number) => number {
  const { linkClasses } = ranks;
  if (linkClasses === undefined) {
    const { withinNode, betweenNodes } = exchangeByLink(cost);
    const nodeOf = nodesOfRanks(ranks);
    return (source, target) =>
      source === target ? 0 : nodeOf[source] === nodeOf[target] ? withinNode : betweenNodes;
  }
  const { dispatchBytesPerToken, combineBytesPerToken } = cost.toJSON();
  const bytes = dispatchBytesPerToken + combineBytesPerToken;
  const classes = new Map<string, number>();
  for (const name of new Set(linkClasses.flat())) {
    const isUsed = linkClasses.some((row, a) => row.some((one, b) => a !== b && one === name));
    if (isUsed) classes.set(name, bytes / cost.link(name).bytesPerSecond);
  }
  return (source, target) => (source === target ? 0 : classes.get(linkClasses[source]![target]!)!);
}
