import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import {
  type AbstractEplbPolicy,
  AdaptiveEplbPolicy,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  LocalityAwarePolicy,
  type Topology,
} from 'expert-load-balancer';
import { runChild } from '../child.ts';
import { drawSteps, recordSteps } from '../drawn-steps.ts';
import { beside, controlled, derived, type Figure, sampled } from '../figure.ts';
import { sink } from '../measure.ts';
import { median, type Stats, summarize } from '../stats.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { MAIN_SIZE, makeWorkload, sizeName, sizeNamed } from '../workloads.ts';

const LARGE = sizeNamed('64x1024->2048');
const WIDE = sizeNamed('92x896->1024');
const THREADS = [1, 2, 4, 8, 16, 32, 64];
/** Plans whose efficiency there is a bar for, with so many threads. */
const SCALED = ['default 512x1024->2048', 'adaptive 92x896->1024'];
const EFFICIENCY_THREADS = 16;
const PLANS_APART = 6;
const REPORTED_CORES = [2, 192];

/** A plan that is made with more and more threads. */
interface Case {
  readonly name: string;
  readonly topology: Topology;
  readonly policy: () => AbstractEplbPolicy;
  /** Steps that the window has; 0 for loads that are given with the plan, as a copy. */
  readonly numSteps: number;
}

const CASES: readonly Case[] = [
  caseOf('default', MAIN_SIZE, () => new DefaultEplbPolicy()),
  caseOf('default', LARGE, () => new DefaultEplbPolicy()),
  caseOf('default', { ...LARGE, numLayers: 512 }, () => new DefaultEplbPolicy()),
  caseOf('adaptive', flat(MAIN_SIZE), windowOnly, 16),
  caseOf('adaptive', flat(WIDE), windowOnly, 32),
  caseOf('locality', MAIN_SIZE, () => new LocalityAwarePolicy()),
];

/**
 * What cores bring: each plan with 1, 2, 4 ... threads up to the cores that there are, with what the default
 * is, and in the calling thread; the workers that a plan wakes beside its time.
 */
export const coresSuite: Suite = {
  name: 'cores',
  title: 'Plans by number of threads, from the call to the resolved promise',
  async run(context) {
    const figures: Figure[] = [];
    for (const plan of context.isQuick ? CASES.slice(0, 1) : CASES)
      figures.push(...(await timeCase(plan, context)));
    return [...figures, ...(await controls(context)), ...firstPlans(context)];
  },
};

function caseOf(policyName: string, topology: Topology, policy: Case['policy'], numSteps = 0): Case {
  return { name: `${policyName} ${sizeName(topology)}`, topology, policy, numSteps };
}

function flat(topology: Topology): Topology {
  return { ...topology, numNodes: 1, numGroups: 1 };
}

/** Without steps that a balancer remembers beyond the window. */
function windowOnly(): AbstractEplbPolicy {
  return new AdaptiveEplbPolicy({ rememberedSteps: 0 });
}

/** What a case takes with some threads. */
interface Timed {
  readonly stats: Stats;
  readonly threads: number;
  readonly started: number;
  /** In the median plan. */
  readonly woken: number;
  readonly digest: string;
}

