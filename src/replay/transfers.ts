import type { CostModel } from './result.ts';

/** What changing the slots of one layer needs. */
export interface LayerTransfers {
  /** Slots whose expert was not on their rank before. */
  readonly moves: number;
  /** Slots whose expert changed. */
  readonly changedSlots: number;
  /** What the cost model charges. */
  readonly bytes: number;
  readonly bytesBetweenNodes: number;
  readonly seconds: number;
}

/** Ranks and nodes: ranks own equal runs of slots, nodes equal runs of ranks. */
export interface Devices {
  readonly numRanks: number;
  readonly numNodes: number;
}

/**
 * Counts and prices the change of one layer. A slot's weights come from its own rank when that held the expert before,
 * else from another rank of its node when one did, else from another node. Those of the own rank are charged only where
 * the cost model counts changed slots, and then like those of the node.
 *
 * @param before [physical], the expert of each slot, -1 when empty
 * @param after the same
 */
export function layerTransfers(
  before: Int32Array,
  after: Int32Array,
  { numRanks, numNodes }: Devices,
  cost: CostModel,
): LayerTransfers {
  const { bytesPerExpert, intraNodeBytesPerSecond, interNodeBytesPerSecond } = cost;
  const slotsPerRank = after.length / numRanks;
  const slotsPerNode = after.length / numNodes;
  const onRank = holders(before, slotsPerRank);
  const onNode = holders(before, slotsPerNode);
  let moves = 0;
  let changedSlots = 0;
  let near = 0;
  let far = 0;
  let seconds = 0;
  for (let rank = 0; rank < numRanks; rank++) {
    let rankNear = 0;
    let rankFar = 0;
    for (let slot = rank * slotsPerRank; slot < (rank + 1) * slotsPerRank; slot++) {
      const expert = after[slot]!;
      if (expert === before[slot]! || expert === -1) continue;
      changedSlots++;
      const isMove = !onRank(expert, rank);
      if (isMove) moves++;
      else if (cost.countedMoves === 'rank') continue;
      if (onNode(expert, Math.floor(slot / slotsPerNode))) rankNear++;
      else rankFar++;
    }
    const rankSeconds =
      (rankNear * bytesPerExpert) / intraNodeBytesPerSecond +
      (rankFar * bytesPerExpert) / interNodeBytesPerSecond;
    seconds = Math.max(seconds, rankSeconds);
    near += rankNear;
    far += rankFar;
  }
  if (cost.concurrentTransfers === 'none') {
    seconds =
      (near * bytesPerExpert) / intraNodeBytesPerSecond + (far * bytesPerExpert) / interNodeBytesPerSecond;
  }
  return {
    moves,
    changedSlots,
    bytes: (near + far) * bytesPerExpert,
    bytesBetweenNodes: far * bytesPerExpert,
    seconds,
  };
}

/** Tells whether a run of `width` slots holds an expert. */
function holders(slots: Int32Array, width: number): (expert: number, run: number) => boolean {
  const held = new Set<number>();
  const numRuns = slots.length / width;
  slots.forEach((expert, slot) => {
    if (expert !== -1) held.add(expert * numRuns + Math.floor(slot / width));
  });
  return (expert, run) => held.has(expert * numRuns + run);
}
