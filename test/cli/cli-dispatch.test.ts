import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ExpertMapping, layerBalances, loadTraffic, summarizeBalance } from 'expert-load-balancer';
import { inTempDir, sharedEplb } from '../helpers/cli.ts';
import { packageSchema, schemaErrors } from '../helpers/json-schema.ts';

const eplb = sharedEplb();

/** Two nodes of two ranks; of expert 0 two copies on the first node and one on the second. */
const SLOTS = [0, 1, 0, 2, 3, 0, 4, 5];
const MAPPING = ExpertMapping.fromPhysicalToLogical([SLOTS]);
const STEPS = Array.from({ length: 40 }, (_, step) => [[24 + (step % 3), 4, 6, 5, 8, 3]]);
const RANKS = ['--ranks', '4', '--nodes', '2'];
const SIZES = ['--slots', '8', ...RANKS];
const NEAREST = { numNodes: 2, dispatch: 'nearest' } as const;

async function withFiles(use: (dir: string, read: (name: string) => Promise<string>) => Promise<void>) {
  await inTempDir(async (dir) => {
    await writeFile(join(dir, 'loads.json'), JSON.stringify({ logical_count: STEPS }));
    await writeFile(join(dir, 'live.json'), JSON.stringify({ physical_to_logical_map: [SLOTS] }));
    await use(dir, (name) => readFile(join(dir, name), 'utf8'));
  });
}

function assertClose(found: number, expected: number): void {
  assert.ok(Math.abs(found - expected) <= 1e-6 * (1 + expected), `${found}, not ${expected}`);
}

const balances = STEPS.flatMap((loads) => layerBalances(loads, MAPPING, 4, NEAREST));
const expected = summarizeBalance(balances).balancednessRatioOfSums;
const links = STEPS.map((loads) => loadTraffic(loads, MAPPING, { numRanks: 4, ...NEAREST }).links);
const tokensOf = (linkClass: string) =>
  links.flat().reduce((sum, link) => sum + (link.linkClass === linkClass ? link.tokens : 0), 0) /
  STEPS.length;

