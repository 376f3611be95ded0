/**
 * The adaptive policy's search for one layer in plain code: the reference that its kernel equals bit for bit.
 */

import type { AdaptiveProblem } from './adaptive-state.ts';
import { AdaptiveSteps, LEAST_GAIN } from './adaptive-steps.ts';

export type { AdaptiveProblem } from './adaptive-state.ts';

export interface AdaptiveResult {
  phyToLog: Int32Array;
  replicaRank: Int32Array;
  /** The objective without the price: of the live placement, repaired where it was infeasible, and of the result. */
  before: number;
  after: number;
  moves: number;
  evaluations: number;
}

const FIRST_RANDOM = 0x9e3779b9;
const TRIES = 20;
const OVERWRITES_IN_TEN = 3;
const MOST_STEPS = 12;

export function searchAdaptive(problem: AdaptiveProblem): AdaptiveResult {
  return new AdaptiveSearch(problem).run();
}

class AdaptiveSearch extends AdaptiveSteps {
  random = FIRST_RANDOM;

  run(): AdaptiveResult {
    const { previous, fresh, maxMoves, numKicks } = this.p;
    this.markHeld(previous);
    this.movesAllowed = maxMoves < this.p.numSlots ? maxMoves : Number.POSITIVE_INFINITY;
    this.begin(previous);
    const before = this.objective();
    this.settle();
    let best: Int32Array = this.slots.slice();
    const bestValue = this.value();
    if (fresh !== undefined) {
      this.begin(fresh);
      if (this.moves <= maxMoves) {
        this.settle();
        if (this.value() < bestValue - LEAST_GAIN) {
          best = this.slots.slice();
        }
      }
    }
    if (numKicks > 0) best = this.kickOn(best);
    this.markHeld(previous);
    this.resume(best);
    const after = this.objective();
    const { moves, evaluations } = this;
    return { ...this.finish(), before, after, moves, evaluations };
  }

  kickOn(start: Int32Array): Int32Array {
    let best = start;
    this.rebase(best);
    let least = this.objective();
    for (let failed = 0; failed < this.p.numKicks && !this.isSpent; failed++) {
      if (failed === 0) this.random = FIRST_RANDOM;
      this.resume(best);
      this.kick();
      if (this.hasFewSlots) this.settle();
      else this.sweep();
      if (this.value() >= least - LEAST_GAIN) continue;
      this.resume(this.slots.slice());
      this.settle();
      best = this.slots.slice();
      this.rebase(best);
      least = this.objective();
      failed = -1;
    }
    return best;
  }

  /** From here on moves count from this placement. */
  rebase(placement: Int32Array): void {
    this.resume(placement);
    this.movesAllowed -= this.moves;
    this.markHeld(placement);
  }

  settle(): void {
    let isBetter = true;
    while (isBetter && !this.isSpent) {
      const isLower = this.descend();
      const isPolished = this.polish();
      isBetter = isLower || isPolished;
      this.sortRanks();
      this.rebuild();
    }
  }

  resume(placement: Int32Array): void {
    this.slots.set(placement);
    this.sortRanks();
    this.recount();
    this.rebuild();
  }

  /** Takes over a placement, with what makes it infeasible repaired, and finds the node of each expert. */
  begin(placement: Int32Array): void {
    this.slots.set(placement);
    this.recount();
    this.repair();
    this.sortRanks();
    for (let slot = this.p.numSlots - 1; slot >= 0; slot--) {
      this.home[this.slots[slot]!] = this.nodeOf(this.rankOf(slot));
    }
    this.rebuild();
  }

  /** Empty slots, then slots of second copies on a rank, get missing experts first, then the heaviest copies there are. */
  repair(): void {
    const { numExperts, numSlots } = this.p;
    for (let slot = 0; slot < numSlots; slot++) if (this.slots[slot]! < 0) this.fill(slot);
    for (let expert = 0; expert < numExperts; expert++) {
      if (this.count[expert] === 0) this.fill(this.sparest(), expert);
    }
    for (let slot = 0; slot < numSlots; slot++) if (this.isDouble(slot)) this.fill(slot);
  }

  isDouble(slot: number): boolean {
    return this.copiesOn(this.rankOf(slot), this.slots[slot]!) > 1;
  }

