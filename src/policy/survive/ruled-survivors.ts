import { openSlotsOfDomains } from '../../core/open-slots.ts';
import { NO_LIMIT } from '../../core/placement-rules.ts';
import { type LayerRules, type RuleBook, ruleBookOf } from '../../core/rule-book.ts';
import type { Topology } from '../../core/topology.ts';

/**
 * Which experts can survive any single failure where rules say where some of them are.
 *
 * Pinned copies are there anyway. Of the slots that they leave, each other expert takes one. A survivor takes
 * one slot more, unless its pins are in two domains. One that is not pinned has a copy outside of each
 * domain; one that is pinned in one domain needs its further copy outside of that. No other condition cuts
 * deeper: two domains together have room for both copies. Sets of experts that can survive are a matroid, so
 * that the heaviest one is found by taking the heaviest experts one after the other.
 */
export class RuledSurvivors {
  readonly #book: RuleBook;
  readonly #topology: Topology;
  readonly #domains: Int32Array;
  readonly #counts = new Map<LayerRules, number>();

  constructor(book: RuleBook, topology: Topology, domains: Int32Array) {
    this.#book = book;
    this.#topology = topology;
    this.#domains = domains;
  }

  /** How many can survive in a layer: as many whatever the loads are. */
  count(layer: number): number {
    const rules = this.#book.layer(layer);
    const known = this.#counts.get(rules);
    if (known !== undefined) return known;
    const count = this.#choose(rules, new Float32Array(this.#topology.numLogicalExperts)).length;
    this.#counts.set(rules, count);
    return count;
  }

  /** The heaviest experts of a layer that can survive together. @param loads [logical] */
  choose(layer: number, loads: ArrayLike<number>): number[] {
    return this.#choose(this.#book.layer(layer), loads);
  }

  #choose({ pins, mostCopies }: LayerRules, loads: ArrayLike<number>): number[] {
    const domains = this.#domains;
    const free = openSlotsOfDomains(this.#topology, domains);
    for (const ranks of pins.values()) for (const rank of ranks) free[domains[rank]!]!--;
    const numFree = free.reduce((sum, count) => sum + count, 0);
    // Copies that have to be outside of each domain.
    const outside = new Int32Array(free.length);
    let left = numFree - (mostCopies.length - pins.size);
    const order = heaviestFirst(loads);
    return order.filter((expert) => {
      const ranks = pins.get(expert) ?? [];
      const own = new Set(ranks.map((rank) => domains[rank]!));
      if (own.size > 1) return true;
      if (left === 0 || mostCopies[expert] !== NO_LIMIT) return false;
      const isPinned = own.size === 1;
      const needs = (domain: number) => !isPinned || own.has(domain);
      const isFull = free.some((count, domain) => needs(domain) && outside[domain]! >= numFree - count);
      if (isFull) return false;
      left--;
      for (let domain = 0; domain < outside.length; domain++) if (needs(domain)) outside[domain]!++;
      return true;
    });
  }
}

/** Undefined where no rule says where experts are. @param domains [ranks] */
export function ruledSurvivors(topology: Topology, domains: Int32Array): RuledSurvivors | undefined {
  const book = ruleBookOf(topology);
  return book && new RuledSurvivors(book, topology, domains);
}

function heaviestFirst(loads: ArrayLike<number>): number[] {
  const order = Array.from({ length: loads.length }, (_, expert) => expert);
  return order.sort((a, b) => loads[b]! - loads[a]! || a - b);
}