describe('--dispatch', { concurrency: 2 }, () => {
  test('inspect shows how a placement balances and which links tokens take', async () => {
    await withFiles(async (cwd, read) => {
      const placed = [
        '--placement',
        'live.json',
        ...RANKS,
        '--dispatch',
        'nearest',
        '--cost',
        'h200:deepseek-v3',
      ];
      const run = await eplb(['inspect', 'loads.json', ...placed, '--json', 'i.json'], { cwd });
      assert.equal(run.code, 0, run.stderr);
      assert.match(run.stdout, /note +nearest dispatch: .* taken to be on all ranks alike/);
      assert.match(run.stdout, /placement +4 ranks, 2 nodes, tokens take the nearest copy/);
      assert.match(run.stdout, /^ +interNode +\d[\d.]* +\d+\.\d% +\d+(\.\d+)? kB +\d > \d +1\.\d{4}$/m);
      const report = JSON.parse(await read('i.json'));
      assert.deepEqual(schemaErrors(packageSchema('schemas/inspect-report.schema.json'), report), []);
      const { balance, traffic, sources } = report.placement;
      assertClose(balance.balancednessRatioOfSums, expected);
      for (const link of traffic.links) {
        assertClose(link.tokens, tokensOf(link.linkClass));
        assertClose(link.bytes, link.tokens * 21_504);
      }
      assert.equal(sources, 'uniform');
      const plain = await eplb(['inspect', 'loads.json', '--ranks', '4'], { cwd });
      assert.doesNotMatch(plain.stdout, /interNode|balancedness/);
    });
  });

  test('replay and compare count by it, and say which policies plan for it', async () => {
    await withFiles(async (cwd, read) => {
      const start = [...SIZES, '--start-from', 'live.json', '--dispatch', 'nearest', '--interval', '16'];
      const replayed = await eplb(
        ['replay', 'loads.json', ...start, '--policy', 'adaptive', '--json', 'r.json', '--report', 'r.html'],
        { cwd },
      );
      assert.equal(replayed.code, 0, replayed.stderr);
      assert.match(replayed.stdout, /^ no balancing +intraNode/m);
      assert.match(replayed.stdout, /^ adaptive +intraNode/m);
      assert.doesNotMatch(replayed.stdout, /for even dispatch/);
      const report = JSON.parse(await read('r.json'));
      assert.deepEqual(schemaErrors(packageSchema('schemas/replay-report.schema.json'), report), []);
      const [{ unbalanced, traffic, balance, configuration }] = report.replays;
      assertClose(unbalanced.balancednessRatioOfSums, expected);
      assert.ok(balance.balancednessRatioOfSums >= expected);
      assert.equal(configuration.dispatch, 'nearest');
      for (const link of traffic.unbalanced.links) assertClose(link.tokens, tokensOf(link.linkClass));
      const page = await readFile(join(cwd, 'r.html'), 'utf8');
      assert.match(page, /id="traffic-heading"/);
      assert.match(page, /Links are least even with .*: \w+ from rank \d to \d carries \d\.\d\d times/);

      const compared = await eplb(['compare', 'loads.json', ...start], { cwd });
      assert.equal(compared.code, 0, compared.stderr);
      assert.match(compared.stdout, /note +planned for even dispatch all the same: default, locality$/m);
      for (const policy of ['static', 'default', 'locality', 'adaptive'])
        assert.match(compared.stdout, new RegExp(`^ ${policy} +intraNode`, 'm'));
    });
  });

  test('one node has no links to tell apart, and of another dispatch nothing is said', async () => {
    await withFiles(async (cwd) => {
      const sizes = ['--slots', '8', '--ranks', '4', '--policy', 'static'];
      const run = await eplb(['replay', 'loads.json', ...sizes], { cwd });
      assert.equal(run.code, 0, run.stderr);
      assert.doesNotMatch(run.stdout, /intraNode|dispatch/);
      const even = await eplb(['replay', 'loads.json', ...sizes, '--dispatch', 'even'], { cwd });
      assert.equal(even.stdout, run.stdout);
    });
  });

  test('plan and validate measure by it', async () => {
    await withFiles(async (cwd, read) => {
      const nearest = [...RANKS, '--dispatch', 'nearest'];
      const before = await eplb(
        ['validate', 'live.json', '--against', 'loads.json', ...nearest, '--json', 'v.json'],
        { cwd },
      );
      assert.equal(before.code, 0, before.stderr);
      const validation = JSON.parse(await read('v.json'));
      assert.match(validation.against.notes.at(-1), /^nearest dispatch: /);
      const sums = [STEPS[0]![0]!.map((_, e) => STEPS.reduce((sum, step) => sum + step[0]![e]!, 0))];
      const own = summarizeBalance(layerBalances(sums, MAPPING, 4, NEAREST));
      assertClose(validation.against.overall.balancednessRatioOfSums, own.balancednessRatioOfSums);
      const planned = await eplb(
        [
          ...['plan', 'loads.json', '--slots', '8', ...nearest, '--start-from', 'live.json'],
          ...['--policy', 'adaptive', '--json', 'p.json'],
        ],
        { cwd },
      );
      assert.equal(planned.code, 0, planned.stderr);
      const plan = JSON.parse(await read('p.json'));
      assertClose(plan.before.balancednessRatioOfSums, own.balancednessRatioOfSums);
      assert.ok(plan.after.balancednessRatioOfSums >= plan.before.balancednessRatioOfSums);
      const after = ExpertMapping.fromPhysicalToLogical(plan.physicalToLogical);
      const { balancednessRatioOfSums } = summarizeBalance(layerBalances(sums, after, 4, NEAREST));
      assertClose(plan.after.balancednessRatioOfSums, balancednessRatioOfSums);
    });
  });

  test('what cannot be is refused', async () => {
    await withFiles(async (cwd) => {
      const refused = async (args: readonly string[], message: RegExp) => {
        const run = await eplb(args, { cwd });
        assert.equal(run.code, 2, run.stdout);
        assert.match(run.stderr, message);
      };
      const nearest = ['--dispatch', 'nearest'];
      await refused(
        ['replay', 'loads.json', ...SIZES, '--dispatch', 'far'],
        /--dispatch: "far" is neither .*EPLB_RANGE/,
      );
      await refused(
        ['plan', 'loads.json', ...SIZES, ...nearest],
        /--dispatch: --policy default plans for even dispatch; for nearest: adaptive \(EPLB_OPTION\)/,
      );
      await refused(
        ['replay', 'loads.json', ...SIZES, ...nearest, '--cost', 'competition'],
        /--dispatch: --cost competition counts even dispatch/,
      );
      await refused(['validate', 'live.json', ...RANKS, ...nearest], /--dispatch: .*give --against/);
      await refused(['inspect', 'loads.json', '--placement', 'loads.json'], /loads\.json/);
      await refused(['inspect', 'loads.json', '--placement', 'live.json', '--ranks', '3'], /EPLB_TOPOLOGY/);
    });
  });
});
