import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import {
  AdaptiveEplbPolicy,
  CoactivationRecorder,
  computeBalancedPacking,
  computeExpertReplication,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
  ExpertMapping,
  LocalityAwarePolicy,
  layerBalances,
  shareBalancer,
} from 'expert-load-balancer';
import { replay } from 'expert-load-balancer/replay';
import type * as KernelMemory from '../../src/memory/kernel-memory.ts';
import { runProgram } from '../helpers/cli.ts';
import { collectAll, untilCollected } from '../helpers/collect.ts';
import { stateOf } from '../helpers/library.ts';
import { memoryRecording } from '../helpers/memory-recording.ts';

// The modules that the library itself has, and so its memory in this thread.
const internals = new URL('../../dist/custom-policy.js', import.meta.url);
const { kernelMemoryStatistics, leaseKernelMemory } = (await import(internals.href)) as typeof KernelMemory;

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/memory/${name}`, import.meta.url));
const onLinux = {
  skip: process.platform === 'linux' ? false : 'limits and resident memory are read as Linux has them',
};

/** Runs a fixture under limits of the shell and gives what it printed, read as JSON. */
async function runLimited(limits: string, name: string, flags: readonly string[] = []): Promise<unknown> {
  const command = [process.execPath, ...flags, fixture(name)].map((part) => `'${part}'`).join(' ');
  const { NODE_OPTIONS: _, ...env } = process.env;
  const { stdout, stderr, code } = await runProgram('bash', ['-c', `${limits} exec ${command}`], { env });
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

const GIGABYTES_16 = 'ulimit -v 16777216;';

test('under a limit of 16 GB of address space all that takes kernel memory works', onLinux, async () => {
  const done = Object.entries((await runLimited(GIGABYTES_16, 'everything.mjs')) as Record<string, string>);
  assert.equal(done.length, 14);
  for (const [name, result] of done) assert.equal(result, 'ok', name);
});

test('where no memory can be had, every call that needs one names address space', onLinux, async () => {
  const done = (await runLimited('ulimit -v 8388608;', 'everything.mjs')) as Record<string, string>;
  const names = [
    ...['balancer', 'second balancer', 'policies', 'replay', 'custom policy'],
    ...['computeBalancedPacking', 'computeExpertReplication', 'computeLoadImbalance'],
  ];
  // Node 24 reserves less where it cannot have 10 GB.
  const wanted =
    done.memory === 'ok' ? /^ok$/ : /^EplbRangeError EPLB_MEMORY: .* needs 1 MiB .*address space.*ulimit -v/;
  for (const name of names) assert.match(done[name]!, wanted, name);
});

test(
  'where memory and not address space is short, the error says so, and smaller calls still work',
  onLinux,
  async () => {
    const done = (await runLimited('ulimit -d 1200000;', 'shortage.mjs')) as Record<string, string>;
    assert.deepEqual(Object.keys(done), [
      'small',
      'large',
      'coactivation',
      'table',
      'replication',
      'small again',
    ]);
    assert.equal(done.small, 'ok');
    assert.equal(done['small again'], 'ok');
    assert.match(
      done.large!,
      /^EplbRangeError EPLB_MEMORY: .*window of 450000 needs 26\d\d MiB .*no more memory/,
    );
    assert.match(done.table!, /^EplbRangeError EPLB_MEMORY: inverting .* needs 15\d\d MiB .*no more memory/);
    for (const name of ['coactivation', 'replication'])
      assert.match(
        done[name]!,
        /^EplbRangeError EPLB_MEMORY: .* needs 1\d{4} MiB of memory, which .* cannot get/,
      );
  },
);

test('64 balancers in one memory under 16 GB: each equals a lone one, bit for bit', onLinux, async () => {
  const together = (await runLimited(GIGABYTES_16, 'many-balancers.mjs')) as string[][];
  assert.equal(together.length, 64);
  const alone = async (index: number) => {
    const worker = new Worker(fixture('many-balancers.mjs'), { workerData: { index }, execArgv: [] });
    const exited = once(worker, 'exit');
    const [result] = await once(worker, 'message');
    await exited;
    return result as string[];
  };
  for (let index = 0; index < 64; index += 2) {
    const pair = await Promise.all([alone(index), alone(index + 1)]);
    assert.deepEqual(together.slice(index, index + 2), pair, `balancers ${index} and ${index + 1}`);
  }
});

test(
  'balancers that are dropped one after the other make room for the next, where no further memory can be had',
  onLinux,
  async () => {
    assert.equal(await runLimited(GIGABYTES_16, 'one-after-the-other.mjs'), 8);
  },
);

test(
  'pages that a balancer does not use stay with the system, also where others had them',
  onLinux,
  async () => {
    const figures = await runLimited('', 'resident.mjs', ['--expose-gc']);
    const { first, second, memories, bytes } = figures as Record<
      'first' | 'second' | 'memories' | 'bytes',
      number
    >;
    // A window of 2,000 has rings of 200 MB.
    assert.ok(bytes > 200e6 && bytes < 210e6, `${bytes} bytes`);
    assert.equal(memories, 1);
    assert.ok(first < 40e6, `${first} bytes of a new region`);
    assert.ok(second < 40e6, `${second} bytes of a region in use again`);
  },
);

const SIZES = { numLayers: 4, numLogicalExperts: 16, numPhysicalExperts: 24, numRanks: 4, numNodes: 2 };
const loadsOf = (seed: number) =>
  Array.from({ length: SIZES.numLayers }, (_, layer) =>
    Array.from({ length: 16 }, (_, expert) => ((seed + 3) * (layer + 2) * (expert + 5) * 7919) % 1013),
  );

function record(balancer: ExpertLoadBalancer, steps: number): void {
  for (let step = 0; step < steps; step++) {
    for (const [layer, row] of loadsOf(step).entries()) {
      if (step % 2 === 0) balancer.recordLogicalLoad(layer, row);
      else
        balancer.recordLoad(
          layer,
          Float32Array.from({ length: 24 }, (_, slot) => row[slot % 16]! + 0.5),
        );
    }
    balancer.advanceWindow();
  }
}

/** A balancer that has recorded and planned, with whatever its memory held before. */
function usedBalancer(options: Partial<ExpertLoadBalancerOptions> = {}): ExpertLoadBalancer {
  const balancer = new ExpertLoadBalancer({ ...SIZES, windowSize: 8, threads: 0, ...options });
  record(balancer, 11);
  balancer.rebalanceSync();
  record(balancer, 5);
  return balancer;
}

/** Fills a region of the thread's memory with a byte that no kernel would write by chance. */
function canary() {
  const { region } = leaseKernelMemory('a canary', (start) => ({ start, end: start + 4096 }));
  const view = new Uint8Array(region.buffer, region.start, 4096).fill(0xa5);
  return { region, isWhole: () => view.every((byte) => byte === 0xa5) };
}

/**
 * Leaves a free region behind, once it is collected, that is full of numbers far from 0: of 12.08 in float32.
 */
function leaveDirt(bytes: number): void {
  const { region } = leaseKernelMemory('dirt', (start) => ({ start, end: start + bytes }));
  new Uint8Array(region.buffer, region.start, bytes).fill(0x41);
}

const policies = [
  new DefaultEplbPolicy(),
  new LocalityAwarePolicy({ maxEvaluations: 2000 }),
  new AdaptiveEplbPolicy({ maxEvaluations: 100 }),
];

/** What a balancer does, threads and all; the same result each time. */
async function workOf(balancer: ExpertLoadBalancer): Promise<unknown> {
  record(balancer, 11);
  const recorder = new CoactivationRecorder({ numLayers: SIZES.numLayers, numExperts: 16 });
  recorder.record(
    Uint8Array.from({ length: 4 * 50 * 2 }, (_, i) => (i * 7) % 16),
    50,
    2,
  );
  const options = { coactivation: recorder.matrix() };
  const pooled = await balancer.rebalance(loadsOf(1), options);
  record(balancer, 3);
  const inline = balancer.rebalanceSync(undefined, options);
  record(balancer, 2);
  return [pooled.toJSON(), inline.toJSON(), stateOf(balancer)];
}

/** All that uses the thread's scratch, and a replay. */
async function helperCalls(mapping: ExpertMapping): Promise<unknown> {
  const inline = policies.map((policy) =>
    policy.rebalanceExperts(loadsOf(2), 24, 1, 2, 4, { previous: mapping }).toJSON(),
  );
  const steps = Array.from({ length: 20 }, (_, step) => loadsOf(step));
  const settings = { numPhysicalExperts: 24, numRanks: 4, planningSeconds: 0, trigger: { interval: 8 } };
  const { totals } = await replay(memoryRecording(steps), { ...settings, policy: policies[0]! });
  return [
    inline,
    totals,
    layerBalances(loadsOf(3), mapping, 4),
    mapping.logToPhy,
    computeBalancedPacking(loadsOf(4), 4),
    computeExpertReplication(loadsOf(5), 30),
  ];
}

test('nothing is written outside of a region: canaries beside two balancers stay whole', async () => {
  const mapping = ExpertMapping.fromPhysicalToLogical(
    Array.from({ length: 4 }, () => [...Array(24).keys()].map((i) => i % 16)),
  );
  const helped = await helperCalls(mapping);
  for (const policy of policies) {
    const options = { ...SIZES, windowSize: 8, threads: 2, policy };
    const canaries = [canary()];
    const first = new ExpertLoadBalancer(options);
    canaries.push(canary());
    const second = new ExpertLoadBalancer(options);
    canaries.push(canary());
    const [ofFirst, ofSecond] = await Promise.all([workOf(first), workOf(second)]);
    assert.deepEqual(ofFirst, ofSecond);
    const before = [stateOf(first), stateOf(second)];
    assert.deepEqual(await helperCalls(mapping), helped);
    canaries.push(canary());
    assert.deepEqual(await helperCalls(mapping), helped);
    assert.deepEqual([stateOf(first), stateOf(second)], before);
    for (const [i, { isWhole }] of canaries.entries()) assert.ok(isWhole(), `${policy.name}: canary ${i}`);
    await Promise.all([first.close(), second.close()]);
  }
});

test('beyond 2 GiB of a memory all works as at its beginning', async () => {
  const options = (policy: AdaptiveEplbPolicy) => ({ ...SIZES, windowSize: 8, threads: 2, policy });
  const below: unknown[] = [];
  for (const policy of policies) {
    const balancer = new ExpertLoadBalancer(options(policy as AdaptiveEplbPolicy));
    below.push(await workOf(balancer));
    await balancer.close();
  }
  const mapping = ExpertMapping.fromJSON((below as [{ phyToLog: number[][] }][])[0]![0]);
  below.push(await helperCalls(mapping));
  // Takes no page of the system.
  const { region } = leaseKernelMemory('the lower half', (start) => ({ end: start + 2 ** 31 + 12_345 }));
  // The scratch is replaced by one that does not fit below.
  const large = ExpertMapping.fromPhysicalToLogical([[...Array(2000).keys(), ...Array(1000).fill(0)]]);
  assert.equal(large.logToPhy.length, 2000 * 1001);
  for (const [i, policy] of policies.entries()) {
    const balancer = new ExpertLoadBalancer(options(policy as AdaptiveEplbPolicy));
    assert.deepEqual(await workOf(balancer), below[i], policy.name);
    await balancer.close();
  }
  assert.deepEqual(await helperCalls(mapping), below.at(-1));
  assert.ok(region.end > 2 ** 31 && kernelMemoryStatistics().bytes > region.end);
});

test('a balancer that is dropped gives its region back, and the next one there begins anew', async () => {
  await collectAll();
  const { leases } = kernelMemoryStatistics();
  const keeper = usedBalancer();
  // As many steps as have recorded are all in the window: what was there before them would show.
  const options = { policy: new AdaptiveEplbPolicy(), windowSize: 16 };
  const fresh = stateOf(usedBalancer(options));
  leaveDirt(2 ** 18);
  await untilCollected(() => kernelMemoryStatistics().leases === leases + 1);
  const before = kernelMemoryStatistics();
  for (let i = 0; i < 5; i++) {
    leaveDirt(2 ** 18);
    await untilCollected(() => kernelMemoryStatistics().leases === leases + 1);
    assert.deepEqual(stateOf(usedBalancer(options)), fresh);
    await untilCollected(() => kernelMemoryStatistics().leases === leases + 1);
  }
  assert.deepEqual(kernelMemoryStatistics(), before);
  assert.equal(keeper.numSamples, 8);
});

test('a closed balancer can be read as long as it is there', async () => {
  await collectAll();
  const { leases } = kernelMemoryStatistics();
  const balancer = usedBalancer();
  const state = stateOf(balancer);
  await balancer.close();
  await collectAll();
  assert.equal(kernelMemoryStatistics().leases, leases + 1);
  const others = [usedBalancer({ windowSize: 3 }), usedBalancer({ numLayers: 4 })];
  assert.deepEqual(stateOf(balancer), state);
  assert.equal(others.length, 2);
});

test('a balancer that nobody holds keeps its region while it plans', async () => {
  const sizes = { numLayers: 16, numLogicalExperts: 64, numPhysicalExperts: 80, numRanks: 16, numNodes: 4 };
  const loads = Array.from({ length: 16 }, (_, layer) =>
    [...Array(64).keys()].map((i) => (i * layer * 7919) % 1013),
  );
  const options = { ...sizes, numGroups: 16, windowSize: 1, policy: new LocalityAwarePolicy() };
  const expected = new ExpertLoadBalancer({ ...options, threads: 0 }).rebalanceSync(loads).digest();
  await collectAll();
  const { leases } = kernelMemoryStatistics();
  let isPlanning = true;
  // Only the promise is held.
  const planned = planAndClose({ ...options, threads: 2 }, loads).finally(() => {
    isPlanning = false;
  });
  let looks = 0;
  for (; isPlanning; looks++) {
    await collectAll();
    if (isPlanning) assert.equal(kernelMemoryStatistics().leases, leases + 1);
    // What a region that was given back too early would be used for.
    leaveDirt(1024);
  }
  assert.ok(looks > 3, `${looks} looks`);
  assert.equal(await planned, expected);
  await untilCollected(() => kernelMemoryStatistics().leases <= leases);
});

async function planAndClose(options: ExpertLoadBalancerOptions, loads: number[][]): Promise<string> {
  const balancer = new ExpertLoadBalancer(options);
  const plan = balancer.plan(loads);
  void plan.finally(() => balancer.close());
  return (await plan).digest();
}

test("a thread that left still reads the mapping of its balancer, and never another's", async () => {
  await collectAll();
  const { leases } = kernelMemoryStatistics();
  const reader = await readerOfDropped();
  await untilCollected(() => kernelMemoryStatistics().leases === leases);
  // Other balancers of the same size take its place, and commit.
  const others = Array.from({ length: 4 }, () => usedBalancer());
  reader.worker.postMessage('read');
  const [read] = await once(reader.worker, 'message');
  assert.deepEqual(read, [reader.digest, 1]);
  assert.equal(others.length, 4);
  await reader.worker.terminate();
});

/** A thread that read a balancer which nobody holds any more, and what it read. */
async function readerOfDropped(): Promise<{ worker: Worker; digest: string }> {
  const balancer = usedBalancer();
  const port = shareBalancer(balancer);
  const worker = new Worker(fixture('reader.mjs'), {
    workerData: { port },
    transferList: [port],
    execArgv: [],
  });
  const [[digest, generation]] = (await once(worker, 'message')) as [[string, number]];
  assert.equal(digest, balancer.mapping.digest());
  assert.equal(generation, 1);
  return { worker, digest };
}
