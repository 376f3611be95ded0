import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MoveCounter } from '../../src/mapping/move-counter.ts';
import type { CostModel } from '../../src/replay/configuration.ts';
import { type LayerTransfers, layerTransfers } from '../../src/replay/transfers.ts';
import { COST } from '../helpers/replay-files.ts';

interface Change {
  readonly numNodes: number;
  readonly numRanks: number;
  readonly before: readonly number[];
  readonly after: readonly number[];
  readonly cost: CostModel;
}

const NUM_EXPERTS = 6;

const changes: fc.Arbitrary<Change> = fc
  .record({
    numNodes: fc.integer({ min: 1, max: 3 }),
    ranksPerNode: fc.integer({ min: 1, max: 3 }),
    slotsPerRank: fc.integer({ min: 1, max: 4 }),
    concurrentTransfers: fc.constantFrom('rank' as const, 'none' as const),
    countedMoves: fc.constantFrom('rank' as const, 'slot' as const),
  })
  .chain(({ numNodes, ranksPerNode, slotsPerRank, ...charged }) => {
    const length = numNodes * ranksPerNode * slotsPerRank;
    const slots = fc.array(fc.integer({ min: -1, max: NUM_EXPERTS - 1 }), {
      minLength: length,
      maxLength: length,
    });
    // Bytes and rates whose quotients are exact.
    const rates = { bytesPerExpert: 64, intraNodeBytesPerSecond: 32, interNodeBytesPerSecond: 8 };
    const cost = { ...COST, ...rates, ...charged } as CostModel;
    return fc.record({ before: slots, after: slots }).map((tables) => ({
      ...tables,
      ...{ numNodes, numRanks: numNodes * ranksPerNode, cost },
    }));
  });

/** The same from the definitions, slot by slot. */
function expected({ numNodes, numRanks, before, after, cost }: Change): LayerTransfers {
  const [perRank, perNode] = [after.length / numRanks, after.length / numNodes];
  const held = (slot: number, width: number) => {
    const first = slot - (slot % width);
    return before.slice(first, first + width).includes(after[slot]!);
  };
  const secondsOfRank = new Array<number>(numRanks).fill(0);
  const sum = { moves: 0, changedSlots: 0, bytes: 0, bytesBetweenNodes: 0 };
  for (const [slot, expert] of after.entries()) {
    if (expert === -1 || expert === before[slot]) continue;
    sum.changedSlots++;
    const isMove = !held(slot, perRank);
    if (isMove) sum.moves++;
    if (!isMove && cost.countedMoves === 'rank') continue;
    const isFar = !held(slot, perNode);
    sum.bytes += cost.bytesPerExpert;
    if (isFar) sum.bytesBetweenNodes += cost.bytesPerExpert;
    const rate = isFar ? cost.interNodeBytesPerSecond : cost.intraNodeBytesPerSecond;
    secondsOfRank[Math.floor(slot / perRank)]! += cost.bytesPerExpert / rate;
  }
  const seconds =
    cost.concurrentTransfers === 'rank'
      ? Math.max(...secondsOfRank)
      : secondsOfRank.reduce((all, one) => all + one, 0);
  return { ...sum, seconds };
}

test('what a changed layer transfers is what the definitions say', () => {
  fc.assert(
    fc.property(changes, (change) => {
      const { numNodes, numRanks, before, after, cost } = change;
      const counter = new MoveCounter({ numLogicalExperts: NUM_EXPERTS, numRanks, numNodes });
      const [from, to] = [Int32Array.from(before), Int32Array.from(after)];
      // Twice: the counter keeps nothing of the layer before.
      for (let turn = 0; turn < 2; turn++) {
        assert.deepEqual(layerTransfers(from, to, counter, numRanks, cost), expected(change));
      }
    }),
    { seed: 20_240_607, numRuns: 2000 },
  );
});
