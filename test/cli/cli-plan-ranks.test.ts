import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { fewestMoves } from '../helpers/adaptive.ts';
import { eplbMany, inTempDir, type LineRun } from '../helpers/cli.ts';
import { packageSchema, schemaErrors } from '../helpers/json-schema.ts';
import { npyFile } from '../helpers/npy.ts';

const NUM_EXPERTS = 8;
/** Four ranks of three slots. */
const ROWS = [
  [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3],
  [7, 6, 5, 4, 3, 2, 1, 0, 7, 6, 5, 0],
];
const ADAPTIVE = [
  ...['--policy', 'adaptive', '--start-from', 'now.json', '--max-moves', '0'],
  ...['--threads', '0'],
];

const FIVE = ADAPTIVE.map((word) => (word === 'now.json' ? 'five.json' : word));

/** Of `eplb plan loads.npy`. */
const LINES: Readonly<Record<string, readonly string[]>> = {
  added: ['--slots', '15', '--ranks', '5', ...ADAPTIVE, '--json', 'added.json'],
  addedFreely: ['--slots', '15', '--ranks', '5', '--start-from', 'now.json', '--json', 'freely.json'],
  larger: ['--slots', '16', '--ranks', '4', '--start-ranks', '4', ...ADAPTIVE, '--json', 'larger.json'],
  smaller: ['--slots', '8', '--ranks', '4', '--start-ranks', '4', ...ADAPTIVE, '--json', 'smaller.json'],
  fewer: ['--slots', '9', '--ranks', '3', ...ADAPTIVE, '--json', 'fewer.json'],
  retired: ['--slots', '12', '--ranks', '4', '--retire', '2', ...ADAPTIVE, '--json', 'retired.json'],
  shrunk: ['--slots', '12', '--ranks', '4', '--shrink-to', '3', ...ADAPTIVE, '--json', 'shrunk.json'],
  shrunkDead: ['--topology', 'dead.json', '--shrink-to', '4', ...FIVE, '--json', 'shrunkDead.json'],
  moreThanLive: ['--topology', 'dead.json', '--shrink-to', '5', ...FIVE],
  text: ['--slots', '12', '--ranks', '4', '--retire', '2', ...ADAPTIVE, '--keep-better'],
  unknown: ['--slots', '20', '--ranks', '4', ...ADAPTIVE],
  uneven: ['--slots', '12', '--ranks', '4', '--start-ranks', '5', ...ADAPTIVE],
  both: ['--slots', '12', '--ranks', '4', '--retire', '1', '--shrink-to', '3', ...ADAPTIVE],
  outside: ['--slots', '12', '--ranks', '4', '--retire', '4', ...ADAPTIVE],
  few: ['--slots', '12', '--ranks', '4', '--shrink-to', '2', ...ADAPTIVE],
  more: ['--slots', '12', '--ranks', '4', '--shrink-to', '5', ...ADAPTIVE],
  fromNothing: ['--slots', '12', '--ranks', '4', '--shrink-to', '3', '--policy', 'adaptive'],
  ranksOfNothing: ['--slots', '12', '--ranks', '4', '--start-ranks', '3'],
  shrunkOfOthers: ['--slots', '15', '--ranks', '5', '--shrink-to', '3', ...ADAPTIVE],
  byDefault: ['--slots', '12', '--ranks', '4', '--retire', '2'],
  noMoves: ['--slots', '12', '--ranks', '4', '--max-moves', '2'],
};

interface Report {
  readonly moves: number;
  readonly retired: number[];
  readonly startRanks: number;
  readonly topology: { readonly slotsPerRank?: number[]; readonly deadRanks?: number[] };
  readonly physicalToLogical: number[][];
  readonly before: { readonly balancednessRatioOfSums: number };
}

/** A row of ranks of three slots as one of more slots a rank, the others empty. */
const widened = (row: readonly number[], slots: number) =>
  Array.from({ length: row.length / 3 }, (_, rank) => [
    ...row.slice(3 * rank, 3 * rank + 3),
    ...new Array<number>(slots - 3).fill(-1),
  ]).flat();
/** The fewest moves of all rows, each laid out for the ranks of the plan. */
const fewest = (rows: readonly number[][], numRanks: number, slotsPerRank?: number[]) =>
  rows
    .map((row) => fewestMoves(row, { numRanks, numExperts: NUM_EXPERTS, slotsPerRank }))
    .reduce((sum, moves) => sum + moves, 0);

