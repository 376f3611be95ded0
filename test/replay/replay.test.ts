import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DefaultEplbPolicy } from 'expert-load-balancer';
import { type CostModel, type ReplayOptions, replay } from 'expert-load-balancer/replay';
import { memoryRecording } from '../helpers/memory-recording.ts';

const COST: CostModel = {
  name: 'by hand',
  time: { kind: 'load', secondsPerLoad: 0.001 },
  bytesPerExpert: 1000,
  intraNodeBytesPerSecond: 1e6,
  interNodeBytesPerSecond: 1e5,
  concurrentTransfers: 'rank',
  countedMoves: 'rank',
  stepSeconds: 'modelled',
  zeroLoadsCountAsOne: false,
};

/** Equal but for the rounding of a few additions. */
function assertClose(actual: number, expected: number, what: string): void {
  assert.ok(
    Math.abs(actual - expected) <= 1e-12 * Math.max(1, Math.abs(expected)),
    `${what}: ${actual}, not ${expected}`,
  );
}

describe('a replay of 3 steps x 2 layers, computed by hand', () => {
  // Two ranks of two slots, each a node, four experts: at first 0 1 | 2 3 in both layers.
  const steps = [
    [
      [6, 4, 1, 1],
      [5, 1, 1, 5],
    ],
    [
      [2, 2, 2, 6],
      [4, 0, 4, 0],
    ],
    [
      [1, 1, 5, 5],
      [3, 3, 0, 0],
    ],
  ];
  const options: ReplayOptions = {
    numPhysicalExperts: 4,
    numRanks: 2,
    numNodes: 2,
    policy: new DefaultEplbPolicy(),
    windowSize: 1,
    trigger: { interval: 1 },
    planningSeconds: 0,
    cost: COST,
  };
  // Step 0, at first: ranks 10 | 2 and 6 | 6. The plan: 0 3 | 2 1 (7 | 5), and layer 1 as it is. Step 1,
  // under it: 8 | 4 and 4 | 4; under the first: 4 | 8 and 4 | 4. The plan: 2 3 | 0 1 (8 | 4 still). Step 2,
  // under that: 10 | 2 and 6 | 0; under the one before: 6 | 6 and 6 | 0; under the first: 2 | 10 and 6 | 0.
  // The last plan: 2 0 | 3 1 (6 | 6) and 0 2 | 1 3 (3 | 3): too late for the recording.

  test('balancedness and PAR', async () => {
    const { balance, unbalanced, layers, numSteps, status } = await replay(memoryRecording(steps), options);
    assert.equal(status, 'complete');
    assert.equal(numSteps, 3);
    assertClose(balance.balancednessRatioOfSums, 31 / 44, 'ratio of sums');
    assertClose(balance.balancednessMeanOfRatios, (0.6 + 0.75 + 0.6 + 1 + 1 + 0.5) / 6, 'mean of ratios');
    assertClose(balance.peakToAverageRatioOfSums, 44 / 31, 'PAR, ratio of sums');
    assertClose(
      balance.peakToAverageMeanOfRatios,
      (10 / 6 + 8 / 6 + 10 / 6 + 1 + 1 + 2) / 6,
      'PAR, mean of ratios',
    );
    assert.equal(balance.worstLayer.layer, 0);
    assertClose(balance.worstLayer.balancednessRatioOfSums, 18 / 28, 'worst layer');
    // Of the steps: 12/16, 10/12 and 9/16.
    assertClose(balance.balancednessPercentiles.min, 9 / 16, 'min');
    assertClose(balance.balancednessPercentiles.p50, 12 / 16, 'median');
    assertClose(balance.balancednessPercentiles.max, 10 / 12, 'max');
    assertClose(balance.peakToAveragePercentiles.p50, 16 / 12, 'median PAR');
    assertClose(balance.peakToAveragePercentiles.max, 16 / 9, 'max PAR');
    assertClose(unbalanced.balancednessRatioOfSums, 31 / 44, 'at first');
    assertClose(layers[1]!.balancednessRatioOfSums, 13 / 16, 'layer 1');
    assertClose(layers[1]!.peakToAverageMax, 2, 'layer 1, largest PAR');
  });

  test('moves, bytes and seconds', async () => {
    const { totals, layers } = await replay(memoryRecording(steps), options);
    assert.equal(totals.moves, 4);
    assert.equal(totals.changedSlots, 4);
    assert.equal(totals.bytes, 4000);
    assert.equal(totals.bytesBetweenNodes, 4000);
    assert.equal(totals.numPlans, 3);
    assert.equal(totals.numAppliedPlans, 2);
    assertClose(totals.stepSeconds, 0.044, 'steps');
    // Twice, both ranks receive one expert at once.
    assertClose(totals.moveSeconds, 0.02, 'moves');
    assertClose(totals.modelledSeconds, 0.064, 'all');
    assertClose(totals.unbalancedSeconds, 0.044, 'no balancing');
    assertClose(totals.secondsSaved, -0.02, 'saved');
    assertClose(totals.idealSeconds, 0.031, 'ideal');
    assert.equal(totals.redundantBytesPerRank, 0);
    assert.deepEqual(
      layers.map((layer) => layer.moves),
      [4, 0],
    );
    assertClose(layers[0]!.stepSeconds, 0.028, 'layer 0');
  });

  test('plans, promised and given', async () => {
    const { plans } = await replay(memoryRecording(steps), options);
    assert.deepEqual(
      plans.map((plan) => plan.status),
      ['applied', 'applied', 'unfinished'],
    );
    assert.deepEqual(
      plans.map((plan) => plan.startedAfterStep),
      [0, 1, 2],
    );
    assert.deepEqual(
      plans.map((plan) => plan.appliedFromStep),
      [1, 2, null],
    );
    assert.deepEqual(
      plans.map((plan) => plan.layerOrder),
      [[0], [0], [0, 1]],
    );
    assert.deepEqual(plans[0]!.reasons, [{ kind: 'interval', value: 1, limit: 1 }]);
    assertClose(plans[0]!.predictedGainSecondsPerStep, 0.003, 'plan 0, promised');
    assertClose(plans[0]!.realisedGainSecondsPerStep!, 0, 'plan 0, given');
    assertClose(plans[1]!.predictedGainSecondsPerStep, 0, 'plan 1, promised');
    assertClose(plans[1]!.realisedGainSecondsPerStep!, -0.004, 'plan 1, given');
    assertClose(plans[2]!.predictedGainSecondsPerStep, 0.007, 'plan 2, promised');
    assert.equal(plans[2]!.realisedGainSecondsPerStep, null);
    assertClose(plans[0]!.predictedBalancednessBefore, 12 / 16, 'plan 0, before');
    assertClose(plans[0]!.predictedBalancednessAfter, 12 / 13, 'plan 0, after');
  });

  test('series, heat map and rank loads', async () => {
    const { series, heatMap, rankLoads } = await replay(memoryRecording(steps), options);
    assert.deepEqual(series.firstStep, [0, 1, 2]);
    assert.equal(series.stepsPerPoint, 1);
    assert.deepEqual(series.balancedness.mean, [12 / 16, 10 / 12, 9 / 16]);
    assert.deepEqual(series.stepSeconds.max, [0.016, 0.012, 0.016]);
    assert.deepEqual(series.moves, [0, 2, 2]);
    assert.deepEqual(series.bytes, [0, 2000, 2000]);
    assert.deepEqual(series.worstLayerPeakToAverage, [10 / 6, 8 / 6, 2]);
    // From step 1 on, when the first plan was in effect: 18 and 6 against 6 and 18 in layer 0.
    assert.deepEqual([heatMap.fromStep, heatMap.toStep], [1, 3]);
    assert.deepEqual(heatMap.before, [
      [6 / 12, 18 / 12],
      [10 / 7, 4 / 7],
    ]);
    assert.deepEqual(heatMap.after[0], [18 / 12, 6 / 12]);
    // The larger of two steps, in means of the step; and what each layer waits for, 8 and 10 of mean 6.
    assert.deepEqual(heatMap.p95Before, [[4 / 6, 10 / 6].map(Math.fround), [2, 1]]);
    assert.deepEqual(heatMap.p95After, [[10 / 6, 4 / 6].map(Math.fround), [2, 1]]);
    assert.deepEqual(heatMap.maximumBefore, [18 / 12, 10 / 7]);
    assert.deepEqual(heatMap.maximumAfter, [18 / 12, 10 / 7]);
    assert.deepEqual(rankLoads.steps, [0, 1, 2]);
    assert.equal(rankLoads.slowestStep, 0);
    assert.deepEqual(rankLoads.loads[2], [
      [10, 2],
      [6, 0],
    ]);
  });

  test('which experts moved from where to where, and which are hottest', async () => {
    const { plans, hotExperts } = await replay(memoryRecording(steps), options);
    const moved = plans.map(({ moved: { nodeMoves, layers, ...columns } }) => ({ nodeMoves, ...columns }));
    const crossed = [
      [0, 1],
      [1, 0],
    ];
    assert.deepEqual(moved.slice(0, 2), [
      { nodeMoves: crossed, experts: [1, 3], fromRanks: [0, 1], toRanks: [1, 0], loads: [4, 1] },
      { nodeMoves: crossed, experts: [2, 0], fromRanks: [1, 0], toRanks: [0, 1], loads: [2, 2] },
    ]);
    assert.deepEqual(plans[0]!.moved.layers, [0, 0]);
    assert.deepEqual(plans[2]!.moved.experts, [], 'it came too late');
    // Of layer 1 expert 0 has 12 of 26 tokens, of layer 0 expert 3 has 12 of 36.
    assert.deepEqual(hotExperts.slice(0, 3), [
      { layer: 1, expert: 0, timesMean: 12 / 6.5, ranks: [0] },
      { layer: 0, expert: 3, timesMean: 12 / 9, ranks: [0] },
      { layer: 0, expert: 0, timesMean: 1, ranks: [1] },
    ]);
    assert.equal(hotExperts.length, 8);
  });

  test('ranks that take turns are even on average, and waited for in every step', async () => {
    const turns = Array.from({ length: 40 }, (_, i) => [i % 2 === 0 ? [3, 1] : [1, 3]]);
    const { heatMap } = await replay(memoryRecording(turns), {
      numPhysicalExperts: 2,
      numRanks: 2,
      policy: 'static',
    });
    assert.deepEqual(heatMap.after, [[1, 1]]);
    assert.deepEqual(heatMap.maximumAfter, [1.5]);
    assert.deepEqual(heatMap.p95After, [[1.5, 1.5]]);
  });

  test('the 95th percentile is of all steps, however many there are', async () => {
    // Rank 0 has more the later it is: of 5,000 steps only every eighth is kept.
    const rising = Array.from({ length: 5000 }, (_, i) => [[i, 10_000 - i]]);
    const { heatMap } = await replay(memoryRecording(rising), {
      numPhysicalExperts: 2,
      numRanks: 2,
      policy: 'static',
    });
    const [[low, high]] = heatMap.p95After as [[number, number]];
    assert.ok(Math.abs(low - 0.95) < 0.002, `${low}`);
    assert.ok(Math.abs(high - 1.95) < 0.002, `${high}`);
  });

  test('a plan takes effect after its planning time, so many layers a step', async () => {
    // A step takes 0.016 s when the plan is made: 0.017 s are two steps, so it changes before step 3, and
    // there is none.
    const late = await replay(memoryRecording(steps), { ...options, planningSeconds: 0.017 });
    assert.deepEqual(
      late.plans.map((plan) => [plan.status, plan.appliedFromStep]),
      [['unfinished', null]],
    );
    assert.equal(late.totals.moves, 0);
    const one = await replay(memoryRecording(steps), { ...options, planningSeconds: 0.016 });
    assert.deepEqual(
      one.plans.map((plan) => plan.appliedFromStep),
      [2, null],
    );
    assert.equal(one.plans[0]!.planningSeconds, 0.016);
  });

  test('steps that are not a range', async () => {
    for (const from of [Symbol('first'), 5n, '1', {}]) {
      const range = { from } as unknown as { from: number };
      const refused = { name: 'EplbTypeError', code: 'EPLB_KIND' };
      await assert.rejects(replay(memoryRecording(steps), { ...options, steps: range }), refused);
    }
  });
});
