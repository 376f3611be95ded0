import { relativeSpeeds } from '../../core/rank-speeds.ts';
import { sharedLoads } from '../../core/rules.ts';
import type { Topology } from '../../core/topology.ts';
import { makeSlotShares, type SlotShares } from '../../mapping/slot-shares.ts';
import { zeros } from '../../memory/allocate.ts';
import { CopyTable } from './copy-table.ts';
import type { AdaptiveRequest } from './request.ts';
import { slotSecondsOf } from './slot-costs.ts';

/** The samples of a layer, prepared. */
export interface NearestSamples {
  /** `[samples]`: the loads [logical] of each. */
  readonly rows: readonly Float32Array[];
  /** `[samples]`: what each tells of the loads to come, together 1. */
  readonly likeness: Float64Array;
  /** What ranks take in a sample at balance, of slots that have costs. */
  readonly unit: number;
}

/** How far a placement may be changed. */
interface PolishTerms {
  /** What a move has to gain: a share of the mean rank load. */
  readonly price: number;
  readonly maxMoves: number;
  /** What links save of it, as a share of the mean rank load. */
  readonly savedByLinks: (slots: Int32Array) => number;
  /** Whether a placement may be taken, where some may not. */
  readonly isAllowed: (slots: Int32Array) => boolean;
}

/** Exchanges that are looked at with all samples, of those that their mean makes look best. */
const MOST_LOOKED_AT = 4;
/** Ranks in a row that no exchange helps, before the search ends. */
const MOST_IDLE_RANKS = 4;
/** The least that an exchange has to gain, as a share of the mean rank load. */
const LEAST_GAIN = 1e-5;

/** An exchange of two slots, and what the norm of the rank loads becomes by it. */
interface Exchange {
  readonly slots: readonly [number, number];
  readonly norm: number;
}

/**
 * What placements make of a layer's samples where tokens take the nearest copy, and exchanges of slots that
 * make the slowest rank faster. Where an expert has as many copies on each node that has any, these get as
 * much as each other, as the search believes; where not, copies of nodes with fewer get more.
 *
 * It follows the search of the kernels, which counts copies as even: so it changes little, and nothing where
 * that is what they are.
 */
export class NearestCounter {
  readonly #topology: Topology;
  readonly #perRank: number;
  readonly #shares: SlotShares;
  /** What a slot takes for so many tokens. */
  readonly #cost: ((tokens: number) => number) | undefined;
  /** [ranks]: what each takes for a load of 1. */
  readonly #paces: Float64Array;
  /** [ranks]: what a shared expert adds, as a share of the layer's load; undefined where there is none. */
  readonly #fixed: readonly number[] | undefined;
  readonly #copies: CopyTable;
  #samples: NearestSamples = { rows: [], likeness: new Float64Array(0), unit: 1 };
  /** [logical]: the mean of the samples, by their likeness and in shares of the mean rank load. */
  readonly #mean: Float64Array;
  /** [physical] */
  readonly #slotShares: Float64Array;
  /** [ranks], each of it to the power of the norm; and what changes of it. */
  readonly #rankMeans: Float64Array;
  readonly #changes: Float64Array;
  readonly #newShares: Float64Array;
  /** Ranks that have changes, some twice. */
  readonly #touched: number[] = [];

  constructor(topology: Topology, { slotCosts }: AdaptiveRequest) {
    const { numRanks, numPhysicalExperts, numLogicalExperts } = topology;
    const what = `nearest copies of ${numPhysicalExperts} slots`;
    this.#topology = topology;
    this.#perRank = numPhysicalExperts / numRanks;
    this.#shares = makeSlotShares(topology, numLogicalExperts, 'nearest');
    this.#cost = slotCosts && slotSecondsOf(slotCosts, topology);
    const speeds = relativeSpeeds(topology);
    this.#paces = Float64Array.from({ length: numRanks }, (_, rank) => 1 / (speeds?.[rank] ?? 1));
    this.#fixed = topology.rules && sharedLoads(topology);
    this.#copies = new CopyTable(topology);
    this.#mean = zeros(what, Float64Array, numLogicalExperts);
    this.#slotShares = zeros(what, Float64Array, numPhysicalExperts);
    this.#newShares = zeros(what, Float64Array, numPhysicalExperts);
    this.#rankMeans = zeros(what, Float64Array, numRanks);
    this.#changes = zeros(what, Float64Array, numRanks);
  }

