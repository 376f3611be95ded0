import { nodesOfRanks } from '../core/nodes.ts';
import type { Topology } from '../core/topology.ts';

/**
 * Which copy of an expert a token takes. 'even': any, all alike. 'nearest': one on the rank that it is
 * on, else one on its node, else any; several that are as near share it evenly.
 */
export type Dispatch = 'even' | 'nearest';

/** Where the tokens of a layer's experts go, by the rank that they are on. */
export class CopyShares {
  /** [copies that are asked for]: the ranks that get some, and the share of each; together 1. */
  readonly ranks: Int32Array;
  readonly shares: Float64Array;
  readonly #nodeOf: Int32Array;
  readonly #isNearest: boolean;
  /**
   * [logical + 1]: where the ranks of an expert begin; [physical]: the ranks of all copies, in slot
   * order.
   */
  readonly #first: Int32Array;
  readonly #rankOf: Int32Array;

  /** @param slots `[physical]`: the expert of each slot, -1 when it is empty */
  constructor(slots: Int32Array, topology: Topology, dispatch: Dispatch) {
    const { numRanks, numLogicalExperts } = topology;
    this.ranks = new Int32Array(slots.length);
    this.shares = new Float64Array(slots.length);
    this.#nodeOf = nodesOfRanks(topology);
    this.#isNearest = dispatch === 'nearest';
    this.#first = new Int32Array(numLogicalExperts + 1);
    this.#rankOf = new Int32Array(slots.length);
    for (const expert of slots) if (expert >= 0) this.#first[expert + 1]!++;
    for (let expert = 0; expert < numLogicalExperts; expert++)
      this.#first[expert + 1]! += this.#first[expert]!;
    const next = this.#first.slice();
    const perRank = slots.length / numRanks;
    for (const [slot, expert] of slots.entries())
      if (expert >= 0) this.#rankOf[next[expert]!++] = Math.floor(slot / perRank);
  }

  /** Finds where a token of an expert goes from a rank. @returns how many ranks get some */
  find(expert: number, source: number): number {
    const isOnRank = (rank: number) => rank === source;
    const isOnNode = (rank: number) => this.#nodeOf[rank] === this.#nodeOf[source];
    if (this.#isNearest) {
      const near = this.#collect(expert, isOnRank) || this.#collect(expert, isOnNode);
      if (near > 0) return near;
    }
    return this.#collect(expert, () => true);
  }

  #collect(expert: number, isTaken: (rank: number) => boolean): number {
    let numRanks = 0;
    let numCopies = 0;
    for (let at = this.#first[expert]!; at < this.#first[expert + 1]!; at++) {
      const rank = this.#rankOf[at]!;
      if (!isTaken(rank)) continue;
      numCopies++;
      // Copies of one rank follow each other.
      if (numRanks === 0 || this.ranks[numRanks - 1] !== rank) {
        this.ranks[numRanks] = rank;
        this.shares[numRanks] = 0;
        numRanks++;
      }
      this.shares[numRanks - 1]! += 1;
    }
    for (let i = 0; i < numRanks; i++) this.shares[i]! /= numCopies;
    return numRanks;
  }
}
