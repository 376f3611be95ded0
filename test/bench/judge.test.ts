import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ExpertMapping } from 'expert-load-balancer';
import { PLANNERS, type PlannerMaker } from '../../bench/quality/judge/planners.ts';
import { balancednessOf, play } from '../../bench/quality/judge/play.ts';
import type { IntervalResult, Outcome, SettingResult } from '../../bench/quality/judge/results.ts';
import {
  generatedSettings,
  recordedSettings,
  settingName,
  sourceName,
} from '../../bench/quality/judge/settings.ts';
import { intervalVerdicts, settingVerdicts } from '../../bench/quality/judge/verdicts.ts';
import type { Row } from '../../bench/quality/recordings.ts';
import { npyFile } from '../helpers/npy.ts';

const script = fileURLToPath(new URL('../../bench/quality/judge/run.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'eplb-judge-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const run = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', script, ...args], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  return stdout;
};

/** Three experts on two ranks, the same loads in every step: at first both ranks have 4. */
const ROW: Row = {
  name: 'by hand',
  steps: {
    loads: Array.from({ length: 7 }, () => Float32Array.of(6, 1, 1)),
    numLayers: 1,
    numExperts: 3,
  },
  numSlots: 4,
  numRanks: 2,
  window: 2,
  every: 2,
};

test('there are 48 settings of different names, and seeds go round', () => {
  const settings = [...generatedSettings({ first: 1, last: 3 }), ...recordedSettings()];
  assert.equal(settings.length, 48);
  assert.equal(new Set(settings.map(settingName)).size, 48);
  assert.deepEqual(
    settings.slice(0, 5).map(({ source }) => sourceName(source)),
    ['stationary-1', 'stationary-2', 'stationary-3', 'stationary-1', 'stationary-128-2'],
  );
  for (const { numSlots, numRanks } of settings) assert.equal(numSlots % numRanks, 0);
});

test('a play scores each plan on the steps until the next one, and what it gained there', async () => {
  const better = ExpertMapping.fromPhysicalToLogical([[0, 1, 0, 2]]);
  const worse = ExpertMapping.fromPhysicalToLogical([[1, 2, 0, 0]]);
  const order = [worse, better, better];
  const seen: number[] = [];
  let recorded = 0;
  const makePlanner: PlannerMaker = () => ({
    record: () => void recorded++,
    plan: async (_, next) => {
      seen.push(recorded, next.length);
      return { mapping: order.shift()!, foreseenGain: 0.5 };
    },
    close: async () => {},
  });
  const plans = await play(ROW, makePlanner);
  assert.deepEqual(seen, [2, 2, 4, 2, 6, 1]);
  assert.deepEqual(
    plans.map(({ moves, realisedGain }) => [moves, realisedGain]),
    // Ranks of 2 and 6 where there were 4 and 4: the slowest one has half the mean more.
    [
      [1, -0.5],
      [2, 0.5],
      [0, 0],
    ],
  );
  assert.equal(balancednessOf(plans), 20 / (12 + 8 + 4));
});

test('each planner plans the same in each play, and knowing the next steps helps', async () => {
  const loads = Array.from({ length: 24 }, (_, step) =>
    Float32Array.from({ length: 2 * 8 }, (_, i) => 10 + ((i * 37 + Math.floor(step / 6) * 11) % 23) ** 2),
  );
  const row: Row = {
    name: 'moving',
    steps: { loads, numLayers: 2, numExperts: 8 },
    numSlots: 12,
    numRanks: 4,
    window: 6,
    every: 6,
  };
  const scores = new Map<string, number>();
  for (const [name, makePlanner] of Object.entries(PLANNERS)) {
    const plans = await play(row, makePlanner);
    const again = await play(row, makePlanner);
    assert.equal(plans.length, 3, name);
    for (const [i, { mapping }] of plans.entries()) assert.ok(mapping.equals(again[i]!.mapping), name);
    scores.set(name, balancednessOf(plans));
  }
  assert.ok(scores.get('default that knows the next steps')! > scores.get('default')!);
});

const outcome = (balancedness: number, moves: number): Outcome => ({
  balancedness,
  moves,
  foreseenGain: 1,
  realisedGain: 1,
  laterForeseenGain: 1,
  laterRealisedGain: 1,
  settledBalancedness: balancedness,
  settledMoves: 0,
});

function result(adaptive: Outcome): SettingResult {
  const outcomes = {
    adaptive,
    'adaptive, price 0': outcome(0.905, 0.4),
    default: outcome(0.85, 0.8),
    'FlashLB v2': outcome(0.88, 0.4),
  };
  return { kind: 'setting', setting: generatedSettings({ first: 1, last: 1 })[0]!, outcomes };
}

test('bars are met and missed as they should be', () => {
  const isMet = (...adaptive: Outcome[]) => settingVerdicts(adaptive.map(result)).map((one) => one.isMet);
  assert.deepEqual(isMet(outcome(0.9, 0.13)), [true, true, true, true, true, true, true]);
  assert.deepEqual(isMet(outcome(0.848, 0.21)), [false, true, false, false, false, false, false]);
  assert.deepEqual(isMet(outcome(0.846, 0.2)), [false, false, false, true, true, false, false]);
  // In the mean of both all is well; one of two is above in neither comparison.
  assert.deepEqual(isMet(outcome(0.84, 0.1), outcome(0.97, 0.1)).slice(0, 4), [false, false, false, true]);
});

test('the fall as the interval halves is that of the means over a family', () => {
  const intervals = (seed: number, ...values: number[]): IntervalResult => ({
    kind: 'intervals',
    source: { kind: 'loads', family: 'themes', seed },
    byInterval: values.map((balancedness, i) => ({
      interval: 8 * 2 ** i,
      adaptive: { balancedness, movesPerStep: 0 },
      default: { balancedness: 0, movesPerStep: 0 },
    })),
  });
  const [verdict] = intervalVerdicts([intervals(1, 0.8, 0.81, 0.7), intervals(2, 0.82, 0.82, 0.7)]);
  assert.equal(verdict!.value, '0.0050');
  assert.equal(verdict!.isMet, false);
  assert.equal(intervalVerdicts([intervals(1, 0.8, 0.802, 0.7)])[0]!.isMet, true);
});

test('parts share all jobs, and their files make the tables', () => {
  const values = Array.from({ length: 80 * 2 * 32 }, (_, i) => 100 + ((i * 31) % 97));
  for (const seed of [5, 6]) {
    writeFileSync(
      join(folder, `training-${seed}.npy`),
      npyFile({ descr: '<u4', shape: [80, 2, 32], values }),
    );
  }
  const args = [folder, '--seeds', '5-6', '--only', 'training'];
  const list = (part: string) =>
    run(...args, '--list', '--part', part)
      .trim()
      .split('\n');
  assert.deepEqual([...list('1/2'), ...list('2/2')].sort(), list('1/1').sort());
  const files = ['1/2', '2/2'].map((part, i) => {
    const file = join(folder, `part-${i}.jsonl`);
    run(...args, '--part', part, '--json', file);
    return file;
  });
  assert.equal(files.flatMap((file) => readFileSync(file, 'utf8').trim().split('\n')).length, 6);
  const tables = run('--tables', ...files);
  assert.match(tables, /mean of 4 settings/);
  assert.match(tables, /\| training-5, 40 on 8, w16\/8 \|/);
  assert.match(tables, /\| training, adaptive \|/);
  assert.match(tables, /bars met: \d+ of 10/);
});
