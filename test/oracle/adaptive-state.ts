/** The state of the adaptive policy's search in plain code: the placement, and what it and its parts cost. */

export interface AdaptiveProblem {
  /** [experts x samples], the number of samples even. */
  samples: Float64Array;
  /** [samples]; a sample that only fills up has 0. */
  weights: Float64Array;
  numExperts: number;
  numSlots: number;
  numRanks: number;
  /** Experts stay on the node they start on; 1: they may go anywhere. */
  numNodes: number;
  /** The live placement, -1 where a slot is empty. */
  previous: Int32Array;
  /** A placement made afresh, to start from as well. */
  fresh?: Int32Array | undefined;
  price: number;
  maxMoves: number;
  maxEvaluations: number;
  numKicks: number;
}

export class AdaptiveState {
  readonly p: AdaptiveProblem;
  readonly numSamples: number;
  readonly slotsPerRank: number;
  readonly ranksPerNode: number;
  readonly slots: Int32Array;
  readonly count: Int32Array;
  readonly home: Int32Array;
  readonly on: Int32Array;
  readonly held: Int32Array;
  readonly copyLoad: Float64Array;
  readonly rankLoad: Float64Array;
  readonly slope: Float64Array;
  readonly rankGradient: Float64Array;
  readonly rankCost: Float64Array;
  readonly gradient: Float64Array;
  readonly relief: Float64Array;
  readonly burden: Float64Array;
  readonly own: Float64Array;
  readonly low: Float64Array;
  moves = 0;
  evaluations = 0;

  constructor(problem: AdaptiveProblem) {
    const { numExperts, numSlots, numRanks, numNodes, previous } = problem;
    this.p = problem;
    this.numSamples = problem.weights.length;
    this.slotsPerRank = numSlots / numRanks;
    this.ranksPerNode = numRanks / numNodes;
    this.slots = new Int32Array(numSlots);
    this.count = new Int32Array(numExperts);
    this.home = new Int32Array(numExperts);
    this.on = new Int32Array(numRanks * numExperts);
    this.held = new Int32Array(numRanks * numExperts);
    this.copyLoad = new Float64Array(numExperts * this.numSamples);
    this.rankLoad = new Float64Array(numRanks * this.numSamples);
    this.slope = new Float64Array(this.numSamples);
    this.rankGradient = new Float64Array(numRanks * this.numSamples);
    this.rankCost = new Float64Array(numRanks);
    this.gradient = new Float64Array(numRanks * numExperts);
    this.relief = new Float64Array(numExperts);
    this.burden = new Float64Array(numExperts);
    this.own = new Float64Array(numSlots);
    this.low = new Float64Array(numRanks * numRanks);
    for (let slot = 0; slot < numSlots; slot++) {
      if (previous[slot]! >= 0) this.held[this.rankOf(slot) * numExperts + previous[slot]!] = 1;
    }
  }

  rankOf(slot: number): number {
    return Math.floor(slot / this.slotsPerRank);
  }

  nodeOf(rank: number): number {
    return Math.floor(rank / this.ranksPerNode);
  }

  isOn(rank: number, expert: number): boolean {
    return this.on[rank * this.p.numExperts + expert]! > 0;
  }

  heldOn(rank: number, expert: number): number {
    return this.held[rank * this.p.numExperts + expert]!;
  }

  load(placement: Int32Array): void {
    this.slots.set(placement);
    this.sortRanks();
    this.recount();
    this.rebuild();
  }

  /** Orders the experts of each rank. */
  sortRanks(): void {
    for (let first = 0; first < this.p.numSlots; first += this.slotsPerRank) {
      this.slots.subarray(first, first + this.slotsPerRank).sort();
    }
  }

  recount(): void {
    const { numExperts, numSlots } = this.p;
    this.count.fill(0);
    this.on.fill(0);
    for (let slot = 0; slot < numSlots; slot++) {
      const expert = this.slots[slot]!;
      if (expert < 0) continue;
      this.count[expert]!++;
      this.on[this.rankOf(slot) * numExperts + expert]!++;
    }
  }

  sum(term: (t: number) => number): number {
    let even = 0;
    let odd = 0;
    for (let t = 0; t < this.numSamples; t += 2) {
      even += term(t);
      odd += term(t + 1);
    }
    return even + odd;
  }

