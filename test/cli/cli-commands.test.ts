/** What holds for every command: unknown and missing options, `--json`, and help that fits the terminal. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { SUBCOMMANDS } from '../../src/cli/commands/registry.ts';
import { eplbMany, inTempDir, type Line, type LineRun } from '../helpers/cli.ts';
import { h200Calibration } from '../helpers/cost.ts';
import { packageSchema, schemaErrors } from '../helpers/json-schema.ts';
import { npyFile } from '../helpers/npy.ts';
import { assertRefused } from '../helpers/refusal.ts';

interface Usage {
  /** Arguments that work. */
  readonly args: readonly string[];
  /** What is missing where nothing is given. */
  readonly missing?: string;
  /** `kind` of its JSON. */
  readonly kind?: string;
  /** Variants whose JSON has other parts. */
  readonly more?: readonly (readonly string[])[];
}

const SIZES = ['--slots', '6', '--ranks', '2'];
const SIZED = 'recording, --slots, --ranks';

const USAGES: Readonly<Record<string, Usage>> = {
  plan: {
    args: ['loads.npy', ...SIZES],
    missing: SIZED,
    kind: 'plan-report',
    more: [
      ['--start-from', 'placement.json', '-o', 'out.json'],
      ['--slots-per-rank', '3,2', '--policy', 'adaptive'],
    ],
  },
  convert: { args: ['placement.json', 'out.json'], missing: 'in, out', kind: 'convert-report' },
  validate: {
    args: ['placement.json', '--ranks', '2', '--for', 'sglang'],
    missing: 'placement',
    kind: 'validate-report',
    more: [
      ['--against', 'loads.npy', '--for', 'all'],
      ['--against', 'loads.npy', '--survive', 'node', '--nodes', '2'],
      ['--survive', 'rank'],
    ],
  },
  transfer: {
    args: ['placement.json', 'next.json', '--ranks', '2'],
    missing: 'from, to',
    kind: 'transfer-report',
    more: [
      ['--bytes-per-expert', '1000', '--staging', '1', '-o', 'moves.json'],
      ['--duplex', 'half', '--relay', '--nodes', '2', '--cost', 'h200:gpt-oss-120b'],
    ],
  },
  formats: { args: [], kind: 'formats-report' },
  replay: {
    args: ['loads.npy', ...SIZES, '--interval', '2'],
    missing: SIZED,
    kind: 'replay-report',
    more: [
      ['--cost', 'competition'],
      ['--cost', 'h200:deepseek-v3', '--threshold', '2'],
    ],
  },
  compare: { args: ['loads.npy', ...SIZES, '--interval', '2'], missing: SIZED, kind: 'replay-report' },
  sweep: {
    args: ['loads.npy', '--slots', '6,7', '--ranks', '2', '--interval', '2', '--policy', 'static,default'],
    missing: SIZED,
    kind: 'replay-report',
  },
  inspect: { args: ['loads.npy'], missing: 'recording', kind: 'inspect-report' },
  calibrate: { args: ['measured.json'], kind: 'calibrate-report' },
  synth: {
    args: ['--layers', '1', '--experts', '4', '--top-k', '1', '--num-steps', '2', '-o', 'synth.npy'],
    missing: '--output',
    kind: 'synth-report',
  },
  serve: { args: ['--check-config'] },
  top: { args: ['--once'] },
  'fake-engine': { args: ['--recording', 'loads.npy'], missing: '--recording' },
  completion: { args: ['bash'], missing: 'shell' },
};

/** One line of every test, in order: those that print JSON are the last. */
const LINES: readonly (readonly [key: string, line: Line])[] = [
  ...Object.entries(USAGES).flatMap(([name, { args, kind, missing, more = [] }]) => {
    const line = (what: string, ...rest: string[]) => [`${name} ${what}`, { args: [name, ...rest] }] as const;
    const help = (columns: number) =>
      [`${name} help ${columns}`, { args: [name, '--help'], columns }] as const;
    return [
      line('unknown', ...args, '--nonsense'),
      ...(missing === undefined ? [] : [line('missing')]),
      ...[40, 80].map(help),
      ...(kind === undefined ? [] : [line('file', ...args, '--json', `${name}.json`)]),
      ...more.map((own, i) => line(`more ${i}`, ...args, ...own, '--json', `${name}-${i}.json`)),
      ...(kind === undefined ? [] : [[`${name} text`, { args: [name, ...args], columns: 40 }] as const]),
    ];
  }),
  ...Object.entries(USAGES).flatMap(([name, { args, kind }]) =>
    (kind === undefined ? [] : [['--json'], ['--json', '-']]).map(
      (json) => [`${name} ${json.join(' ')}`, { args: [name, ...args, ...json] }] as const,
    ),
  ),
];

