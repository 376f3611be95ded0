import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { assignColumns } from '../../src/policy/adaptive/assignment.ts';
import { areInterchangeable, relabel } from '../../src/policy/adaptive/relabel.ts';
import { seededRandom } from '../helpers/arbitraries.ts';

const SEED = Number(process.env.FAST_CHECK_SEED ?? 20_261_128);

/** All orders of so many things. */
function orders(n: number): number[][] {
  if (n === 0) return [[]];
  return orders(n - 1).flatMap((order) =>
    Array.from({ length: n }, (_, at) => [...order.slice(0, at), n - 1, ...order.slice(at)]),
  );
}

function most(n: number, worth: (row: number, column: number) => number): number {
  return Math.max(
    ...orders(n).map((order) => order.reduce((sum, column, row) => sum + worth(row, column), 0)),
  );
}

test('rows get columns of their own that are worth most together', () => {
  const matrices = fc.integer({ min: 1, max: 6 }).chain((n) =>
    fc.record({
      n: fc.constant(n),
      worth: fc.array(fc.integer({ min: -9, max: 9 }), { minLength: n * n, maxLength: n * n }),
    }),
  );
  const property = ({ n, worth }: { n: number; worth: number[] }): void => {
    const columns = [...assignColumns(Float64Array.from(worth), n)];
    assert.deepEqual(
      columns.toSorted((a, b) => a - b),
      columns.map((_, column) => column),
    );
    const sum = columns.reduce((total, column, row) => total + worth[row * n + column]!, 0);
    assert.equal(
      sum,
      most(n, (row, column) => worth[row * n + column]!),
    );
  };
  fc.assert(fc.property(matrices, property), { numRuns: 300, seed: SEED });
});

test('of equal pairs each row gets its own column', () => {
  const n = 40;
  const worth = Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 2 : 1));
  assert.deepEqual(
    [...assignColumns(worth, n)],
    Array.from({ length: n }, (_, row) => row),
  );
});

test('nodes, and ranks within them, change places so that most stays', () => {
  const sizes = fc.record({
    seed: fc.integer(),
    numNodes: fc.integer({ min: 1, max: 5 }),
    perNode: fc.integer({ min: 1, max: 4 }),
    slots: fc.integer({ min: 1, max: 4 }),
  });
  const property = (drawn: { seed: number; numNodes: number; perNode: number; slots: number }): void => {
    const { seed, numNodes, perNode, slots } = drawn;
    const random = seededRandom(seed);
    const numRanks = numNodes * perNode;
    const length = numRanks * slots;
    const numLogicalExperts = 1 + Math.floor(random() * length);
    const draw = () =>
      Int32Array.from({ length }, () => (random() < 0.05 ? -1 : Math.floor(random() * numLogicalExperts)));
    const [live, planned] = [draw(), draw()];
    const old = planned.slice();
    const topology = {
      ...{ numLayers: 1, numLogicalExperts, numPhysicalExperts: length, numRanks, numNodes, numGroups: 1 },
    };
    relabel(topology, live, planned);
    const rows = (table: Int32Array, n: number) =>
      Array.from({ length: n }, (_, i) => {
        const size = table.length / n;
        return [...table.subarray(i * size, (i + 1) * size)];
      });
    const shared = (a: number[], b: number[]) =>
      a.filter((expert) => expert >= 0 && b.includes(expert)).length;
    const [nodesBefore, nodesOld, nodesNow] = [live, old, planned].map((table) => rows(table, numNodes));
    // As many slots as in any order of the nodes have an expert of their node.
    const kept = nodesNow!.reduce((sum, node, i) => sum + shared(node, nodesBefore![i]!), 0);
    const best = most(numNodes, (from, to) => shared(nodesOld![from]!, nodesBefore![to]!));
    assert.equal(kept, best);
    // And as many as in any order of the ranks of each node one of their rank.
    const [ranksBefore, ranksNow] = [live, planned].map((table) => rows(table, numRanks));
    for (let first = 0; first < numRanks; first += perNode) {
      const here = (from: number, to: number) => shared(ranksNow![first + from]!, ranksBefore![first + to]!);
      const stays = Array.from({ length: perNode }, (_, i) => here(i, i)).reduce((a, b) => a + b, 0);
      assert.equal(stays, most(perNode, here));
    }
    // Nothing else has changed: the same ranks, in the same nodes.
    const asText = (table: Int32Array) =>
      rows(table, numNodes)
        .map((node) => rows(Int32Array.from(node), perNode).map(String).toSorted().join(' '))
        .toSorted();
    assert.deepEqual(asText(planned), asText(old));
  };
  fc.assert(fc.property(sizes, property), { numRuns: 200, seed: SEED });
});

test('ranks that are not alike keep their places', () => {
  const topology = {
    ...{ numLayers: 1, numLogicalExperts: 8, numPhysicalExperts: 12, numRanks: 4, numNodes: 2, numGroups: 1 },
  };
  assert.ok(areInterchangeable(topology, undefined));
  assert.ok(areInterchangeable({ ...topology, slotsPerRank: [2, 2, 2, 2] }, 'node'));
  for (const [other, survive] of [
    [{ slotsPerRank: [3, 3, 3, 2] }],
    [{ rankSpeed: [1, 1, 1, 0.5] }],
    [{ nodeOfRank: [0, 1, 1, 1] }],
    [{ rules: { pinned: [{ experts: [0], ranks: [1] }] } }],
    [{ failureDomains: { rack: [0, 0, 0, 1] } }, 'rack'],
  ] as const)
    assert.ok(!areInterchangeable({ ...topology, ...other }, survive), JSON.stringify(other));
});