  rebuild(): void {
    for (let expert = 0; expert < this.p.numExperts; expert++) this.splitLoad(expert);
    for (let rank = 0; rank < this.p.numRanks; rank++) this.sumRank(rank);
    this.moves = 0;
    for (let slot = 0; slot < this.p.numSlots; slot++) {
      if (this.heldOn(this.rankOf(slot), this.slots[slot]!) === 0) this.moves++;
    }
    this.refresh();
  }

  splitLoad(expert: number): void {
    const share = 1 / this.count[expert]!;
    for (let t = 0; t < this.numSamples; t++) {
      const at = expert * this.numSamples + t;
      this.copyLoad[at] = this.p.samples[at]! * share;
    }
  }

  sumRank(rank: number): void {
    for (let t = 0; t < this.numSamples; t++) {
      let load = 0;
      for (let k = 0; k < this.slotsPerRank; k++) {
        load += this.copyLoad[this.slots[rank * this.slotsPerRank + k]! * this.numSamples + t]!;
      }
      this.rankLoad[rank * this.numSamples + t] = load;
    }
  }

  /** The eighth powers of the rank loads of a sample, added up. */
  powers(t: number): number {
    let sum = 0;
    for (let rank = 0; rank < this.p.numRanks; rank++) {
      sum += power8(this.rankLoad[rank * this.numSamples + t]!);
    }
    return sum;
  }

  value(): number {
    return this.sum((t) => this.p.weights[t]! * root8(this.powers(t)));
  }

  /** Makes the tangent of the objective anew: the root is concave, so what the tangent gains is gained at least. */
  refresh(): void {
    const { numExperts, numRanks, weights } = this.p;
    for (let t = 0; t < this.numSamples; t++) {
      const powers = this.powers(t);
      this.slope[t] = (weights[t]! * 0.125 * root8(powers)) / powers;
    }
    for (let rank = 0; rank < numRanks; rank++) this.revalueRank(rank);
    for (let rank = 0; rank < numRanks; rank++) {
      for (let expert = 0; expert < numExperts; expert++) this.revalueExpert(rank, expert);
    }
    for (let expert = 0; expert < numExperts; expert++) this.revalueCount(expert);
  }

  revalueRank(rank: number): void {
    const first = rank * this.numSamples;
    for (let t = 0; t < this.numSamples; t++) {
      const load = this.rankLoad[first + t]!;
      const square = load * load;
      this.rankGradient[first + t] = 8 * this.slope[t]! * (square * square * square * load);
    }
    this.rankCost[rank] = this.sum((t) => this.slope[t]! * power8(this.rankLoad[first + t]!));
  }

  /** What a copy of the expert costs on the rank, to first order: as the power is convex, it costs no less. */
  revalueExpert(rank: number, expert: number): void {
    const a = rank * this.numSamples;
    const b = expert * this.numSamples;
    this.gradient[rank * this.p.numExperts + expert] = this.sum(
      (t) => this.rankGradient[a + t]! * this.copyLoad[b + t]!,
    );
  }

  /** What one copy more, and one less, of the expert changes on the ranks that have it. */
  revalueCount(expert: number): void {
    const count = this.count[expert]!;
    let relief = 0;
    let burden = 0;
    for (let rank = 0; rank < this.p.numRanks; rank++) {
      const copies = this.on[rank * this.p.numExperts + expert]!;
      if (copies === 0) continue;
      relief += this.costWith(rank, expert, copies / (count + 1) - copies / count) - this.rankCost[rank]!;
      if (count === 1) continue;
      burden += this.costWith(rank, expert, copies / (count - 1) - copies / count) - this.rankCost[rank]!;
    }
    this.relief[expert] = relief;
    this.burden[expert] = burden;
  }

  costWith(rank: number, expert: number, share: number): number {
    const a = rank * this.numSamples;
    const b = expert * this.numSamples;
    const { samples } = this.p;
    return this.sum((t) => this.slope[t]! * power8(this.rankLoad[a + t]! + share * samples[b + t]!));
  }
}

export function power8(x: number): number {
  const square = x * x;
  const fourth = square * square;
  return fourth * fourth;
}

function root8(x: number): number {
  return Math.sqrt(Math.sqrt(Math.sqrt(x)));
}