  /** A second copy on a rank, else the slot of the expert with the most copies. */
  sparest(): number {
    const double = this.slots.findIndex((_, slot) => this.isDouble(slot));
    if (double !== -1) return double;
    const copies = Array.from(this.slots, (expert) => this.count[expert]!);
    return copies.indexOf(Math.max(...copies));
  }

  fill(slot: number, wanted = -1): void {
    const { numExperts } = this.p;
    const rank = this.rankOf(slot);
    const old = this.slots[slot]!;
    const expert = wanted >= 0 ? wanted : this.neediest(rank, old);
    if (expert < 0) return;
    if (old >= 0) {
      this.count[old]!--;
      this.on[rank * numExperts + old]!--;
    }
    this.slots[slot] = expert;
    this.count[expert]!++;
    this.on[rank * numExperts + expert]!++;
  }

  /** A missing expert, else the one with the most load a copy that is not on the rank; -1 when a full slot need not change. */
  neediest(rank: number, old: number): number {
    const { numExperts, numNodes, weights, samples } = this.p;
    let best = -1;
    let most = -1;
    for (let expert = 0; expert < numExperts; expert++) {
      if (this.count[expert] === 0) return expert;
      if (this.isOn(rank, expert) || (numNodes > 1 && !this.isOnNode(rank, expert))) continue;
      const first = expert * this.numSamples;
      const mean = this.dot(weights, samples.subarray(first, first + this.numSamples)) / this.count[expert]!;
      if (mean <= most) continue;
      most = mean;
      best = expert;
    }
    if (best !== -1 || old >= 0) return best;
    return Math.max(this.slots[rank * this.slotsPerRank]!, 0);
  }

  isOnNode(rank: number, expert: number): boolean {
    const first = this.nodeOf(rank) * this.ranksPerNode;
    return Array.from({ length: this.ranksPerNode }, (_, i) => first + i).some((r) => this.isOn(r, expert));
  }

  kick(): void {
    this.dirty.fill(false);
    if (!this.hasFewSlots) this.kickOnce(TRIES);
    else for (let left = 1 + this.nextRandom(MOST_STEPS); left > 0; left--) this.kickOnce(1);
  }

  kickOnce(tries: number): void {
    this.kickBest(this.nextRandom(10) < OVERWRITES_IN_TEN, tries);
  }

  kickBest(isOverwrite: boolean, tries: number): void {
    const { numSlots, numExperts } = this.p;
    let least = Number.POSITIVE_INFINITY;
    let best: [number, number] = [0, 0];
    for (let n = 0; n < tries; n++) {
      const slot = this.nextRandom(numSlots);
      const other = this.nextRandom(isOverwrite ? numExperts : numSlots);
      if (!(isOverwrite ? this.mayOverwrite(slot, other) : this.mayExchange(slot, other))) continue;
      const cost = isOverwrite ? this.pricedOverwrite(slot, other) : this.pricedExchange(slot, other);
      if (cost >= least) continue;
      least = cost;
      best = [slot, other];
    }
    if (least === Number.POSITIVE_INFINITY) return;
    if (isOverwrite) this.overwrite(...best);
    else this.exchange(...best);
  }

  nextRandom(end: number): number {
    this.random = (Math.imul(this.random, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.random * end) / 2 ** 32);
  }

  /** Experts that stay on a rank go back to their slots; replicas are numbered in slot order. */
  finish(): { phyToLog: Int32Array; replicaRank: Int32Array } {
    const { numExperts, numSlots, previous } = this.p;
    const phyToLog = this.slots.slice();
    for (let slot = 0; slot < numSlots; slot++) {
      const first = this.rankOf(slot) * this.slotsPerRank;
      if (previous[slot]! < 0 || phyToLog[slot] === previous[slot]) continue;
      for (let k = first; k < first + this.slotsPerRank; k++) {
        if (phyToLog[k] !== previous[slot] || previous[k] === phyToLog[k]) continue;
        phyToLog[k] = phyToLog[slot]!;
        phyToLog[slot] = previous[slot]!;
        break;
      }
    }
    const replicaRank = new Int32Array(numSlots);
    const seen = new Int32Array(numExperts);
    for (let slot = 0; slot < numSlots; slot++) replicaRank[slot] = seen[phyToLog[slot]!]!++;
    return { phyToLog, replicaRank };
  }
}
