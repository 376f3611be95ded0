import { AdaptiveState } from './adaptive-state.ts';

export const LEAST_GAIN = 1e-6;
const FEW_SLOTS = 16;

/** The steps of the adaptive policy's search. */
export class AdaptiveSteps extends AdaptiveState {
  hasStepped = false;

  get isSpent(): boolean {
    return this.evaluations >= this.p.maxEvaluations;
  }

  get hasFewSlots(): boolean {
    return this.numSlots <= FEW_SLOTS;
  }

  descend(): boolean {
    this.refresh();
    this.dirty.fill(true);
    let isLower = false;
    let isLast = false;
    while (!isLast) {
      isLast = true;
      while (this.overwriteBest()) isLast = false;
      if (this.sweep()) isLast = false;
      if (!isLast) isLower = true;
    }
    return isLower;
  }

  sweep(): boolean {
    let isBetter = false;
    for (let rank = 0; rank < this.p.numRanks; rank++) {
      while (this.dirty[rank]) {
        if (this.exchangeBest(rank)) isBetter = true;
        else this.dirty[rank] = false;
      }
    }
    return isBetter;
  }

  exchangeBest(a: number): boolean {
    if (this.isSpent && this.hasStepped) return false;
    const { numRanks, numNodes, price } = this.p;
    let best = -LEAST_GAIN;
    let step: [slot: number, other: number] | undefined;
    for (let b = 0; b < numRanks; b++) {
      if (b === a || (numNodes > 1 && this.nodeOf(b) !== this.nodeOf(a))) continue;
      if (this.leastOfRanks(a, b) + price * this.leastMoves(a, b) >= best) continue;
      const gradientA = this.rankGradient[a]!;
      const difference = this.rankGradient[b]!.map((gradient, t) => gradient - gradientA[t]!);
      const more = (expert: number) => this.dot(difference, this.copyLoad[expert]!);
      const here = Array.from(this.expertsOf(a), (i) => more(i) + price * this.movesTo(b, a, i));
      const there = Array.from(this.expertsOf(b), (j) => more(j) - price * this.movesTo(a, b, j));
      const most = Math.max(...there);
      for (const [k, i] of this.expertsOf(a).entries()) {
        if (here[k]! - most >= best || this.isOn(b, i)) continue;
        for (const [m, j] of this.expertsOf(b).entries()) {
          if (here[k]! - there[m]! >= best || this.isOn(a, j)) continue;
          const moves = this.movesOfExchange(a, i, b, j);
          if (moves > 0 && this.moves + moves > this.movesAllowed) continue;
          const cost = this.costOfExchange(a, i, b, j) + price * moves;
          if (cost >= best) continue;
          best = cost;
          step = [this.first[a]! + k, this.first[b]! + m];
        }
      }
    }
    if (step !== undefined) this.exchange(...step);
    return step !== undefined;
  }

  movesOfExchange(a: number, i: number, b: number, j: number): number {
    return this.movesTo(b, a, i) + this.movesTo(a, b, j);
  }

  /** How many moves it adds to put a copy of an expert to rank `to` that is on rank `from`. */
  movesTo(to: number, from: number, expert: number): number {
    return this.heldOn(from, expert) - this.heldOn(to, expert);
  }

  leastMoves(a: number, b: number): number {
    const here = Array.from(this.expertsOf(a), (expert) => this.movesTo(b, a, expert));
    const there = Array.from(this.expertsOf(b), (expert) => this.movesTo(a, b, expert));
    return Math.min(1, ...here) + Math.min(1, ...there);
  }

  overwriteBest(): boolean {
    if (this.isSpent && this.hasStepped) return false;
    const { numExperts, numNodes, price } = this.p;
    const { numSlots } = this;
    let best = -LEAST_GAIN;
    let step: [slot: number, expert: number] | undefined;
    const relief = Array.from({ length: numExperts }, (_, expert) =>
      this.costElsewhere(-1, expert, this.split(expert, this.count[expert]! + 1)),
    );
    for (let slot = 0; slot < numSlots; slot++) {
      const i = this.slots[slot]!;
      if (this.count[i]! < 2) continue;
      const a = this.rankOf(slot);
      const gradient = this.rankGradient[a]!;
      const less = this.split(i, this.count[i]! - 1);
      const base = this.costElsewhere(a, i, less) - this.dot(gradient, this.copyLoad[i]!);
      for (let j = 0; j < numExperts; j++) {
        if (this.isOn(a, j) || (numNodes > 1 && this.home[j] !== this.nodeOf(a))) continue;
        const moves = this.heldOn(a, i) - this.heldOn(a, j);
        const bound = base + relief[j]! + price * moves;
        if (bound >= best || (moves > 0 && this.moves + moves > this.movesAllowed)) continue;
        if (bound + this.dot(gradient, this.split(j, this.count[j]! + 1)) >= best) continue;
        const cost = this.costOfOverwrite(a, i, j) + price * moves;
        if (cost >= best) continue;
        best = cost;
        step = [slot, j];
      }
    }
    if (step !== undefined) this.overwrite(...step);
    return step !== undefined;
  }

