import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import type { Topology } from 'expert-load-balancer';
import { eplbMany, inTempDir, type Line, type LineRun } from '../helpers/cli.ts';
import { packageSchema, schemaErrors } from '../helpers/json-schema.ts';
import { assertRefused } from '../helpers/refusal.ts';
import { brokenSentences } from '../oracle/rules.ts';

/** Two layers of eight experts, 24 steps. */
const LOADS = Array.from({ length: 24 }, (_, step) => [
  [9, 2, 4, 1 + (step % 3), 3, 3, 8, 1],
  [1, 8, 2, 3, 5, 5, 1, 7],
]);
const RULES = `pinned:
  - experts: 0-1
    ranks: [0, 3]
    layers: 0
    only: true
  - { experts: 7, ranks: 2 }
neverReplicated:
  - experts: [5]
sharedExpert: { load: 0.5, ranks: 1 }
`;
const PARSED = {
  pinned: [
    { experts: [0, 1], ranks: [0, 3], layers: [0], only: true as const },
    { experts: [7], ranks: [2] },
  ],
  neverReplicated: [{ experts: [5] }],
};
const SIZES = ['--slots', '16', '--ranks', '4'];
const RULED = [...SIZES, '--rules', 'rules.yaml'];
const TIMES = ['--interval', '6', '--planning-time', '0'];

const LINES: Readonly<Record<string, Line>> = {
  plan: {
    args: [
      'plan',
      'loads.json',
      ...RULED,
      '--policy',
      'adaptive',
      '-o',
      'next.json',
      '--to',
      'tables-json',
      '--json',
      'plan.json',
    ],
  },
  unable: { args: ['plan', 'loads.json', ...RULED] },
  unknown: { args: ['plan', 'loads.json', ...SIZES, '--rules', 'unknown.json', '--policy', 'adaptive'] },
  tooMuch: { args: ['plan', 'loads.json', ...SIZES, '--rules', 'full.json', '--policy', 'adaptive'] },
  missing: { args: ['plan', 'loads.json', ...SIZES, '--rules', 'none.yaml', '--policy', 'adaptive'] },
  broken: {
    args: ['validate', 'even.json', '--ranks', '4', '--rules', 'rules.yaml', '--json', 'broken.json'],
  },
  inspected: {
    args: [
      ...['inspect', 'loads.json', '--placement', 'even.json', '--ranks', '4', '--rules', 'rules.yaml'],
      ...['--json', 'inspected.json'],
    ],
  },
  inspectedAlone: { args: ['inspect', 'loads.json', '--ranks', '4', '--rules', 'rules.yaml'] },
  retired: {
    args: [
      'validate',
      'retired.json',
      '--ranks',
      '4',
      '--experts',
      '8',
      '--rules',
      'rules.yaml',
      '--survive',
      'rank',
      '--json',
      'retired-report.json',
    ],
  },
  brokenText: { args: ['validate', 'even.json', '--ranks', '4', '--rules', 'rules.yaml'] },
  replay: {
    args: [
      'replay',
      'loads.json',
      ...RULED,
      ...TIMES,
      '--policy',
      'adaptive',
      '--fail',
      '3@12',
      '--recover',
      '3@18',
      '--json',
      'replay.json',
    ],
  },
  compare: { args: ['compare', 'loads.json', ...RULED, ...TIMES, '--policies', 'static,adaptive'] },
  compareUnable: { args: ['compare', 'loads.json', ...RULED, ...TIMES, '--policies', 'static,default'] },
  sweep: {
    args: [
      'sweep',
      'loads.json',
      '--slots',
      '16,20',
      '--ranks',
      '4',
      '--rules',
      'rules.yaml',
      '--policy',
      'adaptive',
      '--planning-time',
      '0',
    ],
  },
};

/** Nothing is on the last rank. */
const RETIRED = [0, 1, 2, 3, 4, 5, 6, 3, 7, 2, 4, 6, -1, -1, -1, -1];

interface PlanJson {
  readonly topology: Topology;
  readonly physicalToLogical: readonly (readonly number[])[];
}

