/**
 * The locality policy for one layer in plain TypeScript: the reference that the kernel is compared with. What
 * the kernel keeps up to date from step to step is counted anew here at every step; whole-number connections
 * make both come to the same sums.
 */

import { type Placement, placeRow, rebalanceLayer, replicateExperts } from './default-policy.ts';
import { connections, type LocalityProblem, worth } from './locality-connections.ts';
import { type Move, MoveFinder } from './locality-move-finder.ts';

const TENURE = 8;
const STEPS_PER_REPACK = 16;
const IDLE_STEPS = 16;
const MAX_NODES = 64;
const EVALUATIONS_PER_EXPERT = 4000;

/** Places one layer; `evaluations` counts the exchanges that were looked at. */
export function placeLocality(problem: LocalityProblem): Placement & { evaluations: number } {
  const usual = rebalanceLayer(problem.weight, problem);
  const { numNodes } = problem;
  const connection = connections(problem);
  if (numNodes === 1 || numNodes > MAX_NODES || connection.every((value) => value === 0)) {
    return { ...usual, evaluations: 0 };
  }
  const search = new Search(problem, connection, usual.phyToLog);
  const evaluations = search.run();
  const seen = problem.weight.map(() => 0);
  const replicaRank = search.slots.map((expert) => seen[expert]!++);
  return { phyToLog: search.slots, replicaRank, evaluations };
}

class Search {
  readonly #p: LocalityProblem;
  readonly #connection: readonly number[];
  readonly #weight: readonly number[];
  readonly #slotsPerNode: number;
  readonly #slotsPerRank: number;
  readonly #maxRankLoad: number;
  #maxNodeLoad: number;
  slots: number[];
  // All of these follow from `slots`; see #count.
  #count: number[] = [];
  #copies: number[][] = [];
  #shared: number[] = [];
  #nodeLoads: number[] = [];
  #rankLoads: number[] = [];

