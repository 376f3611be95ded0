import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { CLI, eplb, inTempDir, type Run } from '../helpers/cli.ts';
import { npyFile } from '../helpers/npy.ts';

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
      const worse = await eplb([...args, '--policy', './worse.mjs', '-o', 'out.json'], { cwd: dir });
      const report = JSON.parse(worse.stdout);
      assert.match(
        report.notes.join(),
        /worse than what it starts from: balancedness 1\.0000 before, 0\.7333 after/,
      );
      const kept = await eplb([...args, '--policy', './worse.mjs', '-o', 'out.json', '--keep-better'], {
        cwd: dir,
      });
      assert.equal(JSON.parse(kept.stdout).kept, 'the plan balances worse');
      assert.deepEqual(JSON.parse(await readFile(join(dir, 'out.json'), 'utf8')), start);
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
        const run = await eplb([...args, ...more], { cwd: dir });
        const { topology, recording } = JSON.parse(run.stdout);
        assert.equal(topology.numLogicalExperts, 4);
        assert.match(
          recording.notes.join(),
          /the 6 columns are slots, and were added up to 4 experts through --start-from/,
        );
      }
      const replayed = await eplb(
        ['replay', 'a.npy', ...SIZES, '--start-from', 'map.json', '--policy', 'static', '--json', '-'],
        { cwd: dir },
      );
      assert.equal(JSON.parse(replayed.stdout).recording.numLogicalExperts, 4, replayed.stderr);
    }));
});
