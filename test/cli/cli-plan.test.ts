import assert from 'node:assert/strict';
import { readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { DefaultEplbPolicy } from 'expert-load-balancer';
import { eplb, inTempDir, RECORDING, sharedEplb } from '../helpers/cli.ts';
import { npyFile, npyShape } from '../helpers/npy.ts';
import { assertRefused } from '../helpers/refusal.ts';

const shared = sharedEplb();

const SIZES = ['--replicas', '80', '--ranks', '16', '--nodes', '2', '--groups', '8'];
const LAW = [RECORDING, '--experts', '64', ...SIZES];

/** What `--json` printed; the run must have succeeded and said nothing else. */
async function planJson(args: readonly string[], cwd?: string) {
  const run = await shared(['plan', ...args, '--json'], cwd === undefined ? {} : { cwd });
  assert.equal(run.stderr, '');
  assert.equal(run.code, 0);
  assert.equal(run.stdout.indexOf('\n'), run.stdout.length - 1);
  return JSON.parse(run.stdout);
}

/** Loads [layers][experts] of the shipped recording, counted in the plainest way. */
async function lawLoads(from = 0, to = Number.POSITIVE_INFINITY): Promise<number[][]> {
  const file = await readFile(RECORDING);
  const [tokens, layers, topK] = npyShape(file) as [number, number, number];
  const data = file.subarray(-tokens * layers * topK);
  const loads = Array.from({ length: layers }, () => new Array<number>(64).fill(0));
  data.forEach((id, i) => {
    const token = Math.floor(i / (layers * topK));
    if (token >= from && token < to) loads[Math.floor(i / topK) % layers]![id]!++;
  });
  return loads;
}

function expectedMap(loads: number[][]): number[][] {
  return new DefaultEplbPolicy().rebalanceExperts(loads, 80, 8, 2, 16).toJSON().phyToLog;
}

/** Experts of each rank, in order: what has to agree whatever slots they were kept in. */
function byRank(map: number[][], ranks: number): number[][][] {
  return map.map((slots) => {
    const width = slots.length / ranks;
    return Array.from({ length: ranks }, (_, rank) =>
      slots.slice(rank * width, (rank + 1) * width).sort((a, b) => a - b),
    );
  });
}

describe('eplb plan', { concurrency: 2 }, () => {
  test('plans the shipped recording, prints tables and writes the placement', async () => {
    await inTempDir(async (dir) => {
      const run = await eplb(['plan', ...LAW, '--output', 'placement.json'], { cwd: dir });
      assert.equal(run.stderr, '');
      assert.equal(run.code, 0);
      assert.match(run.stdout, /read as +routes: 8,327 tokens x 26 layers x 6 of 64 experts\n/);
      assert.match(run.stdout, /^ *25 +0\.\d{4} +0\.\d{4} +\d\.\d{4} +\d\.\d{4} +\d+ *$/m);
      for (const name of ['balancedness', 'peak-to-average (PAR)']) {
        for (const over of ['ratio of sums', 'mean of ratios'])
          assert.ok(run.stdout.includes(`${name}, ${over}`));
      }
      assert.match(run.stdout, /moves +[\d,]+ of 2,080 slots/);
      assert.match(run.stdout, /planning time +[\d.]+ m?s/);
      assert.match(run.stdout, /written +placement\.json\n/);
      // The line that names the recording is as long as the path of this checkout.
      const lines = run.stdout.split('\n').filter((line) => !line.includes(RECORDING));
      assert.deepEqual(
        lines.filter((line) => line.length > 80),
        [],
      );

      assert.deepEqual(await readdir(dir), ['placement.json']);
      const file = JSON.parse(await readFile(join(dir, 'placement.json'), 'utf8'));
      assert.deepEqual(Object.keys(file), ['physical_to_logical_map']);
      assert.deepEqual(byRank(file.physical_to_logical_map, 16), byRank(expectedMap(await lawLoads()), 16));
    });
  });

  test('--json prints one object with everything in it', async () => {
    await inTempDir(async (dir) => {
      const report = await planJson([...LAW, '-o', 'p.json'], dir);
      assert.deepEqual(report.recording.shape, [8327, 26, 6]);
      assert.deepEqual(report.recording.steps, { from: 0, to: 66, of: 66 });
      assert.equal(report.recording.readAs, 'routes');
      assert.equal(report.recording.topK, 6);
      assert.equal(report.topology.numPhysicalExperts, 80);
      assert.equal(report.layers.length, 26);
      assert.equal(report.slots, 2080);
      assert.equal(
        report.moves,
        report.layers.reduce((sum: number, layer: { moves: number }) => sum + layer.moves, 0),
      );
      assert.ok(report.after.balancednessRatioOfSums > report.before.balancednessRatioOfSums);
      assert.ok(report.planningMs > 0);
      const file = JSON.parse(await readFile(join(dir, 'p.json'), 'utf8'));
      assert.deepEqual(report.physicalToLogical, file.physical_to_logical_map);
    });
  });

  test('the numbers are those computed by hand', async () => {
    await inTempDir(async (dir) => {
      // Ranks hold 4+2 and 1+1, mean 4; planned: 4+1 and 2+1, by exchanging one expert each.
      await writeFile(join(dir, 'loads.json'), '[[4, 2, 1, 1]]');
      const report = await planJson(['loads.json', '--replicas', '4', '--ranks', '2'], dir);
      assert.deepEqual(byRank(report.physicalToLogical, 2), [
        [
          [0, 3],
          [1, 2],
        ],
      ]);
      assert.deepEqual(report.layers, [
        {
          layer: 0,
          balancednessBefore: 4 / 6,
          balancednessAfter: 4 / 5,
          peakToAverageBefore: 6 / 4,
          peakToAverageAfter: 5 / 4,
          moves: 2,
        },
      ]);
    });
  });

  test('the same loads as .npy, as JSON and as routes give the same placement', async () => {
    const loads = await lawLoads(100, 4000);
    await inTempDir(async (dir) => {
      const steps = [
        ...loads.flat().map((load) => Math.floor(load / 3)),
        ...loads.flat().map((load) => Math.ceil((2 * load) / 3)),
      ];
      await writeFile(
        join(dir, 'flat.npy'),
        npyFile({ descr: '>i4', shape: [26, 64], values: loads.flat() }),
      );
      await writeFile(join(dir, 'steps.npy'), npyFile({ descr: '<f8', shape: [2, 26, 64], values: steps }));
      await writeFile(join(dir, 'loads.json'), JSON.stringify({ logical_count: loads }));
      const reports = await Promise.all([
        planJson([...LAW, '--steps', '100:4000', '--tokens-per-step', '1']),
        planJson(['flat.npy', ...SIZES], dir),
        planJson(['steps.npy', '--experts', '64', ...SIZES], dir),
        planJson(['loads.json', '--experts', '64', ...SIZES], dir),
      ]);
      assert.deepEqual(byRank(reports[0].physicalToLogical, 16), byRank(expectedMap(loads), 16));
      for (const report of reports) {
        assert.equal(report.digest, reports[0].digest);
        assert.deepEqual(report.layers, reports[0].layers);
      }
      assert.deepEqual(
        reports.map((report) => report.recording.readAs),
        ['routes', 'loads', 'loads', 'loads'],
      );
    });
  });

  test('--threads changes nothing but the threads', async () => {
    const reports = await Promise.all(
      ['0', '1', '3'].map((threads) => planJson([...LAW, '--threads', threads])),
    );
    assert.deepEqual(
      reports.map((report) => report.threads),
      [0, 1, 3],
    );
    assert.equal(new Set(reports.map((report) => report.digest)).size, 1);
  });

  test('--from starts at a placement: planned again on the same loads, nothing moves', async () => {
    await inTempDir(async (dir) => {
      const first = await planJson([...LAW, '-o', 'p.json'], dir);
      const again = await planJson([...LAW, '--start-from', 'p.json', '-o', 'p.json'], dir);
      assert.equal(again.moves, 0);
      assert.equal(again.digest, first.digest);
      assert.deepEqual(again.before, first.after);
      const other = await planJson([...LAW, '--start-from', 'p.json', '--steps', ':20'], dir);
      assert.ok(other.moves > 0 && other.moves < other.slots);
    });
  });

  test('--policy takes locality and a module', async () => {
    await inTempDir(async (dir) => {
      const locality = await planJson([...LAW, '--policy', 'locality']);
      assert.equal(locality.policy, 'locality');
      assert.equal(locality.physicalToLogical.length, 26);
      const library = import.meta.resolve('expert-load-balancer');
      await writeFile(
        join(dir, 'mine.mjs'),
        `import { AbstractEplbPolicy, ExpertMapping } from ${JSON.stringify(library)};
        export default class Mine extends AbstractEplbPolicy {
          name = 'mine';
          rebalanceExperts(weight, numReplicas) {
            const row = Array.from({ length: numReplicas }, (_, slot) => (numReplicas - 1 - slot) % 64);
            return ExpertMapping.fromPhysicalToLogical(Array.from({ length: 26 }, () => row), 64);
          }
        }`,
      );
      const mine = await planJson([...LAW, '--policy', './mine.mjs'], dir);
      assert.deepEqual([...mine.physicalToLogical[25]].sort().slice(0, 3), [0, 0, 1]);
    });
  });

  test('routes without --experts are asked for, and read as loads when told to', async () => {
    const args = ['plan', RECORDING, '--replicas', '8', '--ranks', '4', '--steps', ':9'];
    assertRefused(await shared(args), 'OPTION', /distinct; give --experts for routes, --as loads for loads/);
    const run = await shared([...args, '--as', 'loads']);
    assert.equal(run.code, 0);
    assert.match(run.stdout, /read as +loads: 8,327 steps x 26 layers x 6 experts\n/);
    assert.match(run.stdout, /used +steps 0 to 9 \(end not included\) of 8,327\n/);
  });

  test('no colours off a terminal, whatever the environment asks for', async () => {
    const env = { ...process.env, FORCE_COLOR: '1', CI: '1' };
    const run = await eplb(['plan', ...LAW], { env });
    assert.equal(run.code, 0);
    assert.doesNotMatch(run.stdout, /\p{Cc}(?<!\n)/u);
  });

  test('--output replaces a file whole, through a link', async () => {
    await inTempDir(async (dir) => {
      await writeFile(join(dir, 'real.json'), 'x'.repeat(100_000));
      await symlink('real.json', join(dir, 'link.json'));
      await planJson([...LAW, '-o', 'link.json'], dir);
      assert.deepEqual((await readdir(dir)).sort(), ['link.json', 'real.json']);
      const file = JSON.parse(await readFile(join(dir, 'real.json'), 'utf8'));
      assert.equal(file.physical_to_logical_map.length, 26);
    });
  });
});

describe('eplb', { concurrency: 2 }, () => {
  test('--version prints the version of package.json', async () => {
    const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'));
    assert.deepEqual(await eplb(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' });
  });

  test('--help lists the subcommands, plan --help the options', async () => {
    const all = await shared(['--help']);
    assert.equal(all.code, 0);
    assert.match(all.stdout, /^ {2}plan .*placement/m);
    for (const args of [
      ['plan', '--help'],
      ['help', 'plan'],
    ]) {
      const plan = await shared(args);
      assert.equal(plan.code, 0);
      for (const option of ['--experts', '--slots', '--from', '--start-from', '--json'])
        assert.ok(plan.stdout.includes(option));
    }
  });

  test('without a subcommand it prints the help and fails', async () => {
    const run = await eplb([]);
    assert.equal(run.code, 2);
    assert.equal(run.stdout, '');
    assert.match(run.stderr, /Usage: eplb/);
  });
});
