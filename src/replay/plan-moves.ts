import { nodesOfRanks } from '../core/nodes.ts';
import type { Topology } from '../index.ts';
import { roundedLoad } from './rank-load-samples.ts';
import type { PlanMoves } from './result.ts';
import { MAX_PLAN_MOVES } from './result.ts';

/** Weights of an expert on their way to a slot. */
export interface Move {
  readonly layer: number;
  readonly expert: number;
  readonly fromRank: number;
  readonly toRank: number;
  /** What the copy is to take, a step: the expert's load / its copies in the new mapping. */
  readonly load: number;
}

/**
 * The moves of one layer: where each slot's new weights come from. As where moves are counted: from a rank of
 * the same node that held the expert before, else from any other that did. Of several the one that has sent
 * least in this layer, the lowest of equal ones. A slot whose rank held the expert before is not a move.
 *
 * @param before [physical], the expert of each slot, -1 when empty
 * @param after the same
 * @param loads [logical], of a step
 */
export function layerMoves(
  topology: Pick<Topology, 'numRanks' | 'numNodes' | 'nodeOfRank'>,
  layer: number,
  before: Int32Array,
  after: Int32Array,
  loads: Float32Array,
): Move[] {
  const { numRanks } = topology;
  const slotsPerRank = after.length / numRanks;
  const nodes = nodesOfRanks(topology);
  const holders = ranksOfExperts(before, slotsPerRank);
  const copies = new Int32Array(loads.length);
  for (const expert of after) if (expert >= 0) copies[expert]!++;
  const sent = new Int32Array(numRanks);
  const moves: Move[] = [];
  after.forEach((expert, slot) => {
    const toRank = Math.floor(slot / slotsPerRank);
    const from = holders.get(expert);
    if (from === undefined || from.includes(toRank)) return;
    const near = from.filter((rank) => nodes[rank] === nodes[toRank]);
    const fromRank = (near.length > 0 ? near : from).reduce((a, b) => (sent[b]! < sent[a]! ? b : a));
    sent[fromRank]!++;
    moves.push({ layer, expert, fromRank, toRank, load: loads[expert]! / copies[expert]! });
  });
  return moves;
}

/** The ranks that hold each expert, ascending. */
function ranksOfExperts(slots: Int32Array, slotsPerRank: number): ReadonlyMap<number, readonly number[]> {
  const ranks = new Map<number, number[]>();
  slots.forEach((expert, slot) => {
    if (expert < 0) return;
    const rank = Math.floor(slot / slotsPerRank);
    const own = ranks.get(expert);
    if (own === undefined) ranks.set(expert, [rank]);
    else if (own.at(-1) !== rank) own.push(rank);
  });
  return ranks;
}

/** Collects a plan's moves: all of them counted from node to node, and the heaviest one by one. */
export class PlanMovesTally {
  readonly #nodes: Int32Array;
  readonly #nodeMoves: number[][];
  /** By falling load; of equal ones in the order they came. */
  readonly #heaviest: Move[] = [];

  constructor(topology: Pick<Topology, 'numRanks' | 'numNodes' | 'nodeOfRank'>) {
    const { numNodes } = topology;
    this.#nodes = nodesOfRanks(topology);
    this.#nodeMoves = Array.from({ length: numNodes }, () => new Array<number>(numNodes).fill(0));
  }

  add(moves: readonly Move[]): void {
    for (const move of moves) {
      this.#nodeMoves[this.#nodes[move.fromRank]!]![this.#nodes[move.toRank]!]!++;
      this.#insert(move);
    }
  }

  #insert(move: Move): void {
    const heaviest = this.#heaviest;
    if (heaviest.length === MAX_PLAN_MOVES) {
      if (move.load <= heaviest.at(-1)!.load) return;
      heaviest.pop();
    }
    let [low, high] = [0, heaviest.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (heaviest[middle]!.load >= move.load) low = middle + 1;
      else high = middle;
    }
    heaviest.splice(low, 0, move);
  }

  result(): PlanMoves {
    const column = (field: keyof Move) => this.#heaviest.map((move) => move[field]);
    return {
      nodeMoves: this.#nodeMoves.map((row) => row.slice()),
      layers: column('layer'),
      experts: column('expert'),
      fromRanks: column('fromRank'),
      toRanks: column('toRank'),
      loads: column('load').map(roundedLoad),
    };
  }
}
