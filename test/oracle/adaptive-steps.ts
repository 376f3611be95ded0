import { AdaptiveState } from './adaptive-state.ts';

export const LEAST_GAIN = 1e-6;
/** So many steps, rounds or kicks in a row that together gain nothing gain by rounding. */
export const PATIENCE = 16;
const FEW_SLOTS = 16;
const FIRST_RANKS = 4;
const BEND = 28;

/** A float32 number. */
const f = Math.fround;

/** A step: a slot, and the other slot or the expert that comes; what it costs. */
interface Step {
  slot: number;
  other: number;
  cost: number;
}

/** The steps of the adaptive policy's search. */
export class AdaptiveSteps extends AdaptiveState {
  hasStepped = false;
  isStalled = false;
  stepsLeft = 0;
  watched = { cost: 0, moves: 0 };

  get isSpent(): boolean {
    return this.evaluations >= this.p.maxEvaluations;
  }

  /** Whether no step may be begun. */
  get mayNotStep(): boolean {
    return this.isStalled || (this.isSpent && this.hasStepped);
  }

  /** From here on steps lower the costs, by the tangent as it is. */
  watchSteps(): void {
    this.isStalled = false;
    this.stepsLeft = PATIENCE;
    this.watched = { cost: this.costOfRanks(), moves: this.moves };
  }

  countStep(): void {
    this.stepsLeft--;
    if (this.stepsLeft > 0) return;
    const { cost, moves } = this.watched;
    const gained = cost - this.costOfRanks() + this.p.price * (moves - this.moves);
    const isStalled = !(gained >= LEAST_GAIN);
    this.watchSteps();
    this.isStalled = isStalled;
  }

  costOfRanks(): number {
    return this.rankCost.reduce((sum, cost) => sum + cost, 0);
  }

  get hasFewSlots(): boolean {
    return this.numSlots <= FEW_SLOTS;
  }

  descend(): boolean {
    this.refresh();
    this.watchSteps();
    this.cleanAt.fill(-1);
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
    for (;;) {
      const dirty = [...this.rankCost.keys()].filter((rank) => this.isDirty(rank));
      const most = Math.max(...dirty.map((rank) => this.rankCost[rank]!));
      const rank = dirty.find((candidate) => this.rankCost[candidate] === most);
      if (rank === undefined) return isBetter;
      if (this.exchangeBest(rank)) isBetter = true;
      else this.cleanAt[rank] = this.time;
    }
  }

  exchangeBest(a: number): boolean {
    if (this.mayNotStep) return false;
    const others = [...this.rankLoad.keys()].filter(
      (b) => b !== a && (this.p.numNodes === 1 || this.nodeOf(b) === this.nodeOf(a)) && !this.isKnown(a, b),
    );
    const bounds = new Map(others.map((b) => [b, this.leastOfRanks(a, b)]));
    const first = [...others].sort((b, c) => bounds.get(b)! - bounds.get(c)!).slice(0, FIRST_RANKS);
    let best: Step = { slot: -1, other: -1, cost: -LEAST_GAIN };
    for (const b of first) best = this.betterExchange(a, b, bounds.get(b)!, best);
    for (const b of others) {
      if (best.slot < 0 && !first.includes(b)) best = this.betterExchange(a, b, bounds.get(b)!, best);
    }
    if (best.slot < 0) return false;
    this.exchange(best.slot, best.other);
    this.countStep();
    return true;
  }

  /** The best exchange of a slot of rank a with one of rank b, if it is better than the best so far. */
  betterExchange(a: number, b: number, bound: number, best: Step): Step {
    const { price } = this.p;
    if (bound + price * (this.leastMoves(a, b) + this.leastMoves(b, a)) >= best.cost) return best;
    const priced = (rank: number, expert: number) =>
      f(this.pullOfCopy(rank, expert, this.count[expert]!) - f(price * this.heldOn(rank, expert)));
    const more = (expert: number) => f(priced(b, expert) - priced(a, expert));
    const curve = f(BEND * f(this.pullOf(a).bend + this.pullOf(b).bend));
    const there = Array.from(this.expertsOf(b), (j) => ({
      j,
      cost: more(j),
      mean: this.meanOf(j, this.count[j]!),
    }));
    let better = best;
    for (const [k, i] of this.expertsOf(a).entries()) {
      const here = more(i);
      const mean = this.meanOf(i, this.count[i]!);
      for (const [m, { j, ...other }] of there.entries()) {
        const off = f(mean - other.mean);
        if (f(f(here - other.cost) + f(f(off * off) * curve)) >= f(better.cost)) continue;
        if (this.isOn(b, i) || this.isOn(a, j)) continue;
        const moves = this.movesOfExchange(a, i, b, j);
        if (moves > 0 && this.moves + moves > this.movesAllowed) continue;
        const cost = this.costOfExchange(a, i, b, j) + price * moves;
        if (cost < better.cost) better = { slot: this.first[a]! + k, other: this.first[b]! + m, cost };
      }
    }
    return better;
  }

