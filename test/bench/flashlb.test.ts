import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExpertMapping } from 'expert-load-balancer';
import { assign } from '../../bench/peers/assignment.ts';
import { FlashLb, matchRanks } from '../../bench/peers/flashlb.ts';
import { findCopies } from '../../bench/peers/flashlb-copies.ts';
import { deploy } from '../../bench/peers/flashlb-deploy.ts';
import { hotnessOf, meanPeak } from '../../bench/peers/flashlb-hotness.ts';
import { Random } from '../../bench/random.ts';

const steps = (...rows: number[][]) => rows.map((row) => Float32Array.from(row));
const starting = (numSlots: number, numExperts: number, numLayers = 1) =>
  ExpertMapping.fromPhysicalToLogical(
    Array.from({ length: numLayers }, () => Array.from({ length: numSlots }, (_, slot) => slot % numExperts)),
    numExperts,
  );
const rankSets = (table: Int32Array, numRanks: number) =>
  Array.from({ length: numRanks }, (_, rank) => {
    const size = table.length / numRanks;
    return [...table.subarray(rank * size, (rank + 1) * size)].sort((a, b) => a - b).join();
  });

function permutations(size: number): number[][] {
  if (size === 0) return [[]];
  const last = size - 1;
  return permutations(last).flatMap((rest) =>
    Array.from({ length: size }, (_, at) => [...rest.slice(0, at), last, ...rest.slice(at)]),
  );
}

test('an assignment costs as little as the best of all permutations', () => {
  const random = new Random(1, 'assignments');
  for (let trial = 0; trial < 60; trial++) {
    const size = 1 + random.below(6);
    const costs = Float64Array.from({ length: size * size }, () => random.below(9));
    const cost = (columns: ArrayLike<number>) =>
      Array.from(columns).reduce((sum, column, row) => sum + costs[row * size + column]!, 0);
    const columns = assign(costs, size);
    assert.deepEqual([...columns].sort(), [...Array(size).keys()]);
    assert.equal(cost(columns), Math.min(...permutations(size).map(cost)));
  }
});

test('mean, covariance and risk are those of the window; no load counts as one token', () => {
  const { mean, covariance, risk } = hotnessOf(steps([9, 9, 1, 0], [9, 9, 3, 0]), 1, 2);
  assert.deepEqual([...mean], [2, 1]);
  assert.deepEqual([...covariance], [2, 0, 0, 0]);
  assert.deepEqual([...risk], [2 + 0.6744897501960817 * Math.SQRT2, 1]);
});

test('the mean peak is the largest over the mean rank load, in the mean step', () => {
  const hotness = hotnessOf(steps([30, 10], [10, 10]), 0, 2);
  const peaks = [(30 * 2 + 0.01) / 40.01, 1];
  assert.ok(Math.abs(meanPeak(hotness, [0, 1], 2, 2) - (peaks[0]! + peaks[1]!) / 2) < 1e-12);
});

test('experts whose loads rise together are kept apart', () => {
  // By the means alone expert 2 would join expert 0.
  const hotness = hotnessOf(steps([10, 30, 10, 30], [30, 10, 30, 10]), 0, 4);
  const placement = deploy(hotness, Int32Array.of(1, 1, 1, 1), 4, 2);
  assert.deepEqual(rankSets(placement, 2), ['0,3', '1,2']);
});

test('no rank gets a second copy while there is another rank with room', () => {
  const hotness = hotnessOf(steps([100, 1, 1]), 0, 3);
  assert.deepEqual(rankSets(deploy(hotness, Int32Array.of(3, 2, 1), 6, 3), 3), ['0,2', '0,1', '0,1']);
  // Here there is none: the second copy still gets a slot.
  assert.deepEqual(rankSets(deploy(hotness, Int32Array.of(2, 1, 1), 4, 1), 1), ['0,0,1,2']);
});

