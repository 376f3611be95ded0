import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AdaptiveEplbPolicy, ExpertLoadBalancer } from '../../src/index.ts';
import { assignColumns } from '../../src/policy/adaptive/assignment.ts';
import { matchRanks } from '../../src/policy/adaptive/match-ranks.ts';
import { seededRandom } from '../helpers/arbitraries.ts';

const SEED = Number(process.env.FAST_CHECK_SEED ?? 20_261_128);

function ranksOf(table: Int32Array, numRanks: number): number[][] {
  const slots = table.length / numRanks;
  return Array.from({ length: numRanks }, (_, rank) => [...table.subarray(rank * slots, (rank + 1) * slots)]);
}

/** Slots of a rank whose expert another has. */
function numShared(rank: readonly number[], other: readonly number[]): number {
  return rank.filter((expert) => expert >= 0 && other.includes(expert)).length;
}

test('ranks change places within their part, so that at least half as much stays as can', () => {
  const sizes = fc.record({
    seed: fc.integer(),
    numParts: fc.integer({ min: 1, max: 4 }),
    ranksOfAPart: fc.integer({ min: 1, max: 8 }),
    slots: fc.integer({ min: 1, max: 5 }),
  });
  const property = (drawn: { seed: number; numParts: number; ranksOfAPart: number; slots: number }): void => {
    const { seed, numParts, ranksOfAPart, slots } = drawn;
    const random = seededRandom(seed);
    const numRanks = numParts * ranksOfAPart;
    const length = numRanks * slots;
    const numLogicalExperts = 1 + Math.floor(random() * length);
    const draw = () =>
      Int32Array.from({ length }, () => (random() < 0.05 ? -1 : Math.floor(random() * numLogicalExperts)));
    const [live, planned] = [draw(), draw()];
    const [before, old] = [ranksOf(live, numRanks), ranksOf(planned, numRanks)];
    const topology = {
      ...{ numLayers: 1, numLogicalExperts, numPhysicalExperts: length, numRanks, numNodes: 1, numGroups: 1 },
    };
    matchRanks(topology, numParts, live, planned);
    const now = ranksOf(planned, numRanks);
    for (let first = 0; first < numRanks; first += ranksOfAPart) {
      const part = (ranks: number[][]) => ranks.slice(first, first + ranksOfAPart);
      const texts = (ranks: number[][]) => part(ranks).map(String).toSorted();
      assert.deepEqual(texts(now), texts(old));
      const worth = part(old).flatMap((rank) => part(before).map((other) => numShared(rank, other)));
      const columns = assignColumns(Float64Array.from(worth), ranksOfAPart);
      const most = columns.reduce((sum, column, row) => sum + worth[row * ranksOfAPart + column]!, 0);
      const stays = part(now).reduce((sum, rank, i) => sum + numShared(rank, part(before)[i]!), 0);
      assert.ok(2 * stays >= most, `${stays} stay of ${most}`);
    }
  };
  fc.assert(fc.property(sizes, property), { numRuns: 300, seed: SEED });
});

test('ranks that have only changed places go back to them', () => {
  const [numRanks, slots] = [600, 4];
  const length = numRanks * slots;
  const live = Int32Array.from({ length }, (_, slot) => slot);
  const planned = Int32Array.from({ length }, (_, slot) => (slot + 37 * slots) % length);
  const topology = {
    ...{ numLayers: 1, numLogicalExperts: length, numPhysicalExperts: length, numRanks, numNodes: 1 },
    numGroups: 1,
  };
  matchRanks(topology, 1, live, planned);
  assert.deepEqual(planned, live);
});

test('a first plan leaves experts where they are that are as good there', async () => {
  const [numLogicalExperts, numRanks] = [64, 16];
  const balancer = new ExpertLoadBalancer({
    ...{ numLayers: 1, numLogicalExperts, numPhysicalExperts: numLogicalExperts, numRanks },
    ...{ threads: 0, policy: new AdaptiveEplbPolicy() },
  });
  const random = seededRandom(SEED);
  const loads = Float32Array.from({ length: numLogicalExperts }, () => 1000 * (1 + random()));
  balancer.recordLogicalLoad(0, loads);
  balancer.advanceWindow();
  const before = balancer.mapping;
  const decision = await balancer.decide();
  assert.equal(decision.status, 'planned');
  const moves = decision.mapping.movesFrom(before, numRanks);
  // Dealt anew a slot keeps its expert on its rank once in sixteen times.
  assert.ok(moves < 0.75 * numLogicalExperts, `${moves} moves`);
  await balancer.close();
});