async function timeCase(plan: Case, context: SuiteContext): Promise<Figure[]> {
  const id = `cores/${plan.name}`;
  const inline = await timeWith(plan, 0, context);
  const usual = await timeWith(plan, undefined, context);
  const pooled: Timed[] = [];
  for (const threads of THREADS.filter((number) => number <= usual.threads))
    pooled.push(await timeWith(plan, threads, context));
  for (const { digest, threads } of [usual, ...pooled])
    assert.equal(digest, inline.digest, `${id}, ${threads} threads`);
  const one = pooled[0]!.stats.median;
  const figure = (name: string, { stats, started, woken, threads }: Timed) =>
    sampled(`${id}/${name}`, 'ms', stats, [
      beside('workers started', started, 'x'),
      beside('woken', woken, 'x'),
      beside('this / inline', stats.median / inline.stats.median, 'x'),
      ...(threads === 0 ? [] : [beside('efficiency', one / stats.median / threads, 'x')]),
    ]);
  const efficiency = SCALED.includes(plan.name)
    ? pooled.find(({ threads }) => threads === EFFICIENCY_THREADS)
    : undefined;
  const best = Math.min(usual.stats.median, ...pooled.map(({ stats }) => stats.median));
  return [
    figure('inline', inline),
    ...pooled.map((timed) => figure(`${timed.threads} threads`, timed)),
    figure(`threads unset: ${usual.threads}`, usual),
    ...(efficiency === undefined ? [] : [await efficiencyOf(plan, one / efficiency.stats.median, context)]),
    derived(`${id}/unset over the best`, 'ms', usual.stats.median - best, [
      beside('unset / best', usual.stats.median / best, 'x'),
      beside('unset less inline', usual.stats.median - inline.stats.median, 'ms'),
    ]),
  ];
}

/** Times the same plan again and again: nothing goes live. */
async function timeWith(
  { topology, policy, numSteps }: Case,
  threads: number | undefined,
  { seed, pick }: SuiteContext,
): Promise<Timed> {
  const windowSize = Math.max(1, numSteps);
  const options = {
    ...topology,
    policy: policy(),
    windowSize,
    ...(threads === undefined ? {} : { threads }),
  };
  await using balancer = new ExpertLoadBalancer(options);
  recordSteps(balancer, drawSteps(topology, seed, numSteps));
  const { loads } = makeWorkload(topology, 'zipf', seed);
  const plan = () => balancer.plan(numSteps === 0 ? loads : undefined);
  await balancer.start();
  const { workersStarted: started } = balancer.metrics();
  const digest = (await plan()).digest();
  for (let i = 0; i < pick(3, 1); i++) await plan();
  globalThis.gc?.();
  const times: number[] = [];
  const woken: number[] = [];
  const begin = performance.now();
  const isEnough = () =>
    times.length >= 200 || (times.length >= 3 && performance.now() - begin > pick(1000, 50));
  for (let before = balancer.metrics().workersWoken; !isEnough(); ) {
    const start = performance.now();
    sink(await plan());
    times.push(performance.now() - start);
    const { workersWoken } = balancer.metrics();
    woken.push(workersWoken - before);
    before = workersWoken;
  }
  return { stats: summarize(times), threads: balancer.threads, started, woken: median(woken), digest };
}

/**
 * What a plan's threads reach of as many times one of them, beside threads that share nothing: each makes the
 * plan of as many layers as a thread has, in its own memory, without a pool.
 */
async function efficiencyOf(
  { name, topology, numSteps }: Case,
  ratio: number,
  { seed, pick }: SuiteContext,
): Promise<Figure> {
  const threads = EFFICIENCY_THREADS;
  const { numLayers } = topology;
  const part = Math.ceil(numLayers / threads);
  const policy = name.slice(0, name.indexOf(' '));
  const job = { topology: { ...topology, numLayers: part }, policy, numSteps, seed };
  const alone: number[] = [];
  const together: number[] = [];
  for (let round = 0; round < pick(5, 1); round++) {
    alone.push(await planApart(1, job));
    together.push(await planApart(threads, job));
  }
  // One thread would have made all layers, of which the last thread may have fewer.
  const control = (median(alone) * numLayers) / part / median(together) / threads;
  const figure = derived(`cores/${name}/efficiency with ${threads} threads`, 'x', ratio / threads);
  return controlled(figure, 'threads that share nothing', control);
}

