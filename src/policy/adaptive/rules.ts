import { brokenInLayer, type LayerRules, type RuleBook, ruleBookOf } from '../../core/rule-book.ts';
import type { Topology } from '../../core/topology.ts';
import type { AdaptiveScratch } from './request.ts';

/** Where the search's kernels read the rules of the layer that they search. */
export class SearchRules {
  readonly #book: RuleBook;
  readonly #topology: Topology;
  readonly #pinned: Uint8Array;
  readonly #numPins: Int32Array;
  readonly #mostCopies: Int32Array;
  #written: LayerRules | undefined;

  /** Undefined where no rule says where experts are. */
  static of(topology: Topology, buffer: ArrayBufferLike, at: AdaptiveScratch): SearchRules | undefined {
    const book = topology.rules && ruleBookOf(topology);
    return book && new SearchRules(book, topology, buffer, at);
  }

  private constructor(book: RuleBook, topology: Topology, buffer: ArrayBufferLike, at: AdaptiveScratch) {
    const { numLogicalExperts, numRanks } = topology;
    this.#book = book;
    this.#topology = topology;
    this.#pinned = new Uint8Array(buffer, at.pinned, numLogicalExperts * numRanks);
    this.#numPins = new Int32Array(buffer, at.numPins, numLogicalExperts);
    this.#mostCopies = new Int32Array(buffer, at.mostCopies, numLogicalExperts);
  }

  layer(layer: number): LayerRules {
    return this.#book.layer(layer);
  }

  /** Has the kernels keep those of a layer from now on. */
  write(layer: number): void {
    const rules = this.#book.layer(layer);
    if (rules === this.#written) return;
    this.#written = rules;
    this.#pinned.fill(0);
    this.#numPins.fill(0);
    for (const [expert, ranks] of rules.pins) {
      this.#numPins[expert] = ranks.length;
      for (const rank of ranks) this.#pinned[rank * this.#topology.numLogicalExperts + expert] = 1;
    }
    this.#mostCopies.set(rules.mostCopies);
  }

  /** Whether a placement of a layer keeps them. */
  isKept(layer: number, slots: Int32Array): boolean {
    return brokenInLayer(layer, this.#book.layer(layer), slots, this.#topology.numRanks).length === 0;
  }
}