  /** Tries every step at its true cost, where slots are few. */
  polish(): boolean {
    const { numExperts } = this.p;
    const { numSlots } = this;
    if (!this.hasFewSlots) return false;
    let value = this.value();
    const start = value;
    let isBetter = true;
    const take = (there: () => void, back: () => void): void => {
      there();
      const now = this.valueWithin();
      if (now < value - LEAST_GAIN) {
        value = now;
        isBetter = true;
      } else back();
    };
    while (isBetter && !this.isSpent) {
      isBetter = false;
      for (let slot = 0; slot < numSlots; slot++) {
        for (let other = slot + 1; other < numSlots; other++) {
          if (!this.mayExchange(slot, other)) continue;
          const swap = () => this.exchange(slot, other);
          take(swap, swap);
        }
        for (let expert = 0; expert < numExperts; expert++) {
          if (!this.mayOverwrite(slot, expert)) continue;
          const old = this.slots[slot]!;
          take(
            () => this.overwrite(slot, expert),
            () => this.overwrite(slot, old),
          );
        }
      }
    }
    return value < start;
  }

  valueWithin(): number {
    this.evaluations++;
    return this.moves > this.movesAllowed ? Number.POSITIVE_INFINITY : this.value();
  }

  mayExchange(slot: number, other: number): boolean {
    const a = this.rankOf(slot);
    const b = this.rankOf(other);
    if (a === b || (this.p.numNodes > 1 && this.nodeOf(a) !== this.nodeOf(b))) return false;
    return !this.isOn(a, this.slots[other]!) && !this.isOn(b, this.slots[slot]!);
  }

  mayOverwrite(slot: number, expert: number): boolean {
    const rank = this.rankOf(slot);
    if (this.count[this.slots[slot]!]! < 2 || this.isOn(rank, expert)) return false;
    return this.p.numNodes === 1 || this.home[expert] === this.nodeOf(rank);
  }

  pricedExchange(slot: number, other: number): number {
    const a = this.rankOf(slot);
    const b = this.rankOf(other);
    const i = this.slots[slot]!;
    const j = this.slots[other]!;
    const moves = this.movesOfExchange(a, i, b, j);
    if (moves > 0 && this.moves + moves > this.movesAllowed) return Number.POSITIVE_INFINITY;
    return this.costOfExchange(a, i, b, j) + this.p.price * moves;
  }

  pricedOverwrite(slot: number, expert: number): number {
    const a = this.rankOf(slot);
    const i = this.slots[slot]!;
    const moves = this.heldOn(a, i) - this.heldOn(a, expert);
    if (moves > 0 && this.moves + moves > this.movesAllowed) return Number.POSITIVE_INFINITY;
    return this.costOfOverwrite(a, i, expert) + this.p.price * moves;
  }

  exchange(slot: number, other: number): void {
    const i = this.slots[slot]!;
    this.put(slot, this.slots[other]!);
    this.put(other, i);
    this.revalue(this.rankOf(slot));
    this.revalue(this.rankOf(other));
  }

  overwrite(slot: number, expert: number): void {
    const old = this.slots[slot]!;
    this.put(slot, expert);
    this.count[old]!--;
    this.count[expert]!++;
    this.splitLoad(old);
    this.splitLoad(expert);
    for (let rank = 0; rank < this.p.numRanks; rank++) {
      if (rank === this.rankOf(slot) || this.isOn(rank, old) || this.isOn(rank, expert)) this.revalue(rank);
    }
  }

  put(slot: number, expert: number): void {
    this.hasStepped = true;
    const first = this.rankOf(slot) * this.p.numExperts;
    const old = this.slots[slot]!;
    this.moves += this.held[first + old]! - this.held[first + expert]!;
    this.on[first + old]!--;
    this.on[first + expert]!++;
    this.slots[slot] = expert;
  }

  revalue(rank: number): void {
    this.sumRank(rank);
    this.revalueRank(rank);
    this.dirty[rank] = true;
  }
}
