/**
 * Names and texts of files and policies that would steer a terminal, in all that the command prints and
 * writes for people.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { printable } from '../../src/core/printable.ts';
import { eplbMany, inTempDir, type Run, sharedEplb } from '../helpers/cli.ts';
import { HOSTILE, UNPRINTABLE } from '../helpers/hostile-names.ts';
import { npyFile } from '../helpers/npy.ts';
import { assertRefused } from '../helpers/refusal.ts';
import { zipFile } from '../helpers/zip.ts';

const eplb = sharedEplb();

const loads = npyFile({
  descr: '<f4',
  shape: [8, 2, 4],
  values: Array.from({ length: 64 }, (_, i) => 1 + ((i * 5) % 7)),
});
const SIZES = ['--replicas', '6', '--ranks', '2'];
const PLACEMENT = '{"physical_to_logical_map": [[0, 1, 2, 3, 0, 1], [3, 2, 1, 0, 2, 3]]}';

const policy = (body: string) => `export default class { rebalanceExperts(weight) { ${body} } }`;
/** Puts expert i in slot i, and the first ones once more. */
const KEEPS = policy(
  'return { phyToLog: Array.from({ length: weight.numLayers }, () => [0, 1, 2, 3, 0, 1]) };',
);
const FAILS = policy(`throw new Error(${JSON.stringify(HOSTILE)});`);

/** Files under a plain name and a hostile one. */
async function writeBoth(dir: string, ending: string, content: string | Uint8Array): Promise<void> {
  for (const name of ['plain', HOSTILE]) await writeFile(join(dir, name + ending), content);
}

async function inFolder(work: (dir: string) => Promise<void>): Promise<void> {
  await inTempDir(async (dir) => {
    await writeBoth(dir, '.npy', loads);
    await writeBoth(dir, '.json', PLACEMENT);
    await writeBoth(dir, '.mjs', KEEPS);
    await work(dir);
  });
}

function assertPrintable({ stdout, stderr }: Pick<Run, 'stdout' | 'stderr'>): void {
  for (const line of `${stdout}\n${stderr}`.split('\n')) {
    assert.doesNotMatch(line, UNPRINTABLE, JSON.stringify(line));
    assert.doesNotMatch(line, /^eplb: forged/);
  }
}

/** The same commands on hostile and on plain names. @returns those on hostile ones */
async function runBoth(
  dir: string,
  commands: readonly ((name: string) => readonly string[])[],
): Promise<readonly Run[]> {
  const lines = commands.flatMap((args) => [{ args: args(HOSTILE) }, { args: args('plain') }]);
  const runs = await eplbMany(lines, dir);
  return commands.map((_, i) => {
    const [hostile, plain] = runs.slice(2 * i, 2 * i + 2) as readonly Run[] as [Run, Run];
    assertPrintable(hostile);
    assert.equal(hostile.code, plain.code, hostile.stderr);
    const counts = ({ stdout, stderr }: Run) => [stdout, stderr].map((text) => text.split('\n').length);
    assert.deepEqual(counts(hostile), counts(plain), hostile.stdout + hostile.stderr);
    return hostile;
  });
}

const shown = printable(HOSTILE);

/** Every command where it succeeds: what it shows the name in. */
const SUCCESSES: Readonly<Record<string, (name: string) => readonly string[]>> = {
  plan: (name) => ['plan', `${name}.npy`, ...SIZES, '--start-from', `${name}.json`, '-o', `${name}-out.json`],
  'plan with a policy of such a name': (name) => [
    'plan',
    `${name}.npy`,
    ...SIZES,
    '--policy',
    `./${name}.mjs`,
  ],
  inspect: (name) => ['inspect', `${name}.npy`, '--json', `${name}-out.json`],
  'convert loads': (name) => ['convert', `${name}.npy`, `${name}-out.npz`],
  'convert a placement': (name) => ['convert', `${name}.json`, `${name}-out.yaml`],
  validate: (name) => ['validate', `${name}.json`, '--ranks', '2', '--against', `${name}.npy`],
  replay: (name) => [
    'replay',
    `${name}.npy`,
    ...SIZES,
    '--policy',
    `./${name}.mjs`,
    '--json',
    `${name}-out.json`,
  ],
  compare: (name) => [
    'compare',
    `${name}.npy`,
    ...SIZES,
    '--policies',
    `static,./${name}.mjs`,
    '--report',
    `${name}.html`,
  ],
  sweep: (name) => [
    ...['sweep', `${name}.npy`, '--replicas', '6,7', '--ranks', '2', '--policy', `static,./${name}.mjs`],
    ...['-o', `${name}.csv`, '--json', `${name}-out.json`],
  ],
  synth: (name) => [
    'synth',
    '--layers',
    '1',
    '--experts',
    '4',
    '--top-k',
    '1',
    '--num-steps',
    '2',
    '-o',
    `${name}-out.npy`,
  ],
};

