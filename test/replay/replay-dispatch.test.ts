import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  AbstractEplbPolicy,
  balancedness,
  costModel,
  ExpertMapping,
  layerBalances,
  layerCosts,
  loadTraffic,
  routeTraffic,
  summarizeBalance,
} from 'expert-load-balancer';
import { type ReplaySource, replay, resized, type TrafficFigures } from 'expert-load-balancer/replay';
import fc from 'fast-check';
import { dispatchOptions, dispatchProblems, type MappedProblem } from '../helpers/dispatch.ts';
import { refusal, SEED } from '../helpers/library.ts';
import { memoryRecording } from '../helpers/memory-recording.ts';

const cost = costModel({
  slotSeconds: { floor: 4, perToken: 0.5 },
  dispatchBytesPerToken: 2,
  combineBytesPerToken: 4,
  links: {
    intraNode: { latencySeconds: 1, bytesPerSecond: 60 },
    interNode: { latencySeconds: 2, bytesPerSecond: 20 },
  },
});

/** Puts what it was made with. */
class FixedPolicy extends AbstractEplbPolicy {
  readonly name: string = 'fixed';
  readonly #mapping: ExpertMapping;

  constructor(mapping: ExpertMapping) {
    super();
    this.#mapping = mapping;
  }

  override rebalanceExperts(): ExpertMapping {
    return this.#mapping;
  }
}

/** Problems without dead ranks, whose empty slots a custom policy may fill. */
const problems = dispatchProblems.map((problem): MappedProblem => ({ ...problem, deadRanks: [] }));

function ranksOf(problem: MappedProblem) {
  const { deadRanks: _, ...ranks } = dispatchOptions(problem);
  return ranks;
}

function optionsOf(problem: MappedProblem) {
  const numPhysicalExperts = problem.rows[0]!.length;
  return { ...ranksOf(problem), numPhysicalExperts, cost, layersPerStep: 2, start: problem.mapping } as const;
}

function assertClose(found: number, expected: number): void {
  assert.ok(Math.abs(found - expected) <= 1e-6 * (1 + expected), `${found}, not ${expected}`);
}

/** Pairs [ranks][ranks] of steps / the steps. */
function assertPairs(figures: TrafficFigures, pairs: readonly Float64Array[], numSteps: number): void {
  figures.rankPairs!.flat().forEach((tokens, at) => {
    const sum = pairs.reduce((all, step) => all + step[at]!, 0) / numSteps;
    assert.ok(Math.abs(tokens - sum) <= 1e-4 * (1 + sum), `pair ${at}: ${tokens}, not ${sum}`);
  });
  const sent = figures.links.reduce((all, { tokens }) => all + tokens, 0);
  assertClose(sent + figures.localTokens, figures.tokens);
  for (const { bytes, tokens } of figures.links) assertClose(bytes!, 6 * tokens);
}