  /** Takes a layer's samples for what follows. */
  prepare(samples: NearestSamples): void {
    this.#samples = samples;
    this.#mean.fill(0);
    samples.rows.forEach((row, t) => {
      const unit = this.#meanRankLoad(row);
      if (unit === 0) return;
      const weight = samples.likeness[t]! / unit;
      for (let expert = 0; expert < row.length; expert++) this.#mean[expert]! += weight * row[expert]!;
    });
  }

  /**
   * Measures the load of the slowest rank / the mean rank load, by their speeds, of every sample; 1 where
   * there is no load.
   */
  slowest(slots: Int32Array, out: Float64Array): void {
    this.#shares.write(slots, this.#slotShares);
    this.#samples.rows.forEach((row, t) => {
      out[t] = this.#slowestOf(row, slots, this.#slotShares);
    });
  }

  /** The mean of {@link slowest} over the samples, by their likeness. */
  expected(slots: Int32Array): number {
    this.#shares.write(slots, this.#slotShares);
    const { rows, likeness } = this.#samples;
    return rows.reduce(
      (sum, row, t) => sum + likeness[t]! * this.#slowestOf(row, slots, this.#slotShares),
      0,
    );
  }

  /**
   * Exchanges slots of a placement while that lowers {@link expected}, less what links save, by more than its
   * moves cost.
   *
   * @param slots `[physical]`, changed in place
   * @param live `[physical]`: what moves are counted from; undefined where they are free
   */
  polish(slots: Int32Array, live: Int32Array | undefined, terms: PolishTerms): void {
    const { price, maxMoves, savedByLinks, isAllowed } = terms;
    this.#copies.take(slots, live);
    let best = this.expected(slots) - savedByLinks(slots);
    if (!this.#isUneven(slots)) return;
    const wasAllowed = isAllowed(slots);
    let moves = this.#copies.countMoves(slots);
    for (let numIdle = 0, turn = 0; numIdle < MOST_IDLE_RANKS && turn < slots.length; turn++) {
      this.#findRankMeans(slots);
      const rank = this.#heaviest(numIdle);
      const taken = this.#exchangesOf(rank, slots).find(({ slots: [a, b] }) => {
        const more = this.#copies.movesOfExchange(slots, a, b);
        if (more > 0 && moves + more > maxMoves) return false;
        exchange(slots, a, b);
        const found = this.expected(slots) - savedByLinks(slots);
        const isBetter = best - found > LEAST_GAIN + price * Math.max(0, more);
        if (isBetter && (!wasAllowed || isAllowed(slots))) {
          best = found;
          moves += more;
          return true;
        }
        exchange(slots, a, b);
        return false;
      });
      numIdle = taken === undefined ? numIdle + 1 : 0;
      if (taken !== undefined) this.#copies.take(slots, live);
      this.#shares.write(slots, this.#slotShares);
    }
  }

  /** Whether any copies of an expert with load get more than others. */
  #isUneven(slots: Int32Array): boolean {
    return slots.some((expert, slot) => {
      if (expert < 0 || this.#mean[expert] === 0) return false;
      const even = 1 / this.#copies.countOf(expert);
      return Math.abs(this.#slotShares[slot]! - even) > 1e-9;
    });
  }

  #meanRankLoad(row: Float32Array): number {
    let total = 0;
    for (let expert = 0; expert < row.length; expert++) total += row[expert]!;
    return total / this.#topology.numRanks;
  }

  #slowestOf(row: Float32Array, slots: Int32Array, shares: Float64Array): number {
    const cost = this.#cost;
    const meanRankLoad = this.#meanRankLoad(row);
    let most = 0;
    for (let rank = 0, slot = 0; rank < this.#paces.length; rank++) {
      let sum = this.#fixedLoad(rank, meanRankLoad);
      if (cost !== undefined && sum > 0) sum = cost(sum);
      for (const end = slot + this.#perRank; slot < end; slot++) {
        const expert = slots[slot]!;
        if (expert < 0) continue;
        const tokens = row[expert]! * shares[slot]!;
        sum += cost === undefined ? tokens : cost(tokens);
      }
      most = Math.max(most, sum * this.#paces[rank]!);
    }
    const unit = cost === undefined ? meanRankLoad : this.#samples.unit;
    return unit === 0 ? 1 : most / unit;
  }

  /** What a shared expert adds to a rank. */
  #fixedLoad(rank: number, meanRankLoad: number): number {
    return (this.#fixed?.[rank] ?? 0) * meanRankLoad * this.#topology.numRanks;
  }

  #findRankMeans(slots: Int32Array): void {
    for (let rank = 0, slot = 0; rank < this.#paces.length; rank++) {
      // Means are in shares of the mean rank load.
      let sum = this.#fixedLoad(rank, 1);
      for (const end = slot + this.#perRank; slot < end; slot++)
        if (slots[slot]! >= 0) sum += this.#mean[slots[slot]!]! * this.#slotShares[slot]!;
      this.#rankMeans[rank] = sum * this.#paces[rank]!;
    }
  }

  /** The rank that so many others are heavier than, in the mean; the first of equal ones. */
  #heaviest(place: number): number {
    const ranks = Array.from(this.#rankMeans.keys());
    ranks.sort((a, b) => this.#rankMeans[b]! - this.#rankMeans[a]! || a - b);
    return ranks[Math.min(place, ranks.length - 1)]!;
  }

  /** The exchanges of a rank's slots that lower the norm of the mean rank loads most. */
  #exchangesOf(rank: number, slots: Int32Array): Exchange[] {
    const found: Exchange[] = [];
    const first = rank * this.#perRank;
    for (let a = first; a < first + this.#perRank; a++) {
      if (slots[a]! < 0) continue;
      for (let b = 0; b < slots.length; b++) {
        const isLighter = this.#rankMeans[Math.floor(b / this.#perRank)]! < this.#rankMeans[rank]!;
        if (!isLighter || !this.#copies.mayExchange(slots, a, b)) continue;
        const norm = this.#normBy(slots, a, b);
        if (norm >= 0 || (found.length === MOST_LOOKED_AT && norm >= found.at(-1)!.norm)) continue;
        found.push({ slots: [a, b], norm });
        found.sort((one, other) => one.norm - other.norm);
        if (found.length > MOST_LOOKED_AT) found.pop();
      }
    }
    return found;
  }

  /** By how much an exchange changes the norm. */
  #normBy(slots: Int32Array, a: number, b: number): number {
    if (this.#copies.countOf(slots[a]!) === 1 && this.#copies.countOf(slots[b]!) === 1) {
      const load = this.#mean[slots[b]!]! - this.#mean[slots[a]!]!;
      if (load >= 0) return 0;
      return (
        this.#normOf(Math.floor(a / this.#perRank), load) + this.#normOf(Math.floor(b / this.#perRank), -load)
      );
    }
    const touched = this.#touched;
    touched.length = 0;
    this.#addChanges(slots[a]!, a, b);
    this.#addChanges(slots[b]!, b, a);
    let change = 0;
    for (const rank of touched) {
      change += this.#normOf(rank, this.#changes[rank]!);
      this.#changes[rank] = 0;
    }
    return change;
  }

  /** By how much it changes when a rank gets so much more. */
  #normOf(rank: number, load: number): number {
    const before = this.#rankMeans[rank]!;
    return load === 0 ? 0 : power(before + load * this.#paces[rank]!) - power(before);
  }

  /** Adds what ranks get more when a copy of an expert goes from one slot to another. */
  #addChanges(expert: number, from: number, to: number): void {
    const load = this.#mean[expert]!;
    const before = this.#copies.slotsOf(expert);
    for (const slot of before)
      this.#change(Math.floor(slot / this.#perRank), -load * this.#slotShares[slot]!);
    const ranks = this.#copies.ranksWith(expert, from, to);
    this.#shares.ofCopies(ranks, ranks.length, this.#newShares);
    for (let i = 0; i < ranks.length; i++) this.#change(ranks[i]!, load * this.#newShares[i]!);
  }

  #change(rank: number, load: number): void {
    if (this.#changes[rank] === 0) this.#touched.push(rank);
    this.#changes[rank]! += load;
  }
}

/** The twelfth power: its sum over ranks stands for the slowest one. */
function power(load: number): number {
  const third = load * load * load;
  return third * third * (third * third);
}

function exchange(slots: Int32Array, a: number, b: number): void {
  const expert = slots[a]!;
  slots[a] = slots[b]!;
  slots[b] = expert;
}
