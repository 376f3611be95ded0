import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import process from 'node:process';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ExpertLoadBalancer } from 'expert-load-balancer';
import { usableCores } from '../../src/engine/cores.ts';
import { refusal, withBalancer } from '../helpers/library.ts';

// The pool takes its threads from here. Others than the first ones cannot be started, as where the system's
// limit is reached.
const threads: typeof import('node:worker_threads') = createRequire(import.meta.url)('node:worker_threads');
let mostThreads = 0;
let numThreads = 0;
let numTried = 0;
const { Worker: AnyWorker } = threads;
threads.Worker = class extends AnyWorker {
  constructor(...args: ConstructorParameters<typeof AnyWorker>) {
    numTried++;
    if (numThreads >= mostThreads) {
      throw Object.assign(new Error('EAGAIN'), { code: 'ERR_WORKER_INIT_FAILED' });
    }
    super(...args);
    numThreads++;
    this.once('exit', () => numThreads--);
  }
};
syncBuiltinESMExports();

const warnings: (Error & { code?: string })[] = [];
const onWarning = (warning: Error) => warnings.push(warning);
process.on('warning', onWarning);
after(() => process.off('warning', onWarning));

/** So large that a plan is worth four threads. */
const sizes = { numLayers: 60, numLogicalExperts: 256, numPhysicalExperts: 288, numRanks: 32 };
const length = sizes.numLayers * sizes.numLogicalExperts;
const data = Float32Array.from({ length }, (_, i) => (i * 7919) % 1013);
const loads = { data, numLayers: sizes.numLayers, numExperts: sizes.numLogicalExperts };
const refused = refusal(
  'other',
  'EPLB_THREADS',
  /^no more threads can be had: the limit of threads .*ulimit -u/,
);

test('no thread can be had: plans and start() are refused, and work when there is one', async () => {
  mostThreads = 0;
  await withBalancer({ ...sizes, threads: 2 }, async (balancer) => {
    await assert.rejects(balancer.plan(loads), refused);
    await assert.rejects(balancer.start(), refused);
    await assert.rejects(balancer.rebalance(loads), refused);
    mostThreads = 1;
    assert.ok((await balancer.plan(loads)).equals(balancer.rebalanceSync(loads)));
  });
  const policy = new URL('../fixtures/policies/dies.mjs', import.meta.url);
  mostThreads = 0;
  await withBalancer({ ...sizes, policy }, async (balancer) => {
    await assert.rejects(balancer.plan(loads), refused);
    await assert.rejects(balancer.start(), refused);
  });
});

test('fewer threads than wanted: balancers share what there is, no more are tried, said once', async () => {
  mostThreads = 1;
  await withBalancer({ ...sizes, threads: 2 }, async (one) => {
    await withBalancer({ ...sizes, threads: 2 }, async (other) => {
      await one.start();
      numTried = 0;
      const plans = [one.plan(loads), other.plan(loads), one.plan(loads), other.plan(loads)];
      const expected = new ExpertLoadBalancer({ ...sizes, threads: 0 }).rebalanceSync(loads);
      for (const mapping of await Promise.all(plans)) assert.ok(mapping.equals(expected));
      assert.equal(numThreads, 1);
      assert.equal(numTried, 0);
    });
  });
  await new Promise((resolve) => setImmediate(resolve));
  const said = warnings.filter(({ code }) => code === 'EPLB_THREADS');
  // Who may use one core only wants no more than one.
  const numWanted = Math.min(2, usableCores());
  assert.equal(said.length, numWanted - 1, String(warnings));
  for (const { message } of said)
    assert.match(message, /^1 of 2 worker threads were started: no more threads/);
});

/** Runs a balancer's plan in a process of its own. @returns what it printed of an error, or 'planned' */
function planIn(nodeOptions: readonly string[], before = ''): string {
  const code = `
    import { ExpertLoadBalancer } from 'expert-load-balancer';
    const sizes = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2, threads: 1 };
    const balancer = new ExpertLoadBalancer(sizes);
    if (process.env.SHOW) console.log(/VmSize:\\s+(\\d+)/.exec(process.getBuiltinModule('node:fs')
      .readFileSync('/proc/self/status', 'utf8'))[1]);
    const show = (error) => error.name + ' ' + error.code + ' ' + error.message;
    console.log(await balancer.plan([[9, 1, 4, 2]]).then(() => 'planned', show));
    await balancer.close();`;
  const args = [...nodeOptions, '--no-warnings', '--input-type=module', '--eval', code];
  const run = `${before} exec "$@"`;
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  const env = { ...process.env, SHOW: before === '' ? '1' : '' };
  const { stdout, stderr } = spawnSync('/bin/bash', ['-c', run, 'bash', process.execPath, ...args], {
    ...{ cwd, env, encoding: 'utf8' as const, timeout: 30_000 },
  });
  return stdout === '' ? stderr : stdout.trimEnd();
}

test('the permission model without workers is named', { skip: process.platform === 'win32' }, () => {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const flag = major! > 23 || (major === 22 && minor! >= 13) ? '--permission' : '--experimental-permission';
  const allowed = [flag, '--allow-fs-read=*'];
  assert.match(planIn(allowed, ':;'), /^EplbError EPLB_THREADS no threads can be had: .*--allow-worker$/);
  assert.equal(planIn([...allowed, '--allow-worker'], ':;'), 'planned');
});

test('a thread that has no address space is not started', { skip: process.platform !== 'linux' }, () => {
  const [used] = planIn([]).split('\n').map(Number);
  const limited = planIn([], `ulimit -v ${used! + 600 * 1024};`);
  const wanted =
    /^EplbError EPLB_THREADS no more threads can be had: each needs 1024 MiB of address space, and of/;
  assert.match(limited, wanted);
});
