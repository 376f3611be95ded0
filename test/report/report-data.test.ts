import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReplayResult } from '../../src/replay/result.ts';
import { compactReport, MAPS_OF_REPLAY, MAX_PAGE_NUMBERS } from '../../src/report/compact.ts';
import { type PackedNumbers, unpackNumbers } from '../../src/report/packed.ts';
import { exampleReport } from '../helpers/replay-report.ts';
import { recordedReport } from '../helpers/report.ts';

const report = await recordedReport();

test('the page holds the balancedness of every step, no balancing in its own colour', () => {
  const data = compactReport(report);
  assert.deepEqual(
    data.lines.map(({ name, colour, numSteps }) => ({ name, colour, numSteps })),
    [
      { name: 'static', colour: null, numSteps: 131 },
      { name: 'default', colour: 0, numSteps: 131 },
    ],
  );
  report.replays.forEach(({ series }, i) => {
    const mean = unpackNumbers(data.lines[i]!.mean);
    assert.equal(mean.length, 131);
    mean.forEach((value, step) => {
      assert.ok(Math.abs(value - series.balancedness.mean[step]!) < 1e-4);
    });
  });
});

test('no balancing is drawn too where it was not replayed, once for each shape', () => {
  const planning = report.replays.filter(({ name }) => name !== 'static');
  const one = compactReport({ ...report, replays: planning });
  assert.deepEqual(
    one.lines.map(({ name, colour }) => [name, colour]),
    [
      ['no balancing', null],
      ['default', 0],
    ],
  );
  assert.equal(one.runs[0]!.line, 1);
  assert.deepEqual(one.lines[0]!.mean, compactReport(report).lines[0]!.mean);

  const [first] = planning;
  const other = {
    ...first!,
    name: 'default, 96 slots',
    configuration: { ...first!.configuration, numPhysicalExperts: 96 },
  };
  const two = compactReport({ ...report, replays: [...planning, other] });
  assert.deepEqual(
    two.lines.map(({ name }) => name),
    ['no balancing, 80 slots, 16 ranks', 'no balancing, 96 slots, 16 ranks', 'default', 'default, 96 slots'],
  );
});

test('what was saved so far ends at what was saved in all', () => {
  const { runs } = compactReport(report);
  report.replays.forEach(({ totals }, i) => {
    const saved = unpackNumbers(runs[i]!.savedSeconds).at(-1)!;
    assert.ok(
      Math.abs(saved - totals.secondsSaved) <= 1e-4 * totals.modelledSeconds,
      `${saved} is not ${totals.secondsSaved}`,
    );
    const { idealSeconds, waitingSeconds, moveSeconds, planningSeconds } = runs[i]!.cost;
    const counted = totals.modelledSeconds > totals.stepSeconds + totals.moveSeconds ? planningSeconds : 0;
    const sum = idealSeconds + waitingSeconds + moveSeconds + counted;
    assert.ok(Math.abs(sum - totals.modelledSeconds) <= 1e-4 * totals.modelledSeconds);
  });
});

test('a single step that stands out is kept among 100,000', () => {
  const large = exampleReport({ numSteps: 100_000 });
  const { series } = large.replays[2]!;
  const line = compactReport(large).lines[2]!;
  const lowest = Math.min(...series.balancedness.min);
  const at = series.balancedness.min.indexOf(lowest);
  const kept = unpackNumbers(line.min);
  assert.equal(line.stepsPerPoint, 128);
  assert.equal(kept.length, 782);
  assert.ok(Math.abs(kept[at]! - lowest) < 1e-4);
  assert.ok(kept[at]! < 0.6 * kept[at - 1]!, 'it stands out');
});

test('rank loads stay below what a page may hold: evenly thinned, with the slowest step of every run', () => {
  for (const sizes of [{ numLayers: 58, numRanks: 64 }, { numLayers: 61, numRanks: 320 }, { numSteps: 3 }]) {
    const large = exampleReport({ policies: ['static', 'default', 'adaptive'], ...sizes });
    const { runs } = compactReport(large);
    const counts = runs.map(({ rankLoads }) => unpackNumbers(rankLoads.loads).length);
    const total = counts.reduce((sum, count) => sum + count, 0);
    // Two steps of every run at least, however large they are; else what the maps leave.
    const aStep = 3 * large.recording.numLayers * large.replays[0]!.configuration.numRanks;
    assert.ok(total <= Math.max(MAX_PAGE_NUMBERS - MAPS_OF_REPLAY * aStep, 2 * aStep), `${total} numbers`);
    runs.forEach(({ rankLoads: { steps, slowestStep, loads } }, i) => {
      const { rankLoads } = large.replays[i]!;
      for (const other of runs) {
        // The slowest step of each run can be looked at in the others too, where they sampled it.
        const isSampled = rankLoads.steps.includes(other.rankLoads.slowestStep);
        assert.equal(steps.includes(other.rankLoads.slowestStep), isSampled);
      }
      assert.equal(slowestStep, rankLoads.slowestStep);
      const numbers = unpackNumbers(loads);
      const expected = steps.flatMap((step) => rankLoads.loads[rankLoads.steps.indexOf(step)]!.flat());
      assert.equal(numbers.length, expected.length);
      numbers.forEach((value, at) => {
        assert.ok(Math.abs(value - expected[at]!) < 0.01);
      });
    });
  }
});