test('copies are at most the ranks, and fill all slots', () => {
  const most = (copies: Int32Array) => -copies[0]!;
  assert.deepEqual([...findCopies(Float64Array.of(90, 5, 4, 1), 8, 2, most)], [2, 2, 2, 2]);
  assert.deepEqual([...findCopies(Float64Array.of(90, 5, 4, 1), 6, 3, most)], [3, 1, 1, 1]);
  assert.deepEqual([...findCopies(Float64Array.of(7), 3, 3, most)], [3]);
});

test('of the ways to hand out copies the one that scores best is taken', () => {
  // The largest risk a copy gives both spare copies to expert 0; the score wants another one.
  const copies = findCopies(Float64Array.of(90, 10, 10, 10), 6, 3, ([first]) => Math.abs(first! - 2));
  assert.deepEqual([...copies], [2, 2, 1, 1]);
});

test('a small layer is placed as by hand', () => {
  // 40 and 20 in two copies each: 20 + 10 + 10 on both ranks.
  const mapping = new FlashLb().plan(steps([40, 20, 10, 10]), starting(6, 4), 2);
  assert.deepEqual(rankSets(mapping.phyToLog, 2).sort(), ['0,1,2', '0,1,3']);
});

test('ranks are matched with the live ones so that the fewest slots move', () => {
  const live = Int32Array.of(0, 1, 2, 3, 4, 5);
  assert.deepEqual([...matchRanks(live, Int32Array.of(5, 4, 2, 0, 3, 2), 3)], [2, 0, 3, 2, 5, 4]);
});

test('a layer stays while it is as good as promised, and is placed anew when it is not', () => {
  const peer = new FlashLb();
  const first = peer.plan(steps([40, 20, 10, 10]), starting(6, 4), 2);
  assert.equal(peer.plan(steps([40, 20, 10, 10]), first, 2), first);
  // 0.96 of what was promised.
  assert.equal(peer.plan(steps([40, 20, 12, 9]), first, 2), first);
  const next = peer.plan(steps([10, 10, 20, 40]), first, 2);
  assert.deepEqual(rankSets(next.phyToLog, 2).sort(), ['0,2,3', '1,2,3']);
});

test('plans are valid, the same again, better on the window, and matched by any exchange of ranks', () => {
  const random = new Random(3, 'flashlb');
  for (let trial = 0; trial < 30; trial++) {
    const numRanks = 1 + random.below(5);
    const slotsPerRank = 1 + random.below(4);
    const numSlots = numRanks * slotsPerRank;
    const numExperts = slotsPerRank + random.below(numSlots - slotsPerRank + 1);
    const window = Array.from({ length: 1 + random.below(6) }, () =>
      Float32Array.from({ length: 2 * numExperts }, () => random.below(5) ** 3),
    );
    const live = starting(numSlots, numExperts, 2);
    // That every expert has a slot is checked where mappings are made.
    const planned = new FlashLb().plan(window, live, numRanks);
    assert.ok(new FlashLb().plan(window, live, numRanks).equals(planned));
    for (let layer = 0; layer < 2; layer++) {
      const [before, after] = [live, planned].map((mapping) =>
        mapping.phyToLog.subarray(layer * numSlots, (layer + 1) * numSlots),
      );
      const hotness = hotnessOf(window, layer, numExperts);
      const [peakBefore, peakAfter] = [before!, after!].map((row) =>
        meanPeak(hotness, row, numSlots, numRanks),
      );
      if (before!.join() === after!.join()) continue;
      assert.ok(peakAfter! < peakBefore!);
      const moves = permutations(numRanks).map((order) => movesWith(order, before!, after!, slotsPerRank));
      const identity = movesWith([...Array(numRanks).keys()], before!, after!, slotsPerRank);
      assert.equal(identity, Math.min(...moves));
    }
  }
});

/** Slots whose expert was not on the rank that gets them. */
function movesWith(order: readonly number[], before: Int32Array, after: Int32Array, size: number): number {
  return order.reduce((moves, from, rank) => {
    const held = before.subarray(rank * size, (rank + 1) * size);
    const given = after.subarray(from * size, (from + 1) * size);
    return moves + given.filter((expert) => !held.includes(expert)).length;
  }, 0);
}