  movesOfExchange(a: number, i: number, b: number, j: number): number {
    return this.movesTo(b, a, i) + this.movesTo(a, b, j);
  }

  /** How many moves it adds to put a copy of an expert to rank `to` that is on rank `from`. */
  movesTo(to: number, from: number, expert: number): number {
    return this.heldOn(from, expert) - this.heldOn(to, expert);
  }

  /** The fewest moves that it can add to put a copy from one rank to another that has none of its expert. */
  leastMoves(from: number, to: number): number {
    const { numExperts } = this.p;
    const hasStranger = this.expertsOf(from).some((expert) => this.heldOn(from, expert) === 0);
    const held = this.held.subarray(to * numExperts, (to + 1) * numExperts);
    const hasLeft = held.some((isHeld, expert) => isHeld > 0 && !this.isOn(to, expert));
    return (hasStranger ? 0 : 1) - (hasLeft ? 1 : 0);
  }

  overwriteBest(): boolean {
    if (this.mayNotStep) return false;
    const { numExperts, numRanks, price } = this.p;
    const reliefs = Array.from({ length: numExperts }, (_, expert) =>
      f(this.costElsewhere(-1, expert, this.split(expert, this.count[expert]! + 1))),
    );
    const offers = Array.from({ length: numRanks }, (_, rank) =>
      reliefs.map((relief, expert) => {
        const gets = f(relief + this.pullOfCopy(rank, expert, this.count[expert]! + 1));
        return f(gets + this.fee(rank, expert));
      }),
    );
    const bases = Array.from(this.slots, (expert, slot) => this.baseOf(slot, expert));
    const slots = [...bases.keys()].filter((slot) => this.count[this.slots[slot]!]! > 1);
    const values = new Map(
      slots.map((slot) => {
        const rank = this.rankOf(slot);
        const value = bases[slot]! + Math.min(...offers[rank]!);
        return [slot, value + price * this.heldOn(rank, this.slots[slot]!)];
      }),
    );
    const [first] = [...slots].sort((one, other) => values.get(one)! - values.get(other)!);
    if (first === undefined) return false;
    let best: Step = { slot: -1, other: -1, cost: -LEAST_GAIN };
    for (const slot of [first, ...slots.filter((other) => other !== first)]) {
      best = this.betterOverwrite(slot, bases[slot]!, offers[this.rankOf(slot)]!, best);
    }
    if (best.slot < 0) return false;
    this.overwrite(best.slot, best.other);
    this.countStep();
    return true;
  }

  /** What it costs, to first order, to take the expert out of a slot that can spare it. */
  baseOf(slot: number, i: number): number {
    if (this.count[i]! < 2) return 0;
    const a = this.rankOf(slot);
    const less = this.split(i, this.count[i]! - 1);
    const elsewhere = this.costElsewhere(-1, i, less) - this.costWith(a, i, less);
    return elsewhere - this.pullOfCopy(a, i, this.count[i]!);
  }

  /** What it adds to the price that a copy comes to the rank: infinite where one is, or none may come. */
  fee(rank: number, expert: number): number {
    const { numNodes, price } = this.p;
    const isBarred = this.isOn(rank, expert) || (numNodes > 1 && this.home[expert] !== this.nodeOf(rank));
    return isBarred ? Number.POSITIVE_INFINITY : f(-price * this.heldOn(rank, expert));
  }

  /** The best overwrite of a slot, if it is better than the best so far. */
  betterOverwrite(slot: number, baseOfSlot: number, offers: readonly number[], best: Step): Step {
    const { price } = this.p;
    const i = this.slots[slot]!;
    const a = this.rankOf(slot);
    const base = baseOfSlot + price * this.heldOn(a, i);
    if (base + Math.min(...offers) >= best.cost) return best;
    const curve = f(BEND * this.pullOf(a).bend);
    let better = best;
    for (const [j, offer] of offers.entries()) {
      const off = f(this.meanOf(j, this.count[j]! + 1) - this.meanOf(i, this.count[i]!));
      if (f(offer + f(f(off * off) * curve)) >= f(better.cost - base)) continue;
      const moves = this.heldOn(a, i) - this.heldOn(a, j);
      if (moves > 0 && this.moves + moves > this.movesAllowed) continue;
      const cost = this.costOfOverwrite(a, i, j) + price * moves;
      if (cost < better.cost) better = { slot, other: j, cost };
    }
    return better;
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
    this.changedAt[rank] = ++this.time;
  }
}
