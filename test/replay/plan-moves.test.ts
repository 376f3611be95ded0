import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MoveCounter } from '../../src/mapping/move-counter.ts';
import { layerMoves, PlanMovesTally } from '../../src/replay/plan-moves.ts';
import { MAX_PLAN_MOVES } from '../../src/replay/result.ts';
import { SEED } from '../helpers/library.ts';

const NUM_EXPERTS = 6;

/** One layer before and after a change: every expert has a slot in both. */
const changes = fc
  .record({
    numNodes: fc.integer({ min: 1, max: 3 }),
    ranksPerNode: fc.integer({ min: 1, max: 3 }),
    slotsPerRank: fc.integer({ min: 6, max: 8 }),
  })
  .chain(({ numNodes, ranksPerNode, slotsPerRank }) => {
    const numRanks = numNodes * ranksPerNode;
    const rest = fc.array(fc.integer({ min: -1, max: NUM_EXPERTS - 1 }), {
      minLength: numRanks * slotsPerRank - NUM_EXPERTS,
      maxLength: numRanks * slotsPerRank - NUM_EXPERTS,
    });
    const slots = rest
      .map((others): number[] => [...others, 0, 1, 2, 3, 4, 5])
      .chain((all) => fc.shuffledSubarray(all, { minLength: all.length }));
    return fc.record({ before: slots, after: slots }).map((tables) => ({ ...tables, numRanks, numNodes }));
  });

const LOADS = Float32Array.from([60, 50, 40, 30, 20, 10]);

test('moves are those that are counted, each from a rank that has the expert', () => {
  fc.assert(
    fc.property(changes, ({ numRanks, numNodes, before, after }) => {
      const sizes = { numRanks, numNodes, numLogicalExperts: NUM_EXPERTS };
      const [from, to] = [Int32Array.from(before), Int32Array.from(after)];
      const moves = layerMoves(sizes, 3, from, to, LOADS);
      const counted = new MoveCounter(sizes).count(from, to);
      assert.equal(moves.length, counted.moves);
      const tally = new PlanMovesTally(sizes);
      tally.add(moves);
      const { nodeMoves } = tally.result();
      const between = nodeMoves.flatMap((row, node) => row.filter((_, other) => other !== node));
      assert.equal(
        between.reduce((sum, count) => sum + count, 0),
        counted.movesBetweenNodes,
      );
      const width = before.length / numRanks;
      const rankOf = (slots: readonly number[], rank: number) =>
        slots.slice(rank * width, (rank + 1) * width);
      for (const { layer, expert, fromRank, toRank, load } of moves) {
        assert.equal(layer, 3);
        assert.ok(rankOf(before, fromRank).includes(expert));
        assert.ok(!rankOf(before, toRank).includes(expert));
        assert.ok(rankOf(after, toRank).includes(expert));
        assert.equal(load, LOADS[expert]! / after.filter((one) => one === expert).length);
      }
    }),
    { seed: SEED, numRuns: 500 },
  );
});

test('ranks that could send the same expert take turns', () => {
  // Expert 0 is on ranks 0 and 1, and goes to ranks 2 and 3; expert 1 only on rank 0.
  const before = Int32Array.from([0, 1, 0, 2, 3, 4, 5, 3]);
  const after = Int32Array.from([0, 1, 0, 2, 0, 4, 0, 1]);
  const moves = layerMoves({ numRanks: 4, numNodes: 1 }, 0, before, after, LOADS);
  assert.deepEqual(
    moves.map(({ expert, fromRank, toRank, load }) => [expert, fromRank, toRank, load]),
    [
      [0, 0, 2, 15],
      [0, 1, 3, 15],
      [1, 0, 3, 25],
    ],
  );
});

test('of very many moves all are counted, and those with the most load are listed', () => {
  const tally = new PlanMovesTally({ numRanks: 4, numNodes: 2 });
  const loads = Array.from({ length: 1000 }, (_, i) => (i * 617) % 1000);
  tally.add(
    loads.map((load, i) => ({ layer: i, expert: 1, fromRank: 0, toRank: i % 2 === 0 ? 1 : 2, load })),
  );
  const result = tally.result();
  assert.deepEqual(result.nodeMoves, [
    [500, 500],
    [0, 0],
  ]);
  assert.deepEqual(
    result.loads,
    Array.from({ length: MAX_PLAN_MOVES }, (_, i) => 999 - i),
  );
  assert.equal(loads[result.layers[0]!], 999);
});
