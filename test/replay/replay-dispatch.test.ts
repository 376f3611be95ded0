import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  AbstractEplbPolicy,
  balancedness,
  ExpertMapping,
  layerBalances,
  layerCosts,
  loadTraffic,
  routeTraffic,
  slotLoads,
  summarizeBalance,
} from 'expert-load-balancer';
import { type ReplaySource, replay, resized, type TrafficFigures } from 'expert-load-balancer/replay';
import fc from 'fast-check';
import {
  dispatchCost as cost,
  dispatchOptions,
  dispatchProblems,
  type MappedProblem,
} from '../helpers/dispatch.ts';
import { refusal, SEED } from '../helpers/library.ts';
import { memoryRecording } from '../helpers/memory-recording.ts';

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

/** Steps of three tokens, each with some experts, in runs that end in the midst of steps. */
function routed(problem: MappedProblem, sizes: { topK: number; numTokens: number; tokensPerStep?: number }) {
  const { rows, numExperts, random } = problem;
  const { numTokens, tokensPerStep = 3 } = sizes;
  const numLayers = rows.length;
  const topK = Math.min(sizes.topK, numExperts);
  const any = () => Array.from({ length: numExperts }, (_, e) => e).sort(() => random() - 0.5);
  const tokens = Array.from({ length: numTokens }, () => rows.map(() => any().slice(0, topK)));
  const ids = Uint16Array.from(tokens.flat(2));
  const loads = Array.from({ length: Math.ceil(numTokens / tokensPerStep) }, (_, step) => {
    const own = tokens.slice(tokensPerStep * step, tokensPerStep * (step + 1));
    return rows.map((_, layer) =>
      Array.from({ length: numExperts }, (_, e) => own.filter((token) => token[layer]!.includes(e)).length),
    );
  });
  const recording: ReplaySource = {
    ...memoryRecording(loads),
    routes: {
      ...{ numTokens, topK, tokensPerStep },
      async *read({ from = 0, to = numTokens } = {}) {
        for (let first = from; first < to; first += 2) {
          const end = Math.min(first + 2, to);
          const run = ids.subarray(first * numLayers * topK, end * numLayers * topK);
          yield { firstToken: first, numTokens: end - first, ids: run };
        }
      },
    },
  };
  return { ids, topK, numTokens, tokensPerStep, recording, tokens, loads };
}

/** Seconds of a token's dispatch and combine between two ranks. */
function secondsBetween(nodeOf: readonly number[], source: number, target: number): number {
  return source === target ? 0 : nodeOf[source] === nodeOf[target] ? 6 / 60 : 6 / 20;
}

/**
 * What a layer takes of tokens [tokens][topK], counted apart: a rank waits for its slots, and for each token
 * once over the link that it comes by.
 */
