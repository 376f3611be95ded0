import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { eplbMany, inTempDir, type LineRun } from '../helpers/cli.ts';
import { npyFile } from '../helpers/npy.ts';
import { assertRefused } from '../helpers/refusal.ts';
import { COST } from '../helpers/replay-files.ts';

const { bytesPerExpert: _, ...WITHOUT_BYTES } = COST;

/** Loads of 3 steps x 2 layers x 4 experts. */
const good = { descr: '<f4', shape: [3, 2, 4], values: Array.from({ length: 24 }, (_, i) => i) };
const withValue = (value: number) => npyFile({ ...good, values: good.values.with(13, value) });

const FILES: Readonly<Record<string, string | Uint8Array>> = {
  'good.npy': npyFile(good),
  'empty.npy': '',
  'nothing.npy': npyFile({ ...good, shape: [0, 2, 4], values: [] }),
  'cut.npy': npyFile(good).subarray(0, -5),
  'negative.npy': withValue(-3),
  'nan.npy': withValue(Number.NaN),
  'inf.npy': withValue(Number.POSITIVE_INFINITY),
  'unknown.json': JSON.stringify({ ...COST, colour: 'red' }),
  'missing.json': JSON.stringify(WITHOUT_BYTES),
  'wrong.json': JSON.stringify({ ...COST, intraNodeBytesPerSecond: -1 }),
  'list.json': '[1, 2]',
  'broken.json': '{"name": ',
};

type Case = readonly [title: string, args: readonly string[], code: string, message: RegExp];
const sized = (...more: string[]) => ['good.npy', '--replicas', '6', '--ranks', '2', ...more];
const on = (file: string) => [file, '--replicas', '6', '--ranks', '2'];

const CASES: readonly Case[] = [
  ['no such recording', on('none.npy'), 'FILE', /there is no such file/],
  ['an empty recording', on('empty.npy'), 'FORMAT', /is empty/],
  ['a recording without steps', on('nothing.npy'), 'SHAPE|FORMAT', /nothing|no step/],
  ['a truncated recording', on('cut.npy'), 'FORMAT', /truncated/],
  ['a negative load', on('negative.npy'), 'LOAD', /-3/],
  ['a load that is not a number', on('nan.npy'), 'LOAD', /NaN/],
  ['an infinite load', on('inf.npy'), 'LOAD', /Infinity/],
  ['other experts than asked for', [...on('good.npy'), '--experts', '3'], 'SHAPE', /--experts|3/],
  ['steps beyond the recording', sized('--steps', '1:9'), 'RANGE', /--steps: "1:9" reaches outside/],
  ['steps that go backwards', sized('--steps', '2:1'), 'RANGE', /selects no step/],
  [
    'too few slots',
    ['good.npy', '--replicas', '3', '--ranks', '3'],
    'TOPOLOGY',
    /--replicas: 3 is less than the 4/,
  ],
  [
    'ranks that do not divide the slots',
    ['good.npy', '--replicas', '6', '--ranks', '4'],
    'TOPOLOGY',
    /--replicas: 6/,
  ],
  ['nodes that do not divide the ranks', sized('--nodes', '3'), 'TOPOLOGY', /--ranks: 2/],
  ['groups that do not divide the experts', sized('--groups', '3'), 'TOPOLOGY', /--groups: 3/],
  [
    'a cost that is neither preset nor file',
    sized('--cost', 'cheap'),
    'OPTION',
    /--cost: "cheap" is not a preset; give competition, deepseek-v3/,
  ],
  ['no such cost file', sized('--cost', './none.json'), 'FILE', /--cost: cannot read/],
  ['a cost file with an unknown field', sized('--cost', 'unknown.json'), 'RANGE', /unknown field "colour"/],
  [
    'a cost file that lacks a field',
    sized('--cost', 'missing.json'),
    'RANGE',
    /lacks the field bytesPerExpert/,
  ],
  ['a cost file with a wrong value', sized('--cost', 'wrong.json'), 'RANGE', /intraNodeBytesPerSecond: -1/],
  ['a cost file that is a list', sized('--cost', 'list.json'), 'KIND', /is not an object/],
  ['a cost file that is no JSON', sized('--cost', 'broken.json'), 'FORMAT', /--cost/],
  [
    'the competition on ranks that do not divide the experts',
    ['good.npy', '--replicas', '6', '--ranks', '3', '--cost', 'competition'],
    'TOPOLOGY',
    /3 does not divide the 4 experts/,
  ],
  [
    'a static placement with an interval',
    sized('--policy', 'static', '--interval', '4'),
    'OPTION',
    /--interval: --policy static never plans/,
  ],
  [
    'a static placement with a drift',
    sized('--policy', 'static', '--drift', '0.1'),
    'OPTION',
    /--drift: --policy static/,
  ],
  [
    'all of one condition',
    sized('--require-all', '--interval', '4'),
    'OPTION',
    /--require-all: needs two or more/,
  ],
  ['looks without a condition', sized('--check-every', '4'), 'OPTION', /--check-every: there is neither/],
  [
    'a threshold below 1',
    sized('--threshold', '0.5'),
    'RANGE',
    /--threshold: "0.5" is not a number of at least 1/,
  ],
  ['a drift above 1', sized('--drift', '1.5'), 'RANGE', /--drift/],
  ['an interval of 0', sized('--interval', '0'), 'RANGE', /--interval: 0/],
  [
    'planning seconds that are none',
    sized('--planning-seconds', 'soon'),
    'RANGE',
    /--planning-seconds: "soon"/,
  ],
  [
    'an unknown policy',
    sized('--policy', 'best'),
    'OPTION',
    /--policy: "best" is not a policy; give static, default, /,
  ],
  [
    'an output in no directory',
    sized('--json', 'none/r.json'),
    'FILE',
    /--json: cannot write .* its directory does not exist/,
  ],
  [
    'an output that is a directory',
    sized('--report', 'dir'),
    'FILE',
    /--report: cannot write "dir": it is a directory/,
  ],
  ['the recording as output', sized('--json', 'good.npy'), 'FILE', /--json: .* the recording that is read/],
  [
    'two outputs in one file',
    sized('--json', 'r', '--report', 'r'),
    'OPTION',
    /--report: is the same file as --json/,
  ],
  ['an unknown option', sized('--speed', '9'), 'OPTION', /--speed/],
];

describe('eplb replay refuses, in one line, with nothing written', () => {
  const lines = CASES.map(([, args]) => {
    const hasOutput = args.includes('--json') || args.includes('--report');
    return { args: ['replay', ...args, ...(hasOutput ? [] : ['--json', 'out.json'])] };
  });
  let runs: readonly LineRun[];
  before(() =>
    inTempDir(async (dir) => {
      await mkdir(join(dir, 'dir'));
      await Promise.all(Object.entries(FILES).map(([name, bytes]) => writeFile(join(dir, name), bytes)));
      runs = await eplbMany(lines, dir);
    }),
  );
  for (const [i, [title, , code, message]] of CASES.entries()) {
    test(title, () => {
      assertRefused(runs[i]!, code, message);
      assert.deepEqual(runs[i]!.files, [...Object.keys(FILES), 'dir'].sort());
    });
  }
});
