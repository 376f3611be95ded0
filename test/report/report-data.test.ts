import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compactReport, MAX_PAGE_RANK_LOADS } from '../../src/report/compact.ts';
import { unpackNumbers } from '../../src/report/packed.ts';
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
    const { idealSeconds, waitingSeconds, changeSeconds } = runs[i]!.cost;
    const sum = idealSeconds + waitingSeconds + changeSeconds;
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
    // Two steps of every run at least, however large they are.
    const least = 2 * 3 * large.recording.numLayers * large.replays[0]!.configuration.numRanks;
    assert.ok(total <= Math.max(MAX_PAGE_RANK_LOADS, least), `${total} numbers`);
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
