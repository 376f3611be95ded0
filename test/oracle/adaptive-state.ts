/** The state of the adaptive policy's search in plain code: the placement, and what it and its parts cost. */

export interface AdaptiveProblem {
  /** [experts x samples], the number of samples a multiple of 4. */
  samples: Float32Array;
  /** [experts]: what a copy's load counts as more, for its variance. */
  spread: Float32Array;
  /** [samples]; a sample that only fills up has 0. */
  weights: Float32Array;
  numExperts: number;
  numSlots: number;
  numRanks: number;
  /** Experts stay on the node they start on; 1: they may go anywhere. */
  numNodes: number;
  /** [ranks]: how many slots of a rank are open, its first ones; all when left out. */
  slotsPerRank?: Int32Array | undefined;
  /** The live placement, -1 where a slot is empty. */
  previous: Int32Array;
  /** A placement made afresh, to start from as well. */
  fresh?: Int32Array | undefined;
  price: number;
  maxMoves: number;
  maxEvaluations: number;
  numKicks: number;
}

/**
 * What the loads of each expert, and a load of 1 in each sample, cost on a rank to first order; and the
 * latter to second.
 */
interface Pull {
  ofExpert: Float32Array;
  ofOne: number;
  bend: number;
}

/** A float32 number. */
const f = Math.fround;

/**
 * Loads and what follows from them for a sample are float32, sums over samples float64: see {@link sumOver}.
 */
export class AdaptiveState {
  readonly p: AdaptiveProblem;
  readonly numSamples: number;
  /** Slots of a rank in tables, open and closed. */
  readonly stride: number;
  /** Open slots, and the first one of each rank: in here they lie one after the other. */
  readonly numSlots: number;
  readonly first: number[] = [0];
  readonly rankOfSlot: number[] = [];
  readonly ranksPerNode: number;
  readonly slots: Int32Array;
  readonly count: Int32Array;
  readonly home: Int32Array;
  readonly on: Int32Array;
  readonly held: Int32Array;
  /** When a rank last changed, and when no exchange of its slots was left. */
  readonly changedAt: Int32Array;
  readonly cleanAt: Int32Array;
  time = 0;
  readonly copyLoad: Float32Array[];
  readonly rankLoad: Float32Array[];
  readonly rankGradient: Float32Array[];
  readonly slope: Float32Array;
  readonly rankCost: Float64Array;
  readonly pulls: (Pull | undefined)[];
  moves = 0;
  movesAllowed = 0;
  evaluations = 0;

  constructor(problem: AdaptiveProblem) {
    const { numExperts, numSlots, numRanks, numNodes } = problem;
    this.p = problem;
    this.numSamples = problem.weights.length;
    const rows = (n: number) => Array.from({ length: n }, () => new Float32Array(this.numSamples));
    this.stride = numSlots / numRanks;
    for (let rank = 0; rank < numRanks; rank++) {
      const size = problem.slotsPerRank?.[rank] ?? this.stride;
      for (let k = 0; k < size; k++) this.rankOfSlot.push(rank);
      this.first.push(this.rankOfSlot.length);
    }
    this.numSlots = this.rankOfSlot.length;
    this.ranksPerNode = numRanks / numNodes;
    this.slots = new Int32Array(this.numSlots);
    this.count = new Int32Array(numExperts);
    this.home = new Int32Array(numExperts);
    this.on = new Int32Array(numRanks * numExperts);
    this.held = new Int32Array(numRanks * numExperts);
    this.changedAt = new Int32Array(numRanks);
    this.cleanAt = new Int32Array(numRanks);
    this.pulls = new Array<Pull | undefined>(numRanks).fill(undefined);
    this.copyLoad = rows(numExperts);
    this.rankLoad = rows(numRanks);
    this.rankGradient = rows(numRanks);
    this.slope = new Float32Array(this.numSamples);
    this.rankCost = new Float64Array(numRanks);
  }

  /** The live placement is a table, of open and closed slots. */
  markHeld(table: Int32Array): void {
    this.held.fill(0);
    for (const [at, expert] of table.entries()) {
      if (expert >= 0) this.held[Math.floor(at / this.stride) * this.p.numExperts + expert] = 1;
    }
  }

  rankOf(slot: number): number {
    return this.rankOfSlot[slot]!;
  }

  nodeOf(rank: number): number {
    return Math.floor(rank / this.ranksPerNode);
  }

  copiesOn(rank: number, expert: number): number {
    return this.on[rank * this.p.numExperts + expert]!;
  }