  constructor(problem: LocalityProblem, connection: readonly number[], usual: readonly number[]) {
    this.#p = problem;
    this.#connection = connection;
    this.#weight = problem.weight.map(Math.fround);
    this.#slotsPerNode = problem.numReplicas / problem.numNodes;
    this.#slotsPerRank = problem.numReplicas / problem.numRanks;
    this.slots = [...usual];
    this.#recount();
    const most = Math.max(...this.#rankLoads);
    this.#maxRankLoad = (most / (1 - problem.tolerance)) * (1 - 2 ** -40);
    const total = this.#weight.reduce((sum, load) => sum + load, 0);
    this.#maxNodeLoad = (total / problem.numNodes) * (1 + problem.tolerance);
  }

  run(): number {
    this.#chooseStart();
    const { numNodes } = this.#p;
    const maxEvaluations = this.#p.maxEvaluations || EVALUATIONS_PER_EXPERT * this.#weight.length;
    const tabu = range(numNodes).map(() => this.#weight.map(() => 0));
    let objective = this.#objective();
    let best = objective;
    let bestSlots = [...this.slots];
    let evaluations = 0;
    let idle = 0;
    for (let step = 1; evaluations < maxEvaluations && idle < IDLE_STEPS; step++) {
      if (step % STEPS_PER_REPACK === 0) this.#repackAll();
      const finder = new MoveFinder(tabu, step, best - objective);
      this.#exchanges(finder);
      this.#replacements(finder);
      evaluations += finder.evaluations + this.slots.length;
      idle = finder.best.slot === -1 ? idle + 1 : 0;
      if (idle > 0) continue;
      this.#apply(finder.best, tabu, step);
      objective += finder.best.gain;
      if (objective > best) {
        best = objective;
        bestSlots = [...this.slots];
      }
    }
    this.slots = bestSlots;
    this.#recount();
    this.#repackAll();
    this.#separateCopies();
    return evaluations;
  }

  /**
   * Copies dealt to the nodes by load, or the default placement when that is better or the only one allowed.
   */
  #chooseStart(): void {
    const usual = this.slots;
    const usualObjective = this.#objective();
    const usualNodeLoad = Math.max(...this.#nodeLoads);
    this.slots = this.#dealCopies();
    this.#recount();
    for (const node of range(this.#p.numNodes)) this.#repack(node);
    const isAllowed =
      Math.max(...this.#nodeLoads) <= this.#maxNodeLoad && Math.max(...this.#rankLoads) <= this.#maxRankLoad;
    const isUsualBetter = usualNodeLoad <= this.#maxNodeLoad && usualObjective > this.#objective();
    if (isAllowed && !isUsualBetter) return;
    this.slots = usual;
    this.#recount();
    this.#maxNodeLoad = Math.max(this.#maxNodeLoad, usualNodeLoad);
  }

  /** Heaviest first, to the node with the fewest copies of that expert, then the lightest. */
  #dealCopies(): number[] {
    const { numReplicas, numNodes } = this.#p;
    const { count } = replicateExperts(this.#weight, numReplicas);
    const loads = this.#weight.map((load, expert) => Math.fround(load / count[expert]!));
    const order = range(loads.length).sort((a, b) =>
      loads[a]! > loads[b]! ? -1 : loads[a]! < loads[b]! ? 1 : a - b,
    );
    const nodes = range(numNodes).map(() => ({ slots: [] as number[], load: 0 }));
    for (const expert of order) {
      for (const _ of range(count[expert]!)) {
        const open = nodes.filter(({ slots }) => slots.length < this.#slotsPerNode);
        const fewest = Math.min(...open.map(({ slots }) => occurrences(slots, expert)));
        const candidates = open.filter(({ slots }) => occurrences(slots, expert) === fewest);
        const node = candidates.reduce((a, b) => (b.load < a.load ? b : a));
        node.slots.push(expert);
        node.load += this.#weight[expert]! / count[expert]!;
      }
    }
    return nodes.flatMap(({ slots }) => slots);
  }

  #recount(): void {
    const { numNodes, numRanks } = this.#p;
    const { slots } = this;
    const n = this.#weight.length;
    this.#count = this.#weight.map((_, expert) => occurrences(slots, expert));
    const perNode = range(numNodes).map((node) =>
      slots.slice(node * this.#slotsPerNode, (node + 1) * this.#slotsPerNode),
    );
    this.#copies = perNode.map((row) => this.#weight.map((_, expert) => occurrences(row, expert)));
    this.#shared = new Array<number>(n * n).fill(0);
    for (const row of this.#copies) {
      const present = range(n).filter((expert) => row[expert]! > 0);
      for (const a of present) for (const b of present) this.#shared[a * n + b]! += 1;
    }
    this.#nodeLoads = range(numNodes).map((node) => this.#sumLoads(node, this.#slotsPerNode));
    this.#rankLoads = range(numRanks).map((rank) => this.#sumLoads(rank, this.#slotsPerRank));
  }

  /** The load of the `index`-th run of `length` slots, summed in index order. */
  #sumLoads(index: number, length: number): number {
    let sum = 0;
    for (const expert of this.slots.slice(index * length, (index + 1) * length)) sum += this.#loadOf(expert);
    return sum;
  }

  #loadOf(expert: number): number {
    return this.#weight[expert]! / this.#count[expert]!;
  }

  #worth(a: number, b: number, shared: number): number {
    return this.#connection[a * this.#weight.length + b]! * worth(shared);
  }

  #sharedBy(a: number, b: number): number {
    return this.#shared[a * this.#weight.length + b]!;
  }

  #objective(): number {
    let sum = 0;
    for (const a of range(this.#weight.length)) {
      for (const b of range(a)) {
        for (const shared of range(this.#sharedBy(a, b))) sum += this.#worth(a, b, shared);
      }
    }
    return sum;
  }

  /** What `expert` on `node` is worth, be it there or not. */
  #value(expert: number, node: number): number {
    const isThere = this.#copies[node]![expert]! > 0;
    let sum = 0;
    for (const other of range(this.#weight.length)) {
      if (other === expert || this.#copies[node]![other] === 0) continue;
      sum += this.#worth(expert, other, this.#sharedBy(expert, other) - (isThere ? 1 : 0));
    }
    return sum;
  }

  /**
   * The gain of moving the copy in `slot` to `node`, were there a free slot; -Infinity when it has a copy
   * there.
   */
  #moveGain(slot: number, node: number): number {
    const expert = this.slots[slot]!;
    const from = Math.floor(slot / this.#slotsPerNode);
    if (this.#copies[node]![expert]! > 0) return -Infinity;
    let gain = this.#value(expert, node);
    if (this.#copies[from]![expert]! > 1) return gain;
    gain -= this.#value(expert, from);
    for (const other of range(this.#weight.length)) {
      if (other === expert || this.#copies[from]![other] === 0 || this.#copies[node]![other] === 0) continue;
      const shared = this.#sharedBy(expert, other);
      gain += this.#worth(expert, other, shared - 1) - this.#worth(expert, other, shared);
    }
    return gain;
  }

  /** Two copies on different nodes change places. */
  #exchanges(finder: MoveFinder): void {
    const { numNodes } = this.#p;
    const gains = range(numNodes).map((node) => this.slots.map((_, slot) => this.#moveGain(slot, node)));
    for (const nodeA of range(numNodes)) {
      for (let nodeB = nodeA + 1; nodeB < numNodes; nodeB++) {
        const slotsB = range(this.#slotsPerNode).map((i) => nodeB * this.#slotsPerNode + i);
        const mostFromB = Math.max(...slotsB.map((slot) => gains[nodeA]![slot]!));
        for (let slot = nodeA * this.#slotsPerNode; slot < (nodeA + 1) * this.#slotsPerNode; slot++) {
          const gainA = gains[nodeB]![slot]!;
          if (!(gainA + mostFromB > finder.best.gain)) continue;
          finder.evaluations += this.#slotsPerNode;
          for (const other of slotsB) this.#exchange(finder, slot, other, gainA + gains[nodeA]![other]!);
        }
      }
    }
  }

  #exchange(finder: MoveFinder, slot: number, other: number, upperBound: number): void {
    const a = this.slots[slot]!;
    const b = this.slots[other]!;
    if (a === b || upperBound === -Infinity) return;
    const gain = upperBound - 2 * this.#worth(a, b, this.#sharedBy(a, b));
    const nodeA = Math.floor(slot / this.#slotsPerNode);
    const nodeB = Math.floor(other / this.#slotsPerNode);
    const heavier = this.#loadOf(b) - this.#loadOf(a);
    const [gaining, by] = heavier > 0 ? [slot, heavier] : [other, -heavier];
    if (by > 0 && !this.#hasRoom(gaining, by)) return;
    finder.offer({ gain, slot, other, expert: -1 }, [
      [nodeB, a],
      [nodeA, b],
    ]);
  }

  #hasRoom(slot: number, load: number): boolean {
    const node = Math.floor(slot / this.#slotsPerNode);
    const rank = Math.floor(slot / this.#slotsPerRank);
    return (
      this.#nodeLoads[node]! + load <= this.#maxNodeLoad && this.#rankLoads[rank]! + load <= this.#maxRankLoad
    );
  }

  /**
   * A copy of an expert that has others gives its slot to one more copy of an expert that is not on that
   * node.
   */
  #replacements(finder: MoveFinder): void {
    const experts = range(this.#weight.length);
    const values = this.#copies.map((_, node) => experts.map((expert) => this.#value(expert, node)));
    for (const [slot, removed] of this.slots.entries()) {
      const room = this.#roomWithout(slot);
      if (!(room >= 0)) continue;
      const node = Math.floor(slot / this.#slotsPerNode);
      const absent = experts.filter((expert) => this.#copies[node]![expert] === 0);
      const isLast = this.#copies[node]![removed] === 1;
      const loss = isLast ? values[node]![removed]! : 0;
      const most = Math.max(...absent.map((expert) => values[node]![expert]!));
      if (!(most - loss > finder.best.gain)) continue;
      finder.evaluations += experts.length;
      for (const expert of absent) {
        if (this.#weight[expert]! / (this.#count[expert]! + 1) > room) continue;
        let gain = values[node]![expert]! - loss;
        if (isLast) gain -= this.#worth(removed, expert, this.#sharedBy(removed, expert));
        finder.offer({ gain, slot, other: -1, expert }, [[node, expert]]);
      }
    }
  }

  /**
   * The load that fits into a slot once its copy is gone and the expert's others carry more; negative when
   * they cannot.
   */
  #roomWithout(slot: number): number {
    const expert = this.slots[slot]!;
    const count = this.#count[expert]!;
    if (count < 2) return -1;
    const more = this.#weight[expert]! / (count - 1) - this.#loadOf(expert);
    const node = Math.floor(slot / this.#slotsPerNode);
    const rank = Math.floor(slot / this.#slotsPerRank);
    for (const [other, row] of this.#copies.entries()) {
      if (
        other !== node &&
        row[expert]! > 0 &&
        this.#nodeLoads[other]! + row[expert]! * more > this.#maxNodeLoad
      )
        return -1;
    }
    const copiesOn = (index: number): number =>
      occurrences(this.slots.slice(index * this.#slotsPerRank, (index + 1) * this.#slotsPerRank), expert);
    for (const [other, load] of this.#rankLoads.entries()) {
      const copies = copiesOn(other);
      if (other !== rank && copies > 0 && load + copies * more > this.#maxRankLoad) return -1;
    }
    const nodeAfter =
      this.#nodeLoads[node]! - this.#loadOf(expert) + (this.#copies[node]![expert]! - 1) * more;
    const rankAfter = this.#rankLoads[rank]! - this.#loadOf(expert) + (copiesOn(rank) - 1) * more;
    return Math.min(this.#maxNodeLoad - nodeAfter, this.#maxRankLoad - rankAfter);
  }

  #apply({ slot, other, expert }: Move, tabu: number[][], step: number): void {
    const removed = this.slots[slot]!;
    tabu[Math.floor(slot / this.#slotsPerNode)]![removed] = step + TENURE + (step % 7);
    if (other === -1) {
      this.slots[slot] = expert;
    } else {
      const back = this.slots[other]!;
      tabu[Math.floor(other / this.#slotsPerNode)]![back] = step + TENURE + (step % 5);
      this.slots[slot] = back;
      this.slots[other] = removed;
    }
    this.#recount();
  }

  /** Packs each node's copies to its ranks anew where that lowers the node's highest rank load. */
  #repackAll(): void {
    for (const node of range(this.#p.numNodes)) {
      const before = [...this.slots];
      const most = this.#highestRankOf(node);
      this.#repack(node);
      if (this.#highestRankOf(node) < most) continue;
      this.slots = before;
      this.#recount();
    }
  }

  #repack(node: number): void {
    const start = node * this.#slotsPerNode;
    const mine = this.slots.slice(start, start + this.#slotsPerNode);
    const loads = mine.map((expert) => Math.fround(this.#loadOf(expert)));
    const { phyToLog } = placeRow(loads, mine.length, this.#p.numRanks / this.#p.numNodes);
    for (const [i, item] of phyToLog.entries()) this.slots[start + i] = mine[item]!;
    this.#recount();
  }

  #highestRankOf(node: number): number {
    const ranksPerNode = this.#p.numRanks / this.#p.numNodes;
    return Math.max(...this.#rankLoads.slice(node * ranksPerNode, (node + 1) * ranksPerNode));
  }

  /** A second copy of an expert on a rank goes to another rank of the node, where the loads allow it. */
  #separateCopies(): void {
    for (const slot of range(this.slots.length)) {
      if (
        !this.#slotsOfRank(slot)
          .slice(0, slot % this.#slotsPerRank)
          .includes(this.slots[slot]!)
      )
        continue;
      const node = Math.floor(slot / this.#slotsPerNode);
      const partner = range(this.#slotsPerNode)
        .map((i) => node * this.#slotsPerNode + i)
        .find((other) => this.#canSeparate(slot, other));
      if (partner === undefined) continue;
      const expert = this.slots[slot]!;
      this.slots[slot] = this.slots[partner]!;
      this.slots[partner] = expert;
      this.#recount();
    }
  }

  #canSeparate(slot: number, other: number): boolean {
    const a = this.slots[slot]!;
    const b = this.slots[other]!;
    if (Math.floor(slot / this.#slotsPerRank) === Math.floor(other / this.#slotsPerRank)) return false;
    if (this.#slotsOfRank(slot).includes(b) || this.#slotsOfRank(other).includes(a)) return false;
    const heavier = this.#loadOf(b) - this.#loadOf(a);
    const rank = Math.floor((heavier > 0 ? slot : other) / this.#slotsPerRank);
    return heavier === 0 || this.#rankLoads[rank]! + Math.abs(heavier) <= this.#maxRankLoad;
  }

  #slotsOfRank(slot: number): number[] {
    const start = slot - (slot % this.#slotsPerRank);
    return this.slots.slice(start, start + this.#slotsPerRank);
  }
}

// A plain loop: Array.from() took two thirds of the time of the whole search.
function range(length: number): number[] {
  const numbers: number[] = [];
  for (let i = 0; i < length; i++) numbers.push(i);
  return numbers;
}

function occurrences(values: readonly number[], value: number): number {
  return values.filter((other) => other === value).length;
}