function layerSecondsOfRoutes(
  problem: MappedProblem,
  { row, chosen, loads }: { row: readonly number[]; chosen: readonly number[][]; loads: readonly number[] },
): number {
  const { numRanks, nodeOf, numExperts, dispatch } = problem;
  const ranks = ranksOf(problem);
  const mapping = ExpertMapping.fromPhysicalToLogical([[...row]], numExperts);
  const atRank = (pairs: Float64Array, rank: number) =>
    Array.from({ length: numRanks }, (_, source) => source).reduce(
      (sum, source) => sum + pairs[source * numRanks + rank]! * secondsBetween(nodeOf, source, rank),
      0,
    );
  const topK = chosen[0]!.length;
  const sent = (perToken: number, sourceRanks?: number[]) =>
    routeTraffic(Uint16Array.from(chosen.flat()), mapping, {
      ...{ ...ranks, topK: perToken, numTokens: (chosen.length * topK) / perToken },
      ...(sourceRanks && { sourceRanks }),
    }).tokens;
  const sources = chosen.map((_, token) => token % numRanks);
  const once = sent(topK, dispatch === 'even' ? undefined : sources);
  const each = sent(
    1,
    sources.flatMap((rank) => new Array<number>(topK).fill(rank)),
  );
  const ofLoads = loadTraffic([[...loads]], mapping, ranks).tokens;
  const slots = slotLoads([[...loads]], mapping, ranks).slots;
  const perRank = row.length / numRanks;
  const isSpread = nodeOf.at(-1)! > 0;
  const latency = isSpread ? 2 : numRanks > 1 ? 1 : 0;
  let slowest = 0;
  for (let rank = 0; rank < numRanks; rank++) {
    let exchange = atRank(once, rank);
    // Of the nearest copy it is the share that the tokens show, which are on some ranks and not on all.
    if (dispatch === 'nearest') {
      const alone = atRank(each, rank);
      exchange = atRank(ofLoads, rank) * (alone === 0 ? 1 : exchange / alone);
    }
    const own = slots.subarray(rank * perRank, (rank + 1) * perRank);
    const tokens = own.reduce((sum, load) => sum + load, 0);
    const seconds = own.reduce((sum, load) => sum + cost.slotSeconds(load), 0);
    slowest = Math.max(slowest, seconds + (tokens === 0 ? 0 : 2 * latency + exchange));
  }
  return slowest;
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
      const { rows, numRanks, mapping } = problem;
      const numLayers = rows.length;
      const { ids, topK, numTokens, recording, tokens } = routed(problem, { topK: most, numTokens: 7 });
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

  test('and waits for it once: its time is that of the links that the tokens take', async () => {
    const property = fc.asyncProperty(problems, fc.integer({ min: 1, max: 4 }), async (problem, most) => {
      const { rows, mapping } = problem;
      const { recording, tokens, loads, tokensPerStep } = routed(problem, { topK: most, numTokens: 8 });
      const turned = rows.map((row) => [...row.slice(1), row[0]!]);
      const next = ExpertMapping.fromPhysicalToLogical(turned, problem.numExperts);
      const options = { ...optionsOf(problem), planningSeconds: 0, layersPerStep: rows.length };
      const policy = new FixedPolicy(next);
      const { totals, time } = await replay(recording, { ...options, policy, trigger: { interval: 1 } });
      const stepSeconds = (step: number, slots: readonly (readonly number[])[]) =>
        slots.reduce((sum, row, layer) => {
          const own = tokens.slice(step * tokensPerStep, (step + 1) * tokensPerStep);
          const chosen = own.map((token) => token[layer]!);
          return sum + layerSecondsOfRoutes(problem, { row, chosen, loads: loads[step]![layer]! });
        }, 0);
      const all = (slotsOf: (step: number) => readonly (readonly number[])[]) =>
        loads.reduce((sum, _, step) => sum + stepSeconds(step, slotsOf(step)), 0);
      assert.equal(time!.sentFrom, 'routes');
      assert.equal(time!.tokenStride, undefined);
      assertClose(
        time!.unbalanced.seconds,
        all(() => rows),
      );
      assertClose(
        totals.stepSeconds,
        all((step) => (step === 0 ? rows : turned)),
      );
      assert.ok(time!.live.secondsAtBalance <= time!.live.seconds * (1 + 1e-9));
      const { routes: _, ...withoutRoutes } = recording;
      const byLoads = await replay(withoutRoutes, { ...options, start: mapping, policy: 'static' });
      assert.equal(byLoads.time!.sentFrom, 'loads');
      assert.ok(time!.unbalanced.seconds <= byLoads.time!.unbalanced.seconds * (1 + 1e-9));
    });
    await fc.assert(property, { numRuns: 60, seed: SEED });
  });

  test('of steps with many tokens every few are looked at: what is alike for all stays exact', async () => {
    // A token's two experts are on one rank, or on two: of what loads say half of it is sent, or all.
    const numTokens = 3000;
    const together = Uint16Array.from({ length: 2 * numTokens }, (_, i) => i % 2);
    const apart = Uint16Array.from({ length: 2 * numTokens }, (_, i) => 2 * (i % 2));
    const start = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3]]);
    const secondsOf = async (ids: Uint16Array, loads: number[]) => {
      const routes = {
        ...{ numTokens, topK: 2, tokensPerStep: numTokens },
        async *read() {
          yield { firstToken: 0, numTokens, ids };
        },
      };
      const sizes = { numPhysicalExperts: 4, numRanks: 2, start, cost, policy: 'static' } as const;
      const { time } = await replay({ ...memoryRecording([[loads]]), routes }, sizes);
      assert.equal(time!.tokenStride, 3);
      return time!.unbalanced.seconds;
    };
    const slots = (...loads: number[]) => loads.reduce((sum, load) => sum + cost.slotSeconds(load), 0);
    const half = numTokens / 2;
    // Half of the tokens are there already.
    const onOne = await secondsOf(together, [numTokens, numTokens, 0, 0]);
    assertClose(onOne, slots(numTokens, numTokens) + 2 + half * (6 / 60));
    const onTwo = await secondsOf(apart, [numTokens, 0, numTokens, 0]);
    assertClose(onTwo, slots(numTokens, 0) + 2 + half * (6 / 60));
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
