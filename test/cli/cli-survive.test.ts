import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { ExpertMapping, type SurvivalSummary, survival } from 'expert-load-balancer';
import { eplbMany, inTempDir, type Line, type LineRun } from '../helpers/cli.ts';
import { packageSchema, schemaErrors } from '../helpers/json-schema.ts';

const ROWS = [
  [0, 1, 2, 3, 0, 1],
  [3, 1, 2, 0, 0, 2],
];
const LOADS = [
  [6, 2, 1, 1],
  [0, 5, 3, 2],
];
const RANKS = ['--ranks', '3'];

/** Of `eplb validate placement.json`. */
const LINES: Readonly<Record<string, Line>> = {
  text: { args: [...RANKS, '--survive', 'rank', '--against', 'loads.json'] },
  narrow: { args: [...RANKS, '--survive', 'rank', '--against', 'loads.json'], columns: 40 },
  unloaded: { args: [...RANKS, '--survive', 'rank'] },
  loaded: { args: [...RANKS, '--survive', 'rank', '--against', 'loads.json', '--json', 'loaded.json'] },
  node: { args: [...RANKS, '--survive', 'node', '--nodes', '3', '--json', 'node.json'] },
  noRanks: { args: ['--survive', 'rank', '--json', 'no-ranks.json'] },
  noNodes: { args: [...RANKS, '--survive', 'node'] },
  onlyNodes: { args: [...RANKS, '--nodes', '3'] },
  badNodes: { args: [...RANKS, '--survive', 'node', '--nodes', '4'] },
  rack: { args: [...RANKS, '--survive', 'rack'] },
  closed: { args: ['--topology', 'closed.json', '--survive', 'rank'] },
};
/** Rows whose ranks have an empty slot each, behind the others; and what may stand beside them. */
const OPEN_ROWS = [[0, 1, -1, 2, 3, -1, 0, 1, -1]];
const BESIDE: Readonly<
  Record<string, { readonly topology: object; readonly rules?: object; readonly most: number }>
> = {
  nodes: { topology: { ranks: 3, nodes: ['0-1', 2] }, most: 2 },
  shared: { topology: { ranks: 3 }, rules: { sharedExpert: { load: 0.5 } }, most: 2 },
  sharedBesides: { topology: { ranks: 3, slotsPerRank: 3 }, rules: { sharedExpert: { load: 0.5 } }, most: 2 },
  toldSlots: { topology: { ranks: 3, slotsPerRank: 3 }, most: 4 },
  toldUneven: { topology: { ranks: 3, slots: 7 }, most: 3 },
  toldEach: { topology: { ranks: 3, slotsPerRank: [3, 2, 2] }, most: 3 },
};

