import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { verdictsOf } from '../../bench/bars.ts';
import { controlled, derived, sampled } from '../../bench/figure.ts';
import { compareFigure, compareReports } from '../../bench/judge.ts';
import { barSummary, plainTable, type Report, type ReportedFigure, reported } from '../../bench/report.ts';
import { unlikeness } from '../../bench/report-file.ts';
import { headOf } from '../../bench/run-suites.ts';
import { summarize } from '../../bench/stats.ts';

const script = fileURLToPath(new URL('../../bench/compare.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'eplb-compare-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Twenty runs from `min` to a little over twice the distance of the median. */
function timed(
  id: string,
  min: number,
  median: number,
  statistic: 'median' | 'p99' = 'median',
): ReportedFigure {
  const samples = Array.from({ length: 21 }, (_, i) => min + ((median - min) * i) / 10);
  return reported(sampled(id, 'ms', summarize(samples), [], statistic));
}

function report(figures: readonly ReportedFigure[], changes: Partial<Report> = {}): Report {
  const head = headOf({ seed: 7, isQuick: false });
  return { ...head, loadAverage: { before: 0, after: 0 }, yardsticks: {}, figures, ...changes };
}

const outcome = (base: ReportedFigure, next: ReportedFigure, slowness?: number) =>
  compareFigure(base, next, slowness).outcome;

test('a median is lost or gained when it and the quickest run are over 5 % off', () => {
  const base = timed('fold/a', 10, 11);
  assert.equal(outcome(base, timed('fold/a', 10.4, 11.5)), 'same');
  assert.equal(outcome(base, timed('fold/a', 10.6, 11.7)), 'lost');
  assert.equal(outcome(base, timed('fold/a', 9, 10)), 'gained');
});

test('a median that moves without the quickest run is too noisy to judge', () => {
  const base = timed('fold/a', 10, 11);
  assert.equal(outcome(base, timed('fold/a', 10, 20)), 'noisy');
  assert.equal(outcome(timed('fold/a', 10, 20), base), 'noisy');
});

test('what the machine itself lost is not the code’s loss', () => {
  const base = timed('fold/a', 10, 11);
  assert.equal(outcome(base, timed('fold/a', 12, 13), 1.2), 'noisy');
  assert.equal(outcome(base, timed('fold/a', 14, 15), 1.2), 'lost');
  assert.equal(outcome(base, timed('fold/a', 14, 15), 0.8), 'lost');
  assert.equal(outcome(base, timed('fold/a', 8, 9), 0.8), 'noisy');
});

test('the yardsticks of the figure’s suite tell what the machine lost', () => {
  const base = report([timed('fold/a', 10, 11)], { yardsticks: { fold: 5, record: 5 } });
  const next = report([timed('fold/a', 12, 13)], { yardsticks: { fold: 6, record: 5 } });
  assert.equal(compareReports(base, next)[0]?.outcome, 'noisy');
  const other = { ...next, yardsticks: { fold: 5, record: 6 } };
  assert.equal(compareReports(base, other)[0]?.outcome, 'lost');
});

test('memory does not depend on the machine’s speed', () => {
  const memory = (mb: number) =>
    reported(sampled('memory/58x256->288/window 100/filled', 'MB', summarize([mb, mb, mb])));
  assert.equal(outcome(memory(20), memory(22), 1.5), 'lost');
});

test('ratios, and few runs without a bar, are not judged', () => {
  const ratio = (value: number) => reported(derived('window/a', 'x', value));
  assert.equal(outcome(ratio(1), ratio(2)), 'unjudged');
  const few = (ms: number) => reported(sampled('fold/a', 'ms', summarize([ms, ms, ms])));
  assert.equal(outcome(few(1), few(2)), 'unjudged');
  assert.equal(
    outcome(reported(derived('fold/a', 'ms', 1)), reported(derived('fold/a', 'ms', 2))),
    'unjudged',
  );
});

test('a tail or a difference is lost when its bar is met no more', () => {
  const difference = (ms: number) => reported(derived('pooled/58x256->288/1 thread over inline', 'ms', ms));
  assert.equal(outcome(difference(0.05), difference(0.1)), 'noisy');
  assert.equal(outcome(difference(0.1), difference(0.2)), 'lost');
  assert.equal(outcome(difference(-0.1), difference(0.2)), 'lost');
  assert.equal(outcome(difference(0.2), difference(0.1)), 'gained');
  assert.equal(outcome(difference(0.149), difference(0.151)), 'same');
  const tail = (median: number) => timed('block/58x256->288/longest gap', 0.1, median, 'p99');
  assert.equal(outcome(tail(0.3), tail(0.4)), 'noisy');
  assert.equal(outcome(tail(0.3), tail(3)), 'lost');
});

test('a bar is the machine’s where the control misses it too, and by nearly as much', () => {
  const id = 'pooled/58x256->288/1 thread over inline';
  const goal = (value: number, control?: number) => {
    const figure = derived(id, 'ms', value);
    const { isMet, isOfMachine } = verdictsOf(
      control === undefined ? figure : controlled(figure, 'a bare pool', control),
    )[0]!;
    return [isMet, isOfMachine];
  };
  assert.deepEqual(goal(0.4), [false, false]);
  assert.deepEqual(goal(0.1, 0.4), [true, false]);
  assert.deepEqual(goal(0.2, 0.14), [false, false], 'the control meets it');
  assert.deepEqual(goal(0.2, 0.18), [false, true]);
  assert.deepEqual(goal(0.4, 0.18), [false, false], 'by far more than the control');
  const efficiency = (value: number, control: number) =>
    verdictsOf(
      controlled(derived('cores/default 512x1024->2048/efficiency with 16 threads', 'x', value), '', control),
    )[0]!;
  assert.equal(efficiency(0.6, 0.68).isOfMachine, true);
  assert.equal(efficiency(0.5, 0.68).isOfMachine, false);
  assert.equal(efficiency(0.6, 0.8).isOfMachine, false);
});

test('a bar that only the machine misses is counted apart, and no loss', () => {
  const id = 'pooled/58x256->288/1 thread over inline';
  const met = reported(derived(id, 'ms', 0.1));
  const missed = reported(controlled(derived(id, 'ms', 0.2), 'a bare pool', 0.18));
  assert.equal(outcome(met, missed), 'noisy');
  assert.deepEqual(barSummary([missed]), ['bars met: 0 of 1', `the machine's: ${id}: 0.200 ms`]);
  assert.match(plainTable([missed]), /<= 0\.15: the machine's; <= 0\.3: met +control, a bare pool 0\.180 ms/);
});

test('runs of another machine, Node, seed or length are unlike', () => {
  const base = report([]);
  assert.equal(unlikeness(base, report([])), undefined);
  const machine = (change: Partial<Report['machine']>) => ({ machine: { ...base.machine, ...change } });
  assert.match(unlikeness(base, report([], machine({ cpu: 'other' }))) ?? '', /processors/);
  assert.match(unlikeness(base, report([], machine({ cores: 99 }))) ?? '', /cores/);
  assert.match(unlikeness(base, report([], machine({ node: 'v0.1.0' }))) ?? '', /Node/);
  assert.match(unlikeness(base, report([], { seed: 8 })) ?? '', /seeds/);
  assert.match(unlikeness(base, report([], { isQuick: true })) ?? '', /quick/);
});

/** Runs the script on reports as files. */
function compare(reports: readonly unknown[], ...options: string[]) {
  const files = reports.map((content, i) => {
    const file = join(folder, `${i}.json`);
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
    return file;
  });
  const args = ['--import', 'tsx', script, ...files, ...options];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return { status, stdout, errors: stderr.trim().split('\n') };
}

test('the script tells every figure and fails for a loss', () => {
  const base = report([timed('fold/a', 10, 11), timed('fold/b', 10, 11), timed('record/c', 10, 11)]);
  const next = report([timed('fold/a', 20, 22), timed('fold/b', 10, 11), timed('record/d', 10, 11)]);
  const { status, stdout } = compare([base, next]);
  assert.equal(status, 1);
  assert.match(stdout, /fold\/a +median +11\.0 +22\.0 +ms +2\.000x +LOST/);
  assert.match(stdout, /fold\/b +median +11\.0 +11\.0 +ms +1\.000x/);
  assert.match(stdout, /only in the base run: record\/c/);
  assert.match(stdout, /only in the new run: record\/d/);
  assert.match(stdout, /2 of 2 figures judged: 1 lost over 5 %, 0 gained over 5 %, 1 the same/);
  assert.equal(compare([base, base]).status, 0);
  assert.equal(compare([base, next], '--only', 'record').status, 0);
});

test('the script refuses in one line what cannot be compared', () => {
  const base = report([timed('fold/a', 10, 11)]);
  const refused: [unknown[], RegExp][] = [
    [[base, { ...base, seed: 8 }], /not to be compared: of different seeds: 7, 8/],
    [[base, { ...base, format: 1 }], /of another format/],
    [[base, 'not json'], /1\.json: .*JSON/],
    [[report([])], /no figures/],
  ];
  for (const [reports, message] of refused) {
    const { status, errors } = compare(reports);
    assert.equal(status, 2);
    assert.equal(errors.length, 1, errors.join('\n'));
    assert.match(errors[0]!, message);
  }
});
