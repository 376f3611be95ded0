import { numOpenSlots } from '../../core/open-slots.ts';
import type { Topology } from '../../core/topology.ts';
import type { MoveCounter } from '../../mapping/move-counter.ts';
import type { Pointer } from '../../memory/kernel-exports.ts';
import { walksBack } from './extent.ts';
import { areInterchangeable, relabel } from './relabel.ts';
import { type AdaptiveRequest, LayerStat } from './request.ts';
import type { AdaptiveSearch, SearchTerms } from './search.ts';

/** A plan that moves more of the slots is far from what is live. */
const FAR = 0.25;

/** A layer that was planned: where its placement is, and its numbers. */
export interface PlannedLayer {
  readonly live: Pointer;
  readonly phyToLog: Pointer;
  readonly replicaRank: Pointer;
  /** f64[STATS_PER_LAYER] */
  readonly stats: Float64Array;
}

/**
 * Where links count and what is live knows of no pairs, it is no good start: single steps from it get stuck,
 * with most of the slots moved. So a placement that was made for the samples alone is turned as near to the
 * live one as nodes and ranks that are alike let it, and from there a walk that pays for moves leads back.
 */
export class WayBack {
  readonly #search: AdaptiveSearch;
  readonly #moves: MoveCounter;
  readonly #topology: Topology;
  readonly #walks: boolean;
  readonly #mayRelabel: boolean;
  readonly #tableAt: (pointer: Pointer) => Int32Array;

  constructor(
    search: AdaptiveSearch,
    moves: MoveCounter,
    topology: Topology,
    { effort, survive }: Pick<AdaptiveRequest, 'effort' | 'survive'>,
    tableAt: (pointer: Pointer) => Int32Array,
  ) {
    this.#search = search;
    this.#moves = moves;
    this.#topology = topology;
    this.#walks = walksBack(effort, topology);
    this.#mayRelabel = areInterchangeable(topology, survive);
    this.#tableAt = tableAt;
  }

  /** After a plan that was made for the samples alone: changes it, so that it moves less. */
  fromAnew(planned: PlannedLayer, terms: SearchTerms): void {
    if (!this.#search.isBelow) return;
    this.#turn(planned);
    if (this.#walks && terms.price > 0) this.#walk(planned, terms);
  }

  /** After a plan from the live placement: where that moves much, another one where it is worth more. */
  fromLive(planned: PlannedLayer, terms: SearchTerms): void {
    const { live, phyToLog, replicaRank, stats } = planned;
    const worth = () => stats[LayerStat.SMOOTH_GAIN]! - terms.price * this.#movesOf(planned);
    const isFar = this.#movesOf(planned) > FAR * numOpenSlots(this.#topology);
    if (!isFar || !this.#walks || terms.price === 0 || !this.#search.isBelow) return;
    const found = {
      worth: worth(),
      table: this.#tableAt(phyToLog).slice(),
      ranks: this.#tableAt(replicaRank).slice(),
      stats: stats.slice(),
    };
    this.#search.run(live, { ...terms, start: 'fresh', extent: 'first' }, phyToLog, replicaRank);
    if (this.#search.isCancelled) return;
    this.#turn(planned);
    this.#walk(planned, terms);
    if (this.#search.isCancelled || (this.#search.isBelow && worth() > found.worth)) return;
    this.#tableAt(phyToLog).set(found.table);
    this.#tableAt(replicaRank).set(found.ranks);
    stats.set(found.stats);
  }

  #movesOf({ live, phyToLog }: PlannedLayer): number {
    return this.#moves.count(this.#tableAt(live), this.#tableAt(phyToLog)).moves;
  }

  #turn({ live, phyToLog, replicaRank }: PlannedLayer): void {
    if (!this.#mayRelabel) return;
    relabel(this.#topology, this.#tableAt(live), this.#tableAt(phyToLog));
    this.#search.keepSlots(live, phyToLog, replicaRank);
  }

  #walk({ live, phyToLog, replicaRank, stats }: PlannedLayer, terms: SearchTerms): void {
    const from = this.#tableAt(phyToLog).slice();
    const back: SearchTerms = { ...terms, start: 'live', extent: 'first', triesFresh: true, from };
    stats[LayerStat.SMOOTH_GAIN] = this.#search.run(live, back, phyToLog, replicaRank);
    stats[LayerStat.LINK_GAIN] = this.#search.savedByLinks;
  }
}
