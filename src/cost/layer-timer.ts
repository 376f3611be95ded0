import { zeros } from '../memory/allocate.ts';
import { type CostModel, curveOf } from './cost-model.ts';
import { type Exchange, NO_EXCHANGE } from './exchange.ts';
import type { SlotCurve } from './slot-curve.ts';

/** What a layer takes under a placement, and why. */
export interface LayerCost {
  /** Of the slowest rank: the layer waits for it. */
  readonly seconds: number;
  /** Mean over the ranks. */
  readonly meanRankSeconds: number;
  /**
   * Time at perfect balance: no placement takes less whose copies each get a token or more. Every rank has
   * the same share of the least that all experts take together, and no rank fewer active experts than would
   * be left to it if they were dealt out evenly. It may be out of reach.
   */
  readonly secondsAtBalance: number;
  /** Slots with tokens, the mean over ranks. A slot that gets a share of a token counts as that share. */
  readonly meanActiveExperts: number;
  /** The same of the rank that has most. */
  readonly maxActiveExperts: number;
  /** What the slowest rank spends its time on. */
  readonly slowest: {
    readonly rank: number;
    /** What it takes whatever its slots have: idle slots, the start of dispatch and combine. */
    readonly fixedSeconds: number;
    /** Slots that take as long, or nearly, with fewer tokens: they wait for their weights. */
    readonly activeSeconds: number;
    /** Slots that wait for their tokens, and tokens under way. */
    readonly tokenSeconds: number;
  };
}

/** How many experts and ranks there are, and which slots are whose. */
interface TimedSizes {
  readonly numLogicalExperts: number;
  /** [ranks + 1]: the first slot of each rank, and the number of slots. */
  readonly rankStarts: ArrayLike<number>;
}

/** Computes {@link LayerCost}s of one size, in memory of its own. What it is given has been checked. */
export class LayerTimer {
  readonly #cost: CostModel;
  readonly #curve: SlotCurve;
  readonly #sizes: TimedSizes;
  readonly #numRanks: number;
  readonly #exchange: Exchange;
  readonly #idle: number;
  /** Of a slot with an expert, [logical]. */
  readonly #slotSeconds: Float64Array;
  readonly #tokens: Float64Array;

  /** @param exchange what dispatch and combine take; nothing when left out */
  constructor(cost: CostModel, sizes: TimedSizes, exchange: Exchange = NO_EXCHANGE) {
    this.#cost = cost;
    this.#curve = curveOf(cost);
    this.#sizes = sizes;
    this.#numRanks = sizes.rankStarts.length - 1;
    this.#exchange = exchange;
    this.#idle = this.#curve.json.idle;
    this.#slotSeconds = zeros('experts of a layer', Float64Array, sizes.numLogicalExperts);
    this.#tokens = zeros('experts of a layer', Float64Array, sizes.numLogicalExperts);
  }

