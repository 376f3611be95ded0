/**
 * The adaptive policy's search for one layer in plain code: the reference that its kernel equals bit for bit.
 */

import { AdaptiveRepair } from './adaptive-repair.ts';
import type { AdaptiveProblem } from './adaptive-state.ts';
import { LEAST_GAIN, PATIENCE } from './adaptive-steps.ts';

export type { AdaptiveProblem } from './adaptive-state.ts';

export interface AdaptiveResult {
  phyToLog: Int32Array;
  replicaRank: Int32Array;
  /**
   * The objective without the price: of the live placement, repaired where it was infeasible, and of the
   * result.
   */
  before: number;
  after: number;
  moves: number;
  evaluations: number;
}

const FIRST_RANDOM = 0x9e3779b9;
const TRIES = 20;
const FAR = 8;
const NEAR = 0.003;
const OVERWRITES_IN_TEN = 3;
const MOST_STEPS = 12;
const MOST_IDLE = 10_000;

export function searchAdaptive(problem: AdaptiveProblem): AdaptiveResult {
  return new AdaptiveSearch(problem).run();
}

class AdaptiveSearch extends AdaptiveRepair {
  random = FIRST_RANDOM;

  run(): AdaptiveResult {
    const { previous, fresh, maxMoves, numKicks } = this.p;
    this.markHeld(previous);
    this.movesAllowed = maxMoves < this.numSlots ? maxMoves : Number.POSITIVE_INFINITY;
    this.begin(previous);
    const before = this.objective();
    this.settle();
    let best: Int32Array = this.slots.slice();
    const bestValue = this.value();
    if (fresh !== undefined && this.moves * FAR >= this.p.numSlots) {
      this.begin(fresh);
      if (this.moves <= maxMoves) {
        this.settleOnce();
        if (this.value() < bestValue + NEAR) this.settle();
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

  /** First with moves counted from the live placement, then from the one that is kicked. */
  kickOn(start: Int32Array): Int32Array {
    let best = start;
    if (this.p.price > 0 || this.movesAllowed < this.numSlots) {
      this.resume(best);
      best = this.kickUntil(best, false);
      if (this.moves === 0) return best;
    }
    this.rebase(best);
    return this.kickUntil(best, true);
  }

  kickUntil(start: Int32Array, isRebased: boolean): Int32Array {
    let best = start;
    let least = this.value();
    let lowest = least;
    let inVain = 0;
    let idle = 0;
    for (let failed = 0; failed < this.p.numKicks && !this.isSpent; failed++) {
      if (inVain === PATIENCE || idle === MOST_IDLE) break;
      if (failed === 0) this.random = FIRST_RANDOM;
      this.resume(best);
      idle = this.kick() ? 0 : idle + 1;
      if (this.hasFewSlots) this.settle();
      else this.sweep();
      if (!(this.value() < least - LEAST_GAIN)) continue;
      this.resume(this.slots.slice());
      this.settle();
      best = this.slots.slice();
      if (isRebased) this.rebase(best);
      else this.resume(best);
      least = this.value();
      failed = -1;
      inVain = least < lowest ? 0 : inVain + 1;
      lowest = Math.min(lowest, least);
    }
    this.resume(best);
    return best;
  }

  /** From here on moves count from this placement. */
  rebase(placement: Int32Array): void {
    this.resume(placement);
    this.movesAllowed -= this.moves;
    this.held.fill(0);
    for (const [slot, expert] of placement.entries()) {
      this.held[this.rankOf(slot) * this.p.numExperts + expert] = 1;
    }
  }

  settle(): void {
    let lowest = { objective: Number.POSITIVE_INFINITY, moves: 0 };
    let inVain = 0;
    while (!this.isSpent && inVain < PATIENCE && this.settleOnce() && !this.isStalled) {
      const now = { objective: this.objective(), moves: this.moves };
      const change = now.objective - lowest.objective + this.p.price * (now.moves - lowest.moves);
      inVain = change < 0 ? 0 : inVain + 1;
      if (change < 0) lowest = now;
    }
  }

  settleOnce(): boolean {
    const isLower = this.descend();
    const isPolished = this.polish();
    this.sortRanks();
    this.rebuild();
    return isLower || isPolished;
  }

  resume(placement: Int32Array): void {
    this.slots.set(placement);
    this.sortRanks();
    this.recount();
    this.rebuild();
  }

  /** Whether anything was changed. */
  kick(): boolean {
    this.cleanAt.fill(this.time);
    const times = this.hasFewSlots ? 1 + this.nextRandom(MOST_STEPS) : 1;
    let isKicked = false;
    for (let left = times; left > 0; left--) {
      if (this.kickOnce(this.hasFewSlots ? 1 : TRIES)) isKicked = true;
    }
    this.watchSteps();
    return isKicked;
  }

  kickOnce(tries: number): boolean {
    return this.kickBest(this.nextRandom(10) < OVERWRITES_IN_TEN, tries);
  }

  kickBest(isOverwrite: boolean, tries: number): boolean {
    const { numExperts } = this.p;
    const { numSlots } = this;
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
    if (least === Number.POSITIVE_INFINITY) return false;
    if (isOverwrite) this.overwrite(...best);
    else this.exchange(...best);
    return true;
  }

  nextRandom(end: number): number {
    this.random = (Math.imul(this.random, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.random * end) / 2 ** 32);
  }

  /** Experts that stay on a rank go back to their slots; replicas are numbered in slot order. */
  finish(): { phyToLog: Int32Array; replicaRank: Int32Array } {
    const { numExperts, numSlots, numRanks, previous } = this.p;
    const phyToLog = new Int32Array(numSlots).fill(-1);
    for (let rank = 0; rank < numRanks; rank++) {
      const experts = this.expertsOf(rank);
      const first = rank * this.stride;
      const end = first + experts.length;
      phyToLog.set(experts, first);
      for (let at = first; at < end; at++) {
        if (previous[at]! < 0 || phyToLog[at] === previous[at]) continue;
        for (let k = first; k < end; k++) {
          if (phyToLog[k] !== previous[at] || previous[k] === phyToLog[k]) continue;
          phyToLog[k] = phyToLog[at]!;
          phyToLog[at] = previous[at]!;
          break;
        }
      }
    }
    const seen = new Int32Array(numExperts);
    const replicaRank = phyToLog.map((expert) => (expert < 0 ? 0 : seen[expert]!++));
    return { phyToLog, replicaRank };
  }
}