  isOn(rank: number, expert: number): boolean {
    return this.copiesOn(rank, expert) > 0;
  }

  heldOn(rank: number, expert: number): number {
    return this.held[rank * this.p.numExperts + expert]!;
  }

  /** The experts on a rank, slot by slot. */
  expertsOf(rank: number): Int32Array {
    return this.slots.subarray(this.first[rank], this.first[rank + 1]);
  }

  /** Orders the experts of each rank. */
  sortRanks(): void {
    for (let rank = 0; rank < this.p.numRanks; rank++) this.expertsOf(rank).sort();
  }

  recount(): void {
    const { numExperts } = this.p;
    this.count.fill(0);
    this.on.fill(0);
    for (let slot = 0; slot < this.numSlots; slot++) {
      const expert = this.slots[slot]!;
      if (expert < 0) continue;
      this.count[expert]!++;
      this.on[this.rankOf(slot) * numExperts + expert]!++;
    }
  }

  /** Adds up a term of each sample as the four lanes of a vector do. */
  sumOver(term: (t: number) => number): number {
    const lanes = [0, 0, 0, 0];
    for (let t = 0; t < this.numSamples; t++) lanes[t % 4] = f(lanes[t % 4]! + f(term(t)));
    return lanes[0]! + lanes[1]! + (lanes[2]! + lanes[3]!);
  }

  dot(a: Float32Array, b: Float32Array): number {
    return this.sumOver((t) => a[t]! * b[t]!);
  }

  rebuild(): void {
    const { numExperts, numRanks } = this.p;
    for (let expert = 0; expert < numExperts; expert++) this.splitLoad(expert);
    for (let rank = 0; rank < numRanks; rank++) this.sumRank(rank);
    this.moves = 0;
    for (let slot = 0; slot < this.numSlots; slot++) {
      this.moves += 1 - this.heldOn(this.rankOf(slot), this.slots[slot]!);
    }
    this.refresh();
  }

  splitLoad(expert: number): void {
    this.copyLoad[expert] = this.split(expert, this.count[expert]!);
  }

  isDirty(rank: number): boolean {
    return this.cleanAt[rank]! < this.changedAt[rank]!;
  }

  /** Whether rank b was looked at, and neither has changed since. */
  isKnown(a: number, b: number): boolean {
    return !this.isDirty(b) && this.changedAt[a]! <= this.cleanAt[b]!;
  }

  /** The load of one of `count` copies: its share, and what its spread adds. */
  split(expert: number, count: number): Float32Array {
    const { share, part } = this.parts(expert, count);
    return this.samplesOf(expert).map((load) => f(load * share) + part);
  }

  parts(expert: number, count: number): { share: number; part: number } {
    const share = f(1 / count);
    return { share, part: f(this.p.spread[expert]! * f(share * share)) };
  }

  samplesOf(expert: number): Float32Array {
    return this.p.samples.subarray(expert * this.numSamples, (expert + 1) * this.numSamples);
  }

  pullOf(rank: number): Pull {
    const pull = this.pulls[rank] ?? this.makePull(rank);
    this.pulls[rank] = pull;
    return pull;
  }

  makePull(rank: number): Pull {
    const gradient = this.rankGradient[rank]!;
    const bend = this.rankLoad[rank]!.map((load, t) => {
      const square = f(load * load);
      return this.slope[t]! * f(f(square * square) * square);
    });
    const ones = new Float32Array(this.numSamples).fill(1);
    return {
      ofExpert: Float32Array.from({ length: this.p.numExperts }, (_, expert) =>
        dotInOrder(gradient, this.samplesOf(expert)),
      ),
      ofOne: dotInOrder(gradient, ones),
      bend: dotInOrder(bend, ones),
    };
  }

  /** What one of `count` copies of an expert costs on a rank to first order. */
  pullOfCopy(rank: number, expert: number, count: number): number {
    const { share, part } = this.parts(expert, count);
    const { ofExpert, ofOne } = this.pullOf(rank);
    return f(f(ofExpert[expert]! * share) + f(ofOne * part));
  }

  /** The mean load of one of `count` copies. */
  meanOf(expert: number, count: number): number {
    const { share, part } = this.parts(expert, count);
    return f(f(f(this.dot(this.p.weights, this.samplesOf(expert))) * share) + part);
  }

  sumRank(rank: number): void {
    const row = this.rankLoad[rank]!.fill(0);
    for (const expert of this.expertsOf(rank)) {
      for (let t = 0; t < this.numSamples; t++) row[t]! += this.copyLoad[expert]![t]!;
    }
  }

