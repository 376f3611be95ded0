import { AdaptiveState, power8 } from './adaptive-state.ts';

const STEPS_PER_REFRESH = 16;
const MAX_EPOCHS = 6;
export const LEAST_GAIN = 1e-9;
const MOST_POLISHED_SLOTS = 16;
const EXCHANGES_PER_KICK = 2;
export const FIRST_RANDOM = 0x9e3779b9;

/** The steps of the adaptive policy's search. */
export class AdaptiveSteps extends AdaptiveState {
  random = FIRST_RANDOM;
  bestKind = 0;
  bestSlot = 0;
  bestOther = 0;

  descend(): void {
    const { maxEvaluations } = this.p;
    let steps = 0;
    for (let epoch = 0; epoch < MAX_EPOCHS; epoch++) {
      let isBetter = false;
      while (this.evaluations < maxEvaluations && this.step()) {
        isBetter = true;
        steps++;
        if (steps % STEPS_PER_REFRESH === 0) this.refresh();
      }
      if (!isBetter || this.evaluations >= maxEvaluations) return;
      this.refresh();
    }
  }

  /** Tries every step at its true cost, where slots are few. */
  polish(): void {
    const { numSlots, numExperts, maxEvaluations } = this.p;
    if (numSlots > MOST_POLISHED_SLOTS) return;
    let value = this.value() + this.p.price * this.moves;
    let isBetter = true;
    const take = (there: () => void, back: () => void): void => {
      there();
      const now = this.valueWithin();
      if (now < value - LEAST_GAIN) {
        value = now;
        isBetter = true;
      } else back();
    };
    while (isBetter && this.evaluations < maxEvaluations) {
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
  }

  valueWithin(): number {
    this.evaluations++;
    return this.moves > this.p.maxMoves ? Number.POSITIVE_INFINITY : this.value() + this.p.price * this.moves;
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

  step(): boolean {
    this.bestKind = 0;
    const best = this.findOverwrite(this.findExchange(-LEAST_GAIN));
    if (best === -LEAST_GAIN) return false;
    if (this.bestKind === 1) this.exchange(this.bestSlot, this.bestOther);
    else this.overwrite(this.bestSlot, this.bestOther);
    return true;
  }

  /** Finds an exchange of two slots that costs less than `best`; returns what it costs. */
  findExchange(start: number): number {
    const { numExperts, numRanks, numSlots, price } = this.p;
    const { slotsPerRank, gradient, own, low } = this;
    let best = start;
    this.boundRanks();
    for (let slot = 0; slot < numSlots; slot++) {
      const a = this.rankOf(slot);
      const i = this.slots[slot]!;
      // Experts of nodes stay on them.
      const end = this.p.numNodes === 1 ? numRanks : (this.nodeOf(a) + 1) * this.ranksPerNode;
      for (let b = a + 1; b < end; b++) {
        const base = gradient[b * numExperts + i]! - own[slot]!;
        if (base + low[a * numRanks + b]! - 2 * price >= best || this.isOn(b, i)) continue;
        for (let other = b * slotsPerRank; other < (b + 1) * slotsPerRank; other++) {
          const j = this.slots[other]!;
          const bound = base + (gradient[a * numExperts + j]! - own[other]!);
          if (bound - 2 * price >= best || this.isOn(a, j)) continue;
          const moves = this.heldOn(a, i) - this.heldOn(a, j) + (this.heldOn(b, j) - this.heldOn(b, i));
          if (bound + price * moves >= best || (moves > 0 && this.moves + moves > this.p.maxMoves)) continue;
          const cost = this.costOfExchange(a, i, b, j) + price * moves;
          if (cost >= best) continue;
          best = cost;
          this.bestKind = 1;
          this.bestSlot = slot;
          this.bestOther = other;
        }
      }
    }
    return best;
  }

  /** What a slot's copy costs where it is, and for each pair of ranks the least that a slot of one costs more on the other. */
  boundRanks(): void {
    const { numExperts, numRanks, numSlots } = this.p;
    for (let slot = 0; slot < numSlots; slot++) {
      this.own[slot] = this.gradient[this.rankOf(slot) * numExperts + this.slots[slot]!]!;
    }
    for (let a = 0; a < numRanks; a++) {
      for (let b = a + 1; b < numRanks; b++) {
        let least = Number.POSITIVE_INFINITY;
        for (let k = b * this.slotsPerRank; k < (b + 1) * this.slotsPerRank; k++) {
          least = Math.min(least, this.gradient[a * numExperts + this.slots[k]!]! - this.own[k]!);
        }
        this.low[a * numRanks + b] = least;
      }
    }
  }

  costOfExchange(a: number, i: number, b: number, j: number): number {
    this.evaluations++;
    const n = this.numSamples;
    const cost = this.sum((t) => {
      const shift = this.copyLoad[i * n + t]! - this.copyLoad[j * n + t]!;
      const lighter = power8(this.rankLoad[a * n + t]! - shift);
      return this.slope[t]! * (lighter + power8(this.rankLoad[b * n + t]! + shift));
    });
    return cost - this.rankCost[a]! - this.rankCost[b]!;
  }

  /** Finds a slot whose expert has copies to spare, and an expert to put there, at less cost than `best`. */
  findOverwrite(start: number): number {
    const { numExperts, numSlots, numNodes, price } = this.p;
    let best = start;
    for (let slot = 0; slot < numSlots; slot++) {
      const a = this.rankOf(slot);
      const i = this.slots[slot]!;
      const count = this.count[i]!;
      if (count < 2) continue;
      const copies = this.on[a * numExperts + i]!;
      const here = this.costWith(a, i, copies / (count - 1) - copies / count) - this.rankCost[a]!;
      const elsewhere = this.burden[i]! - here;
      const base = elsewhere - this.own[slot]!;
      for (let j = 0; j < numExperts; j++) {
        if (this.isOn(a, j) || (numNodes > 1 && this.home[j] !== this.nodeOf(a))) continue;
        const moves = this.heldOn(a, i) - this.heldOn(a, j);
        const after = this.count[j]! / (this.count[j]! + 1);
        const bound = base + this.relief[j]! + this.gradient[a * numExperts + j]! * after + price * moves;
        if (bound >= best || (moves > 0 && this.moves + moves > this.p.maxMoves)) continue;
        // All but where both have copies on another rank: what that adds is less than nothing, and little.
        if (elsewhere + this.relief[j]! + this.costOfReplacing(a, i, j) + price * moves >= best) continue;
        const cost = this.costOfOverwrite(a, i, j) + price * moves;
        if (cost >= best) continue;
        best = cost;
        this.bestKind = 2;
        this.bestSlot = slot;
        this.bestOther = j;
      }
    }
    return best;
  }

  /** What an overwrite costs on rank a alone. */
  costOfReplacing(a: number, i: number, j: number): number {
    const n = this.numSamples;
    const { samples, numExperts } = this.p;
    const countI = this.count[i]!;
    const copies = this.on[a * numExperts + i]!;
    const shareI = (copies - 1) / (countI - 1) - copies / countI;
    const shareJ = 1 / (this.count[j]! + 1);
    const then = this.sum((t) => {
      const change = shareI * samples[i * n + t]! + shareJ * samples[j * n + t]!;
      return this.slope[t]! * power8(this.rankLoad[a * n + t]! + change);
    });
    return then - this.rankCost[a]!;
  }

  costOfOverwrite(a: number, i: number, j: number): number {
    this.evaluations++;
    const { numExperts, numRanks, samples } = this.p;
    const n = this.numSamples;
    const countI = this.count[i]!;
    const countJ = this.count[j]!;
    let cost = 0;
    for (let rank = 0; rank < numRanks; rank++) {
      const copiesI = this.on[rank * numExperts + i]!;
      const copiesJ = this.on[rank * numExperts + j]!;
      if (copiesI === 0 && copiesJ === 0) continue;
      const here = rank === a ? 1 : 0;
      const shareI = (copiesI - here) / (countI - 1) - copiesI / countI;
      const shareJ = (copiesJ + here) / (countJ + 1) - copiesJ / countJ;
      const then = this.sum((t) => {
        const change = shareI * samples[i * n + t]! + shareJ * samples[j * n + t]!;
        return this.slope[t]! * power8(this.rankLoad[rank * n + t]! + change);
      });
      cost += then - this.rankCost[rank]!;
    }
    return cost;
  }

  exchange(slot: number, other: number): void {
    const a = this.rankOf(slot);
    const b = this.rankOf(other);
    const i = this.slots[slot]!;
    const j = this.slots[other]!;
    this.put(slot, j);
    this.put(other, i);
    this.revalue(i, j, a, b);
  }

  overwrite(slot: number, expert: number): void {
    const old = this.slots[slot]!;
    this.put(slot, expert);
    this.count[old]!--;
    this.count[expert]!++;
    this.splitLoad(old);
    this.splitLoad(expert);
    this.revalue(old, expert, this.rankOf(slot), -1);
  }

  put(slot: number, expert: number): void {
    const first = this.rankOf(slot) * this.p.numExperts;
    const old = this.slots[slot]!;
    this.moves += this.held[first + old]! - this.held[first + expert]!;
    this.on[first + old]!--;
    this.on[first + expert]!++;
    this.slots[slot] = expert;
  }

  /** Brings all up to date after experts i and j changed: on ranks a and b, or, when b is -1, on all that have them. */
  revalue(i: number, j: number, a: number, b: number): void {
    const { numExperts, numRanks } = this.p;
    const isChanged = (rank: number) =>
      rank === a || rank === b || (b === -1 && (this.isOn(rank, i) || this.isOn(rank, j)));
    for (let rank = 0; rank < numRanks; rank++) {
      if (isChanged(rank)) {
        this.sumRank(rank);
        this.revalueRank(rank);
        for (let expert = 0; expert < numExperts; expert++) this.revalueExpert(rank, expert);
      } else if (b === -1) {
        this.revalueExpert(rank, i);
        this.revalueExpert(rank, j);
      }
    }
    for (let expert = 0; expert < numExperts; expert++) {
      let isStale = expert === i || expert === j;
      for (let rank = 0; rank < numRanks && !isStale; rank++) {
        isStale = this.isOn(rank, expert) && isChanged(rank);
      }
      if (isStale) this.revalueCount(expert);
    }
  }

  /** An overwrite and a few exchanges at random, to leave a placement that no single step betters. */
  kick(): void {
    const { numSlots, numExperts, maxMoves } = this.p;
    const first = this.nextRandom(numSlots);
    const expert = this.nextRandom(numExperts);
    if (this.moves < maxMoves && this.mayOverwrite(first, expert)) this.overwrite(first, expert);
    for (let n = 0; n < EXCHANGES_PER_KICK; n++) {
      const slot = this.nextRandom(numSlots);
      const other = this.nextRandom(numSlots);
      if (this.moves + 2 <= maxMoves && this.mayExchange(slot, other)) this.exchange(slot, other);
    }
  }

  nextRandom(end: number): number {
    this.random = (Math.imul(this.random, 1664525) + 1013904223) >>> 0;
    return (this.random >>> 8) % end;
  }
}
