import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { ExpertLoadBalancer, type ExpertMapping, type Topology } from 'expert-load-balancer';
import { assertPlacement } from '../check.ts';
import { beside, controlled, type Figure, sampled } from '../figure.ts';
import { GapProbe, turn } from '../gap-probe.ts';
import { makeProblem } from '../plan-problem.ts';
import { median, summarize } from '../stats.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { MAIN_SIZE, sizeNamed } from '../workloads.ts';

/**
 * How long a pooled plan keeps the main thread from turning its event loop, beside the same thread without
 * plans.
 */
export const blockSuite: Suite = {
  name: 'block',
  title: "The main thread's longest block during a pooled plan, one thread",
  async run(context) {
    const figures: Figure[] = [];
    for (const topology of context.isQuick ? [MAIN_SIZE] : [MAIN_SIZE, sizeNamed('64x1024->2048')]) {
      figures.push(await blockOf(topology, context));
    }
    return figures;
  },
};

async function blockOf(topology: Topology, { seed, pick }: SuiteContext): Promise<Figure> {
  const { workload, expected } = makeProblem(topology, seed);
  const { loads, size } = workload;
  await using balancer = new ExpertLoadBalancer({ ...topology, threads: 1, windowSize: 1 });
  const plan = () => balancer.plan(loads);
  for (let i = 0; i < pick(50, 5); i++) await plan();
  globalThis.gc?.();

  const id = `block/${size}`;
  const { gaps, planTimes, mapping } = await gapsOfPlans(plan, pick(400, 50));
  assertPlacement(mapping, expected, id);
  const planMs = median(planTimes);
  const idle = summarize(await gapsOfIdling(planMs, pick(400, 50)));
  const spinning = summarize(await besideSpinning(() => gapsOfIdling(planMs, pick(400, 50))));
  const stats = summarize(gaps);
  const besideGap = [
    beside('p99', stats.p99, 'ms'),
    beside('max', stats.max, 'ms'),
    beside('idle median', idle.median, 'ms'),
    beside('idle p99', idle.p99, 'ms'),
    beside('idle max', idle.max, 'ms'),
    beside('spinning max', spinning.max, 'ms'),
    beside('plan', planMs, 'ms'),
  ];
  const figure = sampled(`${id}/longest gap`, 'ms', stats, besideGap, 'p99');
  return controlled(figure, 'beside a thread that only counts', spinning.p99);
}

type Plan = () => Promise<ExpertMapping>;

/** The longest gap of each plan. */
async function gapsOfPlans(plan: Plan, plans: number) {
  const probe = new GapProbe();
  const gaps: number[] = [];
  const planTimes: number[] = [];
  let mapping: ExpertMapping;
  do {
    await probe.start();
    const start = performance.now();
    mapping = await plan();
    gaps.push(probe.stop());
    planTimes.push(performance.now() - start);
  } while (gaps.length < plans);
  return { gaps, planTimes, mapping };
}

/** The longest gap of as many spans without a plan, each as long as one. */
async function gapsOfIdling(spanMs: number, spans: number): Promise<number[]> {
  const probe = new GapProbe();
  const gaps: number[] = [];
  for (let i = 0; i < spans; i++) {
    await probe.start();
    const end = performance.now() + spanMs;
    while (performance.now() < end) await turn();
    gaps.push(probe.stop());
  }
  return gaps;
}

/**
 * Runs `work` beside a thread that keeps a core busy and shares nothing with this one: where cores are
 * scarce, this thread waits for one with any busy neighbour, whoever it is.
 */
async function besideSpinning<T>(work: () => Promise<T>): Promise<T> {
  const thread = new Worker("require('node:worker_threads').parentPort.postMessage(0); for (;;);", {
    eval: true,
  });
  await once(thread, 'message');
  try {
    return await work();
  } finally {
    await thread.terminate();
  }
}
