import type { Topology } from '../../core/topology.ts';

/** Where the copies of a layer's experts are, and which of them have moved. */
export class CopyTable {
  readonly #perRank: number;
  /** [logical]: the slots of each expert, in order. */
  readonly #slots: number[][];
  readonly #ranks: number[] = [];
  /** [ranks x logical]: how many copies a rank has; and 1 where it had one in the live placement. */
  readonly #onRank: Uint16Array;
  readonly #wasOnRank: Uint8Array;
  #isFree = true;

  constructor({ numRanks, numLogicalExperts, numPhysicalExperts }: Topology) {
    this.#perRank = numPhysicalExperts / numRanks;
    this.#slots = Array.from({ length: numLogicalExperts }, () => []);
    this.#onRank = new Uint16Array(numRanks * numLogicalExperts);
    this.#wasOnRank = new Uint8Array(numRanks * numLogicalExperts);
  }

  /** Reads a placement, and the live one that moves are counted from. */
  take(slots: Int32Array, live: Int32Array | undefined): void {
    for (const own of this.#slots) own.length = 0;
    this.#onRank.fill(0);
    this.#wasOnRank.fill(0);
    this.#isFree = live === undefined;
    for (let slot = 0; slot < slots.length; slot++) {
      if (slots[slot]! >= 0) {
        this.#slots[slots[slot]!]!.push(slot);
        this.#onRank[this.#at(slot, slots[slot]!)]!++;
      }
      if (live !== undefined && live[slot]! >= 0) this.#wasOnRank[this.#at(slot, live[slot]!)] = 1;
    }
  }

  countOf(expert: number): number {
    return this.#slots[expert]!.length;
  }

  slotsOf(expert: number): readonly number[] {
    return this.#slots[expert]!;
  }

  /**
   * The ranks of an expert's copies, ascending, when one goes from a slot to another: valid until the next
   * call.
   */
  ranksWith(expert: number, from: number, to: number): readonly number[] {
    const ranks = this.#ranks;
    const target = Math.floor(to / this.#perRank);
    ranks.length = 0;
    let isPut = false;
    for (const slot of this.#slots[expert]!) {
      if (slot === from) continue;
      const rank = Math.floor(slot / this.#perRank);
      if (!isPut && rank > target) {
        ranks.push(target);
        isPut = true;
      }
      ranks.push(rank);
    }
    if (!isPut) ranks.push(target);
    return ranks;
  }

  /** Whether two slots may exchange their experts: on two ranks, neither of which has the other's already. */
  mayExchange(slots: Int32Array, a: number, b: number): boolean {
    const one = slots[a]!;
    const other = slots[b]!;
    if (one < 0 || other < 0 || one === other) return false;
    if (Math.floor(a / this.#perRank) === Math.floor(b / this.#perRank)) return false;
    return this.#onRank[this.#at(a, other)] === 0 && this.#onRank[this.#at(b, one)] === 0;
  }

  /** Moves of a placement. */
  countMoves(slots: Int32Array): number {
    if (this.#isFree) return 0;
    return slots.reduce((sum, expert, slot) => sum + (expert < 0 ? 0 : this.#isMove(slot, expert)), 0);
  }

  /** Moves that an exchange adds. */
  movesOfExchange(slots: Int32Array, a: number, b: number): number {
    if (this.#isFree) return 0;
    const after = this.#isMove(a, slots[b]!) + this.#isMove(b, slots[a]!);
    return after - this.#isMove(a, slots[a]!) - this.#isMove(b, slots[b]!);
  }

  #isMove(slot: number, expert: number): number {
    return 1 - this.#wasOnRank[this.#at(slot, expert)]!;
  }

  #at(slot: number, expert: number): number {
    return Math.floor(slot / this.#perRank) * this.#slots.length + expert;
  }
}
