/** The plug-ins for engines, from their wheel, by their recipes, beside planners of all kinds. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ExpertLoadBalancer, ExpertMapping } from 'expert-load-balancer';
import { parse } from 'yaml';
import type { GroupView } from '../../dist/types/serve/index.d.ts';
import { CLI, inTempDir, runProgram } from '../helpers/cli.ts';
import { PAGE_FILES } from '../helpers/doc-files.ts';
import { canRunPlugins, PYTHON, recipeOf, unpackedWheel } from '../helpers/engine-wheel.ts';

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url));

interface Scenario {
  readonly engine: string;
  readonly name: string;
  readonly digests: readonly string[];
  /** Of each rank, whether it got what the engine's own algorithm gives. */
  readonly own: readonly boolean[];
  /** Whether what it got has the type and shape of the engine's own. */
  readonly fits: boolean;
  readonly table: number[][];
  readonly loads: number[][];
  readonly old: number[][];
}

interface Finding {
  readonly engine: string;
  readonly name: string;
  readonly isIn: boolean;
  readonly messages: readonly (readonly [level: string, message: string])[];
}

type View = Pick<GroupView, 'epoch' | 'counters' | 'numRanks' | 'numNodes' | 'policy'>;

interface Found {
  readonly contract: readonly Finding[];
  readonly scenarios: readonly Scenario[];
  readonly views: Readonly<Record<string, View>> & { readonly context: boolean };
  readonly random: Readonly<Record<string, number>>;
}

interface WatchFound {
  readonly cases: Readonly<
    Record<
      string,
      { readonly looks: readonly string[]; readonly text: string | null; readonly left: string[] }
    >
  >;
  /** Whether the planner takes the file's placement for live, and of how many steps it was told. */
  readonly live: readonly [isLive: boolean, numSteps: number];
  readonly refused: Readonly<Record<string, string | null>>;
  readonly isRemoved: boolean;
  readonly roundTrips: number;
  readonly damaged: { readonly read: number; readonly refused: number };
}

/** What ends with a plan of a planner; all others fall back. */
const PLANNED = [
  ...['declared, broadcast', 'planner, compare', 'planner, broadcast', 'continued, broadcast'],
  ...['good, broadcast', 'good, compare', 'only the first reaches it, broadcast'],
  'eight are answered, compare',
];
const ENGINES = ['vllm', 'sglang', 'vllm_ascend'];
const PAGES = ['vllm', 'sglang', 'vllm-ascend', 'tensorrt-llm'];