describe('eplb plan from a placement of other ranks', () => {
  const runs = new Map<string, LineRun>();
  const files = new Map<string, Report>();
  const run = (name: string) => runs.get(name)!;
  const report = (name: string) => files.get(name)!;

  before(() =>
    inTempDir(async (dir) => {
      const values = Array.from({ length: 8 * 2 * NUM_EXPERTS }, (_, i) => 1 + ((i * 5) % 7));
      await writeFile(join(dir, 'loads.npy'), npyFile({ descr: '<f4', shape: [8, 2, NUM_EXPERTS], values }));
      await writeFile(join(dir, 'now.json'), JSON.stringify({ physical_to_logical_map: ROWS }));
      await writeFile(join(dir, 'dead.json'), JSON.stringify({ ranks: 5, slotsPerRank: 3, deadRanks: 1 }));
      const wide = ROWS.map((row) => [...row, 4, 5, 6]);
      await writeFile(join(dir, 'five.json'), JSON.stringify({ physical_to_logical_map: wide }));
      const lines = Object.values(LINES).map((args) => ({ args: ['plan', 'loads.npy', ...args] }));
      const all = await eplbMany(lines, dir);
      for (const [i, name] of Object.keys(LINES).entries()) runs.set(name, all[i]!);
      for (const name of ['added', 'freely', 'larger', 'smaller', 'fewer', 'retired', 'shrunk', 'shrunkDead'])
        files.set(name, JSON.parse(await readFile(join(dir, `${name}.json`), 'utf8')));
    }),
  );

  test('what it writes is as the schema says', () => {
    const schema = packageSchema('schemas/plan-report.schema.json');
    for (const one of files.values()) assert.deepEqual(schemaErrors(schema, one), []);
  });

  test('ranks and slots that come are filled, and nothing else moves', () => {
    assert.equal(
      report('added').moves,
      fewest(
        ROWS.map((row) => [...row, -1, -1, -1]),
        5,
      ),
    );
    assert.equal(report('added').moves, 6);
    assert.equal(
      report('larger').moves,
      fewest(
        ROWS.map((row) => widened(row, 4)),
        4,
      ),
    );
    assert.equal(report('added').startRanks, 4);
    for (const [i, row] of report('added').physicalToLogical.entries()) {
      assert.equal(row.length, 15);
      assert.deepEqual(row.slice(0, 12), ROWS[i]);
    }
    assert.equal(report('freely').physicalToLogical[0]!.length, 15);
  });

  test('what is in ranks and slots that go moves where it has no other copy', () => {
    assert.equal(report('fewer').moves, fewest(ROWS, 4, [3, 3, 3, 0]));
    assert.equal(report('smaller').moves, fewest(ROWS, 4, [2, 2, 2, 2]));
    for (const row of [...report('fewer').physicalToLogical, ...report('smaller').physicalToLogical])
      assert.equal(new Set(row).size, NUM_EXPERTS);
    assert.equal(report('fewer').physicalToLogical[0]!.length, 9);
  });

  test('ranks that retire keep their numbers, and their slots are empty', () => {
    const { retired, topology, physicalToLogical, moves } = report('retired');
    assert.deepEqual(retired, [2]);
    assert.deepEqual(topology.deadRanks, [2]);
    assert.deepEqual(topology.slotsPerRank, [3, 3, 0, 3]);
    for (const row of physicalToLogical) {
      assert.equal(row.length, 12);
      assert.deepEqual(row.slice(6, 9), [-1, -1, -1]);
      assert.equal(new Set(row).size, NUM_EXPERTS + 1);
    }
    assert.equal(moves, fewest(ROWS, 4, [3, 3, 0, 3]));
    assert.match(run('text').stdout, /^ retired +1 rank: 2$/m);
    assert.doesNotMatch(run('text').stdout, /worse/);
  });

  test('the plan names the ranks that can best be spared', () => {
    const [chosen] = report('shrunk').retired;
    const costs = [0, 1, 2, 3].map((rank) =>
      fewest(
        ROWS,
        4,
        Array.from({ length: 4 }, (_, other) => (other === rank ? 0 : 3)),
      ),
    );
    assert.equal(report('shrunk').retired.length, 1);
    assert.equal(costs[chosen!], Math.min(...costs));
    assert.equal(report('shrunk').moves, costs[chosen!]);
  });

  test('ranks that are dead neither stay nor retire', () => {
    const { retired, topology } = report('shrunkDead');
    assert.deepEqual(retired, []);
    assert.deepEqual(topology.deadRanks, [1]);
  });

  test('refuses what cannot be', () => {
    const refused: readonly [name: string, message: RegExp][] = [
      [
        'unknown',
        /"now\.json": .* and 12 slots; the plan has .* 5 a rank: say .*\(--start-ranks\) \(EPLB_SHAPE/,
      ],
      ['uneven', /"now\.json": it has 12 slots, no multiple of 5 ranks \(EPLB_SHAPE/],
      ['both', /--shrink-to: it chooses the ranks that --retire names; give one of both \(EPLB_OPTION/],
      ['outside', /--retire: 4 is not a rank; there are ranks 0 to 3 \(EPLB_RANGE/],
      ['few', /--shrink-to: the ranks that stay have 6 slots for 8 experts, 2 too few \(EPLB_TOPOLOGY/],
      ['more', /--shrink-to: 5 ranks are more than the 4 of --ranks \(EPLB_RANGE/],
      ['moreThanLive', /--shrink-to: 5 ranks are more than the 4 that live \(EPLB_RANGE/],
      ['fromNothing', /--shrink-to: which ranks .*; give --start-from \(EPLB_OPTION/],
      ['ranksOfNothing', /--start-ranks: says how many ranks --start-from has; .*\(EPLB_OPTION/],
      ['shrunkOfOthers', /--shrink-to: it chooses from the 4 ranks of --start-from; .*\(EPLB_OPTION/],
      [
        'byDefault',
        /--retire: the default policy .*; policies that can plan this: locality, adaptive \(EPLB_TOPOLOGY/,
      ],
      ['noMoves', /--max-moves: only the adaptive policy can do that; .*\(EPLB_OPTION/],
    ];
    for (const [name, message] of refused) {
      assert.equal(run(name).code, 2, name);
      assert.match(run(name).stderr, message);
    }
  });
});
