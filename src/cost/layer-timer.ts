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

/** What slots and ranks have where copies of an expert do not all get as much. */
interface DispatchedSlots {
  /** [physical]: the share of its expert's tokens that each slot gets. */
  readonly shares: Float64Array;
  /** [physical]: seconds of dispatch and combine for a token of its expert. */
  readonly seconds: Float64Array;
}

/** What dispatch and combine take where a rank gets a token once, however many of its experts it has. */
export interface SentOnce {
  /** [ranks]: as a share of what each token and expert takes as a transfer of its own. */
  readonly shares: ArrayLike<number>;
  /** The same of all ranks together, at least, whatever the placement. */
  readonly leastShare: number;
}

/** How many experts and ranks there are, and which slots are whose. */
interface TimedSizes {
  readonly numLogicalExperts: number;
  /** [ranks + 1]: the first slot of each rank, and the number of slots. */
  readonly rankStarts: ArrayLike<number>;
  /** [ranks]: 0 for a dead one, which takes no time; all 1 when left out. */
  readonly speeds?: ArrayLike<number> | undefined;
  /** [ranks]: tokens of a shared expert there, as a share of those of all others; none when left out. */
  readonly shared?: ArrayLike<number> | undefined;
}

/** Makes a {@link LayerTimer}. A function, as an import of the library leaves this module out. */
export const makeLayerTimer = (...of: ConstructorParameters<typeof LayerTimer>): LayerTimer =>
  new LayerTimer(...of);

/** Computes {@link LayerCost}s of one size, in memory of its own. What it is given has been checked. */
export class LayerTimer {
  readonly #cost: CostModel;
  readonly #curve: SlotCurve;
  readonly #sizes: TimedSizes;
  readonly #numRanks: number;
  /** [ranks]: 0 for a dead one. */
  readonly #speeds: Float64Array;
  readonly #allSpeeds: number;
  readonly #fastest: number;
  /** Ranks that live. */
  readonly #numLive: number;
  /** [ranks]: of dispatch and combine. */
  readonly #tokenSeconds: Float64Array;
  readonly #leastTokenSeconds: number;
  readonly #leastSeconds: Exchange['leastSeconds'];
  readonly #latency: number;
  /** Slots of ranks that live. */
  readonly #numSlots: number;
  readonly #idle: number;
  readonly #listed: Float64Array;
  /** Of a slot with an expert, [logical]. */
  readonly #slotSeconds: Float64Array;
  readonly #tokens: Float64Array;
  /** Of the loads asked for last: the least that all experts take, their tokens, how many have any. */
  #least = 0;
  #leastExchange = 0;
  #total = 0;
  #active = 0;
  /** [ranks] */
  readonly #rankSeconds: Float64Array;
  readonly #activeExperts: Float64Array;

  /** @param exchange what dispatch and combine take; nothing when left out */
  constructor(cost: CostModel, sizes: TimedSizes, exchange: Exchange = NO_EXCHANGE) {
    this.#cost = cost;
    this.#curve = curveOf(cost);
    this.#sizes = sizes;
    this.#numRanks = sizes.rankStarts.length - 1;
    const { secondsPerToken, latencySeconds, leastSeconds } = exchange;
    this.#leastSeconds = leastSeconds;
    const numRanks = this.#numRanks;
    const { speeds, rankStarts } = sizes;
    this.#speeds = Float64Array.from({ length: numRanks }, (_, rank) => speeds?.[rank] ?? 1);
    const live = Array.from(this.#speeds.keys()).filter((rank) => this.#speeds[rank]! > 0);
    this.#numLive = live.length;
    this.#allSpeeds = this.#speeds.reduce((sum, speed) => sum + speed, 0);
    this.#fastest = this.#speeds.reduce((most, speed) => Math.max(most, speed), 0);
    this.#numSlots = live.reduce((sum, rank) => sum + rankStarts[rank + 1]! - rankStarts[rank]!, 0);
    this.#tokenSeconds = Float64Array.from({ length: numRanks }, (_, rank) =>
      typeof secondsPerToken === 'number' ? secondsPerToken : secondsPerToken[rank]!,
    );
    this.#leastTokenSeconds = live.reduce(
      (least, rank) => Math.min(least, this.#tokenSeconds[rank]!),
      Number.POSITIVE_INFINITY,
    );
    this.#latency = latencySeconds;
    this.#idle = this.#curve.json.idle;
    this.#listed = this.#curve.secondsOfFewTokens;
    this.#slotSeconds = zeros('experts of a layer', Float64Array, sizes.numLogicalExperts);
    this.#tokens = zeros('experts of a layer', Float64Array, sizes.numLogicalExperts);
    this.#rankSeconds = zeros('ranks of a layer', Float64Array, this.#numRanks);
    this.#activeExperts = zeros('ranks of a layer', Float64Array, this.#numRanks);
  }

