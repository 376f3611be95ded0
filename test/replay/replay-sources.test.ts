import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ExpertMapping, loadTraffic, slotLoads } from 'expert-load-balancer';
import { inspect, type ReplaySource, replay, resized } from 'expert-load-balancer/replay';
import fc from 'fast-check';
import {
  dispatchCost as cost,
  dispatchOptions,
  dispatchProblems,
  type MappedProblem,
} from '../helpers/dispatch.ts';
import { refusal, SEED } from '../helpers/library.ts';

/** Steps [steps][layers][ranks][experts] as a recording. */
function sourceRecording(steps: readonly (readonly (readonly (readonly number[])[])[])[]): ReplaySource {
  const first = steps[0]![0]!;
  return {
    numLayers: steps[0]!.length,
    numLogicalExperts: first[0]!.length,
    numSourceRanks: first.length,
    async *steps() {
      for (const [step, layers] of steps.entries())
        yield {
          step,
          loads: Float32Array.from(layers.flatMap((ranks) => addedUp(ranks))),
          sourceLoads: Float32Array.from(layers.flat(2)),
          bytesRead: 0,
        };
    },
  };
}

function addedUp(ranks: readonly (readonly number[])[]): number[] {
  return ranks[0]!.map((_, expert) => ranks.reduce((sum, rank) => sum + rank[expert]!, 0));
}

function randomSteps({ rows, numRanks, numExperts, random }: MappedProblem, numSteps: number) {
  return Array.from({ length: numSteps }, () =>
    rows.map(() =>
      Array.from({ length: numRanks }, () =>
        Array.from({ length: numExperts }, () => Math.max(0, Math.floor(random() * 30) - 10)),
      ),
    ),
  );
}

/** @param within of pairs of ranks, which have five digits */
function assertClose(found: number, expected: number, within = 1e-5): void {
  assert.ok(Math.abs(found - expected) <= within * (1 + expected), `${found}, not ${expected}`);
}

/** What a layer of loads [ranks][experts] takes: each rank its slots, and its tokens' links. */
function layerSeconds(problem: MappedProblem, row: readonly number[], ranks: readonly number[][]): number {
  const { numRanks, nodeOf, numExperts } = problem;
  const mapping = ExpertMapping.fromPhysicalToLogical([[...row]], numExperts);
  const given = { data: Float32Array.from(ranks.flat()), numLayers: 1, numRanks, numExperts };
  const pairs = loadTraffic(given, mapping, optionsOf(problem)).tokens;
  const { slots } = slotLoads(given, mapping, optionsOf(problem));
  const latency = nodeOf.at(-1)! > 0 ? 4 : numRanks > 1 ? 2 : 0;
  const perRank = row.length / numRanks;
  const ofRanks = nodeOf.map((node, rank) => {
    const own = [...slots.subarray(rank * perRank, (rank + 1) * perRank)];
    const exchange = nodeOf.reduce((sum, from, source) => {
      const seconds = source === rank ? 0 : from === node ? 6 / 60 : 6 / 20;
      return sum + pairs[source * numRanks + rank]! * seconds;
    }, 0);
    const isBusy = own.some((load) => load > 0);
    return own.reduce((sum, load) => sum + cost.slotSeconds(load), 0) + (isBusy ? latency + exchange : 0);
  });
  return Math.max(...ofRanks);
}

const problems = dispatchProblems.map((problem): MappedProblem => ({ ...problem, deadRanks: [] }));

function optionsOf(problem: MappedProblem) {
  const { deadRanks: _, ...ranks } = dispatchOptions(problem);
  return ranks;
}

