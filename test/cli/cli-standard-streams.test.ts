import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { CLI, eplbMany, inTempDir, type Run, sharedEplb } from '../helpers/cli.ts';
import { h200Calibration } from '../helpers/cost.ts';
import { npyFile } from '../helpers/npy.ts';
import { assertRefused } from '../helpers/refusal.ts';
import { COST } from '../helpers/replay-files.ts';

/** Runs the command with something on its standard input. */
function piped(args: readonly string[], input: Uint8Array | string, cwd: string): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...args], { cwd });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
    child.stdin.end(input);
  });
}

const SIZES = ['--replicas', '6', '--ranks', '2'];
const loads = npyFile({ descr: '<f4', shape: [2, 1, 4], values: [9, 1, 4, 2, 8, 1, 5, 2] });

describe('standard input and output', { concurrency: 2 }, () => {
  test('stand for a recording and a placement, and no file is called -', () =>
    inTempDir(async (dir) => {
      const planned = await piped(['plan', '-', ...SIZES, '-o', '-'], loads, dir);
      assert.equal(planned.code, 0, planned.stderr);
      assert.equal(JSON.parse(planned.stdout).physical_to_logical_map[0].length, 6);
      assert.match(planned.stderr, /balancedness, ratio of sums/);
      const converted = await piped(['convert', '-', '-', '--to', 'vllm-map'], planned.stdout, dir);
      assert.deepEqual(JSON.parse(converted.stdout), JSON.parse(planned.stdout).physical_to_logical_map);
      const counts = await piped(['convert', '-', '-', '--to', 'csv-counts'], loads, dir);
      assert.match(counts.stdout, /^step,layer_id,expert_id,count\n0,0,0,9\n/);
      const judged = await piped(['validate', '-', '--ranks', '2', '--json'], planned.stdout, dir);
      assert.equal(JSON.parse(judged.stdout).takes, true);
      assert.deepEqual(await readdir(dir), []);
    }));

  /** Every place where a command takes a file that it reads, and which of the inputs is read there. */
  const READING: readonly (readonly [args: readonly string[], input: keyof typeof INPUTS])[] = [
    [['plan', '-', ...SIZES], 'loads'],
    [['plan', 'loads.npy', ...SIZES, '--start-from', '-'], 'placement'],
    [['convert', '-', '-', '--to', 'json'], 'loads'],
    [['validate', '-', '--ranks', '2'], 'placement'],
    [['validate', 'placement.json', '--ranks', '2', '--against', '-'], 'loads'],
    [['replay', '-', ...SIZES], 'loads'],
    [['replay', 'loads.npy', ...SIZES, '--start-from', '-'], 'placement'],
    [['replay', 'loads.npy', ...SIZES, '--cost', '-'], 'cost'],
    [['compare', '-', ...SIZES, '--policies', 'static'], 'loads'],
    [['sweep', '-', ...SIZES, '--interval', '1'], 'loads'],
    [['inspect', '-'], 'loads'],
    [['inspect', 'loads.npy', '--cost', '-'], 'slotCost'],
    [['calibrate', '-'], 'measured'],
  ];
  const INPUTS = {
    loads,
    placement: JSON.stringify({ physical_to_logical_map: [[0, 1, 2, 3, 0, 1]] }),
    cost: JSON.stringify(COST),
    slotCost: JSON.stringify({ slotSeconds: { perToken: 1e-6 } }),
    measured: JSON.stringify(h200Calibration()),
  };
  const writeInputs = async (dir: string) => {
    await writeFile(join(dir, 'loads.npy'), INPUTS.loads);
    await writeFile(join(dir, 'placement.json'), INPUTS.placement);
    await writeFile(join(dir, 'measured.json'), INPUTS.measured);
  };

  for (const [args, input] of READING) {
    test(`${args.join(' ')} reads standard input, and calls it -`, () =>
      inTempDir(async (dir) => {
        await writeInputs(dir);
        const files = await readdir(dir);
        const run = await piped(args, INPUTS[input], dir);
        assert.equal(run.code, 0, run.stderr);
        assert.doesNotMatch(run.stdout + run.stderr, /standard-input/);
        assert.deepEqual(await readdir(dir), files);
        // What is wrong with it is said of it, too: one reader is all readers.
        if (input === 'loads' && args[0] !== 'plan') return;
        assertRefused(await piped(args, 'x', dir), 'FORMAT|KIND', /"-"/);
      }));
  }

  test('take what every command writes, and no file is called -', () =>
    inTempDir(async (dir) => {
      await writeInputs(dir);
      const synth = ['synth', '--layers', '1', '--experts', '4', '--top-k', '1', '--num-steps', '1'];
      const transfer = ['transfer', 'placement.json', 'placement.json', '--ranks', '2'];
      const writing: readonly (readonly [args: readonly string[], start: RegExp])[] = [
        [['plan', 'loads.npy', ...SIZES, '-o', '-'], /^\{"physical_to_logical_map"/],
        [['convert', 'placement.json', '-'], /^\{"physical_to_logical_map"/],
        [['replay', 'loads.npy', ...SIZES, '--report', '-'], /^<!doctype html>/i],
        [['compare', 'loads.npy', ...SIZES, '--policies', 'static', '--report', '-'], /^<!doctype html>/i],
        [[...transfer, '--report', '-'], /^<!doctype html>/i],
        [['sweep', 'loads.npy', ...SIZES, '--interval', '1', '-o', '-'], /^policy,slots/],
        [['calibrate', 'measured.json', '-o', '-'], /^\{\n/],
        [[...synth, '-o', '-'], /^.NUMPY/],
      ];
      const lines = writing.map(([args]) => ({
        args: args.includes('convert') ? [...args, '--to', 'sglang'] : args,
      }));
      const twice = ['plan', 'convert', 'replay', 'sweep', 'calibrate', 'synth'].map((name) => {
        const line = lines.find(({ args }) => args[0] === name)!;
        return { args: [...line.args, '--json'] };
      });
      const runs = await eplbMany([...lines, ...twice], dir);
      for (const [i, [args, start]] of writing.entries()) {
        const { code, stdout, stderr } = runs[i]!;
        assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
        assert.match(stdout, start);
        assert.notEqual(stderr, '');
      }
      for (const run of runs.slice(writing.length)) assertRefused(run, 'OPTION', /is the same file as/);
      assert.deepEqual(runs.at(-1)!.files, ['loads.npy', 'measured.json', 'placement.json']);
    }));

  test('standard input is read once', () =>
    inTempDir(async (dir) => {
      const run = await piped(['plan', '-', ...SIZES, '--start-from', '-'], loads, dir);
      assertRefused(run, 'OPTION', /^-: standard input is read once/);
    }));

  test('that is full ends the command with a line and a code', () =>
    inTempDir(async (dir) => {
      const run = await new Promise<{ code: number | null; stderr: string }>((resolve, reject) => {
        const child = spawn('sh', ['-c', `exec "${process.execPath}" "${CLI}" formats > /dev/full`], {
          cwd: dir,
        });
        let stderr = '';
        child.stderr.setEncoding('utf8').on('data', (text) => {
          stderr += text;
        });
        child.on('error', reject);
        child.on('close', (code) => resolve({ code, stderr }));
      });
      assert.match(run.stderr, /^eplb: standard output: .*no space is left on the device \(EPLB_FILE\)\n$/);
      assert.equal(run.code, 2);
    }));
});

describe('a plan', { concurrency: 2 }, () => {
  const shared = sharedEplb();

  test('that balances worse than what it starts from says so, and --keep-better keeps that', () =>
    inTempDir(async (dir) => {
      const values = [6, 5, 4, 3, 2, 2];
      await writeFile(join(dir, 'a.npy'), npyFile({ descr: '<f4', shape: [1, 6], values }));
      const start = { physical_to_logical_map: [[0, 3, 4, 1, 2, 5]] };
      await writeFile(join(dir, 'start.json'), JSON.stringify(start));
      const args = [
        'plan',
        'a.npy',
        '--replicas',
        '6',
        '--ranks',
        '2',
        '--start-from',
        'start.json',
        '--json',
      ];
      const module =
        'export default class { rebalanceExperts() { return { phyToLog: [[0, 1, 2, 3, 4, 5]] }; } }';
      await writeFile(join(dir, 'worse.mjs'), module);
      const worse = await shared([...args, '--policy', './worse.mjs', '-o', 'out.json'], { cwd: dir });
      const report = JSON.parse(worse.stdout);
      assert.match(
        report.notes.join(),
        /worse than what it starts from: balancedness 1\.0000 before, 0\.7333 after/,
      );
      const kept = await shared([...args, '--policy', './worse.mjs', '-o', 'out.json', '--keep-better'], {
        cwd: dir,
      });
      assert.equal(JSON.parse(kept.stdout).kept, 'the plan balances worse');
      assert.deepEqual(JSON.parse(await readFile(join(dir, 'out.json'), 'utf8')), start);
    }));

  test('of as many columns as slots says what they may be', () =>
    inTempDir(async (dir) => {
      await writeFile(
        join(dir, 'a.npy'),
        npyFile({ descr: '<f4', shape: [1, 6], values: [5, 1, 4, 2, 4, 0] }),
      );
      const SAID = /as many columns as slots, 6, .*give it by --start-from/;
      const run = ['plan', 'a.npy', '--ranks', '2', '--json', '--slots'];
      const [same, more] = await eplbMany(
        ['6', '8'].map((slots) => ({ args: [...run, slots] })),
        dir,
      );
      assert.match(JSON.parse(same!.stdout).recording.notes.join(), SAID);
      assert.doesNotMatch(JSON.parse(more!.stdout).recording.notes.join(), SAID);
    }));

  test('of columns that are slots folds them through --start-from', () =>
    inTempDir(async (dir) => {
      await writeFile(
        join(dir, 'a.npy'),
        npyFile({ descr: '<f4', shape: [1, 6], values: [5, 1, 4, 2, 4, 0] }),
      );
      await writeFile(
        join(dir, 'map.json'),
        JSON.stringify({ physical_to_logical_map: [[0, 1, 2, 3, 0, 1]] }),
      );
      const args = ['plan', 'a.npy', ...SIZES, '--start-from', 'map.json', '--json'];
      for (const more of [[], ['--experts', '4']]) {
        const run = await shared([...args, ...more], { cwd: dir });
        const { topology, recording } = JSON.parse(run.stdout);
        assert.equal(topology.numLogicalExperts, 4);
        assert.match(
          recording.notes.join(),
          /the 6 columns are slots, and were added up to 4 experts through --start-from/,
        );
      }
      const replayed = await shared(
        ['replay', 'a.npy', ...SIZES, '--start-from', 'map.json', '--policy', 'static', '--json', '-'],
        { cwd: dir },
      );
      assert.equal(JSON.parse(replayed.stdout).recording.numLogicalExperts, 4, replayed.stderr);
    }));
});