  /**
   * Seconds of the slowest rank.
   *
   * @param loads [logical]
   * @param slots [physical]: the expert of each slot, -1 when it is empty
   * @param counts [logical]: the replicas of each expert
   */
  seconds(loads: ArrayLike<number>, slots: ArrayLike<number>, counts: ArrayLike<number>): number {
    this.#prepare(loads, counts);
    let slowest = 0;
    for (let rank = 0; rank < this.#numRanks; rank++)
      slowest = Math.max(slowest, this.#rankSeconds(slots, rank));
    return slowest;
  }

  /** {@link LayerCost.secondsAtBalance}, but for a placement that is better than it. */
  secondsAtBalance(loads: ArrayLike<number>): number {
    const { numLogicalExperts, rankStarts } = this.#sizes;
    let least = 0;
    let total = 0;
    let active = 0;
    for (let expert = 0; expert < numLogicalExperts; expert++) {
      const load = loads[expert]!;
      if (load === 0) continue;
      least += this.#curve.leastFor(load);
      total += load;
      if (load >= 1) active++;
    }
    const numRanks = this.#numRanks;
    const oneToken = this.#curve.secondsFor(1) - this.#idle;
    const slots = Math.max(least / numRanks, Math.ceil(active / numRanks) * oneToken);
    const idle = (this.#idle * rankStarts[numRanks]!) / numRanks;
    return this.#fixed(total / numRanks) + idle + slots;
  }

  /** All of it. Arguments as of {@link seconds}. */
  cost(loads: ArrayLike<number>, slots: ArrayLike<number>, counts: ArrayLike<number>): LayerCost {
    this.#prepare(loads, counts);
    let slowest = 0;
    let seconds = 0;
    let allSeconds = 0;
    let allActive = 0;
    let maxActiveExperts = 0;
    for (let rank = 0; rank < this.#numRanks; rank++) {
      const own = this.#rankSeconds(slots, rank);
      const active = this.#activeExperts(slots, rank);
      allSeconds += own;
      allActive += active;
      maxActiveExperts = Math.max(maxActiveExperts, active);
      if (own <= seconds) continue;
      seconds = own;
      slowest = rank;
    }
    return {
      seconds,
      meanRankSeconds: allSeconds / this.#numRanks,
      secondsAtBalance: Math.min(seconds, this.secondsAtBalance(loads)),
      meanActiveExperts: allActive / this.#numRanks,
      maxActiveExperts,
      slowest: this.#parts(slots, slowest, seconds),
    };
  }

  #prepare(loads: ArrayLike<number>, counts: ArrayLike<number>): void {
    for (let expert = 0; expert < this.#tokens.length; expert++) {
      const tokens = counts[expert] === 0 ? 0 : loads[expert]! / counts[expert]!;
      this.#tokens[expert] = tokens;
      this.#slotSeconds[expert] = this.#curve.secondsFor(tokens);
    }
  }

  /** What a rank takes beside its slots. */
  #fixed(tokens: number): number {
    const { secondsPerToken, latencySeconds } = this.#exchange;
    return this.#cost.fixedSeconds + (tokens === 0 ? 0 : latencySeconds + tokens * secondsPerToken);
  }

  #rankSeconds(slots: ArrayLike<number>, rank: number): number {
    const { rankStarts } = this.#sizes;
    let seconds = 0;
    let tokens = 0;
    for (let slot = rankStarts[rank]!; slot < rankStarts[rank + 1]!; slot++) {
      const expert = slots[slot]!;
      if (expert < 0) seconds += this.#idle;
      else {
        seconds += this.#slotSeconds[expert]!;
        tokens += this.#tokens[expert]!;
      }
    }
    return this.#fixed(tokens) + seconds;
  }

  #activeExperts(slots: ArrayLike<number>, rank: number): number {
    const { rankStarts } = this.#sizes;
    let active = 0;
    for (let slot = rankStarts[rank]!; slot < rankStarts[rank + 1]!; slot++) {
      if (slots[slot]! >= 0) active += Math.min(1, this.#tokens[slots[slot]!]!);
    }
    return active;
  }

  #parts(slots: ArrayLike<number>, rank: number, seconds: number): LayerCost['slowest'] {
    const { rankStarts } = this.#sizes;
    let activeSeconds = 0;
    let tokenSeconds = 0;
    const { secondsPerToken } = this.#exchange;
    for (let slot = rankStarts[rank]!; slot < rankStarts[rank + 1]!; slot++) {
      const expert = slots[slot]!;
      if (expert < 0 || this.#tokens[expert] === 0) continue;
      tokenSeconds += this.#tokens[expert]! * secondsPerToken;
      if (this.#curve.isBoundByTokens(this.#tokens[expert]!)) tokenSeconds += this.#slotSeconds[expert]!;
      else activeSeconds += this.#slotSeconds[expert]!;
    }
    const fixedSeconds = Math.max(0, seconds - activeSeconds - tokenSeconds);
    return { rank, fixedSeconds, activeSeconds, tokenSeconds };
  }
}
