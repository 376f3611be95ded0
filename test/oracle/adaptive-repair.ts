import { AdaptiveSteps } from './adaptive-steps.ts';

/** What the adaptive policy's search makes of a placement that it starts from. */
export class AdaptiveRepair extends AdaptiveSteps {
  /** Takes over a placement, with what makes it infeasible repaired, and finds the node of each expert. */
  begin(placement: Int32Array): void {
    this.takeOver(placement);
    this.recount();
    if (this.numSlots < this.p.numSlots) this.reseat();
    this.repair();
    this.sortRanks();
    for (let slot = this.numSlots - 1; slot >= 0; slot--) {
      this.home[this.slots[slot]!] = this.nodeOf(this.rankOf(slot));
    }
    this.rebuild();
  }

  /** Leaves out what is in closed slots, but for the node it was on. */
  takeOver(placement: Int32Array): void {
    this.home.fill(-1);
    for (let at = placement.length - 1; at >= 0; at--) {
      const rank = Math.floor(at / this.stride);
      const expert = placement[at]!;
      if (expert >= 0) this.home[expert] = this.nodeOf(rank);
      const slot = this.first[rank]! + (at % this.stride);
      if (slot < this.first[rank + 1]!) this.slots[slot] = expert;
    }
  }

  /** Brings experts of closed slots into open slots of ranks that have them at hand, missing ones first. */
  reseat(): void {
    for (let expert = 0; expert < this.p.numExperts; expert++) {
      if (this.count[expert] === 0) this.findSeat(expert);
    }
    for (const [slot, inIt] of this.slots.entries()) {
      if (inIt >= 0 && !this.isDouble(slot)) continue;
      const expert = this.neediest(this.rankOf(slot), true);
      if (expert >= 0) this.replace(slot, expert);
    }
  }

  /**
   * The shortest way, over experts that are each at hand on the next one's rank, to a slot that can be
   * spared.
   */
  findSeat(expert: number): void {
    /** Ranks in the order they are found, and the slots on the way to each. */
    const ways = new Map<number, number[]>();
    const see = (who: number, way: number[]): void => {
      for (let rank = 0; rank < this.p.numRanks; rank++) {
        const isNear = this.p.numNodes === 1 || this.home[who] === this.nodeOf(rank);
        if (isNear && this.heldOn(rank, who) > 0 && !ways.has(rank)) ways.set(rank, way);
      }
    };
    see(expert, []);
    // A map that grows is gone through to its end.
    for (const [rank, way] of ways) {
      const free = this.sparest(this.first[rank]!, this.first[rank + 1]!);
      if (free >= 0) {
        const slots = [...way, free];
        for (let i = slots.length - 1; i > 0; i--) this.replace(slots[i]!, this.slots[slots[i - 1]!]!);
        this.replace(slots[0]!, expert);
        return;
      }
      for (let slot = this.first[rank]!; slot < this.first[rank + 1]!; slot++) {
        see(this.slots[slot]!, [...way, slot]);
      }
    }
  }

  /**
   * Empty slots, then slots of second copies on a rank, get missing experts first, then the heaviest copies
   * there are.
   */
  repair(): void {
    for (const [slot, expert] of this.slots.entries()) {
      const rank = this.rankOf(slot);
      if (expert < 0) this.replace(slot, this.neediestOrAny(rank));
    }
    for (let expert = 0; expert < this.p.numExperts; expert++) {
      if (this.count[expert] === 0) this.replace(this.slotFor(expert), expert);
    }
    for (let slot = 0; slot < this.numSlots; slot++) {
      const expert = this.isDouble(slot) ? this.neediest(this.rankOf(slot), false) : -1;
      if (expert >= 0) this.replace(slot, expert);
    }
  }

  isDouble(slot: number): boolean {
    return this.slots[slot]! >= 0 && this.copiesOn(this.rankOf(slot), this.slots[slot]!) > 1;
  }

  slotFor(expert: number): number {
    const node = this.p.numNodes > 1 ? this.home[expert]! : -1;
    const first = node * this.ranksPerNode;
    const near = node < 0 ? -1 : this.sparest(this.first[first]!, this.first[first + this.ranksPerNode]!);
    return near < 0 ? this.sparest(0, this.numSlots) : near;
  }

  /**
   * An empty slot, else one of a second copy on a rank, else that of the expert with the most copies, of at
   * least two.
   */
  sparest(first: number, end: number): number {
    const worth = Array.from({ length: end - first }, (_, i) => {
      const expert = this.slots[first + i]!;
      if (expert < 0) return Number.POSITIVE_INFINITY;
      return this.isDouble(first + i) ? Number.MAX_VALUE : this.count[expert]!;
    });
    const most = Math.max(1, ...worth);
    return most === 1 ? -1 : first + worth.indexOf(most);
  }

  replace(slot: number, expert: number): void {
    const first = this.rankOf(slot) * this.p.numExperts;
    const old = this.slots[slot]!;
    if (old >= 0) {
      this.count[old]!--;
      this.on[first + old]!--;
    }
    this.slots[slot] = expert;
    this.count[expert]!++;
    this.on[first + expert]!++;
  }

  /**
   * A missing expert, else the one with the most load a copy that is not on the rank; -1 when there is none.
   */
  neediest(rank: number, isAtHand: boolean): number {
    const { numExperts, numNodes, weights, samples } = this.p;
    let best = -1;
    let most = -1;
    for (let expert = 0; expert < numExperts; expert++) {
      if (isAtHand && this.heldOn(rank, expert) === 0) continue;
      if (this.count[expert] === 0) {
        const home = numNodes === 1 ? -1 : this.home[expert]!;
        if (home < 0 || home === this.nodeOf(rank)) return expert;
        continue;
      }
      if (this.isOn(rank, expert) || (numNodes > 1 && !this.isOnNode(rank, expert))) continue;
      const first = expert * this.numSamples;
      const mean = this.dot(weights, samples.subarray(first, first + this.numSamples)) / this.count[expert]!;
      if (mean <= most) continue;
      most = mean;
      best = expert;
    }
    return best;
  }

  neediestOrAny(rank: number): number {
    const expert = this.neediest(rank, false);
    if (expert >= 0) return expert;
    return this.expertsOf(rank).find((other) => other >= 0) ?? 0;
  }

  isOnNode(rank: number, expert: number): boolean {
    const first = this.nodeOf(rank) * this.ranksPerNode;
    return Array.from({ length: this.ranksPerNode }, (_, i) => first + i).some((r) => this.isOn(r, expert));
  }
}
