/** The plug-in for vLLM, from its wheel, in four processes beside planners of all kinds. */
import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ExpertLoadBalancer, ExpertMapping } from 'expert-load-balancer';
import type { GroupView } from '../../dist/types/serve/index.d.ts';
import { inTempDir, runProgram } from '../helpers/cli.ts';
import { endProcess, startProcess } from '../helpers/service.ts';

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url));
/** Debian's, which has its python3-torch. */
const PYTHON = '/usr/bin/python3';

interface Scenario {
  readonly name: string;
  readonly digests: readonly string[];
  /** Of each rank, whether it got what the engine's own algorithm gives. */
  readonly own: readonly boolean[];
  readonly fits: boolean;
  readonly table: number[][];
  readonly loads: number[][];
  readonly old: number[][];
}

interface Finding {
  readonly replaced: boolean;
  readonly isKind: boolean;
  readonly messages: readonly (readonly [level: string, message: string])[];
}

/** What ends with a plan of a planner; all others fall back. */
const PLANNED = [
  ...['declared, broadcast', 'planner, compare', 'planner, broadcast', 'continued, broadcast'],
  ...['good, broadcast', 'good, compare', 'only the first reaches it, broadcast'],
];

/** Found, not imported: that takes a second. */
const FIND = `import importlib.util as u, sys
sys.exit(not all(map(u.find_spec, ('torch', 'setuptools', 'wheel', 'pip'))))`;
const hasTorch = (await runProgram(PYTHON, ['-c', FIND])).code === 0;
assert.ok(hasTorch || process.env.NEED_TORCH === undefined, 'python3-torch has to be here');

describe('the plug-in for vLLM', { skip: hasTorch ? false : "no PyTorch in Debian's python3" }, () => {
  let contract: Readonly<Record<string, Finding>> = {};
  let scenarios: readonly Scenario[] = [];
  let view: Pick<GroupView, 'epoch' | 'counters' | 'numRanks' | 'numNodes' | 'policy'>;

  before(async () => {
    await inTempDir(async (dir) => {
      // Built from a copy: setuptools writes beside its sources.
      await cp(path('../../plugins/python/eplb_engine'), join(dir, 'source'), { recursive: true });
      const pip = ['-m', 'pip', '-q', 'wheel', '--no-build-isolation', '--no-deps', '--no-index'];
      const built = await runProgram(PYTHON, [...pip, '-w', dir, join(dir, 'source')]);
      assert.equal(built.code, 0, built.stderr);
      const wheel = join(dir, 'eplb_engine-0.1.0-py3-none-any.whl');
      const unpacked = await runProgram(PYTHON, ['-m', 'zipfile', '-e', wheel, join(dir, 'package')]);
      assert.equal(unpacked.code, 0, unpacked.stderr);
      const service = await startProcess(['--listen', '127.0.0.1:0', '--state', join(dir, 'state')]);
      try {
        const args = [
          path('vllm_ranks.py'),
          join(dir, 'package'),
          service.address,
          String(service.child.pid),
        ];
        const run = await runProgram(PYTHON, args);
        assert.equal(run.code, 0, run.stderr);
        ({ contract, scenarios, view } = JSON.parse(run.stdout));
      } finally {
        await endProcess(service, 'SIGKILL');
      }
    });
  });

  test('gives all ranks one placement, whatever the planner does', () => {
    for (const { name, digests, own, fits } of scenarios) {
      assert.equal(new Set(digests).size, 1, name);
      assert.equal(new Set(own).size, 1, name);
      assert.ok(fits, name);
    }
    assert.ok(scenarios.length > 25);
  });

  test('takes the plans of a planner that answers, and the engine’s own else', () => {
    for (const { name, own } of scenarios) assert.equal(own[0], !PLANNED.includes(name), name);
    assert.deepEqual(
      PLANNED.filter((name) => !scenarios.some((one) => one.name === name)),
      [],
    );
  });

  test('brings what the library plans', async () => {
    const sizes = { numLayers: 3, numLogicalExperts: 8, numPhysicalExperts: 12, numRanks: 4 };
    const balancer = new ExpertLoadBalancer({ ...sizes, threads: 0 });
    const ofService = scenarios.filter(({ name }) => /^(declared|planner|continued),/.test(name));
    assert.equal(ofService.length, 7);
    for (const { name, table, loads, old } of ofService) {
      const previous = ExpertMapping.fromPhysicalToLogical(old, sizes.numLogicalExperts);
      const wanted = await balancer.plan(loads, { previous });
      assert.deepEqual(table, wanted.toJSON().phyToLog, name);
    }
    await balancer.close();
  });

  test('declares its group, and reports what was measured and what went live', () => {
    assert.ok(view.counters.numSteps >= 4);
    assert.ok(view.epoch >= 3);
    assert.deepEqual([view.numRanks, view.numNodes, view.policy], [4, 1, 'default']);
  });

  test('leaves engines alone that are not as recorded, and says so once', () => {
    const { 'as recorded': same, 'no url': none, ...others } = contract;
    assert.deepEqual([same!.replaced, same!.isKind, none!.replaced], [true, true, false]);
    assert.equal(none!.messages.filter(([level]) => level === 'ERROR').length, 0);
    assert.deepEqual(Object.keys(others), ['fewer parameters', 'three tables']);
    for (const { replaced, messages } of Object.values(others)) {
      assert.equal(replaced, false);
      assert.equal(messages.length, 1);
      assert.match(messages[0]!.join(' '), /^ERROR disabled: rebalance_experts.*recorded was vLLM 0\.23\.0$/);
    }
  });
});