describe('hostile names', { concurrency: 2 }, () => {
  test('show what they are, in every command that succeeds', () =>
    inFolder(async (dir) => {
      const titles = Object.keys(SUCCESSES);
      for (const [i, { stdout, stderr, code }] of (await runBoth(dir, Object.values(SUCCESSES))).entries()) {
        assert.equal(code, 0, `${titles[i]}: ${stderr}`);
        assert.ok(stdout.includes(shown), `${titles[i]}: ${stdout}`);
      }
    }));

  test('in JSON are the same texts', () =>
    inFolder(async (dir) => {
      const plan = ['plan', `${HOSTILE}.npy`, ...SIZES, '--policy', `./${HOSTILE}.mjs`, '--json'];
      const planned = await eplb(plan, { cwd: dir });
      assertPrintable(planned);
      const report = JSON.parse(planned.stdout);
      assert.equal(report.recording.path, `${HOSTILE}.npy`);
      assert.equal(report.policy, `./${HOSTILE}.mjs`);
      for (const args of [
        ['convert', `${HOSTILE}.npy`, 'out.npz', '--json'],
        ['validate', `${HOSTILE}.json`, '--ranks', '2', '--json'],
      ]) {
        const run = await eplb(args, { cwd: dir });
        assertPrintable(run);
        const { path, from } = JSON.parse(run.stdout);
        assert.ok((path ?? from.path).startsWith(HOSTILE));
      }
      const files = ['--json', 'out.json', '--report', 'out.html'];
      const replay = ['replay', `${HOSTILE}.npy`, ...SIZES, '--policy', `./${HOSTILE}.mjs`, ...files];
      assert.equal((await eplb(replay, { cwd: dir })).code, 0);
      const json = await readFile(join(dir, 'out.json'), 'utf8');
      assert.doesNotMatch(json.trimEnd(), UNPRINTABLE);
      assert.equal(JSON.parse(json).replays[0].configuration.policy, `./${HOSTILE}.mjs`);
      const page = await readFile(join(dir, 'out.html'), 'utf8');
      const data = /<script type="application\/json"[^>]*>(.*?)<\/script>/s.exec(page)![1]!;
      // Texts of charts show what they are, too.
      assert.equal(JSON.parse(data).runs[0].name, `./${shown}.mjs`);
      const markup = page.replace(/<(script|style|pre)\b.*?<\/\1>/gs, '');
      assert.ok(markup.includes(`<title>Expert load balance of ${shown}.npy</title>`));
      for (const line of [...markup.split('\n'), data]) assert.doesNotMatch(line, UNPRINTABLE, line);
    }));
});

describe('hostile names in what goes wrong', () => {
  const failures: [title: string, args: (name: string) => readonly string[], codes: string][] = [
    ['plan, of a file that is not there', (name) => ['plan', `${name}-none.npy`, ...SIZES], 'FILE'],
    [
      'plan, of a placement',
      (name) => ['plan', 'plain.npy', ...SIZES, '--start-from', `${name}.npy`],
      'MAPPING',
    ],
    ['plan, of a policy', (name) => ['plan', 'plain.npy', ...SIZES, '--policy', name], 'OPTION'],
    ['plan, of a module', (name) => ['plan', 'plain.npy', ...SIZES, '--policy', `./${name}.json`], 'POLICY'],
    ['plan, of a format', (name) => ['plan', 'plain.npy', ...SIZES, '--format', name], 'OPTION'],
    ['plan, of a range', (name) => ['plan', 'plain.npy', ...SIZES, '--steps', name], 'OPTION'],
    ['plan, of an option', (name) => ['plan', 'plain.npy', ...SIZES, `--${name}`], 'OPTION'],
    ['inspect', (name) => ['inspect', `${name}.json`], 'KIND'],
    ['convert', (name) => ['convert', `${name}.npy`, `${name}.odd`], 'OPTION'],
    ['convert, of a directory', (name) => ['convert', `${name}.npy`, `${name}/out.npy`], 'FILE'],
    ['validate', (name) => ['validate', `${name}.mjs`], 'FORMAT'],
    ['validate, of an engine', (name) => ['validate', 'plain.json', '--for', name], 'OPTION'],
    ['replay', (name) => ['replay', `${name}.npy`, ...SIZES, '--start-from', `${name}.npy`], 'MAPPING'],
    [
      'replay, of a cost',
      (name) => ['replay', `${name}.npy`, ...SIZES, '--cost', `${name}.json`],
      'KIND|RANGE',
    ],
    ['compare', (name) => ['compare', 'plain.npy', ...SIZES, '--policies', `static,${name}`], 'OPTION'],
    ['sweep', (name) => ['sweep', 'plain.npy', '--replicas', '6', '--ranks', name], 'NOT_WHOLE'],
    ['synth', (name) => ['synth', '--model', name, '-o', 'out.npy'], 'OPTION'],
    ['formats', (name) => ['formats', name], 'OPTION'],
    ['a command that is none', (name) => [name], 'OPTION'],
  ];
  let runs: readonly Run[];
  before(() =>
    inFolder(async (dir) => {
      runs = await runBoth(
        dir,
        failures.map(([, args]) => args),
      );
    }),
  );
  for (const [i, [title, , codes]] of failures.entries()) {
    test(title, () => assertRefused(runs[i]!, codes, /./));
  }
});

