import type { LayerNeeds } from './needs.ts';
import type { TransferSetting } from './options.ts';

/**
 * Chooses which rank sends each needed expert of a layer: so that the busiest sender sends least, and then
 * that the links are cheapest together. Both are exact. At half duplex what a rank receives counts as if it
 * sent it.
 *
 * That is a minimum-cost flow of single experts. The least maximum is found by moving experts along chains of
 * senders from one that sends most to one that sends two less: where none can be relieved, those that are
 * reached send all they have among themselves, and so no choice does better (N. J. A. Harvey, R. E. Ladner,
 * L. Lovasz and T. Tamir, Semi-matchings for bipartite graphs and load balancing, 2006). The cost then falls
 * by cycles of negative cost until there is none (M. Klein, 1967).
 */
export class SourceChoice {
  /** The sender of each need. */
  readonly sources: Int32Array;
  /** [ranks]: experts that each sends, and receives. */
  readonly sent: Int32Array;
  readonly received: Int32Array;

  readonly #setting: TransferSetting;
  /** [ranks]: what is made even. */
  readonly #load: Int32Array;
  /** Needs with several senders to choose from. */
  readonly #open: Int32Array;
  #numOpen = 0;
  /** The open needs of each sender, as a list: its first one, then by need the next one. */
  readonly #firstOf: Int32Array;
  readonly #nextOf: Int32Array;
  readonly #queue: Int32Array;
  /** [ranks]: the need by which a chain reaches the rank; -1 for none. */
  readonly #reachedBy: Int32Array;
  readonly #distance: Float64Array;

  constructor(setting: TransferSetting, numPhysicalExperts: number) {
    const { numRanks } = setting;
    const [ranks, needs] = [() => new Int32Array(numRanks + 1), () => new Int32Array(numPhysicalExperts)];
    this.#setting = setting;
    [this.sources, this.#open, this.#nextOf] = [needs(), needs(), needs()];
    [this.sent, this.received, this.#load, this.#firstOf] = [ranks(), ranks(), ranks(), ranks()];
    [this.#queue, this.#reachedBy] = [ranks(), ranks()];
    this.#distance = new Float64Array(numRanks + 1);
  }

  /** Chooses for the needs of a layer. */
  choose(needs: LayerNeeds): void {
    const { links, oneAtATime } = this.#setting;
    this.received.fill(0);
    for (let i = 0; i < needs.count; i++) this.received[needs.targets[i]!]!++;
    if (oneAtATime) this.#load.set(this.received);
    else this.#load.fill(0);
    this.#takeForced(needs);
    if (this.#numOpen > 0) {
      const forced = most(this.#load);
      this.#takeOpen(needs);
      this.#relieve(needs, forced);
      if (!links.isEven) this.#cheapen(needs);
    }
    this.sent.fill(0);
    for (let i = 0; i < needs.count; i++) this.sent[this.sources[i]!]!++;
  }

  #takeForced(needs: LayerNeeds): void {
    this.#numOpen = 0;
    for (let i = 0; i < needs.count; i++) {
      const holder = needs.firstHolder(needs.experts[i]!);
      if (needs.nextHolder(holder) >= 0) this.#open[this.#numOpen++] = i;
      else {
        const rank = needs.rankOf[holder]!;
        this.sources[i] = rank;
        this.#load[rank]!++;
      }
    }
  }

  /** Each from the sender that has least by now; of equal ones by the cheapest link, then the lowest rank. */
  #takeOpen(needs: LayerNeeds): void {
    const { links } = this.#setting;
    for (let k = 0; k < this.#numOpen; k++) {
      const need = this.#open[k]!;
      const target = needs.targets[need]!;
      let best = -1;
      for (let at = needs.firstHolder(needs.experts[need]!); at >= 0; at = needs.nextHolder(at)) {
        const rank = needs.rankOf[at]!;
        const less = best < 0 ? -1 : this.#load[rank]! - this.#load[best]!;
        if (less < 0 || (less === 0 && links.costOf(rank, target) < links.costOf(best, target))) best = rank;
      }
      this.sources[need] = best;
      this.#load[best]!++;
    }
  }

  /** @param forced the most of any rank that nothing can change */
  #relieve(needs: LayerNeeds, forced: number): void {
    for (;;) {
      const limit = most(this.#load);
      if (limit <= forced) return;
      for (let rank = 0; rank < this.#setting.numRanks; rank++) {
        while (this.#load[rank] === limit) if (!this.#relieveRank(needs, rank, limit - 2)) return;
      }
    }
  }

  /** Moves one expert along the shortest chain from a rank to one with at most `most`, if there is any. */
  #relieveRank(needs: LayerNeeds, from: number, most: number): boolean {
    this.#listBySender();
    this.#reachedBy.fill(-1);
    let end = 0;
    this.#queue[end++] = from;
    for (let i = 0; i < end; i++) {
      const rank = this.#queue[i]!;
      for (let need = this.#firstOf[rank]!; need >= 0; need = this.#nextOf[need]!) {
        for (let at = needs.firstHolder(needs.experts[need]!); at >= 0; at = needs.nextHolder(at)) {
          const other = needs.rankOf[at]!;
          if (other === from || this.#reachedBy[other]! >= 0) continue;
          this.#reachedBy[other] = need;
          if (this.#load[other]! <= most) {
            this.#load[from]!--;
            this.#load[other]!++;
            this.#shift(other, from);
            return true;
          }
          this.#queue[end++] = other;
        }
      }
    }
    return false;
  }

  /** Hands each need of a chain on, from its end back to `from`. */
  #shift(last: number, from: number): void {
    for (let rank = last; rank !== from; ) {
      const need = this.#reachedBy[rank]!;
      const sender = this.sources[need]!;
      this.sources[need] = rank;
      rank = sender;
    }
  }

  #listBySender(): void {
    this.#firstOf.fill(-1);
    for (let k = this.#numOpen - 1; k >= 0; k--) {
      const need = this.#open[k]!;
      const rank = this.sources[need]!;
      this.#nextOf[need] = this.#firstOf[rank]!;
      this.#firstOf[rank] = need;
    }
  }

  /** Makes the links as cheap as they can be while no rank has more than the busiest has. */
  #cheapen(needs: LayerNeeds): void {
    const limit = most(this.#load);
    while (!this.#allCheapest(needs) && this.#cancelCycle(needs, limit));
  }

  #allCheapest(needs: LayerNeeds): boolean {
    const { links } = this.#setting;
    for (let k = 0; k < this.#numOpen; k++) {
      const need = this.#open[k]!;
      const target = needs.targets[need]!;
      const cost = links.costOf(this.sources[need]!, target);
      for (let at = needs.firstHolder(needs.experts[need]!); at >= 0; at = needs.nextHolder(at)) {
        if (links.costOf(needs.rankOf[at]!, target) < cost) return false;
      }
    }
    return true;
  }

  /**
   * Finds a cycle of negative cost among the ranks and one more place, to which ranks with room lead and
   * which leads to all ranks, and moves one expert along it (Bellman and Ford).
   */
  #cancelCycle(needs: LayerNeeds, limit: number): boolean {
    const { numRanks } = this.#setting;
    this.#distance.fill(0);
    this.#reachedBy.fill(-1);
    // The place itself is last. By what a place is reached: a need, or, as -2 - rank, a rank without one.
    for (let pass = 0; pass <= numRanks + 1; pass++) {
      const changed = this.#relax(needs, limit);
      if (changed < 0) return false;
      const place = this.#onCycle(changed);
      if (place < 0) continue;
      this.#turn(place);
      return true;
    }
    return false;
  }

