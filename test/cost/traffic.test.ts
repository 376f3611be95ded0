import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExpertMapping, loadTraffic, type RouteTrafficOptions, routeTraffic } from 'expert-load-balancer';
import fc from 'fast-check';
import { dispatchOptions, dispatchProblems } from '../helpers/dispatch.ts';
import { refusal, SEED } from '../helpers/library.ts';
import { tokensOfLoads, tokensOfRoutes } from '../oracle/traffic.ts';

function assertClose(found: Float64Array, expected: number[][]): void {
  assert.equal(found.length, expected.flat().length);
  for (const [i, value] of expected.flat().entries())
    assert.ok(Math.abs(found[i]! - value) < 1e-9 * (1 + value), `pair ${i}: ${found[i]}, not ${value}`);
}

test('the traffic of loads equals the oracle, by source rank and from all alike', () => {
  fc.assert(
    fc.property(dispatchProblems, (problem) => {
      const { rows, numRanks, numExperts, mapping, random, deadRanks } = problem;
      const ofExpert = () => Math.floor(random() * 3) * 64;
      const loads = rows.map(() =>
        Array.from({ length: numRanks }, () => Array.from({ length: numExperts }, ofExpert)),
      );
      const data = Float32Array.from(loads.flat(2));
      const sizes = { numLayers: rows.length, numRanks, numExperts };
      const traffic = loadTraffic({ data, ...sizes }, mapping, dispatchOptions(problem));
      assertClose(traffic.tokens, tokensOfLoads(problem, loads));
      assert.equal(traffic.sources, 'given');
      const sums = loads.map((ranks) =>
        ranks[0]!.map((_, e) => ranks.reduce((sum, row) => sum + row[e]!, 0)),
      );
      const uniform = loadTraffic(sums, mapping, dispatchOptions(problem));
      const numLive = numRanks - deadRanks.length;
      const even = sums.map((row) =>
        Array.from({ length: numRanks }, (_, rank) =>
          row.map((load) => (deadRanks.includes(rank) ? 0 : load / numLive)),
        ),
      );
      assertClose(uniform.tokens, tokensOfLoads(problem, even));
      assert.equal(uniform.sources, 'uniform');
    }),
    { numRuns: 200, seed: SEED },
  );
});

test('the traffic of routes equals the oracle, with sources and without', () => {
  fc.assert(
    fc.property(dispatchProblems, fc.integer({ min: 1, max: 3 }), fc.boolean(), (problem, most, isGiven) => {
      const { rows, numRanks, numExperts, mapping, random, deadRanks } = problem;
      const numTokens = 3;
      const topK = Math.min(most, numExperts);
      const any = () => Array.from({ length: numExperts }, (_, e) => e).sort(() => random() - 0.5);
      const routes = Array.from({ length: numTokens }, () => rows.map(() => any().slice(0, topK)));
      const ranks = Array.from({ length: numTokens }, () => Math.floor(random() * numRanks));
      const live = Array.from({ length: numRanks }, (_, rank) => rank).filter((r) => !deadRanks.includes(r));
      const everywhere = live.map((rank) => ({ rank, share: 1 / live.length }));
      const sources = ranks.map((rank) => (isGiven ? [{ rank, share: 1 }] : everywhere));
      const options: RouteTrafficOptions = { ...dispatchOptions(problem), numTokens, topK };
      const given = isGiven ? { ...options, sourceRanks: ranks } : options;
      const traffic = routeTraffic(Uint16Array.from(routes.flat(2)), mapping, given);
      assertClose(traffic.tokens, tokensOfRoutes(problem, routes, sources));
      assert.equal(traffic.sources, isGiven ? 'given' : 'uniform');
    }),
    { numRuns: 150, seed: SEED },
  );
});

test('nothing is lost between links, and what is nearest never leaves for further away', () => {
  fc.assert(
    fc.property(dispatchProblems, (problem) => {
      const { numExperts, mapping, rows } = problem;
      const loads = rows.map(() => Array.from({ length: numExperts }, (_, expert) => 1 + expert));
      const options = { ...dispatchOptions(problem), bytesPerToken: 3 };
      const [even, nearest] = (['even', 'nearest'] as const).map((dispatch) =>
        loadTraffic(loads, mapping, { ...options, dispatch }),
      );
      const total = loads.flat().reduce((sum, load) => sum + load, 0);
      for (const { links, localTokens, tokens, bytes } of [even!, nearest!]) {
        const sent = links.reduce((sum, link) => sum + link.tokens, 0);
        assert.ok(Math.abs(sent + localTokens - total) < 1e-9 * total);
        assert.ok(Math.abs(tokens.reduce((sum, pair) => sum + pair, 0) - total) < 1e-9 * total);
        assert.ok(Math.abs(bytes.reduce((sum, pair) => sum + pair, 0) - 3 * sent) < 1e-9 * total);
        for (const link of links) {
          assert.equal(link.bytes, 3 * link.tokens);
          assert.ok(link.busiestTokens * link.numPairs >= link.tokens * (1 - 1e-12));
        }
      }
      const between = (traffic: typeof even) =>
        traffic!.links.find(({ linkClass }) => linkClass === 'interNode')?.tokens ?? 0;
      assert.ok(nearest!.localTokens >= even!.localTokens * (1 - 1e-12));
      assert.ok(between(nearest) <= between(even) * (1 + 1e-12));
    }),
    { numRuns: 100, seed: SEED },
  );
});

