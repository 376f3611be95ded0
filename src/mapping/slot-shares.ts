import type { Dispatch } from '../core/dispatch.ts';
import { nodesOfRanks } from '../core/nodes.ts';
import type { Topology } from '../core/topology.ts';

/** What decides which copies are near. */
export type DispatchRanks = Pick<Topology, 'numRanks' | 'numNodes' | 'nodeOfRank' | 'deadRanks'>;

/** Makes a {@link SlotShares}. A function, as an import of the library leaves this module out. */
export const makeSlotShares = (...of: ConstructorParameters<typeof SlotShares>): SlotShares =>
  new SlotShares(...of);

/**
 * How the copies of an expert share its tokens, when these begin on all ranks that live alike. By 'even' each
 * gets as much. By 'nearest' a copy gets the tokens of its own rank, a part of those of the node's ranks
 * without a copy, and a part of those of nodes without one; it shares each with the copies that are as near.
 */
export class SlotShares {
  readonly #isNearest: boolean;
  readonly #nodeOf: Int32Array;
  /** [ranks]: 1 for a rank that lives. */
  readonly #lives: Uint8Array;
  /** [nodes]: ranks that live. */
  readonly #liveOnNode: Int32Array;
  readonly #numLive: number;
  /** [logical + 1], [physical]: the slots of each expert, in order; and the ranks of one expert's. */
  readonly #first: Int32Array;
  #slotOf = new Int32Array(0);
  #ranks = new Int32Array(0);
  #shares = new Float64Array(0);

  constructor(ranks: DispatchRanks, numLogicalExperts: number, dispatch: Dispatch) {
    this.#isNearest = dispatch === 'nearest';
    this.#nodeOf = nodesOfRanks(ranks);
    this.#lives = new Uint8Array(ranks.numRanks).fill(1);
    for (const rank of ranks.deadRanks ?? []) this.#lives[rank] = 0;
    this.#liveOnNode = new Int32Array(ranks.numNodes);
    for (const [rank, node] of this.#nodeOf.entries()) this.#liveOnNode[node]! += this.#lives[rank]!;
    this.#numLive = this.#lives.reduce((sum, lives) => sum + lives, 0);
    this.#first = new Int32Array(numLogicalExperts + 1);
  }

  /**
   * Writes the share of its expert's tokens that each slot gets.
   *
   * @param slots `[physical]`: the expert of each slot, -1 when it is empty: it gets none
   * @param out `[physical]`
   */
  write(slots: Int32Array, out: Float64Array): void {
    const numSlots = slots.length;
    const first = this.#first.fill(0);
    if (this.#slotOf.length < numSlots) this.#makeRoom(numSlots);
    for (let slot = 0; slot < numSlots; slot++) if (slots[slot]! >= 0) first[slots[slot]! + 1]!++;
    for (let expert = 1; expert < first.length; expert++) first[expert]! += first[expert - 1]!;
    // Each expert's place moves on to where the next one's begins.
    for (let slot = 0; slot < numSlots; slot++)
      if (slots[slot]! >= 0) this.#slotOf[first[slots[slot]!]!++] = slot;
    const perRank = numSlots / this.#lives.length;
    out.fill(0);
    for (let expert = 0, from = 0; expert < first.length - 1; expert++) {
      const to = first[expert]!;
      const count = to - from;
      for (let i = 0; i < count; i++) this.#ranks[i] = Math.floor(this.#slotOf[from + i]! / perRank);
      this.ofCopies(this.#ranks, count, this.#shares);
      for (let i = 0; i < count; i++) out[this.#slotOf[from + i]!] = this.#shares[i]!;
      from = to;
    }
  }

  /**
   * The shares of one expert's copies.
   *
   * @param ranks the rank of each copy, ascending
   * @param out `[count]`
   */
  ofCopies(ranks: ArrayLike<number>, count: number, out: Float64Array): void {
    if (!this.#isNearest || count < 2) {
      for (let i = 0; i < count; i++) out[i] = 1 / count;
      return;
    }
    let far = this.#numLive;
    for (let from = 0; from < count; ) {
      const node = this.#nodeOf[ranks[from]!]!;
      let to = from;
      let onOwnRank = 0;
      for (; to < count && this.#nodeOf[ranks[to]!] === node; to++)
        if (to === from || ranks[to] !== ranks[to - 1]) onOwnRank += this.#lives[ranks[to]!]!;
      const ofNode = (this.#liveOnNode[node]! - onOwnRank) / (to - from);
      far -= this.#liveOnNode[node]!;
      for (let i = from; i < to; ) {
        let next = i + 1;
        while (next < to && ranks[next] === ranks[i]) next++;
        const ofRank = this.#lives[ranks[i]!]! / (next - i);
        for (; i < next; i++) out[i] = ofRank + ofNode;
      }
      from = to;
    }
    for (let i = 0; i < count; i++) out[i] = (out[i]! + far / count) / this.#numLive;
  }

  #makeRoom(numSlots: number): void {
    this.#slotOf = new Int32Array(numSlots);
    this.#ranks = new Int32Array(numSlots);
    this.#shares = new Float64Array(numSlots);
  }
}
