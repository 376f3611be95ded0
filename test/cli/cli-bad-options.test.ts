import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type Case, good, on, SIZES, sized, testAll } from '../helpers/bad-input.ts';
import { inTempDir, RECORDING, sharedEplb } from '../helpers/cli.ts';
import { npyFile } from '../helpers/npy.ts';

const eplb = sharedEplb();

const NUMBERS: Case[] = ['1e3', '12abc', '3.5', '', ' 6', '0x10', 'six', 'NaN', '+6', '6,0'].flatMap(
  (text): Case[] => [
    [
      `--replicas ${JSON.stringify(text)}`,
      sized('--replicas', text, '--ranks', '2'),
      'NOT_WHOLE',
      /^--replicas: .* is not a whole number/,
    ],
  ],
);

const SIZE_CASES: Case[] = [
  ...NUMBERS,
  ['--ranks -1', sized('--replicas', '6', '--ranks', '-1'), 'RANGE', /^--ranks: -1 is not/],
  ['--nodes 0', on('good.npy', '--nodes', '0'), 'RANGE', /^--nodes: 0 is not/],
  ['--groups 1e1', on('good.npy', '--groups', '1e1'), 'NOT_WHOLE', /^--groups: "1e1"/],
  ['--experts -4', on('good.npy', '--experts', '-4'), 'RANGE', /^--experts: -4/],
  ['--threads 1.5', on('good.npy', '--threads', '1.5'), 'NOT_WHOLE', /^--threads: "1\.5"/],
  ['--threads -1', on('good.npy', '--threads', '-1'), 'RANGE', /^--threads: -1 is not from 0 to 1024/],
  [
    '--threads 99999999',
    on('good.npy', '--threads', '99999999'),
    'RANGE',
    /: 99999999 is not from 0 to 1024/,
  ],
  [
    '--replicas beyond all bounds',
    sized('--replicas', '9'.repeat(30), '--ranks', '1'),
    'RANGE',
    /^--replicas: 1e\+30/,
  ],
  [
    'fewer slots than experts',
    sized('--replicas', '2', '--ranks', '2'),
    'TOPOLOGY',
    /^--replicas: 2 is less than the 4 logical experts/,
  ],
  [
    'slots no multiple of ranks',
    sized('--replicas', '7', '--ranks', '2'),
    'TOPOLOGY',
    /^--replicas: 7 is not a multiple of --ranks 2/,
  ],
  [
    'ranks no multiple of nodes',
    sized('--replicas', '6', '--ranks', '3', '--nodes', '2'),
    'TOPOLOGY',
    /^--ranks: 3 is not a multiple of --nodes 2/,
  ],
  [
    'experts no multiple of groups',
    on('good.npy', '--groups', '3'),
    'TOPOLOGY',
    /^--groups: 3 does not divide the 4 logical experts/,
  ],
  ['memory that cannot be had', sized('--replicas', '16777216', '--ranks', '16777216'), 'MEMORY', /\d/],
];

const OPTION_CASES: Case[] = [
  ['an unknown option', on('good.npy', '--slot', '6'), 'OPTION', /^--slot: unknown option .*--slots\?\)/],
  ['an unknown short option', on('good.npy', '-x'), 'OPTION', /unknown option '-x'/],
  [
    'no --slots',
    ['good.npy', '--ranks', '2'],
    'OPTION',
    /^--slots: required but not given; see eplb plan --help$/,
  ],
  ['no --ranks', ['good.npy', '--replicas', '6'], 'OPTION', /^--ranks: required/],
  ['no recording', SIZES, 'OPTION', /^recording: required/],
  ['nothing', [], 'OPTION', /^recording, --slots, --ranks: required but not given/],
  [
    'two recordings',
    on('good.npy', 'good.npy'),
    'OPTION',
    /^argument: too many arguments .* see eplb plan --help$/,
  ],
  ['an option without its value', on('good.npy', '--nodes'), 'OPTION', /^--nodes: .*argument missing/],
  [
    'an unknown policy',
    on('good.npy', '--policy', 'best'),
    'OPTION',
    /^--policy: "best" is not a policy; give default, locality, adaptive or/,
  ],
  [
    'a policy module that is not there',
    on('good.npy', '--policy', './none.mjs'),
    'FILE',
    /^--policy: .*there is no such file/,
  ],
  ['a policy module that does not load', on('good.npy', '--policy', './broken.mjs'), 'POLICY', /broken\.mjs/],
  ['a policy module that gives no mapping', on('good.npy', '--policy', './wrong.mjs'), 'POLICY', /./],
  [
    'a policy module without threads',
    on('good.npy', '--policy', './wrong.mjs', '--threads', '0'),
    'OPTION',
    /^--threads: 0 is too few/,
  ],
  [
    '--steps that are not a range',
    on('routes.npy', '--experts', '4', '--steps', '5'),
    'OPTION',
    /^--steps: "5" is not a range/,
  ],
  [
    '--steps outside',
    on('routes.npy', '--experts', '4', '--tokens-per-step', '1', '--steps', '0:4'),
    'RANGE',
    /^--steps: "0:4" reaches outside .* 0 to 3/,
  ],
  [
    '--steps reversed',
    on('routes.npy', '--experts', '4', '--tokens-per-step', '1', '--steps', '2:1'),
    'RANGE',
    /^--steps: "2:1" selects no step/,
  ],
];

testAll('wrong sizes', SIZE_CASES);
testAll('wrong options', OPTION_CASES);

describe('an output that cannot be written', { concurrency: 2 }, () => {
  const cases: [title: string, output: string, message: RegExp][] = [
    ['in a directory that is not there', 'none/out.json', /its directory does not exist/],
    ['below a file', 'good.npy/out.json', /not a directory/],
    ['a directory', 'dir', /it is a directory/],
    ['a device', '/dev/null', /it is not a regular file/],
    ['without a name', '', /does not name a file/],
    ['the recording itself', './good.npy', /it is the recording that is read/],
  ];
  for (const [title, output, message] of cases) {
    test(title, () =>
      inTempDir(async (dir) => {
        await mkdir(join(dir, 'dir'));
        await writeFile(join(dir, 'good.npy'), npyFile(good));
        // The recording is not there to be read: the output is checked before it.
        const recording = title === 'the recording itself' ? 'good.npy' : 'none.npy';
        const run = await eplb(['plan', recording, ...SIZES, '--output', output], { cwd: dir });
        assert.match(run.stderr, /^eplb: --output: cannot write .* \(EPLB_FILE\)\n$/);
        assert.match(run.stderr, message);
        assert.deepEqual([run.code, run.stdout], [2, '']);
        assert.deepEqual((await readdir(dir)).sort(), ['dir', 'good.npy']);
      }),
    );
  }
});

describe('the command line itself', { concurrency: 2 }, () => {
  test('an unknown subcommand', async () => {
    const run = await eplb(['pln', RECORDING]);
    assert.deepEqual([run.code, run.stdout], [2, '']);
    assert.match(run.stderr, /^eplb: command: unknown command 'pln'.*plan.*\(EPLB_OPTION\)\n$/);
  });

  test('terminal control in a name is not passed on', async () => {
    const run = await eplb(['plan', '\u001b[31mred\nline\u009b.npy', ...SIZES]);
    assert.equal(run.code, 2);
    assert.match(run.stderr, /^eplb: recording: [^\p{Cc}]* \(EPLB_FILE\)\n$/u);
  });
});
