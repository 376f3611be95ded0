import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExpertMapping, layerBalances, loadTraffic, slotLoads } from 'expert-load-balancer';
import fc from 'fast-check';
import { dispatchOptions, dispatchProblems, type MappedProblem } from '../helpers/dispatch.ts';
import { refusal, SEED } from '../helpers/library.ts';
import { dispatchTokens } from '../oracle/dispatch.ts';

/** Of so many tokens each of up to ten copies gets a whole number, and of more one more or less. */
const WHOLE = 2520;

/** @param within - tokens that each may differ by, as these come one by one */
function assertClose(found: Float64Array, expected: readonly number[], within = 1e-6): void {
  assert.equal(found.length, expected.length);
  for (const [i, value] of expected.entries())
    assert.ok(Math.abs(found[i]! - value) <= within, `${i}: ${found[i]}, not ${value}`);
}

function assertCloseTo(found: number, expected: number): void {
  assert.ok(Math.abs(found - expected) <= 1e-9 * (1 + expected), `${found}, not ${expected}`);
}

/** [layers][ranks][experts]: tokens on live ranks, of which every copy can get a whole number. */
function tokensOf({ rows, numRanks, numExperts, deadRanks, random }: MappedProblem): number[][][] {
  const ofExpert = () => Math.floor(random() * 3) * WHOLE;
  return rows.map(() =>
    Array.from({ length: numRanks }, (_, rank) =>
      Array.from({ length: numExperts }, () => (deadRanks.includes(rank) ? 0 : ofExpert())),
    ),
  );
}

test('slots and ranks get what they get token by token, from given sources and from all alike', () => {
  fc.assert(
    fc.property(dispatchProblems, (problem) => {
      const { rows, numRanks, numExperts, mapping, deadRanks } = problem;
      const perRank = rows[0]!.length / numRanks;
      const options = dispatchOptions(problem);
      const tokens = tokensOf(problem);
      const sizes = { numLayers: rows.length, numRanks, numExperts };
      const given = slotLoads({ data: Float32Array.from(tokens.flat(2)), ...sizes }, mapping, options);
      const slots = tokens.flatMap((layer, at) => dispatchTokens(problem, at, layer));
      assertClose(given.slots, slots, numRanks);
      assert.equal(given.sources, 'given');
      const ranks = Array.from({ length: slots.length / perRank }, (_, rank) =>
        slots.slice(rank * perRank, (rank + 1) * perRank).reduce((sum, load) => sum + load, 0),
      );
      assertClose(given.ranks, ranks, numRanks * perRank);
      const numLive = numRanks - deadRanks.length;
      const alike = tokens.map((layer) =>
        layer.map((_, rank) => layer[0]!.map((_, e) => (deadRanks.includes(rank) ? 0 : WHOLE * (e % 3)))),
      );
      const sums = alike.map((layer) => layer[0]!.map((load) => load * numLive));
      const uniform = slotLoads(sums, mapping, options);
      assertClose(
        uniform.slots,
        alike.flatMap((layer, at) => dispatchTokens(problem, at, layer)),
        numRanks,
      );
      assert.equal(uniform.sources, 'uniform');
    }),
    { numRuns: 200, seed: SEED },
  );
});

test('balances are those of the loads of ranks, and traffic brings as many to each rank', () => {
  fc.assert(
    fc.property(dispatchProblems, (problem) => {
      const { rows, numRanks, numExperts, mapping, deadRanks, random } = problem;
      const { numRanks: _, ...ranks } = dispatchOptions(problem);
      const loads = rows.map(() => Array.from({ length: numExperts }, () => Math.floor(random() * 50)));
      const found = slotLoads(loads, mapping, { numRanks, ...ranks });
      const traffic = loadTraffic(loads, mapping, { numRanks, ...ranks });
      for (let rank = 0; rank < numRanks; rank++) {
        const sent = traffic.tokens.filter((_, pair) => pair % numRanks === rank);
        const got = found.ranks.filter((_, at) => at % numRanks === rank);
        assertCloseTo(
          sent.reduce((sum, load) => sum + load, 0),
          got.reduce((sum, load) => sum + load, 0),
        );
      }
      layerBalances(loads, mapping, numRanks, ranks).forEach(({ maxRankLoad, meanRankLoad }, layer) => {
        // What dead ranks still hold is lost.
        const all = found.ranks.subarray(layer * numRanks, (layer + 1) * numRanks);
        const own = all.filter((_, rank) => !deadRanks.includes(rank));
        assertCloseTo(maxRankLoad, Math.max(...own));
        const total = own.reduce((sum, load) => sum + load, 0);
        assertCloseTo(meanRankLoad, total / own.length);
      });
    }),
    { numRuns: 100, seed: SEED },
  );
});

test('one node, or as many copies on each node, shares tokens as even dispatch does', () => {
  const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 0, 2, 0, 3, 0, 4]]);
  const loads = [[80, 1, 2, 3, 4]];
  for (const numNodes of [1, 2, 4]) {
    const { slots } = slotLoads(loads, mapping, { numRanks: 4, numNodes, dispatch: 'nearest' });
    assertClose(slots, Array.from(slotLoads(loads, mapping, { numRanks: 4 }).slots));
  }
});

test('a node with fewer copies takes all of its tokens with them', () => {
  const mapping = ExpertMapping.fromPhysicalToLogical([[0, 0, 0, 1]]);
  const ranks = { numNodes: 2, dispatch: 'nearest' as const };
  const { slots, sources } = slotLoads([[12, 4]], mapping, { numRanks: 4, ...ranks });
  assert.deepEqual(Array.from(slots), [3, 3, 6, 4]);
  assert.equal(sources, 'uniform');
  const [layer] = layerBalances([[12, 4]], mapping, 4, ranks);
  assert.deepEqual(layer, { maxRankLoad: 6, meanRankLoad: 4, minRankLoad: 3 });
});

test('what does not fit is refused by name', () => {
  const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1]]);
  const loads = (given: unknown, options: object) => () =>
    slotLoads(given as number[][], mapping, { numRanks: 2, ...options });
  assert.throws(loads([[1]], {}), refusal('range', 'EPLB_SHAPE', /loads/));
  assert.throws(loads([[1, -1]], {}), refusal('range', 'EPLB_LOAD', /layer 0/));
  assert.throws(loads([[1, 1]], { dispatch: 'far' }), refusal('range', 'EPLB_RANGE', /dispatch: "far"/));
  assert.throws(loads([[1, 1]], { numRanks: 3 }), refusal('range', 'EPLB_TOPOLOGY', /numRanks/));
  assert.throws(loads([[1, 1]], { numNodes: 3 }), refusal('range', 'EPLB_TOPOLOGY', /numNodes/));
  assert.throws(loads([[1, 1]], { deadRanks: [0, 1] }), refusal('range', 'EPLB_TOPOLOGY', /deadRanks/));
  assert.throws(loads([[1, 1]], { dispatsh: 'even' }), refusal('type', 'EPLB_OPTION', /dispatsh/));
  const bad = { data: new Float32Array(4).fill(Number.NaN), numLayers: 1, numRanks: 2, numExperts: 2 };
  assert.throws(loads(bad, {}), refusal('range', 'EPLB_LOAD', /layer 0, index 0/));
  assert.throws(loads({ ...bad, numRanks: 1 }, {}), refusal('range', 'EPLB_SHAPE', /loads/));
  const balance = () => layerBalances([[1, 1]], mapping, 2, { dispatch: 'far' as 'even' });
  assert.throws(balance, refusal('range', 'EPLB_RANGE', /dispatch/));
});