  /** A place on the cycle that leads to this one, -1 where none does yet. */
  #onCycle(from: number): number {
    this.#queue.fill(0);
    let place = from;
    while (this.#queue[place] === 0) {
      this.#queue[place] = 1;
      if (this.#reachedBy[place] === -1) return -1;
      place = this.#before(place);
    }
    return place;
  }

  /** Hands each need on the cycle through a place to the next rank. */
  #turn(place: number): void {
    let at = place;
    do {
      const by = this.#reachedBy[at]!;
      const previous = this.#before(at);
      if (by >= 0) {
        this.sources[by] = at;
        this.#load[previous]!--;
        this.#load[at]!++;
      }
      at = previous;
    } while (at !== place);
  }

  #before(place: number): number {
    const by = this.#reachedBy[place]!;
    return by >= 0 ? this.sources[by]! : -2 - by;
  }

  /** One pass over all edges. @returns a place that came nearer, -1 when none did */
  #relax(needs: LayerNeeds, limit: number): number {
    const { links, numRanks } = this.#setting;
    const distance = this.#distance;
    let changed = -1;
    for (let k = 0; k < this.#numOpen; k++) {
      const need = this.#open[k]!;
      const [target, source] = [needs.targets[need]!, this.sources[need]!];
      const without = distance[source]! - links.costOf(source, target);
      for (let at = needs.firstHolder(needs.experts[need]!); at >= 0; at = needs.nextHolder(at)) {
        const rank = needs.rankOf[at]!;
        const length = without + links.costOf(rank, target);
        if (rank === source || !isShorter(length, distance[rank]!)) continue;
        distance[rank] = length;
        this.#reachedBy[rank] = need;
        changed = rank;
      }
    }
    for (let rank = 0; rank < numRanks; rank++) {
      if (this.#load[rank]! >= limit || !isShorter(distance[rank]!, distance[numRanks]!)) continue;
      distance[numRanks] = distance[rank]!;
      this.#reachedBy[numRanks] = -2 - rank;
      changed = numRanks;
    }
    for (let rank = 0; rank < numRanks; rank++) {
      if (!isShorter(distance[numRanks]!, distance[rank]!)) continue;
      distance[rank] = distance[numRanks]!;
      this.#reachedBy[rank] = -2 - numRanks;
      changed = rank;
    }
    return changed;
  }
}

/** By more than sums of costs are rounded: else rounding alone could go round and round. */
function isShorter(length: number, than: number): boolean {
  return length < than - 1e-9 * Math.max(1, Math.abs(than));
}

function most(loads: Int32Array): number {
  let highest = 0;
  for (let i = 0; i < loads.length; i++) if (loads[i]! > highest) highest = loads[i]!;
  return highest;
}