describe('loads by the rank that tokens are on', () => {
  test('a replay counts balance, time and links by them', async () => {
    const property = fc.asyncProperty(problems, async (problem) => {
      const { rows, numRanks, numExperts, mapping } = problem;
      const steps = randomSteps(problem, 3);
      const recording = sourceRecording(steps);
      const ranks = optionsOf(problem);
      const numPhysicalExperts = rows[0]!.length;
      const options = { ...ranks, numPhysicalExperts, start: mapping, cost, policy: 'static' } as const;
      const { traffic, time, balance } = await replay(recording, options);
      assert.equal(traffic!.sources, 'given');
      const pairs = new Float64Array(numRanks * numRanks);
      let [seconds, means, maxima] = [0, 0, 0];
      for (const layers of steps) {
        const given = {
          data: Float32Array.from(layers.flat(2)),
          numLayers: rows.length,
          numRanks,
          numExperts,
        };
        loadTraffic(given, mapping, ranks).tokens.forEach((tokens, at) => {
          pairs[at]! += tokens / steps.length;
        });
        const rankLoads = slotLoads(given, mapping, ranks).ranks;
        for (let first = 0; first < rankLoads.length; first += numRanks) {
          const own = rankLoads.subarray(first, first + numRanks);
          means += own.reduce((sum, load) => sum + load, 0) / numRanks;
          maxima += Math.max(...own);
        }
        layers.forEach((loads, layer) => {
          seconds += layerSeconds(problem, rows[layer]!, loads);
        });
      }
      traffic!.live.rankPairs!.flat().forEach((tokens, at) => {
        assertClose(tokens, pairs[at]!, 1e-4);
      });
      assertClose(time!.unbalanced.seconds, seconds);
      assert.ok(time!.live.secondsAtBalance <= time!.live.seconds * (1 + 1e-9));
      const balancednessRatioOfSums = maxima === 0 ? 1 : means / maxima;
      assertClose(balance.balancednessRatioOfSums, balancednessRatioOfSums);
      const { placement } = await inspect(recording, {
        placement: { ...ranks, mapping },
        numRanks: 1,
      });
      assert.equal(placement!.sources, 'given');
      assertClose(placement!.balance.balancednessRatioOfSums, balancednessRatioOfSums);
      assert.deepEqual(placement!.traffic!.rankPairs, traffic!.live.rankPairs);
    });
    await fc.assert(property, { numRuns: 60, seed: SEED });
  });

  test('tokens on all ranks alike are what a recording without ranks is taken for', async () => {
    const property = fc.asyncProperty(problems, async (problem) => {
      const { rows, numRanks, mapping } = problem;
      const steps = randomSteps(problem, 2).map((layers) =>
        layers.map(([first]) => Array.from({ length: numRanks }, () => first!)),
      );
      const { numSourceRanks: _, ...uniform } = sourceRecording(steps);
      const options = { ...optionsOf(problem), numPhysicalExperts: rows[0]!.length, start: mapping, cost };
      const policy = 'static' as const;
      const given = await replay(sourceRecording(steps), { ...options, policy });
      const told = await replay(uniform, { ...options, policy });
      assert.equal(told.traffic!.sources, 'uniform');
      assertClose(given.time!.live.seconds, told.time!.live.seconds);
      assertClose(given.balance.balancednessRatioOfSums, told.balance.balancednessRatioOfSums);
      given.traffic!.live.rankPairs!.flat().forEach((tokens, at) => {
        assertClose(tokens, told.traffic!.live.rankPairs!.flat()[at]!, 1e-4);
      });
    });
    await fc.assert(property, { numRuns: 30, seed: SEED });
  });

  test('tokens of a rank that dies are on the others then, and on other ranks none are known', async () => {
    // All tokens are on rank 3, and want expert 0, which ranks 0 and 2 have.
    const steps = Array.from({ length: 8 }, () => [[[0], [0], [0], [12]]]);
    const start = ExpertMapping.fromPhysicalToLogical([[0, -1, 0, -1]]);
    const ranks = { numRanks: 4, numNodes: 2, dispatch: 'nearest' } as const;
    const options = { ...ranks, numPhysicalExperts: 4, start, cost, policy: 'static' } as const;
    const { traffic } = await replay(sourceRecording(steps), {
      ...options,
      events: [{ kind: 'fail', step: 4, ranks: [3] }],
    });
    const pairs = traffic!.live.rankPairs!;
    // 12 a step from rank 3 to its node's copy; then 4 of each live rank, each to the nearest.
    assert.deepEqual(pairs, [
      [2, 0, 0, 0],
      [2, 0, 0, 0],
      [0, 0, 2, 0],
      [0, 0, 6, 0],
    ]);
    const other = await replay(sourceRecording(steps), { ...options, ...{ numRanks: 2, numNodes: 1 } });
    assert.equal(other.traffic!.sources, 'uniform');
  });

  test('with fewer tokens each rank has fewer, and they still add up', async () => {
    const steps = [
      [
        [
          [100, 40],
          [0, 60],
        ],
      ],
      [
        [
          [10, 0],
          [30, 7],
        ],
      ],
    ];
    const half = resized(sourceRecording(steps), 0.5);
    assert.equal(half.numSourceRanks, 2);
    for await (const { loads, sourceLoads } of half.steps()) {
      const sums = [sourceLoads![0]! + sourceLoads![2]!, sourceLoads![1]! + sourceLoads![3]!];
      assert.deepEqual([...loads], sums);
    }
    const start = ExpertMapping.fromPhysicalToLogical([[0, 1]]);
    const options = { numPhysicalExperts: 2, numRanks: 2, start, cost, policy: 'static' } as const;
    const { traffic } = await replay(half, options);
    assert.equal(traffic!.sources, 'given');
  });

  test('loads by rank that do not fit the loads are refused', async () => {
    const options = { numPhysicalExperts: 2, numRanks: 2, cost, policy: 'static' } as const;
    const giving = (sourceLoads: unknown, numSourceRanks = 2): ReplaySource => ({
      ...{ numLayers: 1, numLogicalExperts: 2, numSourceRanks },
      async *steps() {
        yield {
          step: 0,
          loads: Float32Array.of(3, 4),
          sourceLoads: sourceLoads as Float32Array,
          bytesRead: 0,
        };
      },
    });
    const of = (...loads: number[]) => giving(Float32Array.from(loads));
    const refused = (source: ReplaySource) => replay(source, options);
    await assert.rejects(refused(giving(undefined)), refusal('type', 'EPLB_KIND', /sourceLoads: undefined/));
    await assert.rejects(refused(giving([1, 2, 2, 2])), refusal('type', 'EPLB_KIND', /sourceLoads/));
    await assert.rejects(
      refused(of(3, 4)),
      refusal('range', 'EPLB_SHAPE', /2 loads, not 1 layers of 2 ranks/),
    );
    await assert.rejects(refused(of(1, 2, 2, 3)), refusal('range', 'EPLB_LOAD', /expert 1: .* 5 together/));
    await assert.rejects(refused(of(4, 2, -1, 2)), refusal('range', 'EPLB_LOAD', /-1 of rank 1/));
    await assert.rejects(refused(of(Number.NaN, 2, 1, 2)), refusal('range', 'EPLB_LOAD', /NaN of rank 0/));
    for (const numSourceRanks of [0, -1, 1.5, Number.NaN])
      await assert.rejects(refused(giving(Float32Array.of(1, 2, 2, 2), numSourceRanks)), /numSourceRanks/);
  });
});
