import { firstRanksOfNodes } from '../core/nodes.ts';
import type { Topology } from '../core/topology.ts';

/** What decides where weights come from: ranks own equal runs of slots, nodes runs of ranks. */
type Devices = Pick<Topology, 'numLogicalExperts' | 'numRanks' | 'numNodes' | 'nodeOfRank'>;

/**
 * Where the weights of a slot's expert were before: on its rank, else on another of its node, else on another
 * node.
 */
export type WeightSource = 'rank' | 'node' | 'elsewhere';

/** Counts the moves of one layer. */
export class MoveCounter {
  readonly #numRanks: number;
  /** [nodes + 1]: the first rank of each. */
  readonly #firstRanks: Int32Array;
  /** Per expert: the last rank, and the last node, whose live slots had it; then of the placement at hand. */
  readonly #onRank: Int32Array;
  readonly #onNode: Int32Array;

  constructor(topology: Devices) {
    this.#numRanks = topology.numRanks;
    this.#firstRanks = firstRanksOfNodes(topology);
    this.#onRank = new Int32Array(topology.numLogicalExperts);
    this.#onNode = new Int32Array(topology.numLogicalExperts);
  }

  /** Slots whose expert was not on that rank, and those of them whose expert was not even on that node. */
  count(live: Int32Array, planned: Int32Array): { moves: number; movesBetweenNodes: number } {
    let moves = 0;
    let movesBetweenNodes = 0;
    this.forEachSlot(live, planned, (_, source) => {
      if (source !== 'rank') moves++;
      if (source === 'elsewhere') movesBetweenNodes++;
    });
    return { moves, movesBetweenNodes };
  }

  /** Calls `take` for each slot that is to hold an expert, in order, with where its weights are. */
  forEachSlot(
    live: Int32Array,
    planned: Int32Array,
    take: (slot: number, source: WeightSource) => void,
  ): void {
    const slotsPerRank = live.length / this.#numRanks;
    this.#onRank.fill(-1);
    this.#onNode.fill(-1);
    for (let slot = 0, rank = -1, node = -1, nextNode = 0; slot < live.length; slot++) {
      if (slot === nextNode) {
        node++;
        nextNode = this.#firstRanks[node + 1]! * slotsPerRank;
        mark(this.#onNode, live, slot, nextNode - slot, node);
      }
      if (slot % slotsPerRank === 0) mark(this.#onRank, live, slot, slotsPerRank, ++rank);
      const expert = planned[slot]!;
      if (expert < 0) continue;
      if (this.#onRank[expert] === rank) take(slot, 'rank');
      else take(slot, this.#onNode[expert] === node ? 'node' : 'elsewhere');
    }
  }

  /** Whether some rank has an expert twice. */
  hasDoubles(placement: Int32Array): boolean {
    const slotsPerRank = placement.length / this.#numRanks;
    this.#onRank.fill(-1);
    return placement.some((expert, slot) => {
      if (expert < 0) return false;
      const rank = Math.floor(slot / slotsPerRank);
      const isDouble = this.#onRank[expert] === rank;
      this.#onRank[expert] = rank;
      return isDouble;
    });
  }
}

function mark(last: Int32Array, table: Int32Array, first: number, length: number, place: number): void {
  for (let slot = first; slot < first + length; slot++) {
    const expert = table[slot]!;
    if (expert >= 0) last[expert] = place;
  }
}
