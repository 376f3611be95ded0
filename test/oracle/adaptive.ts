/**
 * The adaptive policy's search for one layer in plain code: the reference that its kernel equals bit for bit. All numbers are
 * float64. Sums over samples have two parts, of the even and of the odd samples, as a vector's two lanes add them up.
 */

import type { AdaptiveProblem } from './adaptive-state.ts';
import { AdaptiveSteps, FIRST_RANDOM, LEAST_GAIN } from './adaptive-steps.ts';

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

export function searchAdaptive(problem: AdaptiveProblem): AdaptiveResult {
  return new AdaptiveSearch(problem).run();
}

class AdaptiveSearch extends AdaptiveSteps {
  run(): AdaptiveResult {
    const { previous, fresh, price, maxMoves, maxEvaluations, numKicks } = this.p;
    this.start(previous);
    const before = this.value();
    this.descend();
    this.polish();
    let bestValue = this.value() + price * this.moves;
    let best = this.slots.slice();
    if (fresh !== undefined) {
      this.start(fresh);
      if (this.moves <= maxMoves) {
        this.descend();
        this.polish();
      }
      const value = this.value() + price * this.moves;
      if (this.moves <= maxMoves && value < bestValue - LEAST_GAIN) {
        bestValue = value;
        best = this.slots.slice();
      }
    }
    for (let failed = 0; failed < numKicks && this.evaluations < maxEvaluations; ) {
      if (failed === 0) this.random = FIRST_RANDOM;
      this.load(best);
      this.kick();
      this.descend();
      this.polish();
      const value = this.value() + price * this.moves;
      failed++;
      if (value >= bestValue - LEAST_GAIN) continue;
      failed = 0;
      bestValue = value;
      best = this.slots.slice();
    }
    if (fresh !== undefined || numKicks > 0) this.load(best);
    const { phyToLog, replicaRank } = this.finish();
    return {
      phyToLog,
      replicaRank,
      before,
      after: this.value(),
      moves: this.moves,
      evaluations: this.evaluations,
    };
  }

  /** Takes over a placement, with what makes it infeasible repaired, and finds the node of each expert. */
  start(placement: Int32Array): void {
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
    for (let slot = 0; slot < numSlots; slot++) {
      if (this.on[this.rankOf(slot) * numExperts + this.slots[slot]!]! > 1) this.fill(slot);
    }
  }

  /** The slot of the expert with the most copies. */
  sparest(): number {
    let best = 0;
    for (let slot = 1; slot < this.p.numSlots; slot++) {
      if (this.count[this.slots[slot]!]! > this.count[this.slots[best]!]!) best = slot;
    }
    return best;
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
    const { numExperts, numNodes } = this.p;
    let best = -1;
    let most = -1;
    for (let expert = 0; expert < numExperts; expert++) {
      if (this.count[expert] === 0) return expert;
      if (this.isOn(rank, expert) || (numNodes > 1 && !this.isOnNode(rank, expert))) continue;
      const load = this.totalLoad(expert) / this.count[expert]!;
      if (load > most) {
        most = load;
        best = expert;
      }
    }
    if (best !== -1 || old >= 0) return best;
    return Math.max(this.slots[rank * this.slotsPerRank]!, 0);
  }

  isOnNode(rank: number, expert: number): boolean {
    const first = this.nodeOf(rank) * this.ranksPerNode;
    for (let r = first; r < first + this.ranksPerNode; r++) if (this.isOn(r, expert)) return true;
    return false;
  }

  totalLoad(expert: number): number {
    const { samples, weights } = this.p;
    return this.sum((t) => weights[t]! * samples[expert * this.numSamples + t]!);
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