test('a sweep keeps the points that were done, with their fronts and the advised one', () => {
  const swept = exampleReport({ withSweep: true });
  const { sweep } = compactReport(swept);
  const done = swept.sweep!.points.filter(({ status }) => status === 'done');
  assert.ok(done.length < swept.sweep!.points.length);
  assert.deepEqual(
    sweep!.points.map(({ name }) => name),
    done.map(({ name }) => name),
  );
  assert.equal(sweep!.points[sweep!.advised!]!.name, swept.sweep!.advisedPoint);
  assert.deepEqual(
    sweep!.fronts.map(({ points }) => points.map((i) => sweep!.points[i]!.name)),
    swept.sweep!.frontsByRanks.map(({ names }) => names),
  );
  const none = compactReport({ ...swept, sweep: { ...swept.sweep!, advisedPoint: null } });
  assert.equal(none.sweep!.advised, null);
});

test('maps come back with what is waited for, and moves plan by plan', () => {
  const data = compactReport(report);
  const { heatMap, moved, hotExperts } = data.runs[1]!;
  const replay = report.replays[1]!;
  const near = (packed: PackedNumbers, values: readonly number[]) => {
    const numbers = unpackNumbers(packed);
    assert.equal(numbers.length, values.length);
    numbers.forEach((value, i) => {
      assert.ok(Math.abs(value - values[i]!) < 1e-4, `${i}: ${value} is not ${values[i]}`);
    });
  };
  near(heatMap.before.mean, replay.heatMap.before.flat());
  near(heatMap.before.p95, replay.heatMap.p95Before.flat());
  near(heatMap.after.p95, replay.heatMap.p95After.flat());
  near(heatMap.after.maximum, replay.heatMap.maximumAfter);
  assert.equal(hotExperts.length, 20);
  const moving = replay.plans.filter(({ moves }) => moves > 0);
  assert.equal(moved.numPlans, moving.length);
  assert.equal(
    moved.nodeMoves.flat().reduce((sum, count) => sum + count),
    replay.totals.moves,
  );
  assert.deepEqual(
    moved.plans.map(({ startedAfterStep, moves }) => ({ startedAfterStep, moves })),
    moving.map(({ startedAfterStep, moves }) => ({ startedAfterStep, moves })),
  );
  const experts = Array.from(unpackNumbers(moved.experts), Math.round);
  assert.deepEqual(
    experts,
    moving.flatMap(({ moved: { experts: own } }, i) => own.slice(0, moved.plans[i]!.numListed)),
  );
  const none = data.runs[0]!.moved;
  assert.deepEqual([none.numPlans, none.plans], [0, []]);
});

test('of many plans and many nodes a page holds as many as it has room for, and the sums of all', () => {
  const [none, one] = report.replays as [ReplayResult, ReplayResult];
  const plan = one.plans.find(({ moves }) => moves > 0)!;
  const plans = Array.from({ length: 1000 }, (_, i) => ({ ...plan, startedAfterStep: i }));
  const twin = { ...one, name: 'twin', plans };
  const { runs } = compactReport({ ...report, replays: [none, { ...one, plans }, twin] });
  const { moved } = runs[1]!;
  assert.equal(moved.numPlans, 1000);
  assert.equal(moved.plans.length, 120);
  assert.equal(moved.nodeMoves[0]![1], 1000 * plan.moved.nodeMoves[0]![1]!);
  assert.equal(unpackNumbers(moved.layers).length, 120 * Math.floor(2500 / 240));

  const nodes = Array.from({ length: 40 }, () => new Array<number>(40).fill(1));
  const wide = {
    ...one,
    configuration: { ...one.configuration, numRanks: 40, numNodes: 40 },
    plans: plans.map((each) => ({ ...each, moved: { ...each.moved, nodeMoves: nodes } })),
  };
  const [large] = compactReport({ ...report, replays: [wide] }).runs;
  assert.equal(large!.moved.plans.length, 5);
  assert.equal(large!.moved.nodeMoves[39]![0], 1000);
});