describe('a replay counts by the dispatch', () => {
  test('balance, time and traffic of each step are those of the mapping that is live in it', async () => {
    const property = fc.asyncProperty(problems, fc.integer({ min: 2, max: 5 }), async (problem, interval) => {
      const { rows, numExperts, numRanks, mapping, dispatch, random } = problem;
      const ranks = ranksOf(problem);
      const { numRanks: _, ...balanceRanks } = ranks;
      const steps = Array.from({ length: 6 }, () =>
        rows.map(() => Array.from({ length: numExperts }, () => Math.floor(random() * 20))),
      );
      const turned = rows.map((row) => [...row.slice(1), row[0]!]);
      const next = ExpertMapping.fromPhysicalToLogical(turned, numExperts);
      const result = await replay(memoryRecording(steps), {
        ...optionsOf(problem),
        policy: new FixedPolicy(next),
        planningSeconds: 0,
        trigger: { interval },
      });
      const live = (step: number) => (step < interval ? mapping : next);
      const traffic = steps.map((loads, step) => loadTraffic(loads, live(step), ranks).tokens);
      assertPairs(result.traffic!.live, traffic, 6);
      const before = steps.map((loads) => loadTraffic(loads, mapping, ranks).tokens);
      assertPairs(result.traffic!.unbalanced, before, 6);
      assert.equal(result.traffic!.countedFrom, 'loads');
      assert.equal(result.configuration.dispatch, dispatch === 'even' ? undefined : 'nearest');
      const balances = steps.flatMap((loads, step) =>
        layerBalances(loads, live(step), numRanks, balanceRanks),
      );
      const { balancednessRatioOfSums, balancednessMeanOfRatios } = summarizeBalance(balances);
      assertClose(result.balance.balancednessRatioOfSums, balancednessRatioOfSums);
      assertClose(result.balance.balancednessMeanOfRatios, balancednessMeanOfRatios);
      assertClose(
        balances.reduce((sum, layer) => sum + balancedness(layer), 0) / balances.length,
        balancednessMeanOfRatios,
      );
      const seconds = steps.map((loads, step) =>
        layerCosts(loads, live(step), numRanks, cost, { exchange: 'even', ...balanceRanks }).reduce(
          (sum, layer) => sum + layer.seconds,
          0,
        ),
      );
      assertClose(
        result.totals.stepSeconds,
        seconds.reduce((sum, one) => sum + one, 0),
      );
    });
    await fc.assert(property, { numRuns: 40, seed: SEED });
  });

  test('of routes a rank gets a token once, the tokens being on one rank after the other', async () => {
    const property = fc.asyncProperty(problems, fc.integer({ min: 1, max: 3 }), async (problem, most) => {
      const { rows, numExperts, numRanks, mapping, random } = problem;
      const numLayers = rows.length;
      const topK = Math.min(most, numExperts);
      const numTokens = 7;
      const tokensPerStep = 3;
      const any = () => Array.from({ length: numExperts }, (_, e) => e).sort(() => random() - 0.5);
      const tokens = Array.from({ length: numTokens }, () => rows.map(() => any().slice(0, topK)));
      const ids = Uint16Array.from(tokens.flat(2));
      const loads = Array.from({ length: 3 }, (_, step) =>
        rows.map((_, layer) =>
          Array.from(
            { length: numExperts },
            (_, e) =>
              tokens.slice(3 * step, 3 * step + 3).filter((token) => token[layer]!.includes(e)).length,
          ),
        ),
      );
      const recording: ReplaySource = {
        ...memoryRecording(loads),
        routes: {
          ...{ numTokens, topK, tokensPerStep },
          // In runs that end in the midst of steps.
          async *read({ from = 0, to = numTokens } = {}) {
            for (let first = from; first < to; first += 2) {
              const end = Math.min(first + 2, to);
              const run = ids.subarray(first * numLayers * topK, end * numLayers * topK);
              yield { firstToken: first, numTokens: end - first, ids: run };
            }
          },
        },
      };
      const options = { ...optionsOf(problem), policy: 'static' } as const;
      const { traffic } = await replay(recording, options);
      const ranks = ranksOf(problem);
      const sourceRanks = problem.dispatch === 'even' ? undefined : tokens.map((_, i) => i % numRanks);
      const all = routeTraffic(ids, mapping, {
        ...{ ...ranks, numTokens, topK },
        ...(sourceRanks && { sourceRanks }),
      });
      assertPairs(traffic!.live, [all.tokens], 3);
      assert.deepEqual(traffic!.unbalanced, traffic!.live);
      assert.equal(traffic!.countedFrom, 'routes');
      const part = await replay(recording, { ...options, steps: { from: 1, to: 2 } });
      const own = routeTraffic(ids.subarray(3 * numLayers * topK, 6 * numLayers * topK), mapping, {
        ...{ ...ranks, numTokens: 3, topK },
        ...(sourceRanks && { sourceRanks: [0, 1, 2].map((i) => i % numRanks) }),
      });
      assertPairs(part.traffic!.live, [own.tokens], 1);
      const twice = await replay(resized(recording, 2), options);
      assertClose(twice.traffic!.live.tokens, 2 * traffic!.live.tokens);
    });
    await fc.assert(property, { numRuns: 40, seed: SEED });
  });

  test('ranks that die take no tokens and send none from then on', async () => {
    const loads = Array.from({ length: 8 }, () => [[12, 6, 6, 12]]);
    const start = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0, 3, 1, 2, 3]]);
    const ranks = { numRanks: 4, numNodes: 2, dispatch: 'nearest' } as const;
    const { traffic, rankChanges, balance } = await replay(memoryRecording(loads), {
      ...{ ...ranks, numPhysicalExperts: 8, start, cost, policy: 'static' },
      events: [{ kind: 'fail', step: 4, ranks: [3] }],
    });
    const before = loadTraffic(loads[0]!, start, ranks).tokens;
    const pairs = traffic!.live.rankPairs!;
    for (let rank = 0; rank < 4; rank++) {
      assertClose(pairs[3]![rank]!, before[12 + rank]! / 2);
      assertClose(pairs[rank]![3]!, before[4 * rank + 3]! / 2);
    }
    assertClose(traffic!.live.tokens, 36);
    assert.equal(rankChanges!.length, 1);
    assert.ok(balance.balancednessRatioOfSums <= 1);
  });

  test('a dispatch that there is not is refused, and links without bytes say so', async () => {
    const recording = memoryRecording([[[1, 1]]]);
    const sizes = { numPhysicalExperts: 2, numRanks: 2, policy: 'static' } as const;
    const far = replay(recording, { ...sizes, dispatch: 'far' as 'even' });
    await assert.rejects(far, refusal('range', 'EPLB_RANGE', /dispatch: "far"/));
    const { traffic } = await replay(recording, { ...sizes, cost: 'competition' });
    assert.equal(traffic!.live.links[0]!.bytes, null);
  });
});