  /**
   * Seconds of the slowest rank.
   *
   * @param loads [logical]
   * @param slots [physical]: the expert of each slot, -1 when it is empty
   * @param counts [logical]: the replicas of each expert
   * @param dispatched what each slot gets and takes; when left out replicas get as much as each other
   * @param sent when left out each token and expert is a transfer of its own
   */
  seconds(
    loads: ArrayLike<number>,
    slots: ArrayLike<number>,
    counts: ArrayLike<number>,
    dispatched?: DispatchedSlots,
    sent?: SentOnce,
  ): number {
    this.#prepare(loads, counts, sent);
    this.#timeRanks(slots, loads, dispatched, sent);
    let slowest = 0;
    for (let rank = 0; rank < this.#numRanks; rank++)
      if (this.#rankSeconds[rank]! > slowest) slowest = this.#rankSeconds[rank]!;
    return slowest;
  }

  /**
   * {@link LayerCost.secondsAtBalance} of the loads that were asked for last, but for a placement that is
   * better than it.
   */
  get secondsAtBalance(): number {
    const numLive = this.#numLive;
    const speeds = this.#allSpeeds;
    const oneToken = this.#curve.secondsFor(1) - this.#idle;
    const active = (Math.ceil(this.#active / numLive) * oneToken) / this.#fastest;
    const slots = Math.max(this.#least / speeds, active);
    const idle = (this.#idle * this.#numSlots) / speeds;
    const tokens = this.#total / speeds;
    // 1 where all are alike.
    const ranksPerSpeed = numLive / speeds;
    const exchange = this.#leastExchange / speeds;
    const ofTokens = tokens === 0 ? 0 : this.#latency * ranksPerSpeed + exchange;
    return this.#cost.fixedSeconds * ranksPerSpeed + ofTokens + idle + slots + this.#sharedSeconds() / speeds;
  }

  /** All of it. Arguments as of {@link seconds}. */
  cost(
    loads: ArrayLike<number>,
    slots: ArrayLike<number>,
    counts: ArrayLike<number>,
    dispatched?: DispatchedSlots,
    sent?: SentOnce,
  ): LayerCost {
    this.#prepare(loads, counts, sent);
    this.#timeRanks(slots, loads, dispatched, sent);
    let slowest = 0;
    let seconds = 0;
    let allSeconds = 0;
    let allActive = 0;
    let maxActiveExperts = 0;
    for (let rank = 0; rank < this.#numRanks; rank++) {
      const own = this.#rankSeconds[rank]!;
      const active = this.#activeExperts[rank]!;
      allSeconds += own;
      allActive += active;
      if (active > maxActiveExperts) maxActiveExperts = active;
      if (own <= seconds) continue;
      seconds = own;
      slowest = rank;
    }
    return {
      seconds,
      meanRankSeconds: allSeconds / this.#numLive,
      secondsAtBalance: Math.min(seconds, this.secondsAtBalance),
      meanActiveExperts: allActive / this.#numLive,
      maxActiveExperts,
      slowest: this.#parts(slots, slowest, seconds, loads, dispatched, sent),
    };
  }

  #prepare(loads: ArrayLike<number>, counts: ArrayLike<number>, sent?: SentOnce): void {
    const tokensOf = this.#tokens;
    const slotSeconds = this.#slotSeconds;
    const curve = this.#curve;
    const isLeastInOne = curve.isSubadditive;
    const listed = this.#listed;
    const idle = this.#idle;
    let least = 0;
    let total = 0;
    let active = 0;
    for (let expert = 0; expert < tokensOf.length; expert++) {
      const count = counts[expert]!;
      const load = loads[expert]!;
      const tokens = count === 0 ? 0 : load / count;
      const below = tokens | 0;
      let seconds: number;
      // As the curve's secondsFor() does, and several times as quick as a call.
      if (tokens < listed.length - 1) {
        seconds = listed[below]!;
        if (tokens !== below) seconds += (tokens - below) * (listed[below + 1]! - seconds);
      } else seconds = curve.secondsFor(tokens);
      tokensOf[expert] = tokens;
      slotSeconds[expert] = seconds;
      if (load === 0) continue;
      least += isLeastInOne && count === 1 ? seconds - idle : curve.leastFor(load);
      total += load;
      if (load >= 1) active++;
    }
    this.#least = least;
    const leastExchange = this.#leastSeconds?.(loads) ?? total * this.#leastTokenSeconds;
    this.#leastExchange = leastExchange * (sent?.leastShare ?? 1);
    this.#total = total;
    this.#active = active;
  }

  /** What a rank takes beside its slots, at speed 1. */
  #fixed(tokens: number, exchange: number): number {
    const ofTokens = tokens === 0 ? 0 : this.#latency + exchange;
    return this.#cost.fixedSeconds + ofTokens;
  }

  /** Tokens of a shared expert on a rank: they are its own, and cross no link. */
  #sharedTokens(rank: number): number {
    const { shared } = this.#sizes;
    return shared === undefined ? 0 : shared[rank]! * this.#total;
  }

  /** What a shared expert takes on all ranks together, at speed 1. */
  #sharedSeconds(): number {
    if (this.#sizes.shared === undefined) return 0;
    let seconds = 0;
    for (let rank = 0; rank < this.#numRanks; rank++) {
      const tokens = this.#sharedTokens(rank);
      if (tokens > 0) seconds += this.#curve.secondsFor(tokens);
    }
    return seconds;
  }

  /** Seconds and active experts of all ranks, of what was prepared. */
  #timeRanks(
    slots: ArrayLike<number>,
    loads: ArrayLike<number>,
    dispatched?: DispatchedSlots,
    sent?: SentOnce,
  ): void {
    const { rankStarts } = this.#sizes;
    const tokensOf = this.#tokens;
    const slotSeconds = this.#slotSeconds;
    const idle = this.#idle;
    for (let rank = 0; rank < this.#numRanks; rank++) {
      const speed = this.#speeds[rank]!;
      if (speed === 0) continue;
      let seconds = 0;
      let tokens = 0;
      let active = 0;
      let exchange = 0;
      const end = rankStarts[rank + 1]!;
      for (let slot = rankStarts[rank]!; slot < end; slot++) {
        const expert = slots[slot]!;
        if (expert < 0) {
          seconds += idle;
          continue;
        }
        let own = tokensOf[expert]!;
        if (dispatched === undefined) seconds += slotSeconds[expert]!;
        else {
          own = loads[expert]! * dispatched.shares[slot]!;
          seconds += this.#curve.secondsFor(own);
          exchange += loads[expert]! * dispatched.seconds[slot]!;
        }
        tokens += own;
        active += Math.min(own, 1);
      }
      const shared = this.#sharedTokens(rank);
      if (shared > 0) {
        seconds += this.#curve.secondsFor(shared);
        active += Math.min(shared, 1);
      }
      if (dispatched === undefined) exchange = tokens * this.#tokenSeconds[rank]!;
      if (sent !== undefined) exchange *= sent.shares[rank]!;
      this.#rankSeconds[rank] = (this.#fixed(tokens, exchange) + seconds) / speed;
      this.#activeExperts[rank] = active;
    }
  }

  #parts(
    slots: ArrayLike<number>,
    rank: number,
    seconds: number,
    loads: ArrayLike<number>,
    dispatched?: DispatchedSlots,
    sent?: SentOnce,
  ): LayerCost['slowest'] {
    const { rankStarts } = this.#sizes;
    const shared = this.#sharedTokens(rank);
    const ofShared = shared > 0 ? this.#curve.secondsFor(shared) : 0;
    const isShort = ofShared > 0 && !this.#curve.isBoundByTokens(shared);
    let activeSeconds = isShort ? ofShared : 0;
    let tokenSeconds = ofShared - activeSeconds;
    const sentShare = sent?.shares[rank] ?? 1;
    const secondsPerToken = this.#tokenSeconds[rank]!;
    const speed = this.#speeds[rank]!;
    for (let slot = rankStarts[rank]!; slot < rankStarts[rank + 1]!; slot++) {
      const expert = slots[slot]!;
      if (expert < 0) continue;
      const tokens =
        dispatched === undefined ? this.#tokens[expert]! : loads[expert]! * dispatched.shares[slot]!;
      if (tokens === 0) continue;
      const own = dispatched === undefined ? this.#slotSeconds[expert]! : this.#curve.secondsFor(tokens);
      const exchange =
        dispatched === undefined ? tokens * secondsPerToken : loads[expert]! * dispatched.seconds[slot]!;
      tokenSeconds += exchange * sentShare;
      if (this.#curve.isBoundByTokens(tokens)) tokenSeconds += own;
      else activeSeconds += own;
    }
    activeSeconds /= speed;
    tokenSeconds /= speed;
    const fixedSeconds = Math.max(0, seconds - activeSeconds - tokenSeconds);
    return { rank, fixedSeconds, activeSeconds, tokenSeconds };
  }
}
