import type { MoveCounter } from '../mapping/move-counter.ts';
import type { ReplayCost } from './configuration.ts';

/** What changing the slots of one layer needs. */
export interface LayerTransfers {
  /** Slots whose expert was not on their rank before. */
  readonly moves: number;
  /** Slots whose expert changed. */
  readonly changedSlots: number;
  /** Of the slots that the cost model counts. */
  readonly bytes: number;
  readonly bytesBetweenNodes: number;
  readonly seconds: number;
}

/**
 * Counts and prices the change of one layer. A slot's weights come from its own rank when that held the
 * expert before, else from another rank of its node when one did, else from another node. Those of the own
 * rank are charged only where the cost model counts changed slots, and then like those of the node.
 * Seconds are those of the transfer plan where there is one, whose sources may be others.
 *
 * @param before [physical], the expert of each slot, -1 when empty
 * @param after the same
 * @param counter of the topology that both are of
 * @param plannedSeconds by the transfer plan, where the cost model has one: in place of the bandwidths
 */
export function layerTransfers(
  before: Int32Array,
  after: Int32Array,
  counter: MoveCounter,
  numRanks: number,
  cost: ReplayCost,
  plannedSeconds?: number,
): LayerTransfers {
  const { bytesPerExpert, concurrentTransfers, countedMoves } = cost;
  const slotsPerRank = after.length / numRanks;
  /** Slots of each rank that are filled over the links within the node, and over those to other nodes. */
  const near = new Int32Array(numRanks);
  const far = new Int32Array(numRanks);
  let moves = 0;
  let changedSlots = 0;
  counter.forEachSlot(before, after, (slot, source) => {
    if (after[slot] === before[slot]) return;
    changedSlots++;
    if (source !== 'rank') moves++;
    else if (countedMoves === 'rank') return;
    const filled = source === 'elsewhere' ? far : near;
    filled[Math.floor(slot / slotsPerRank)]!++;
  });
  const [allNear, allFar] = [near, far].map((slots) => slots.reduce((sum, count) => sum + count, 0)) as [
    number,
    number,
  ];
  const secondsByBandwidth = () =>
    concurrentTransfers === 'none'
      ? secondsFor(allNear, allFar, cost)
      : near.reduce((most, count, rank) => Math.max(most, secondsFor(count, far[rank]!, cost)), 0);
  return {
    moves,
    changedSlots,
    bytes: (allNear + allFar) * bytesPerExpert,
    bytesBetweenNodes: allFar * bytesPerExpert,
    seconds: plannedSeconds ?? secondsByBandwidth(),
  };
}

/** What filling so many slots one after the other takes. */
function secondsFor(near: number, far: number, cost: ReplayCost): number {
  const { bytesPerExpert, intraNodeBytesPerSecond, interNodeBytesPerSecond } = cost;
  return (near * bytesPerExpert) / intraNodeBytesPerSecond + (far * bytesPerExpert) / interNodeBytesPerSecond;
}
