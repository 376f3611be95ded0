import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { DefaultEplbPolicy, ExpertLoadBalancer } from 'expert-load-balancer';
import { Piscina } from 'piscina';
import { assertPlacement } from './check.ts';
import { sink } from './measure.ts';
import type { PlanProblem } from './plan-problem.ts';
import { median } from './stats.ts';

/** What a plan takes longer in another thread than in the calling one, in milliseconds: a number a round. */
export interface Hops {
  /** By the library, in a pool of one. */
  readonly plan: number[];
  /** By bare piscina, and by a bare port: to a worker that is busy for as long as the plan in this thread. */
  readonly piscina: number[];
  readonly port: number[];
}

const RUNS = 30;

/** Times the way to another thread and back, the library's beside bare ones, in turns. */
export async function timeHops({ workload, previous, expected }: PlanProblem, rounds: number): Promise<Hops> {
  const { topology, loads, size } = workload;
  const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
  const policy = new DefaultEplbPolicy();
  await using balancer = new ExpertLoadBalancer({ ...topology, threads: 1, windowSize: 1 });
  const piscina = barePool();
  const port = new BarePort();
  assertPlacement(await balancer.plan(loads), expected, `${size}, over inline`);
  const hops: Hops = { plan: [], piscina: [], port: [] };
  // The first rounds only warm up.
  for (let round = -3; round < rounds; round++) {
    globalThis.gc?.();
    const inlineMs = await medianOf(() =>
      policy.rebalanceExperts(loads, numPhysicalExperts, numGroups, numNodes, numRanks, { previous }),
    );
    const planMs = await medianOf(() => balancer.plan(loads));
    const piscinaMs = await medianOf(() => piscina.run(inlineMs));
    const portMs = await medianOf(() => port.run(inlineMs));
    if (round < 0) continue;
    hops.plan.push(planMs - inlineMs);
    hops.piscina.push(piscinaMs - inlineMs);
    hops.port.push(portMs - inlineMs);
  }
  await Promise.all([piscina.destroy(), port.end()]);
  return hops;
}

/** A pool as the library has it, with a worker that has nothing of the library. */
function barePool(): Piscina {
  return new Piscina({
    filename: fileURLToPath(new URL('children/busy-worker.cjs', import.meta.url)),
    name: 'busy',
    minThreads: 1,
    maxThreads: 1,
    idleTimeout: Number.POSITIVE_INFINITY,
    recordTiming: false,
    atomics: 'disabled',
  });
}

/** A worker of its own behind a message port. */
class BarePort {
  readonly #worker: Worker;

  constructor() {
    const busy = JSON.stringify(fileURLToPath(new URL('children/busy-worker.cjs', import.meta.url)));
    const code = `
      const { parentPort } = require('node:worker_threads');
      const { busy } = require(${busy});
      parentPort.on('message', (ms) => parentPort.postMessage(busy(ms)));`;
    this.#worker = new Worker(code, { eval: true });
  }

  run(ms: number): Promise<unknown> {
    return new Promise((resolve) => {
      this.#worker.once('message', resolve);
      this.#worker.postMessage(ms);
    });
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** Milliseconds of the median run. */
async function medianOf(run: () => unknown): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const start = performance.now();
    sink(await run());
    times.push(performance.now() - start);
  }
  return median(times);
}
