import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import type { ReplayResult, SweepPointDone } from 'expert-load-balancer/replay';
import { eplbMany, inTempDir, type Line, type LineRun } from '../helpers/cli.ts';
import { packageSchema, schemaErrors } from '../helpers/json-schema.ts';
import { assertRefused } from '../helpers/refusal.ts';

/** Two layers of four experts, 24 steps. */
const LOADS = Array.from({ length: 24 }, (_, step) => [
  [9, 2, 4, 1 + (step % 3)],
  [1, 8, 2, 3],
]);
const YAML = `# Three nodes of two racks
ranks: 5
nodes: [0-1, 2-3, 4]
slotsPerRank: 2
rankSpeed: { 1: 0.5 }
deadRanks: 4
failureDomains:
  rack: [0-1, 2-4]
`;
const FILE = ['--topology', 'devices.yaml'];
const PLAN = ['plan', 'loads.json', ...FILE];
const REPLAY = ['--slots', '8', '--ranks', '4', '--nodes', '2', '--interval', '6', '--planning-time', '0'];
const SURVIVE = ['--survive', 'node'];
const EVENTS = ['--fail', '1@8', '--recover', '1@14', '--slow', '2:0.5@18', '--grow', '1@21'];

const LINES: Readonly<Record<string, Line>> = {
  plan: {
    args: [...PLAN, '--policy', 'adaptive', '-o', 'next.json', '--to', 'tables-json', '--json', 'plan.json'],
  },
  agreeing: { args: [...PLAN, '--policy', 'adaptive', '--ranks', '5', '--nodes', '3', '--groups', '2'] },
  other: { args: [...PLAN, '--policy', 'adaptive', '--ranks', '4'] },
  otherSlots: { args: [...PLAN, '--policy', 'adaptive', '--slots-per-rank', '2,2,2,1,0', '--slots', '12'] },
  unable: { args: PLAN },
  missing: { args: ['plan', 'loads.json', '--topology', 'ranks.yaml'] },
  uneven: { args: ['plan', 'loads.json', '--slots', '7', '--ranks', '3', '--policy', 'adaptive'] },
  engine: { args: [...PLAN, '--policy', 'adaptive', '-o', 'engine.json'] },
  inspect: { args: ['inspect', 'loads.json', ...FILE, '--json', 'inspect.json'] },
  convert: { args: ['convert', 'even.json', 'expert_map.json', ...FILE] },
  validate: {
    args: ['validate', 'even.json', '--topology', 'alive.yaml', '--survive', 'rack', '--json', 'v.json'],
  },
  transfer: { args: ['transfer', 'even.json', 'odd.json', ...FILE, '--json', 't.json'] },
  sweep: { args: ['sweep', 'loads.json', '--slots', '8', '--topology', 'ranks.yaml', '-o', 'sweep.csv'] },
  sweepOther: { args: ['sweep', 'loads.json', '--slots', '8', '--ranks', '2,4', '--topology', 'ranks.yaml'] },
  events: {
    args: [
      'compare',
      'loads.json',
      ...REPLAY,
      '--policies',
      'static,default',
      ...EVENTS,
      '--json',
      'c.json',
      '--report',
      'c.html',
    ],
  },
  survive: {
    args: [
      'compare',
      'loads.json',
      ...REPLAY,
      '--policies',
      'default,adaptive',
      ...SURVIVE,
      '--json',
      's.json',
    ],
  },
  survivor: { args: ['replay', 'loads.json', ...REPLAY, '--policy', 'adaptive', ...SURVIVE] },
  survivorsOfRank: {
    args: [
      ...['sweep', 'loads.json', '--slots', '6,8', '--ranks', '2', '--nodes', '2', '--interval', '6'],
      ...['--policy', 'adaptive', '--survive', 'rank'],
    ],
  },
  survivors: {
    args: [
      ...['sweep', 'loads.json', '--slots', '4,6,8', '--ranks', '2', '--nodes', '2', '--interval', '6'],
      ...['--policy', 'static,adaptive', ...SURVIVE, '--json', 'sweep.json'],
    ],
  },
  noSurvivor: { args: ['compare', 'loads.json', ...REPLAY, '--policies', 'static,default', ...SURVIVE] },
  noLevel: { args: ['replay', 'loads.json', ...REPLAY, '--policy', 'adaptive', '--survive', 'rack'] },
  late: { args: ['replay', 'loads.json', ...REPLAY, '--fail', 'node:1@24'] },
  tooMany: { args: ['replay', 'loads.json', ...REPLAY, '--fail', '0-2@3'] },
  noSpeed: { args: ['replay', 'loads.json', ...REPLAY, '--fail', '1@2', '--slow', '3:0@5'] },
  noRanks: { args: ['replay', 'loads.json', ...REPLAY, '--grow', '0@5'] },
  tooManyRanks: { args: ['replay', 'loads.json', ...REPLAY, '--grow', '99999999@5'] },
  twice: { args: ['replay', 'loads.json', ...REPLAY, '--fail', '1@3', '--fail', '0,1@3'] },
  noNode: { args: ['replay', 'loads.json', ...REPLAY, '--recover', 'node:7@3'] },
  noRank: { args: ['replay', 'loads.json', ...REPLAY, '--slow', '9-x:0.5@3'] },
  fewSlots: { args: ['plan', 'loads.json', '--slots', '8', '--ranks', '2', '--slots-per-rank', '1,1'] },
  manyThreads: { args: ['plan', 'loads.json', '--slots', '8', '--ranks', '2', '--threads', '5000'] },
  manyRanks: { args: ['inspect', 'loads.json', '--ranks', '9'] },
  oddNodes: { args: ['validate', 'even.json', '--ranks', '5', '--nodes', '4', '--survive', 'node'] },
  oddRanks: { args: ['transfer', 'even.json', 'odd.json', '--ranks', '3'] },
  noEvent: { args: ['replay', 'loads.json', ...REPLAY, '--slow', '3@4'] },
  yardstick: { args: ['replay', 'loads.json', ...REPLAY, '--fail', '1@8', '--cost', 'competition'] },
};

