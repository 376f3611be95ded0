import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { AdaptiveEplbPolicy, ExpertLoadBalancer } from 'expert-load-balancer';
import { fewestMoves } from '../helpers/adaptive.ts';
import { inTempDir, sharedEplb } from '../helpers/cli.ts';
import { npyFile, npyShape } from '../helpers/npy.ts';
import { assertRefused } from '../helpers/refusal.ts';
import { LOADS, SIZES, writeLoads } from '../helpers/replay-files.ts';

const eplb = sharedEplb();

const SLOTS = [5, 3, 5, 4];
const WITH_SLOTS = [...SIZES, '--slots-per-rank', SLOTS.join(',')];
const NUM_STEPS = 12;

/** The numbers of a .npy file of int32. */
async function npyNumbers(path: string): Promise<number[]> {
  const file = await readFile(path);
  const length = npyShape(file).reduce((product, size) => product * size, 1);
  return Array.from({ length }, (_, i) => file.readInt32LE(file.length - 4 * (length - i)));
}

test('--slots-per-rank plans for the open slots, and tells so', async () => {
  await inTempDir(async (dir) => {
    const loads = await writeLoads(dir, 'loads.npy', NUM_STEPS);
    const args = ['plan', loads, ...WITH_SLOTS, '--policy', 'adaptive'];
    const run = await eplb([...args, '--json']);
    assert.equal(run.code, 0, run.stderr);
    const report = JSON.parse(run.stdout);
    assert.deepEqual(report.topology.slotsPerRank, SLOTS);
    assert.equal(report.slots, 3 * 17);
    const policy = new AdaptiveEplbPolicy();
    const sizes = { numLayers: 3, numLogicalExperts: 16, numPhysicalExperts: 20, numRanks: 4, numNodes: 2 };
    const balancer = new ExpertLoadBalancer({ ...sizes, slotsPerRank: SLOTS, policy, threads: 0 });
    const values = Float32Array.from(await npyNumbers(loads));
    const samples = { data: values, numSamples: NUM_STEPS, ...LOADS };
    const context = { previous: balancer.mapping, slotsPerRank: SLOTS };
    const planned = policy.planExperts(samples, 20, 1, 2, 4, context);
    assert.equal(report.digest, planned.mapping.digest());
    assert.deepEqual(report.physicalToLogical, planned.mapping.toJSON().phyToLog);
    assert.match((await eplb(args)).stdout, /16 in 17 slots[\s\S]* 4 ranks of 3 to 5 slots, 2 nodes/);
    const all = [...SIZES, '--policy', 'adaptive', '--json'];
    const [open, usual] = await Promise.all([
      eplb(['plan', loads, ...all, '--slots-per-rank', '5,5,5,5']),
      eplb(['plan', loads, ...all]),
    ]);
    const untimed = ({ stdout }: typeof run) => ({ ...JSON.parse(stdout), planningMs: 0 });
    assert.deepEqual(untimed(open), untimed(usual), 'all slots open is as if nothing was said');
  });
});

test('plan --start-from empties closed slots with the fewest moves', async () => {
  await inTempDir(async (dir) => {
    const loads = await writeLoads(dir, 'loads.npy', NUM_STEPS);
    const before = join(dir, 'before.json');
    const first = await eplb(['plan', loads, ...SIZES, '-o', before, '--json']);
    const rows: number[][] = JSON.parse(first.stdout).physicalToLogical;
    // The same step again and again: nothing is worth more than what has to move.
    const step = Array.from({ length: 48 }, () => 1);
    await writeFile(join(dir, 'flat.npy'), npyFile({ descr: '<i4', shape: [1, 3, 16], values: step }));
    const args = [join(dir, 'flat.npy'), ...WITH_SLOTS, '--policy', 'adaptive', '--start-from', before];
    for (const threads of ['0', '2']) {
      const run = await eplb(['plan', ...args, '--threads', threads, '--json']);
      assert.equal(run.code, 0, run.stderr);
      const report = JSON.parse(run.stdout);
      assert.equal(report.kept, null);
      for (const [layer, row] of (report.physicalToLogical as number[][]).entries()) {
        const closed = row.filter((_, slot) => slot % 5 >= SLOTS[Math.floor(slot / 5)]!);
        assert.deepEqual(closed, [-1, -1, -1]);
        const fewest = fewestMoves(rows[layer]!, { numRanks: 4, numExperts: 16, slotsPerRank: SLOTS });
        assert.ok(report.layers[layer].moves >= fewest);
      }
    }
    // A replay starts with the placement as it is.
    const refused =
      /^--start-from: ".*before\.json": layer 0: slot \d+ holds expert \d+, but is closed: rank 1 has 3 slots$/;
    assertRefused(await eplb(['replay', ...args]), 'MAPPING', refused);
  });
});