/** Where a line is as long as one word of it, it cannot be shorter. */
function assertFits(text: string, columns: number): void {
  for (const line of text.split('\n')) {
    const words = line.trim().split(' ');
    assert.ok(line.length <= columns || words.length === 1, `${line.length}: ${line}`);
  }
}

describe('every command', () => {
  const runs = new Map<string, LineRun>();
  const files = new Map<string, unknown>();
  const run = (key: string) => runs.get(key)!;

  before(() =>
    inTempDir(async (dir) => {
      const values = Array.from({ length: 8 * 2 * 4 }, (_, i) => 1 + ((i * 5) % 7));
      await writeFile(join(dir, 'loads.npy'), npyFile({ descr: '<f4', shape: [8, 2, 4], values }));
      const rows = [0, 1].map(() => [0, 1, 2, 3, 0, 1]);
      await writeFile(join(dir, 'placement.json'), JSON.stringify({ physical_to_logical_map: rows }));
      const next = [0, 1].map(() => [0, 3, 2, 1, 0, 2]);
      await writeFile(join(dir, 'next.json'), JSON.stringify({ physical_to_logical_map: next }));
      await writeFile(join(dir, 'measured.json'), JSON.stringify(h200Calibration()));
      const all = await eplbMany(
        LINES.map(([, line]) => line),
        dir,
      );
      for (const [i, [key]] of LINES.entries()) runs.set(key, all[i]!);
      for (const file of all.at(-1)!.files.filter((name) => name.endsWith('.json'))) {
        files.set(file, JSON.parse(await readFile(join(dir, file), 'utf8')));
      }
    }),
  );

  test('is in this table', () => {
    assert.deepEqual(
      Object.keys(USAGES),
      SUBCOMMANDS.map(({ name }) => name),
    );
  });

  test('made no file called -', () => {
    assert.ok(!run(LINES.at(-1)![0]).files.includes('-'));
  });

  for (const [name, { kind, missing, more = [] }] of Object.entries(USAGES)) {
    test(`${name} refuses an option that is none`, () => {
      assertRefused(run(`${name} unknown`), 'OPTION', /^--nonsense: unknown option.*see eplb/);
    });

    if (missing !== undefined) {
      test(`${name} names at once all that is missing`, () => {
        assertRefused(run(`${name} missing`), 'OPTION', new RegExp(`^${missing}: required but not given`));
      });
    }

    for (const columns of [40, 80]) {
      test(`the help of ${name} fits ${columns} columns, and marks what is required`, () => {
        const help = run(`${name} help ${columns}`);
        assert.deepEqual([help.code, help.stderr], [0, '']);
        assertFits(help.stdout, columns);
        for (const part of ['Usage: eplb', 'Examples:', 'Exit codes:']) assert.ok(help.stdout.includes(part));
        const numRequired = missing === undefined ? 0 : missing.split(', ').length;
        assert.equal(help.stdout.match(/\(required\)/g)?.length ?? 0, numRequired);
      });
    }

    if (kind === undefined) continue;
    test(`${name} fits 40 columns`, () => {
      const { code, stdout, stderr } = run(`${name} text`);
      assert.deepEqual([code, stderr], [0, '']);
      assertFits(stdout, 40);
    });

    test(`${name} writes the same JSON to a file, with - and without, as its schema says`, () => {
      const schema = packageSchema(`schemas/${kind}.schema.json`);
      const toFile = run(`${name} file`);
      assert.deepEqual([toFile.code, toFile.stderr], [0, '']);
      assert.ok(toFile.stdout.length > 0 && !toFile.stdout.startsWith('{'));
      const printed = ['--json', '--json -'].map((json) => {
        const { code, stdout, stderr } = run(`${name} ${json}`);
        assert.deepEqual([code, stderr], [0, '']);
        return JSON.parse(stdout);
      });
      const all = [
        files.get(`${name}.json`),
        ...printed,
        ...more.map((_, i) => files.get(`${name}-${i}.json`)),
      ];
      for (const report of all) {
        assert.deepEqual(schemaErrors(schema, report), []);
        assert.equal((report as { kind: string }).kind, kind);
        assert.deepEqual(
          keysOf(report).filter((key) => !/^[a-z][A-Za-z0-9]*$/.test(key)),
          [],
        );
      }
      assert.deepEqual(Object.keys(all[0] as object), Object.keys(all[1] as object));
    });
  }
});

/** Names of all fields, at any depth. */
function keysOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const own = Array.isArray(value) ? [] : Object.keys(value);
  return [...own, ...Object.values(value).flatMap(keysOf)];
}