const ROWS = [
  [0, 1, 2, 3, 0, 1, 2, 3, 0, 1],
  [3, 2, 1, 0, 3, 2, 1, 0, 3, 2],
];

describe('eplb --topology and events', () => {
  const runs = new Map<string, LineRun>();
  const files = new Map<string, string>();
  const run = (name: string) => runs.get(name)!;
  const json = (name: string) => JSON.parse(files.get(name)!);

  before(() =>
    inTempDir(async (dir) => {
      const write = (name: string, text: string) => writeFile(join(dir, name), text);
      await write('loads.json', JSON.stringify({ logical_count: LOADS }));
      await write('devices.yaml', YAML);
      await write('alive.yaml', YAML.replace('deadRanks: 4\n', ''));
      await write('ranks.yaml', 'ranks: 4\nnodes: 2\n');
      await write('even.json', JSON.stringify({ physical_to_logical_map: ROWS }));
      await write('odd.json', JSON.stringify({ physical_to_logical_map: [...ROWS].reverse() }));
      const names = Object.keys(LINES);
      const done = await eplbMany(Object.values(LINES), dir);
      for (const [at, name] of names.entries()) runs.set(name, done[at]!);
      const { readFile } = await import('node:fs/promises');
      const written = ['plan.json', 'inspect.json', 'v.json', 't.json', 'c.json', 's.json', 'sweep.json'];
      for (const name of [...written, 'sweep.csv', 'c.html']) {
        files.set(name, await readFile(join(dir, name), 'utf8'));
      }
    }),
  );

  const succeeds = (name: string) => assert.deepEqual([run(name).code, run(name).stderr], [0, ''], name);

  test('a plan is for what the file says, and an option may say the same', () => {
    succeeds('plan');
    succeeds('agreeing');
    const { topology, physicalToLogical } = json('plan.json');
    assert.deepEqual(schemaErrors(packageSchema('schemas/plan-report.schema.json'), json('plan.json')), []);
    assert.deepEqual([topology.numNodes, topology.nodeOfRank], [3, [0, 0, 1, 1, 2]]);
    assert.deepEqual(
      [topology.slotsPerRank, topology.rankSpeed],
      [
        [2, 2, 2, 2, 0],
        [1, 0.5, 1, 1, 1],
      ],
    );
    for (const row of physicalToLogical) assert.deepEqual(row.slice(8), [-1, -1]);
  });

  test('an option that says otherwise, a size that nobody says and a policy that cannot are refused', () => {
    assertRefused(run('other'), 'OPTION', /^--ranks: 4, but --topology "devices.yaml" has 5$/);
    assertRefused(run('otherSlots'), 'OPTION', /^--slots: 12, but --topology "devices.yaml" has 10$/);
    assertRefused(run('missing'), 'OPTION', /^--slots: required but not given; see eplb plan --help$/);
    assertRefused(
      run('unable'),
      'TOPOLOGY',
      /^--ranks: 5 is not a multiple of --nodes 3: .*policies that can plan this: locality, adaptive$/,
    );
    assertRefused(run('engine'), 'MAPPING', /^sglang has no empty slots; the placement has some$/);
    assertRefused(run('sweepOther'), 'OPTION', /^--ranks: 2, but --topology has 4$/);
  });

  test('slots need not be a multiple of ranks', () => {
    succeeds('uneven');
    assert.match(run('uneven').stdout, /4 in 7 slots.*\n.*3 ranks of 2 to 3 slots/);
  });

  test('other commands take what concerns them', () => {
    for (const name of ['inspect', 'convert', 'validate', 'sweep']) succeeds(name);
    assert.equal(run('transfer').code, 3, 'a dead rank gets nothing');
    assert.equal(json('inspect.json').noise.numRanks, 4, 'those that live');
    assert.deepEqual(json('v.json').survival.level, 'rack');
    assert.equal(json('v.json').survival.numDomains, 2);
    assert.ok(json('t.json').layers.every(({ undone }: { undone: number }) => undone === 2));
    assert.match(files.get('sweep.csv')!, /worst_rank_loses_load,worst_node_loses_experts/);
  });

  test('what changes of ranks lose is told in the table, the JSON and the page', () => {
    succeeds('events');
    const { stdout } = run('events');
    for (const text of [
      'before step 8: rank 1 fails',
      'rank 1 returns',
      'rank 2 at speed 0.5',
      '1 rank more',
    ]) {
      assert.ok(stdout.includes(text), text);
      assert.ok(files.get('c.html')!.includes(text.replace(/^.*: /, '')), text);
    }
    assert.deepEqual(schemaErrors(packageSchema('schemas/replay-report.schema.json'), json('c.json')), []);
    for (const { rankChanges } of json('c.json').replays) {
      assert.deepEqual(
        rankChanges.map(({ step, numLiveRanks }: Record<string, number>) => [step, numLiveRanks]),
        [
          [8, 3],
          [14, 4],
          [18, 4],
          [21, 5],
        ],
      );
    }
  });

  test('a comparison shows what the worst failure loses, and what it costs to survive it', () => {
    succeeds('survive');
    const { stdout } = run('survive');
    assert.match(stdout, /the worst +rank: +load that +node: +load that/);
    const replays: ReplayResult[] = json('s.json').replays;
    assert.deepEqual(schemaErrors(packageSchema('schemas/replay-report.schema.json'), json('s.json')), []);
    assert.deepEqual(
      replays.map(({ name, configuration }) => [name, configuration.survive]),
      [
        ['default', undefined],
        ['adaptive', undefined],
        ['adaptive +node', 'node'],
      ],
    );
    const [, , survives] = replays;
    const node = survives!.failureLosses!.find(({ level }) => level === 'node')!;
    assert.equal(node.loadShare, 0, 'eight slots hold four experts on two nodes each');
    assert.match(stdout, /^ adaptive \+node +.* 0\.0% +100\.0%$/m);
    succeeds('survivor');
    assert.match(run('survivor').stdout, /policy +adaptive; as much load as can survives any node\n/);
    assert.match(run('survivor').stdout, /^ adaptive +.* 0\.0% +100\.0%$/m);
  });

  test('a sweep tells how many slots lose how much', () => {
    succeeds('survivors');
    const { points } = json('sweep.json').sweep;
    const losses = points.map(({ policy, numPhysicalExperts, failureLosses }: SweepPointDone) => [
      policy,
      numPhysicalExperts,
      failureLosses!.find(({ level }) => level === 'node')!.loadShare === 0,
    ]);
    assert.deepEqual(
      losses.filter(([, , losesNothing]: [string, number, boolean]) => losesNothing),
      [
        ['static', 8, true],
        ['adaptive', 8, true],
      ],
    );
    assert.match(run('survivors').stdout, /a node +loses least with static, 8 slots, .*: 0\.0%\n/);
    assert.match(run('survivors').stdout, / survive the failure of any node take static, 8 slots/);
    assert.match(run('survivorsOfRank').stdout, / survive the failure of any rank take adaptive, 8 slots/);
    assert.match(run('survivors').stdout, /to lose none +at least 8 slots: each expert twice/);
  });

  test('survival is refused where nothing can plan for it', () => {
    assertRefused(run('noSurvivor'), 'OPTION', /^--survive: only the adaptive .*; give --policies adaptive$/);
    assertRefused(run('noLevel'), 'RANGE', /^--survive: "rack" is not a level .*; there are rank, node$/);
  });

  test('changes that cannot be are refused by the option and what was typed', () => {
    assertRefused(run('late'), 'RANGE', /^--fail: "node:1@24", but the last step that is replayed is 23$/);
    assertRefused(
      run('tooMany'),
      'TOPOLOGY',
      /^--fail: "0-2@3": the live ranks have 2 open slots for 4 experts/,
    );
    assertRefused(
      run('noEvent'),
      'OPTION',
      /^--slow: "3@4" is not a change before a step; write it like 7:0\.8@100$/,
    );
    assertRefused(run('noSpeed'), 'RANGE', /^--slow: "3:0@5": 0 is not from 0\.\d+ to \d+: /);
    assertRefused(run('noRanks'), 'RANGE', /^--grow: "0@5": 0 is not from 1 to \d+$/);
    assertRefused(run('tooManyRanks'), 'RANGE', /^--grow: "99999999@5": 99999999 is not from 1 to \d+$/);
    assertRefused(run('twice'), 'TOPOLOGY', /^--fail: "0,1@3": rank 1 is dead then$/);
    assertRefused(run('noNode'), 'RANGE', /^--recover: "node:7@3": there is no node 7$/);
    assert.match(run('noRank').stderr, /^eplb: --slow: "9-x:0\.5@3": /);
    assertRefused(run('fewSlots'), 'TOPOLOGY', /^--slots-per-rank: 2 slots .* than the logical experts, 4: /);
    assertRefused(run('manyThreads'), 'RANGE', /^--threads: 5000 is not from 0 to 1024$/);
    assertRefused(run('manyRanks'), 'RANGE', /^--ranks: 9 is not from 1 to 4$/);
    assertRefused(
      run('oddNodes'),
      'TOPOLOGY',
      /^--ranks: 5 is not a multiple of --nodes 4, .*: say which node each rank is on \(nodes of --topology\)$/,
    );
    assertRefused(run('oddRanks'), 'SHAPE', /^--ranks: 3 does not divide the 10 slots of the placements$/);
    assertRefused(run('yardstick'), 'OPTION', /^--fail: --cost competition compares/);
  });
});