describe('hostile texts in files', { concurrency: 2 }, () => {
  const text = JSON.stringify(HOSTILE);
  const files: [
    title: string,
    name: string,
    content: string | Uint8Array,
    args: readonly string[],
    codes: string,
  ][] = [
    ['a key', 'x.json', `{${text}: 1}`, ['inspect', 'x.json'], 'KIND'],
    ['a text for a number', 'x.json', `[[1, ${text}]]`, ['inspect', 'x.json'], 'KIND'],
    ['malformed JSON', 'x.json', `[[1, ${HOSTILE}]]`, ['inspect', 'x.json'], 'FORMAT'],
    ['a cell', 'x.csv', `1,2\n3,${HOSTILE.replaceAll('\n', '')}\n`, ['inspect', 'x.csv'], 'KIND'],
    ['a line', 'x.jsonl', `{"step": 0, "layer": 0, "loads": ${text}}\n`, ['inspect', 'x.jsonl'], 'KIND'],
    ['YAML', 'x.yaml', `num_slots: 1\n${text}: 1\n${text}: 2\n`, ['validate', 'x.yaml'], 'FORMAT'],
    [
      'members of an archive',
      'x.npz',
      zipFile(['1', '2'].map((i) => ({ name: `${HOSTILE}${i}.npy`, data: loads }))),
      ['inspect', 'x.npz'],
      'FORMAT',
    ],
    [
      'a damaged member',
      'x.npz',
      zipFile([{ name: `${HOSTILE}.npy`, data: loads, central: { checksum: 1 }, local: { checksum: 1 } }]),
      ['inspect', 'x.npz'],
      'FORMAT',
    ],
    [
      'what a policy throws',
      'x.mjs',
      FAILS,
      ['plan', 'plain.npy', ...SIZES, '--policy', './x.mjs'],
      'POLICY',
    ],
    [
      'what a policy throws in a replay',
      'x.mjs',
      FAILS,
      ['replay', 'plain.npy', ...SIZES, '--interval', '2', '--policy', './x.mjs'],
      'POLICY',
    ],
  ];
  let runs: readonly Run[];
  before(() =>
    inFolder(async (dir) => {
      // Each file under a name of its own.
      const lines = files.map(([, name, , args], i) => ({
        args: args.map((arg) => arg.replace(name, `${i}${name}`)),
      }));
      for (const [i, [, name, content]] of files.entries())
        await writeFile(join(dir, `${i}${name}`), content);
      runs = await eplbMany(lines, dir);
    }),
  );
  for (const [i, [title, , , , codes]] of files.entries()) {
    test(title, () => {
      assertPrintable(runs[i]!);
      assertRefused(runs[i]!, codes, /./);
    });
  }

  test('the name of a cost model, and a policy that fails at a point of a sweep', () =>
    inFolder(async (dir) => {
      const cost = {
        name: HOSTILE,
        time: { kind: 'load', secondsPerLoad: 1e-6 },
        bytesPerExpert: 1,
        intraNodeBytesPerSecond: 1e9,
        interNodeBytesPerSecond: 1e9,
        concurrentTransfers: 'rank',
        countedMoves: 'rank',
        stepSeconds: 'modelled',
        zeroLoadsCountAsOne: false,
      };
      await writeFile(join(dir, 'cost.json'), JSON.stringify(cost));
      await writeFile(join(dir, 'x.mjs'), FAILS);
      const sweep = ['sweep', 'plain.npy', '--replicas', '6', '--ranks', '2', '--policy', 'static,./x.mjs'];
      for (const args of [['replay', 'plain.npy', ...SIZES], sweep]) {
        const run = await eplb([...args, '--interval', '2', '--cost', 'cost.json'], { cwd: dir });
        assert.equal(run.code, 0, run.stderr);
        assertPrintable(run);
        assert.ok(run.stdout.includes(shown), run.stdout);
      }
    }));
});
