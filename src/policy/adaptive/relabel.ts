import { relativeSpeeds } from '../../core/rank-speeds.ts';
import type { Topology } from '../../core/topology.ts';
import { assignColumns } from './assignment.ts';

// Nodes that are alike may change places, and so may ranks of a node: no placement is better or worse for it,
// but less moves where more of what is live is already there.

/** Whether all nodes are alike, and all ranks of them. @param survive the level of failures, if any */
export function areInterchangeable(topology: Topology, survive: string | undefined): boolean {
  const { slotsPerRank, nodeOfRank, rules } = topology;
  if (nodeOfRank !== undefined || rules !== undefined || relativeSpeeds(topology) !== undefined) return false;
  // Other failure domains may hold a part of a node, or some ranks of several.
  if (survive !== undefined && survive !== 'rank' && survive !== 'node') return false;
  return slotsPerRank?.every((slots) => slots === slotsPerRank[0]) ?? true;
}

/**
 * Has nodes of a placement, and ranks within them, change places so that as many slots as can be have an
 * expert that was on their node before, and then on their rank.
 *
 * @param live `[physical]`, -1 for a closed slot: what was there before
 * @param planned `[physical]`: changed in place
 */
export function relabel(
  { numRanks, numNodes, numLogicalExperts }: Topology,
  live: Int32Array,
  planned: Int32Array,
): void {
  const onNodes = new Holders(live, numNodes, numLogicalExperts);
  const onRanks = new Holders(live, numRanks, numLogicalExperts);
  const old = planned.slice();
  const perNode = numRanks / numNodes;
  const slots = live.length / numRanks;
  const toNode = assignColumns(onNodes.overlaps(old, 0, 0, numNodes), numNodes);
  for (const [from, to] of toNode.entries()) {
    const [firstFrom, firstTo] = [from * perNode, to * perNode];
    const toRank = assignColumns(onRanks.overlaps(old, firstFrom, firstTo, perNode), perNode);
    for (const [rank, other] of toRank.entries()) {
      const at = (firstFrom + rank) * slots;
      planned.set(old.subarray(at, at + slots), (firstTo + other) * slots);
    }
  }
}

/** Which experts each of equally large parts of a layer has. */
class Holders {
  readonly #slots: number;
  readonly #numExperts: number;
  /** `[parts x logical]`: 1 where one has the expert. */
  readonly #has: Uint8Array;

  constructor(table: Int32Array, numParts: number, numExperts: number) {
    this.#slots = table.length / numParts;
    this.#numExperts = numExperts;
    this.#has = new Uint8Array(numParts * numExperts);
    for (const [slot, expert] of table.entries())
      if (expert >= 0) this.#has[Math.floor(slot / this.#slots) * numExperts + expert] = 1;
  }

  /**
   * `[n x n]`: slots of each of n parts of another table, from `first` on, whose expert each of n parts has,
   * from `firstHere` on.
   */
  overlaps(other: Int32Array, first: number, firstHere: number, n: number): Float64Array {
    const overlaps = new Float64Array(n * n);
    const start = first * this.#slots;
    for (let slot = start; slot < start + n * this.#slots; slot++) {
      const expert = other[slot]!;
      if (expert < 0) continue;
      const row = n * (Math.floor(slot / this.#slots) - first);
      for (let part = 0; part < n; part++)
        overlaps[row + part]! += this.#has[(firstHere + part) * this.#numExperts + expert]!;
    }
    return overlaps;
  }
}