describe('eplb validate --survive', () => {
  const runs = new Map<string, LineRun>();
  const files = new Map<string, { survival: unknown }>();
  const run = (name: string) => runs.get(name)!;

  before(() =>
    inTempDir(async (dir) => {
      await writeFile(join(dir, 'placement.json'), JSON.stringify({ physical_to_logical_map: ROWS }));
      await writeFile(join(dir, 'closed.json'), JSON.stringify({ ranks: 3, deadRanks: 1 }));
      await writeFile(join(dir, 'loads.json'), JSON.stringify({ logical_count: LOADS }));
      const lines = Object.values(LINES);
      const all = await eplbMany(
        lines.map((line) => ({ ...line, args: ['validate', 'placement.json', ...line.args] })),
        dir,
      );
      for (const [i, name] of Object.keys(LINES).entries()) runs.set(name, all[i]!);
      await writeFile(join(dir, 'open.json'), JSON.stringify({ physical_to_logical_map: OPEN_ROWS }));
      for (const [name, { topology, rules = {} }] of Object.entries(BESIDE)) {
        await writeFile(join(dir, `${name}-t.json`), JSON.stringify(topology));
        await writeFile(join(dir, `${name}-r.json`), JSON.stringify(rules));
      }
      const beside = await eplbMany(
        Object.keys(BESIDE).map((name) => {
          const given = ['--topology', `${name}-t.json`, '--rules', `${name}-r.json`, '--survive', 'rank'];
          return { args: ['validate', 'open.json', '--experts', '4', ...given, '--json', `${name}.json`] };
        }),
        dir,
      );
      for (const [i, name] of Object.keys(BESIDE).entries()) {
        assert.equal(beside[i]!.stderr, '');
        files.set(name, JSON.parse(await readFile(join(dir, `${name}.json`), 'utf8')));
      }
      for (const file of ['loaded', 'node', 'no-ranks'])
        files.set(file, JSON.parse(await readFile(join(dir, `${file}.json`), 'utf8')));
    }),
  );

  test('writes what the library tells', () => {
    const mapping = ExpertMapping.fromPhysicalToLogical(ROWS);
    const loaded = survival(mapping, { level: 'rank', numRanks: 3, loads: LOADS });
    assert.deepEqual(files.get('loaded')!.survival, { ...loaded, reason: null });
    const node = survival(mapping, { level: 'node', numRanks: 3, numNodes: 3 });
    assert.deepEqual(files.get('node')!.survival, { ...node, reason: null });
  });

  test('open are the slots that a file of topology tells, or else those that the placement reaches', () => {
    for (const [name, { most }] of Object.entries(BESIDE)) {
      const { overall } = files.get(name)!.survival as { overall: SurvivalSummary };
      assert.equal(overall.mostSurviving, most, name);
    }
  });

  test('prints each layer, wide and narrow', () => {
    assert.equal(run('text').code, 0);
    const table = run('text').stdout.split('\n\n').slice(-2).join('\n\n');
    assert.equal(
      table,
      ` survives any rank  4 of 8 experts (50.0%), 55.0% of the load: copies on two or more of 3
 at most            4 of 8 experts (50.0%), 80.0% of the load, in these slots
 worst failure      rank 0 loses 2 of 8 experts (25.0%), 35.0% of the load

         survive   at most   survives   at most   worst     loses   loses
 layer   experts   experts       load      load    rank   experts    load   which
     0         2         2      80.0%     80.0%       1         2   20.0%   2, 3
     1         2         2      30.0%     80.0%       0         2   70.0%   1, 3
`,
    );
    const narrow = run('narrow').stdout;
    assert.match(narrow, /layer 1\n(.*\n)* +worst rank +0\n(.*\n)* +which +1, 3/);
    for (const line of narrow.split('\n')) assert.ok(line.length <= 40, line);
    assert.doesNotMatch(run('unloaded').stdout, /load/);
    assert.match(run('unloaded').stdout, /^ +0 +2 +2 +1 +2 +2, 3$/m);
  });

  test('says why there is nothing to tell', () => {
    const reason = 'the ranks are not known, or do not divide the slots';
    assert.deepEqual(files.get('no-ranks')!.survival, { level: 'rank', reason });
  });

  test('refuses what is not a level, and nodes that are not known', () => {
    const refused: readonly [name: string, message: RegExp][] = [
      ['noNodes', /^eplb: --survive: which ranks share a node is not known; give --nodes .*EPLB_OPTION\)\n$/],
      ['onlyNodes', /^eplb: --nodes: .*; give --survive as well \(EPLB_OPTION\)\n$/],
      ['badNodes', /^eplb: --ranks: 3 is not a multiple of --nodes 4.*\(EPLB_TOPOLOGY\)\n$/],
      ['closed', /^eplb: placement: layer 0: slot 2 holds expert 2, but is closed: .*\(EPLB_MAPPING\)\n$/],
      ['rack', /^eplb: --survive: "rack" is not a level .*; there are rank, node \(EPLB_RANGE\)\n$/],
    ];
    for (const [name, message] of refused) {
      assert.equal(run(name).code, 2, name);
      assert.match(run(name).stderr, message);
    }
  });
});

test('eplb plan --survive keeps as much load as can be, and shows what that costs', async () => {
  await inTempDir(async (dir) => {
    const loads = [[9, 7, 5, 3, 2, 2, 1, 1]];
    await writeFile(join(dir, 'loads.json'), JSON.stringify({ logical_count: loads }));
    const sizes = [
      'plan',
      'loads.json',
      '--slots',
      '12',
      '--ranks',
      '4',
      '--nodes',
      '2',
      '--survive',
      'node',
    ];
    const [text, byDefault, rack, json] = await eplbMany(
      [
        { args: [...sizes, '--policy', 'adaptive'] },
        { args: sizes },
        { args: [...sizes.slice(0, -1), 'rack', '--policy', 'adaptive'] },
        { args: [...sizes, '--policy', 'adaptive', '--json', 'plan.json'] },
      ],
      dir,
    );
    assert.match(
      text!.stdout,
      /^ survives any node +4 of 8 experts \(50\.0%\), 80\.0% of the load: copies on two or more of 2$/m,
    );
    assert.match(text!.stdout, /^ without that +balancedness, ratio of sums, [01]\.\d{4}, in \d+ moves?$/m);
    assert.match(byDefault!.stderr, /--survive: only the adaptive policy can do that; .*\(EPLB_OPTION\)\n$/);
    assert.match(rack!.stderr, /--survive: "rack" is not a level .*\(EPLB_RANGE\)\n$/);
    assert.equal(json!.code, 0);
    const report = JSON.parse(await readFile(join(dir, 'plan.json'), 'utf8'));
    assert.deepEqual(schemaErrors(packageSchema('schemas/plan-report.schema.json'), report), []);
    const mapping = ExpertMapping.fromPhysicalToLogical(report.physicalToLogical);
    const { layers: _, ...told } = survival(mapping, { level: 'node', numRanks: 4, numNodes: 2, loads });
    const { without, ...found } = report.survival;
    assert.deepEqual(found, told);
    assert.equal(told.overall.share, told.overall.mostShare);
    assert.ok(without.after.balancednessRatioOfSums >= report.after.balancednessRatioOfSums);
  });
});