  powers(t: number): number {
    return this.rankLoad.reduce((sum, row) => f(sum + power8(row[t]!)), 0);
  }

  objective(): number {
    return this.sumOver((t) => this.p.weights[t]! * root8(this.powers(t)));
  }

  value(): number {
    return this.objective() + this.p.price * this.moves;
  }

  /** Makes the tangent anew: the root is concave, so what the tangent gains is gained at least. */
  refresh(): void {
    for (let t = 0; t < this.numSamples; t++) {
      const powers = this.powers(t);
      this.slope[t] = f(f(this.p.weights[t]! * 0.125) * root8(powers)) / powers;
    }
    for (let rank = 0; rank < this.p.numRanks; rank++) this.revalueRank(rank);
  }

  revalueRank(rank: number): void {
    const { slope } = this;
    const row = this.rankLoad[rank]!;
    this.rankGradient[rank] = row.map((load, t) => {
      const square = f(load * load);
      return f(8 * slope[t]!) * f(f(f(square * square) * square) * load);
    });
    this.rankCost[rank] = this.costOf((t) => row[t]!);
    this.pulls[rank] = undefined;
  }

  /** What a rank of such loads costs. */
  costOf(load: (t: number) => number): number {
    return this.sumOver((t) => this.slope[t]! * power8(f(load(t))));
  }

  /** What it changes on a rank when each of its copies of the expert has the loads of `row`. */
  costWith(rank: number, expert: number, row: Float32Array): number {
    const old = this.rankLoad[rank]!;
    const copy = this.copyLoad[expert]!;
    const copies = this.copiesOn(rank, expert);
    return this.costOf((t) => old[t]! + f(copies * f(row[t]! - copy[t]!))) - this.rankCost[rank]!;
  }

  costElsewhere(except: number, expert: number, row: Float32Array): number {
    let cost = 0;
    for (let rank = 0; rank < this.p.numRanks; rank++) {
      if (rank !== except && this.isOn(rank, expert)) cost += this.costWith(rank, expert, row);
    }
    return cost;
  }

  /** The least that an exchange between two ranks can cost: if both came to the same loads. */
  leastOfRanks(a: number, b: number): number {
    const [loadsA, loadsB] = [this.rankLoad[a]!, this.rankLoad[b]!];
    const middle = this.costOf((t) => 0.5 * f(loadsA[t]! + loadsB[t]!));
    return 2 * middle - this.rankCost[a]! - this.rankCost[b]!;
  }

  costOfExchange(a: number, i: number, b: number, j: number): number {
    this.evaluations++;
    const shift = this.copyLoad[i]!.map((load, t) => load - this.copyLoad[j]![t]!);
    const cost = this.sumOver((t) => {
      const lighter = power8(f(this.rankLoad[a]![t]! - shift[t]!));
      return this.slope[t]! * f(lighter + power8(f(this.rankLoad[b]![t]! + shift[t]!)));
    });
    return cost - this.rankCost[a]! - this.rankCost[b]!;
  }

  costOfOverwrite(a: number, i: number, j: number): number {
    this.evaluations++;
    const less = this.split(i, this.count[i]! - 1);
    const more = this.split(j, this.count[j]! + 1);
    const copyI = this.copyLoad[i]!;
    const copyJ = this.copyLoad[j]!;
    let cost = 0;
    for (let rank = 0; rank < this.p.numRanks; rank++) {
      const oldI = this.copiesOn(rank, i);
      const oldJ = this.copiesOn(rank, j);
      if (oldI === 0 && oldJ === 0) continue;
      const here = rank === a ? 1 : 0;
      const row = this.rankLoad[rank]!;
      const then = this.costOf((t) => {
        const changeI = f(f((oldI - here) * less[t]!) - f(oldI * copyI[t]!));
        const changeJ = f(f((oldJ + here) * more[t]!) - f(oldJ * copyJ[t]!));
        return row[t]! + f(changeI + changeJ);
      });
      cost += then - this.rankCost[rank]!;
    }
    return cost;
  }
}

/** A sum over samples, one after the other. */
function dotInOrder(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, t) => f(sum + f(value * b[t]!)), 0);
}

function power8(x: number): number {
  const square = f(x * x);
  const fourth = f(square * square);
  return f(fourth * fourth);
}

function root8(x: number): number {
  return f(Math.sqrt(f(Math.sqrt(f(Math.sqrt(x))))));
}