/** Starts the service as a page says, in a folder. */
async function serveIn(dir: string, args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [CLI, 'serve', ...args], {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(createInterface(child.stdout!), 'line');
  return child;
}

describe('the plug-ins for engines', { skip: (await canRunPlugins()) ? false : 'no PyTorch' }, () => {
  let found: Found;
  let watched: WatchFound;
  let shown: { code: number | null; text: string; restarted: string };

  before(async () => {
    await inTempDir(async (dir) => {
      const recipes = await Promise.all(PAGES.map(recipeOf));
      const { wheelName, serveArgs, last } = recipes.at(-1)!;
      for (const other of recipes) {
        assert.deepEqual([other.wheelName, other.serveArgs], [wheelName, serveArgs]);
        assert.match(other.variables, /^EPLB_ENGINE_URL=unix:\$PWD\/eplb\.sock( DYNAMIC_EPLB=true)?$/);
      }
      const wheel = await unpackedWheel(dir, wheelName);
      const service = await serveIn(dir, serveArgs);
      const closed = once(service, 'close');
      try {
        await PAGE_FILES['docs/engines/tensorrt-llm.md']!(dir);
        shown = await runWatch(dir, wheel, recipes.at(-1)!.variables, last.text);
        const env = { ...process.env, PYTHONPATH: `${wheel}:${path('.')}`, PYTHONDONTWRITEBYTECODE: '1' };
        const url = `unix:${join(dir, 'eplb.sock')}`;
        const watch = await runProgram(PYTHON, [path('tensorrt_llm_watch.py'), dir, url], { env });
        assert.equal(watch.code, 0, watch.stderr);
        watched = JSON.parse(watch.stdout);
        const args = [path('engine_ranks.py'), wheel, url, String(service.pid)];
        const run = await runProgram(PYTHON, args, { env });
        assert.equal(run.code, 0, run.stderr);
        found = JSON.parse(run.stdout);
      } finally {
        service.kill('SIGKILL');
        await closed;
      }
    });
  });

  /** Runs the page's last command, with a restart that only notes what it was called with. */
  async function runWatch(dir: string, wheel: string, variables: string, command: string) {
    const program = 'eplb-tensorrt-llm';
    const noted = join(dir, 'restarted');
    await writeFile(join(dir, 'systemctl'), `#!/bin/sh\necho "$@" "$EPLB_ENGINE_CONFIG" > ${noted}\n`);
    await writeFile(
      join(dir, program),
      `#!/bin/sh\nexec ${PYTHON} -B -m eplb_engine.tensorrt_llm --once "$@"\n`,
    );
    for (const file of ['systemctl', program]) await chmod(join(dir, file), 0o755);
    const points = await readFile(join(wheel, 'eplb_engine-0.1.0.dist-info', 'entry_points.txt'), 'utf8');
    assert.match(points, /\[console_scripts\]\neplb-tensorrt-llm = eplb_engine\.tensorrt_llm:main\n/);
    const env = {
      ...process.env,
      PATH: `${dir}:${process.env.PATH}`,
      PYTHONPATH: wheel,
      // A machine may be busy.
      EPLB_ENGINE_TIMEOUT_MS: '10000',
    };
    const run = await runProgram('bash', ['-c', `export ${variables}\n${command}`], { cwd: dir, env });
    assert.equal(run.code, 0, run.stderr);
    return {
      code: run.code,
      text: await readFile(join(dir, 'moe_load_balancer.yaml'), 'utf8'),
      restarted: await readFile(noted, 'utf8'),
    };
  }

  test('give all ranks one placement, whatever the planner does', () => {
    for (const { engine, name, digests, own, fits } of found.scenarios) {
      assert.equal(new Set(digests).size, 1, `${engine}: ${name}`);
      assert.equal(new Set(own).size, 1, `${engine}: ${name}`);
      assert.ok(fits, `${engine}: ${name}`);
    }
    for (const engine of ENGINES) {
      assert.ok(found.scenarios.filter((one) => one.engine === engine).length >= 20, engine);
    }
  });

  test('are asked eight at a time: what seven of them get, and one does not, is used by none', () => {
    for (const engine of ENGINES) {
      const ofEight = found.scenarios.filter((one) => one.engine === engine && one.digests.length === 8);
      const seven = ofEight.filter(({ name }) => name.startsWith('seven of eight'));
      assert.equal(seven.length, 4, engine);
      for (const { name, own } of seven) assert.deepEqual(own, Array(8).fill(true), `${engine}: ${name}`);
      assert.equal(ofEight.length, 5);
    }
  });

  test('take the plans of a planner that answers, and the engine’s own else', () => {
    for (const { engine, name, own } of found.scenarios) {
      // The others' outcome: theirs to say, if the rank that missed it was not quicker.
      if (name.startsWith('held for')) continue;
      assert.equal(own[0], !PLANNED.includes(name), `${engine}: ${name}`);
    }
    for (const engine of ENGINES) {
      const names = found.scenarios.filter((one) => one.engine === engine).map(({ name }) => name);
      assert.deepEqual(
        PLANNED.filter((name) => !names.includes(name)),
        [],
      );
    }
  });

  test('bring what the library plans', async () => {
    const sizes = { numLayers: 3, numLogicalExperts: 8, numPhysicalExperts: 12, numRanks: 4 };
    const balancer = new ExpertLoadBalancer({ ...sizes, threads: 0 });
    const ofService = found.scenarios.filter(
      ({ engine, name }) => engine !== 'vllm_ascend' && /^(declared|planner|continued),/.test(name),
    );
    assert.equal(ofService.length, 15);
    for (const { engine, name, table, loads, old } of ofService) {
      const previous = ExpertMapping.fromPhysicalToLogical(old, sizes.numLogicalExperts);
      const wanted = await balancer.plan(loads, { previous });
      assert.deepEqual(table, wanted.toJSON().phyToLog, `${engine}: ${name}`);
    }
    await balancer.close();
  });

  test('give vllm-ascend no layer that it refuses', () => {
    const planned = found.scenarios.filter(({ engine, own }) => engine === 'vllm_ascend' && !own[0]);
    let numMoves = 0;
    for (const { name, table, old } of planned) {
      for (const [layer, row] of table.entries()) {
        assert.equal(new Set(row).size, 8, name);
        for (let first = 0; first < row.length; first += 3) {
          const now = row.slice(first, first + 3);
          const then = old[layer]!.slice(first, first + 3);
          assert.equal(new Set(now).size, 3, name);
          for (const [slot, expert] of now.entries()) {
            if (then.includes(expert)) assert.equal(then[slot], expert, name);
            else numMoves++;
          }
        }
      }
    }
    assert.ok(numMoves > 20);
    // Random tables of other sizes, in which each case came up.
    const { tables, reordered, kept, refused } = found.random;
    assert.equal(tables, 300);
    for (const times of [reordered, kept, refused]) assert.ok(times! > 10);
  });

  test('declare their group, and report what was measured and what went live', () => {
    for (const engine of ENGINES) {
      const { counters, epoch, numRanks, numNodes, policy } = found.views[engine]!;
      assert.ok(counters.numSteps >= 4, engine);
      assert.ok(epoch >= 1, engine);
      assert.deepEqual([numRanks, numNodes], [4, 1]);
      assert.equal(policy, engine === 'vllm_ascend' ? 'adaptive' : 'default');
    }
    assert.ok(found.views.context, 'a plan by the proposed contract is live with its last layer');
  });

  test('have a rank that misses the outcome of a vote do what the others do', () => {
    const held = found.scenarios.filter(({ name }) => name.startsWith('held for'));
    assert.equal(held.length, 4);
    for (const { engine, name, digests } of held) {
      assert.equal(new Set(digests).size, 1, `${engine}: ${name}`);
    }
  });

  test('leave engines alone that are not as recorded, and say so once', () => {
    const errors = (finding: Finding) =>
      finding.messages.filter(([level]) => level === 'ERROR').map(([, message]) => message);
    for (const finding of found.contract) {
      const { engine, name, isIn } = finding;
      const label = `${engine}: ${name}`;
      if (name === 'no url') {
        assert.deepEqual([isIn, finding.messages], [false, []], label);
      } else if (['as recorded', 'older'].includes(name)) {
        assert.ok(isIn, label);
        // vLLM's is not called there. The others find no ranks in this process.
        const wanted = engine === 'vllm' ? [] : [/^disabled: there is no group of ranks to agree on/];
        const said = errors(finding);
        assert.equal(said.length, wanted.length, label);
        for (const [i, pattern] of wanted.entries()) assert.match(said[i]!, pattern);
      } else {
        assert.equal(isIn, name === 'other policies', label);
        const said = errors(finding);
        assert.equal(said.length, 1, label);
        assert.match(said[0]!, /^disabled: .*; recorded was (vLLM 0\.23\.0|SGLang|vllm-ascend)/, label);
      }
    }
    assert.equal(found.contract.length, 12);
  });

  test('write TensorRT-LLM the file of the plan, as its page shows', () => {
    assert.match(shown.restarted, /^restart trtllm \/.*\/moe_load_balancer\.yaml\n$/);
    const config = parse(shown.text);
    assert.deepEqual(Object.keys(config).sort(), [
      ...['initial_global_assignments', 'layer_updates_per_iter', 'num_slots'],
    ]);
    assert.deepEqual(Object.keys(config.initial_global_assignments), ['3', '4']);
    for (const row of Object.values<number[]>(config.initial_global_assignments)) {
      assert.equal(row.length, 288);
      assert.equal(new Set(row).size, 256);
    }
    assert.equal(config.layer_updates_per_iter, 0);
  });

  test('leave TensorRT-LLM’s file as it was unless there is a plan and the engine starts with it', () => {
    const { cases } = watched;
    const looks = (name: string) => cases[name]!.looks.join();
    const once = 'placed,nothing new,nothing new';
    assert.equal(looks('first'), once);
    assert.equal(looks('again'), 'kept,nothing new,nothing new');
    assert.equal(cases.again!.text, cases.first!.text);
    assert.equal(looks('settles'), 'nothing new,placed,nothing new');
    assert.equal(looks('moves on'), once);
    assert.equal(looks('command fails'), 'failed,nothing new,nothing new');
    assert.equal(cases['command fails']!.text, null);
    for (const name of ['command fails and file was there', 'no such command']) {
      assert.equal(looks(name), 'failed,nothing new,nothing new', name);
    }
    const was = cases['no planner']!.text;
    assert.notEqual(was, cases['moves on']!.text);
    for (const name of ['command fails and file was there', 'no such command', 'liar', 'other slots']) {
      assert.equal(cases[name]!.text, was, name);
    }
    for (const name of ['no planner', 'liar', 'online', 'unknown key', 'other slots', 'other layers']) {
      assert.equal(looks(name), 'failed,failed,failed', name);
    }
    for (const name of ['no slots', 'lost expert', 'damaged']) {
      assert.equal(looks(name), 'failed,failed,failed', name);
    }
    // 'again', and the two that had a file before: they were measured under a placement.
    assert.deepEqual(watched.live, [true, 3]);
    assert.equal(looks('no statistics'), 'nothing new,nothing new,nothing new');
    for (const [name, { left }] of Object.entries(cases)) assert.deepEqual(left, [], name);
  });

  test('refuse files that TensorRT-LLM does not write', () => {
    for (const [name, message] of Object.entries(watched.refused)) {
      assert.ok(message !== null && message.length > 10, name);
    }
    assert.equal(Object.keys(watched.refused).length, 7);
    assert.ok(watched.isRemoved);
    assert.equal(watched.roundTrips, 100);
    assert.ok(watched.damaged.read > 5 && watched.damaged.refused > 50, JSON.stringify(watched.damaged));
  });
});
