import type { Dispatch } from '../core/dispatch.ts';
import { nodesOfRanks } from '../core/nodes.ts';
import type { Topology } from '../core/topology.ts';

/** Makes a {@link CopyShares}. A function, as an import of the library leaves this module out. */
export const makeCopyShares = (...of: ConstructorParameters<typeof CopyShares>): CopyShares =>
  new CopyShares(...of);

/** Where the tokens of a layer's experts go, by the rank that they are on. */
export class CopyShares {
  /** [copies that are asked for]: the ranks that get some, and the share of each; together 1. */
  readonly ranks: Int32Array;
  readonly shares: Float64Array;
  /** [copies that are asked for]: the slots that get some, all as much. */
  readonly slots: Int32Array;
  readonly #nodeOf: Int32Array;
  readonly #isNearest: boolean;
  readonly #perRank: number;
  /** [logical + 1]: where the slots of an expert begin; [physical]: those of all experts, in order. */
  readonly #first: Int32Array;
  readonly #slotOf: Int32Array;

  /** @param slots `[physical]`: the expert of each slot, -1 when it is empty */
  constructor(
    slots: Int32Array,
    topology: Pick<Topology, 'numRanks' | 'numNodes' | 'nodeOfRank' | 'numLogicalExperts'>,
    dispatch: Dispatch,
  ) {
    const { numRanks, numLogicalExperts } = topology;
    this.ranks = new Int32Array(slots.length);
    this.shares = new Float64Array(slots.length);
    this.slots = new Int32Array(slots.length);
    this.#nodeOf = nodesOfRanks(topology);
    this.#isNearest = dispatch === 'nearest';
    this.#perRank = slots.length / numRanks;
    this.#first = new Int32Array(numLogicalExperts + 1);
    this.#slotOf = new Int32Array(slots.length);
    for (const expert of slots) if (expert >= 0) this.#first[expert + 1]!++;
    for (let expert = 0; expert < numLogicalExperts; expert++)
      this.#first[expert + 1]! += this.#first[expert]!;
    const next = this.#first.slice();
    for (const [slot, expert] of slots.entries()) if (expert >= 0) this.#slotOf[next[expert]!++] = slot;
  }

  /**
   * Finds the slots that a token of an expert may go to from a rank, all as likely.
   * @returns how many there are
   */
  findSlots(expert: number, source: number): number {
    const count = this.#first[expert + 1]! - this.#first[expert]!;
    if (this.#isNearest && count > 1) {
      const near =
        this.#collect(expert, (rank) => rank === source) ||
        this.#collect(expert, (rank) => this.#nodeOf[rank] === this.#nodeOf[source]);
      if (near > 0) return near;
    }
    return this.#collect(expert, () => true);
  }

  /** Finds where a token of an expert goes from a rank. @returns how many ranks get some */
  find(expert: number, source: number): number {
    const numSlots = this.findSlots(expert, source);
    let numRanks = 0;
    for (let i = 0; i < numSlots; i++) {
      const rank = Math.floor(this.slots[i]! / this.#perRank);
      // Copies of one rank follow each other.
      if (numRanks === 0 || this.ranks[numRanks - 1] !== rank) {
        this.ranks[numRanks] = rank;
        this.shares[numRanks++] = 0;
      }
      this.shares[numRanks - 1]! += 1 / numSlots;
    }
    return numRanks;
  }

  #collect(expert: number, isTaken: (rank: number) => boolean): number {
    let numSlots = 0;
    for (let at = this.#first[expert]!; at < this.#first[expert + 1]!; at++) {
      const slot = this.#slotOf[at]!;
      if (isTaken(Math.floor(slot / this.#perRank))) this.slots[numSlots++] = slot;
    }
    return numSlots;
  }
}