describe('--rules', () => {
  let runs: Readonly<Record<string, LineRun>>;
  const reports: Record<string, unknown> = {};
  before(async () => {
    runs = await inTempDir(async (dir) => {
      const rows = [0, 1].map(() => Array.from({ length: 16 }, (_, slot) => slot % 8));
      const files = {
        'loads.json': JSON.stringify({ logical_count: LOADS }),
        'rules.yaml': RULES,
        'unknown.json': JSON.stringify({ pinned: [{ experts: [1], ranks: [4] }] }),
        'full.json': JSON.stringify({ pinned: [{ experts: '0-4', ranks: 2 }] }),
        'retired.json': JSON.stringify({ physical_to_logical_map: rows.map(() => RETIRED) }),
        'even.json': JSON.stringify({ physical_to_logical_map: rows }),
      };
      for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
      const names = Object.keys(LINES);
      const all = await eplbMany(Object.values(LINES), dir);
      for (const name of ['plan', 'broken', 'inspected', 'replay', 'retired-report'])
        reports[name] = JSON.parse(await readFile(join(dir, `${name}.json`), 'utf8'));
      return Object.fromEntries(names.map((name, i) => [name, all[i]!]));
    });
  });

  test('a plan keeps them, and says them', () => {
    assert.equal(runs.plan!.code, 0, runs.plan!.stderr);
    const report = reports.plan as PlanJson;
    assert.deepEqual(schemaErrors(packageSchema('schemas/plan-report.schema.json'), report), []);
    assert.deepEqual(report.topology.slotsPerRank, [4, 3, 4, 4]);
    assert.deepEqual(report.topology.rules?.pinned, PARSED.pinned);
    const topology = { ...report.topology, rules: PARSED };
    report.physicalToLogical.forEach((row, layer) => {
      assert.deepEqual(brokenSentences(row, layer, topology), []);
    });
  });

  test('what cannot be is refused in the words of the command', () => {
    assertRefused(runs.unable!, 'TOPOLOGY', /^--rules: the default policy cannot keep rules; .* adaptive$/);
    assertRefused(runs.compareUnable!, 'TOPOLOGY', /^--rules: the default policy cannot keep rules/);
    assertRefused(runs.unknown!, 'RANGE', /^--rules: pinned\[0\]\.ranks\[0\]: 4 is not from 0 to 3$/);
    assertRefused(
      runs.tooMuch!,
      'RULES',
      /^--rules: pinned: layer 0: 5 experts are pinned to rank 2, which has 4 open slots/,
    );
    assertRefused(runs.missing!, 'FILE', /--rules/);
  });

  test('validate lists where a placement breaks them, and its exit code says so', () => {
    assert.equal(runs.broken!.code, 3);
    const report = reports.broken as { readonly rules: { readonly broken: unknown } };
    assert.deepEqual(schemaErrors(packageSchema('schemas/validate-report.schema.json'), report), []);
    assert.deepEqual(report.rules.broken, [
      { layer: 0, expert: 0, rank: 3, rule: 'missing' },
      { layer: 0, expert: 0, rank: 2, rule: 'elsewhere' },
      { layer: 0, expert: 1, rank: 3, rule: 'missing' },
      { layer: 0, expert: 1, rank: 2, rule: 'elsewhere' },
      { layer: 0, expert: 5, rank: 3, rule: 'replicated' },
      { layer: 0, expert: 7, rank: 2, rule: 'missing' },
      { layer: 1, expert: 5, rank: 3, rule: 'replicated' },
      { layer: 1, expert: 7, rank: 2, rule: 'missing' },
    ]);
    const text = runs.brokenText!.stdout;
    assert.match(text, /rules {2}broken 8 times, in 2 layers/);
    assert.match(text, /\n +0 +0 +3 {3}is pinned to the rank, which has no copy\n/);
  });

  test('inspect lists them beside the balance, with the shared expert counted', () => {
    assert.equal(runs.inspected!.code, 0, runs.inspected!.stderr);
    const report = reports.inspected as { readonly rules: unknown };
    assert.deepEqual(schemaErrors(packageSchema('schemas/inspect-report.schema.json'), report), []);
    assert.deepEqual(report.rules, (reports.broken as { readonly rules: unknown }).rules);
    assertRefused(runs.inspectedAlone!, 'OPTION', /^--rules: .*give --placement FILE$/);
  });

  test('a rank of the placement without experts lacks the copies that are pinned to it', () => {
    assert.equal(runs.retired!.code, 3, runs.retired!.stderr);
    const report = reports['retired-report'] as { readonly rules: { readonly broken: unknown } };
    assert.deepEqual(report.rules.broken, [
      { layer: 0, expert: 0, rank: 3, rule: 'missing' },
      { layer: 0, expert: 1, rank: 3, rule: 'missing' },
    ]);
  });

  test('replays, comparisons and sweeps keep them, also where ranks die and come back', () => {
    assert.equal(runs.replay!.code, 0, runs.replay!.stderr);
    const report = reports.replay;
    assert.deepEqual(schemaErrors(packageSchema('schemas/replay-report.schema.json'), report), []);
    for (const name of ['compare', 'sweep']) assert.equal(runs[name]!.code, 0, runs[name]!.stderr);
    assert.match(runs.compare!.stdout, /static .*\n.*adaptive/);
  });
});