/** Milliseconds until the last of some threads has made its own plan; the median of a few plans. */
async function planApart(threads: number, job: unknown): Promise<number> {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const url = new URL('../children/plan-apart.mjs', import.meta.url);
  const workers = Array.from({ length: threads }, () => new Worker(url, { workerData: { words, job } }));
  try {
    const times: number[] = [];
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    for (let plans = 1; plans <= PLANS_APART; plans++) {
      // Time to be at the wait.
      await new Promise((resolve) => setTimeout(resolve, 20));
      const done = workers.map((worker) => once(worker, 'message'));
      const start = performance.now();
      Atomics.store(words, 0, plans);
      Atomics.notify(words, 0);
      await Promise.all(done);
      times.push(performance.now() - start);
    }
    // The first one warms up.
    return median(times.slice(1));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

/** Waits to be let go, and then computes. */
const COMPUTE = `
  const { parentPort, workerData } = require('node:worker_threads');
  const words = new Int32Array(workerData);
  parentPort.postMessage('ready');
  Atomics.wait(words, 0, 0);
  let x = 1;
  for (let i = 0; i < 5e6; i++) x = x * 1.0000001 + (i % 7);
  parentPort.postMessage(x);
`;

/** What the machine itself makes of more threads: each computes as much, and shares nothing with others. */
async function controls({ pick }: SuiteContext): Promise<Figure[]> {
  const most = usableThreads();
  const times: { readonly threads: number; readonly stats: Stats }[] = [];
  for (const threads of THREADS.filter((number) => number <= most)) {
    const runs: number[] = [];
    for (let round = 0; round < pick(5, 1); round++) runs.push(await computeTogether(threads));
    times.push({ threads, stats: summarize(runs) });
  }
  const one = times[0]!.stats.median;
  return times.map(({ threads, stats }) =>
    sampled(`cores/control: threads that only compute/${threads} threads`, 'ms', stats, [
      beside('efficiency', one / stats.median, 'x'),
    ]),
  );
}

function usableThreads(): number {
  const balancer = new ExpertLoadBalancer({ ...MAIN_SIZE, windowSize: 1 });
  const { threads } = balancer;
  void balancer.close();
  return threads;
}

/** Milliseconds from letting all threads go until the last one is done. */
async function computeTogether(threads: number): Promise<number> {
  const words = new Int32Array(new SharedArrayBuffer(4));
  const workers = Array.from(
    { length: threads },
    () => new Worker(COMPUTE, { eval: true, workerData: words.buffer }),
  );
  await Promise.all(workers.map((worker) => once(worker, 'message')));
  // Time to be at the wait.
  await new Promise((resolve) => setTimeout(resolve, 20));
  const done = workers.map((worker) => once(worker, 'message'));
  const start = performance.now();
  Atomics.store(words, 0, 1);
  Atomics.notify(words, 0);
  await Promise.all(done);
  const ms = performance.now() - start;
  await Promise.all(workers.map((worker) => worker.terminate()));
  return ms;
}

/** The first plan of a process, of two layers, where so many cores are reported. */
function firstPlans({ pick }: SuiteContext): Figure[] {
  const topology = { ...MAIN_SIZE, numLayers: 2 };
  const [few, many] = REPORTED_CORES.map((cores) => {
    const runs = Array.from({ length: pick(5, 1) }, () =>
      runChild<{ planMs: number; peakKb: number }>('reported-cores.mjs', { topology, cores }),
    );
    return {
      planMs: median(runs.map(({ planMs }) => planMs)),
      peakMb: median(runs.map(({ peakKb }) => (peakKb * 1024) / 1e6)),
    };
  });
  const id = `cores/default 2x256->288, first plan, ${REPORTED_CORES.join(' and ')} cores reported`;
  return [
    derived(`${id}/time, difference`, 'ms', many!.planMs - few!.planMs, [
      beside('of the first', few!.planMs, 'ms'),
    ]),
    derived(`${id}/memory, difference`, 'MB', many!.peakMb - few!.peakMb, [
      beside('of the first', few!.peakMb, 'MB'),
    ]),
  ];
}