test('formats that know no empty slots refuse them and write nothing; others hold them', async () => {
  await inTempDir(async (dir) => {
    const loads = await writeLoads(dir, 'loads.npy', NUM_STEPS);
    const args = ['plan', loads, ...WITH_SLOTS, '--policy', 'adaptive'];
    for (const [file, to] of [
      ['placement.json', 'sglang'],
      ['trt.yaml', 'tensorrt-llm'],
    ] as const) {
      const run = await eplb([...args, '-o', join(dir, file), '--to', to]);
      assertRefused(run, 'MAPPING', new RegExp(`^${to} has no empty slots; the placement has some$`));
    }
    assert.deepEqual(await readdir(dir), ['loads.npy']);
    const path = join(dir, 'placement.npy');
    const run = await eplb([...args, '-o', path, '--json']);
    assert.equal(run.code, 0, run.stderr);
    const again = await eplb([...args, '--start-from', path, '--max-moves', '0', '--json']);
    assert.equal(again.code, 0, again.stderr);
    assert.equal(JSON.parse(again.stdout).moves, 0);
    assert.equal(JSON.parse(again.stdout).digest, JSON.parse(run.stdout).digest);
  });
});

test('replay and compare hold closed slots empty from the first step on', async () => {
  await inTempDir(async (dir) => {
    const loads = await writeLoads(dir, 'loads.npy', 80);
    const out = join(dir, 'out.json');
    const page = join(dir, 'page.html');
    const args = [
      'compare',
      loads,
      ...WITH_SLOTS,
      '--interval',
      '16',
      '--planning-seconds',
      '0',
      '--json',
      out,
    ];
    const run = await eplb([
      ...args,
      '--policies',
      'static,adaptive',
      '--cost',
      'deepseek-v3',
      '--report',
      page,
    ]);
    assert.equal(run.code, 0, run.stderr);
    assert.match(run.stdout, /placement +17 slots, 4 ranks of 3 to 5, 2 nodes/);
    const { replays } = JSON.parse(await readFile(out, 'utf8'));
    for (const { configuration, totals } of replays) {
      assert.deepEqual(configuration.slotsPerRank, SLOTS);
      // One slot more than experts, on four ranks, in three layers.
      assert.equal(totals.redundantBytesPerRank, (1 / 4) * 3 * configuration.cost.bytesPerExpert);
    }
    assert.match(await readFile(page, 'utf8'), /17, of the ranks: 5, 3, 5, 4/);
    const one = await eplb(['replay', loads, ...WITH_SLOTS, '--policy', 'adaptive', '--threshold', '1.2']);
    assert.match(one.stdout, /placement +17 slots, 4 ranks of 3 to 5/);
  });
});

test('wrong slots, and policies that cannot plan for them, are refused, with nothing written', async () => {
  await inTempDir(async (dir) => {
    const loads = await writeLoads(dir, 'loads.npy', 4);
    const full = join(dir, 'full.mjs');
    const rows = 'Array.from({ length: numReplicas }, (_, slot) => slot % 16)';
    await writeFile(
      full,
      `export default class { name = 'full'; rebalanceExperts(weight, numReplicas) { const row = ${rows};` +
        ' return { phyToLog: [row, row, row], numLogicalExperts: 16 }; } }',
    );
    const only =
      /^--slots-per-rank: the \w+ policy cannot plan for closed slots; policies that can plan this: locality, adaptive$/;
    const cases: [slots: string, policy: string, code: string, message: RegExp][] = [
      ['5,3,5,4', 'default', 'TOPOLOGY', only],
      ['5,3,5', 'adaptive', 'SHAPE', /^--slots-per-rank: has 3 numbers, not 4, one a rank$/],
      ['5,3,5,6', 'adaptive', 'RANGE', /^--slots-per-rank: rank 3: 6 is not from 0 to 5$/],
      [
        '5,3,5,2',
        'adaptive',
        'TOPOLOGY',
        /^--slots-per-rank: 15 slots are less than the logical experts, 16: every expert/,
      ],
      ['5,3,,4', 'adaptive', 'NOT_WHOLE', /^--slots-per-rank: "" is not a whole number/],
      ['5,3,-5,4', 'adaptive', 'RANGE', /^--slots-per-rank: -5 is not/],
      ['5,3,5.5,4', 'adaptive', 'NOT_WHOLE', /^--slots-per-rank: "5\.5" is not a whole number/],
      ['x', 'adaptive', 'NOT_WHOLE', /^--slots-per-rank: "x" is not a whole number/],
      [
        '5,3,5,4',
        full,
        'POLICY',
        /^policy .*full.*: its mapping: layer 0: slot 8 holds expert 8, but is closed/,
      ],
    ];
    for (const [slots, policy, code, message] of cases) {
      for (const command of ['plan', 'replay']) {
        const out =
          command === 'plan'
            ? ['-o', join(dir, 'out.npy')]
            : ['--json', join(dir, 'out.json'), '--interval', '2'];
        const run = await eplb([
          command,
          loads,
          ...SIZES,
          '--slots-per-rank',
          slots,
          '--policy',
          policy,
          ...out,
        ]);
        assertRefused(run, code, message);
      }
    }
    const compared = await eplb(['compare', loads, ...WITH_SLOTS]);
    assertRefused(compared, 'TOPOLOGY', only);
    const competition = [...WITH_SLOTS, '--policies', 'static,adaptive', '--cost', 'competition'];
    assertRefused(
      await eplb(['compare', loads, ...competition]),
      'OPTION',
      /^--slots-per-rank: --cost competition compares with the default policy, which fills all slots$/,
    );
    assertRefused(
      await eplb(['sweep', loads, '--replicas', '20', '--ranks', '4', '--slots-per-rank', '5,3,5,4']),
      'OPTION',
      /unknown option .*--slots-per-rank/,
    );
    assert.deepEqual((await readdir(dir)).sort(), ['full.mjs', 'loads.npy']);
  });
});
