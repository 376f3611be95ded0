import assert from 'node:assert/strict';
import { test } from 'node:test';
import { costModel, ExpertMapping, layerCosts, loadTraffic, slotLoads } from 'expert-load-balancer';
import fc from 'fast-check';
import { seededRandom } from '../helpers/arbitraries.ts';
import { dispatchOptions, dispatchProblems } from '../helpers/dispatch.ts';
import { refusal, SEED } from '../helpers/library.ts';

const cost = costModel({
  slotSeconds: { floor: 4, perToken: 0.5 },
  fixedSeconds: 3,
  dispatchBytesPerToken: 2,
  combineBytesPerToken: 4,
  links: {
    intraNode: { latencySeconds: 1, bytesPerSecond: 60 },
    interNode: { latencySeconds: 2, bytesPerSecond: 20 },
    slow: { latencySeconds: 5, bytesPerSecond: 3 },
  },
});

test('a rank takes its slots, and each token the link that it comes over', () => {
  fc.assert(
    fc.property(dispatchProblems, fc.boolean(), (problem, hasClasses) => {
      const { rows, numRanks, numExperts, nodeOf, deadRanks, random, dispatch } = problem;
      const { numRanks: _, ...ranks } = dispatchOptions(problem);
      const linkClasses = Array.from({ length: numRanks }, (_, a) =>
        Array.from({ length: numRanks }, (_, b) => ((a + b) % 3 === 0 ? 'slow' : 'intraNode')),
      );
      const classes = hasClasses ? { linkClasses } : {};
      // One layer at a time: the time of a layer is that of its own tokens.
      for (const row of rows) {
        const loads = [Array.from({ length: numExperts }, () => Math.floor(random() * 9))];
        const mapping = ExpertMapping.fromPhysicalToLogical([row], numExperts);
        const [layer] = layerCosts(loads, mapping, numRanks, cost, {
          exchange: 'even',
          ...ranks,
          ...classes,
        });
        const { slots, ranks: got } = slotLoads(loads, mapping, { numRanks, ...ranks });
        const { tokens } = loadTraffic(loads, mapping, { numRanks, ...ranks });
        const classOf = (a: number, b: number) =>
          hasClasses ? linkClasses[a]![b]! : nodeOf[a] === nodeOf[b] ? 'intraNode' : 'interNode';
        const live = nodeOf.flatMap((_, rank) => (deadRanks.includes(rank) ? [] : [rank]));
        const pairs = live.flatMap((a) => live.flatMap((b) => (a === b ? [] : [cost.link(classOf(a, b))])));
        const latency = 2 * Math.max(0, ...pairs.map(({ latencySeconds }) => latencySeconds));
        const perRank = row.length / numRanks;
        const seconds = live.map((rank) => {
          const own = Array.from(slots.subarray(rank * perRank, (rank + 1) * perRank), (load, i) =>
            row[rank * perRank + i]! < 0 ? 0 : cost.slotSeconds(load),
          );
          const links = live.map((from) =>
            from === rank
              ? 0
              : (tokens[from * numRanks + rank]! * 6) / cost.link(classOf(from, rank)).bytesPerSecond,
          );
          return 3 + (got[rank] === 0 ? 0 : latency) + [...own, ...links].reduce((sum, x) => sum + x, 0);
        });
        const slowest = Math.max(...seconds);
        assert.ok(Math.abs(layer!.seconds - slowest) < 1e-9 * slowest, `${layer!.seconds}, not ${slowest}`);
        const { fixedSeconds, activeSeconds, tokenSeconds } = layer!.slowest;
        const parts = fixedSeconds + activeSeconds + tokenSeconds;
        assert.ok(Math.abs(parts - slowest) < 1e-9 * slowest, `${dispatch}: ${parts} of ${slowest}`);
        assert.ok(layer!.secondsAtBalance <= layer!.seconds);
        const alone = layerCosts(loads, mapping, numRanks, cost, ranks)[0]!.seconds;
        assert.ok(alone <= layer!.seconds);
      }
    }),
    { numRuns: 150, seed: SEED },
  );
});

test('tokens that have a copy on their rank take no link', () => {
  const everywhere = ExpertMapping.fromPhysicalToLogical([[0, 0, 0, 0]]);
  const [even, nearest] = (['even', 'nearest'] as const).map((dispatch) => {
    const options = { exchange: 'even', numNodes: 2, dispatch } as const;
    return layerCosts([[40]], everywhere, 4, cost, options)[0]!;
  });
  assert.equal(nearest!.seconds, 3 + 5 + 4);
  assert.equal(nearest!.secondsAtBalance, nearest!.seconds);
  assert.ok(even!.seconds > nearest!.seconds);
});

test('a dispatch that there is not is refused', () => {
  const mapping = ExpertMapping.fromPhysicalToLogical([[0]]);
  const far = () => layerCosts([[1]], mapping, 1, cost, { dispatch: 'far' as 'even' });
  assert.throws(far, refusal('range', 'EPLB_RANGE', /dispatch: "far"/));
});

test('no placement of as many slots beats perfect balance, which has tokens on links too', () => {
  const sizes = { numRanks: 4, numSlots: 8, numExperts: 5 };
  let bound = 0;
  let fastest = Number.POSITIVE_INFINITY;
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 4 }), { minLength: 3, maxLength: 3 }), fc.nat(), (more, seed) => {
      const random = seededRandom(seed);
      const row = [0, 1, 2, 3, 4, ...more].sort(() => random() - 0.5);
      const loads = [[40, 9, 7, 5, 3]];
      const mapping = ExpertMapping.fromPhysicalToLogical([row], sizes.numExperts);
      const options = { exchange: 'even', numNodes: 2, dispatch: 'nearest' } as const;
      const [layer] = layerCosts(loads, mapping, sizes.numRanks, cost, options);
      const alone = layerCosts(loads, mapping, sizes.numRanks, cost, {
        numNodes: 2,
        dispatch: 'nearest',
      })[0]!;
      // Latency, and links that three redundant copies cannot spare.
      assert.ok(layer!.secondsAtBalance > alone.secondsAtBalance + 4);
      bound = Math.max(bound, layer!.secondsAtBalance);
      fastest = Math.min(fastest, layer!.seconds);
    }),
    { numRuns: 300, seed: SEED },
  );
  // It is the same for all placements, but for those that would be faster.
  assert.ok(bound <= fastest && fastest < 1.3 * bound, `the fastest takes ${fastest}, at balance ${bound}`);
});