const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3]]);

test('links have the classes that they are given', () => {
  const near = loadTraffic([[4, 4, 4, 4]], mapping, { numRanks: 4, numNodes: 2 });
  assert.deepEqual(near.links, [
    {
      ...{ linkClass: 'intraNode', tokens: 4, numPairs: 4, bytes: 4 },
      ...{ busiestTokens: 1, busiestPair: [0, 1], peakToAverage: 1 },
    },
    {
      ...{ linkClass: 'interNode', tokens: 8, numPairs: 8, bytes: 8 },
      ...{ busiestTokens: 1, busiestPair: [0, 2], peakToAverage: 1 },
    },
  ]);
  assert.equal(near.localTokens, 4);
  const linkClasses = Array.from({ length: 4 }, (_, a) =>
    Array.from({ length: 4 }, (_, b) => (a === 0 || b === 0 ? 'slow' : 'fast')),
  );
  const named = loadTraffic([[8, 0, 0, 0]], mapping, { numRanks: 4, linkClasses });
  assert.deepEqual(
    named.links.map(({ linkClass, tokens }) => [linkClass, tokens]),
    [
      ['slow', 6],
      ['fast', 0],
    ],
  );
  // Of the six pairs that rank 0 is of, three send to it: its expert is all that has tokens.
  assert.equal(named.links[0]!.peakToAverage, 2);
  assert.deepEqual(named.links[0]!.busiestPair, [1, 0]);
  assert.equal(named.links[1]!.peakToAverage, 1);
});

test('a rank gets a token once, however many of its experts it has', () => {
  const two = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3]]);
  const options = { numRanks: 2, numTokens: 1, topK: 2, sourceRanks: [0] };
  const { tokens } = routeTraffic(Uint8Array.of(2, 3), two, options);
  assert.deepEqual(Array.from(tokens), [0, 1, 0, 0]);
});

test('what does not fit is refused by name', () => {
  const routes = (ids: unknown, options: object) => () =>
    routeTraffic(ids as Uint8Array, mapping, { numRanks: 4, numTokens: 1, topK: 2, ...options });
  const ids = Uint8Array.of(0, 1);
  assert.throws(routes([0, 1], {}), refusal('type', 'EPLB_KIND', /routes/));
  assert.throws(routes(ids, { topK: 3 }), refusal('range', 'EPLB_SHAPE', /routes/));
  assert.throws(routes(Uint8Array.of(0, 4), {}), refusal('range', 'EPLB_RANGE', /token 0, layer 0: 4/));
  assert.throws(routes(ids, { sourceRanks: [4] }), refusal('range', 'EPLB_RANGE', /sourceRanks\[0\]/));
  assert.throws(routes(ids, { sourceRanks: [] }), refusal('range', 'EPLB_SHAPE', /sourceRanks/));
  assert.throws(routes(ids, { sourceRanks: 1 }), refusal('type', 'EPLB_KIND', /sourceRanks/));
  assert.throws(routes(ids, { dispatch: 'far' }), refusal('range', 'EPLB_RANGE', /dispatch: "far"/));
  assert.throws(routes(ids, { numRanks: 3 }), refusal('range', 'EPLB_TOPOLOGY', /numRanks/));
  assert.throws(routes(ids, { numTokenz: 3 }), refusal('type', 'EPLB_OPTION', /numTokenz/));
  const loads = (given: unknown) => () => loadTraffic(given as number[][], mapping, { numRanks: 4 });
  const sizes = { numLayers: 1, numRanks: 4, numExperts: 4 };
  assert.throws(loads({ ...sizes, data: new Float32Array(4) }), refusal('range', 'EPLB_SHAPE', /loads/));
  assert.throws(loads({ ...sizes, data: [1] }), refusal('type', 'EPLB_KIND', /loads.data/));
  const bad = new Float32Array(16).fill(-1);
  assert.throws(loads({ ...sizes, data: bad }), refusal('range', 'EPLB_LOAD', /layer 0, index 0: -1/));
  assert.throws(loads([[1, 2, 3]]), refusal('range', 'EPLB_SHAPE', /loads/));
});
