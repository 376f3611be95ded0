import { nodesOfRanks } from '../core/nodes.ts';
import type { CostModel } from './cost-model.ts';
import { type ExchangeRanks, exchangeByLink } from './exchange.ts';

/** Makes a {@link LeastExchange}. A function, as an import of the library leaves this module out. */
export const makeLeastExchange = (...of: ConstructorParameters<typeof LeastExchange>): LeastExchange =>
  new LeastExchange(...of);

/**
 * The least that dispatch and combine take of all ranks together where tokens take the nearest copy, whatever
 * the placement. A further copy saves its own rank's tokens the link, and at best brings those of a whole
 * node from between nodes to within: the largest node first. So copies save less and less, and the redundant
 * slots save most where load x saving is largest.
 */
export class LeastExchange {
  /** Of the only copy of an expert, for a token of it. */
  readonly #ofOne: number;
  /** [copies]: what the second, third, ... copy saves. */
  readonly #savings: Float64Array;
  readonly #numSlots: number;
  /** Experts as a heap, that whose next copy saves most first; [logical]: how much, and its copies. */
  readonly #heap: Int32Array;
  readonly #next: Float64Array;
  readonly #copies: Int32Array;

  /** @param numSlots of a layer */
  constructor(cost: CostModel, ranks: ExchangeRanks, numLogicalExperts: number, numSlots: number) {
    const isDead = new Set(ranks.deadRanks);
    const sizes = new Array<number>(ranks.numNodes).fill(0);
    for (const [rank, node] of nodesOfRanks(ranks).entries()) if (!isDead.has(rank)) sizes[node]!++;
    sizes.sort((a, b) => b - a);
    const numLive = sizes.reduce((sum, size) => sum + size, 0);
    const { within, between } = leastSeconds(cost, ranks);
    this.#numSlots = numSlots;
    this.#ofOne = ((sizes[0]! - 1) * within + (numLive - sizes[0]!) * between) / numLive;
    this.#savings = Float64Array.from({ length: numLive - 1 }, (_, i) => {
      return (within + (sizes[i + 1] ?? 0) * (between - within)) / numLive;
    });
    this.#heap = new Int32Array(numLogicalExperts);
    this.#next = new Float64Array(numLogicalExperts);
    this.#copies = new Int32Array(numLogicalExperts);
  }

  /** @param loads [logical] */
  seconds(loads: ArrayLike<number>): number {
    const numExperts = this.#heap.length;
    let least = 0;
    for (let expert = 0; expert < numExperts; expert++) {
      least += loads[expert]! * this.#ofOne;
      this.#heap[expert] = expert;
      this.#next[expert] = loads[expert]! * (this.#savings[0] ?? 0);
    }
    this.#copies.fill(0);
    for (let at = (numExperts >> 1) - 1; at >= 0; at--) this.#sink(at);
    for (let left = this.#numSlots - numExperts; left > 0; left--) {
      const expert = this.#heap[0]!;
      if (this.#next[expert] === 0) break;
      least -= this.#next[expert]!;
      this.#next[expert] = loads[expert]! * (this.#savings[++this.#copies[expert]!] ?? 0);
      this.#sink(0);
    }
    return Math.max(0, least);
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const next = this.#next;
    const expert = heap[from]!;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && next[heap[child + 1]!]! > next[heap[child]!]!) child++;
      if (next[heap[child]!]! <= next[expert]!) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = expert;
  }
}

/** A token's dispatch and combine within a node and between nodes; of named classes the fastest for both. */
function leastSeconds(cost: CostModel, ranks: ExchangeRanks): { within: number; between: number } {
  const { linkClasses } = ranks;
  if (linkClasses === undefined) {
    const { withinNode, betweenNodes } = exchangeByLink(cost);
    return { within: Math.min(withinNode, betweenNodes), between: betweenNodes };
  }
  const { dispatchBytesPerToken, combineBytesPerToken } = cost.toJSON();
  const names = new Set(linkClasses.flatMap((row, a) => row.filter((_, b) => a !== b)));
  const seconds = [...names].map((name) => cost.link(name).bytesPerSecond);
  const least = names.size === 0 ? 0 : (dispatchBytesPerToken + combineBytesPerToken) / Math.max(...seconds);
  return { within: least, between: least };
}
