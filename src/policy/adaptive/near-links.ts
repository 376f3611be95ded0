import { nodesOfRanks } from '../../core/nodes.ts';
import type { Topology } from '../../core/topology.ts';
import { pairsPerRow } from './link-sizes.ts';

/** Of the heaviest expert: sums of whole numbers up to it are exact. */
const MOST_WORTH = 2 ** 19;

/**
 * What crosses between nodes where tokens take the nearest copy, these being on all ranks that live alike:
 * the tokens of an expert that are on nodes without a copy. So a copy on a node is worth as many tokens as
 * come from there, wherever other experts are.
 */
export class NearLinks {
  readonly #nodeOf: Int32Array;
  /** [nodes]: the share of all tokens that are on each. */
  readonly #shares: Float64Array;
  readonly #linkPrice: number;
  readonly #numExperts: number;
  /** [nodes x logical made a multiple of 4] */
  readonly #worth: Float32Array;
  #total = 0;

  constructor(topology: Topology, linkPrice: number) {
    const { numNodes, numRanks, numLogicalExperts, deadRanks = [] } = topology;
    this.#nodeOf = nodesOfRanks(topology);
    this.#linkPrice = linkPrice;
    this.#numExperts = numLogicalExperts;
    this.#shares = new Float64Array(numNodes);
    const dead = new Set(deadRanks);
    for (const [rank, node] of this.#nodeOf.entries())
      if (!dead.has(rank)) this.#shares[node]! += 1 / (numRanks - dead.size);
    this.#worth = new Float32Array(numNodes * pairsPerRow(numLogicalExperts));
  }

  /**
   * Takes the loads of a layer.
   *
   * @param loads `[logical]`
   * @param out `[nodes x logical made a multiple of 4]`: what each expert is worth on each node
   * @returns what they are worth together where no token crosses; 0 where there is no load
   */
  prepare(loads: Float32Array, out: Float32Array): number {
    const most = loads.reduce((highest, load) => Math.max(highest, load), 0);
    const row = pairsPerRow(this.#numExperts);
    this.#total = 0;
    this.#worth.fill(0);
    if (most > 0) {
      for (const [expert, load] of loads.entries()) {
        const tokens = (load / most) * MOST_WORTH;
        this.#total += tokens;
        for (const [node, share] of this.#shares.entries())
          this.#worth[node * row + expert] = Math.round(tokens * share);
      }
    }
    out.set(this.#worth);
    return this.#total;
  }

  /** What links cost less than if all tokens crossed, as a share of the mean rank load. */
  saved(slots: Int32Array): number {
    if (this.#total === 0) return 0;
    const row = pairsPerRow(this.#numExperts);
    const isOn = new Uint8Array(this.#worth.length);
    const perRank = slots.length / this.#nodeOf.length;
    let sum = 0;
    for (const [slot, expert] of slots.entries()) {
      const at = this.#nodeOf[Math.floor(slot / perRank)]! * row + expert;
      if (expert < 0 || isOn[at] === 1) continue;
      isOn[at] = 1;
      sum += this.#worth[at]!;
    }
    return (this.#linkPrice * sum) / this.#total;
  }
}
