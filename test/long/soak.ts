/**
 * Runs balancers for long and looks at what they keep:
 * `tsx --expose-gc test/long/soak.ts [--cycles N] [--seconds N] [--reopen N]`.
 *
 * A cycle records a step, here and through a connection, and plans: it rebalances, commits a plan, commits
 * something else meanwhile, or aborts. Every thousand cycles a worker thread is killed, every `--reopen` (ten
 * thousand) the balancer is closed and another one opened, under another policy. Nothing may be lost:
 * averages, generations and the live mapping are checked against plain counts. Fails when a cycle does, or
 * when more memory is in use at the end than soon after the beginning.
 */
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Worker } from 'node:worker_threads';
import {
  AdaptiveEplbPolicy,
  type ConnectedBalancer,
  connectBalancer,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
  ExpertMapping,
  LocalityAwarePolicy,
  shareBalancer,
} from 'expert-load-balancer';

const CYCLES_PER_KILL = 1000;
/** What the process may hold at the end beyond what it held after the first balancers. */
const MOST_HEAP_GROWTH = 8 * 2 ** 20;
const MOST_MEMORY_GROWTH = 32 * 2 ** 20;
/** As long as no cycle can take: it hangs. */
const WATCHDOG_MS = 30_000;

const sizes = {
  numLayers: 2,
  numLogicalExperts: 8,
  numPhysicalExperts: 12,
  numRanks: 4,
  numNodes: 2,
} as const;
const windowSize = 8;
const policies: (() => Partial<ExpertLoadBalancerOptions>)[] = [
  () => ({ policy: new DefaultEplbPolicy(), threads: 2 }),
  // With all samples and evaluations it has, each of its plans would take as long as a hundred of the others.
  () => ({
    policy: new AdaptiveEplbPolicy({ rememberedSteps: 0, maxSamples: 8, maxEvaluations: 2000 }),
    threads: 1,
  }),
  () => ({ policy: new LocalityAwarePolicy(), threads: 1 }),
  () => ({ policy: new URL('./soak-policy.mjs', import.meta.url), threads: 1 }),
];

/** The same numbers in each run. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** A whole number from 0 to `end` - 1. */
  below(end: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * end);
  }
}

/** One balancer with what it should hold. */
class Subject {
  readonly balancer: ExpertLoadBalancer;
  readonly #random: Random;
  readonly #connected: ConnectedBalancer;
  /** The window's steps: loads [layers x logical] of each. */
  readonly #steps: Float64Array[] = [];
  #generation = 0;

  private constructor(balancer: ExpertLoadBalancer, connected: ConnectedBalancer, random: Random) {
    this.balancer = balancer;
    this.#connected = connected;
    this.#random = random;
  }

  static async open(number: number, random: Random): Promise<Subject> {
    const options = policies[number % policies.length]!();
    const balancer = new ExpertLoadBalancer({ ...sizes, windowSize, ...options });
    return new Subject(balancer, await connectBalancer(shareBalancer(balancer)), random);
  }

  /** Whole loads: their sums are exact. Some go through the connection. */
  record(): void {
    const step = new Float64Array(sizes.numLayers * sizes.numLogicalExperts);
    for (let layer = 0; layer < sizes.numLayers; layer++) {
      for (const recorder of [this.balancer, this.#connected]) {
        const loads = Array.from({ length: sizes.numLogicalExperts }, () => this.#random.below(1000));
        recorder.recordLogicalLoad(layer, loads);
        for (const [expert, load] of loads.entries()) step[layer * sizes.numLogicalExperts + expert]! += load;
      }
    }
    this.balancer.advanceWindow();
    this.#steps.push(step);
    if (this.#steps.length > windowSize) this.#steps.shift();
  }

  async plan(): Promise<void> {
    const kind = this.#random.below(4);
    if (kind === 0) await this.#rebalance();
    else if (kind === 1) await this.#commitPlan();
    else if (kind === 2) await this.#commitMeanwhile();
    else await this.#abort();
    assert.equal(this.balancer.generation, this.#generation);
  }

  /** Averages and mapping, here and as the connection sees them. */
  check(): void {
    const expected = new Float32Array(sizes.numLayers * sizes.numLogicalExperts);
    for (let i = 0; i < expected.length; i++) {
      expected[i] = this.#steps.reduce((sum, step) => sum + step[i]!, 0) / this.#steps.length;
    }
    assert.deepEqual(this.balancer.getAverageLogicalLoad().data, expected);
    assert.ok(this.#connected.mapping.equals(this.balancer.mapping));
    assert.equal(this.#connected.generation, this.#generation);
  }

  async close(): Promise<void> {
    this.#connected.close();
    await this.balancer.close();
  }

  async #rebalance(): Promise<void> {
    const before = this.balancer.mapping;
    const mapping = await this.balancer.rebalance();
    if (mapping !== before) this.#generation++;
    assert.equal(this.balancer.mapping, mapping);
  }

  async #commitPlan(): Promise<void> {
    const { mapping, generation, status } = await this.balancer.decide();
    assert.equal(generation, this.#generation);
    this.balancer.commit(mapping, { from: generation });
    if (status === 'planned') this.#generation++;
  }

  /** What goes live while a plan is made stays live. */
  async #commitMeanwhile(): Promise<void> {
    const rebalanced = this.balancer.rebalance(undefined, { ifStale: 'keep' });
    for (let turns = 1 + this.#random.below(3); turns > 0; turns--) await turn();
    // The plan may have been made by now, and is live then.
    this.#generation = this.balancer.generation + 1;
    const first = this.#random.below(8);
    const row = Array.from({ length: 12 }, (_, slot) => (first + slot) % 8);
    const mapping = ExpertMapping.fromPhysicalToLogical([row, row]);
    this.balancer.commit(mapping);
    await rebalanced;
    assert.equal(this.balancer.mapping, mapping);
  }

  async #abort(): Promise<void> {
    const abort = new AbortController();
    const plan = this.balancer.plan(undefined, { signal: abort.signal }).catch((error) => {
      assert.equal(error.code, 'EPLB_CANCELLED');
    });
    for (let turns = this.#random.below(4); turns > 0; turns--) await turn();
    abort.abort();
    await plan;
  }
}

interface Memory {
  readonly heap: number;
  readonly rss: number;
}

/** Bytes in use when all that can be collected was. */
async function memory(): Promise<Memory> {
  for (let i = 0; i < 4; i++) {
    globalThis.gc!();
    await turn();
  }
  const { heapUsed, rss } = process.memoryUsage();
  return { heap: heapUsed, rss };
}

async function soak(mostCycles: number, seconds: number, reopen: number, random: Random): Promise<void> {
  const threads = new Set<Worker>();
  process.on('worker', (worker) => {
    threads.add(worker);
    worker.once('exit', () => threads.delete(worker));
  });
  const begin = performance.now();
  let base: Memory | undefined;
  let cycle = 0;
  const isOver = () => cycle >= mostCycles || performance.now() - begin >= seconds * 1000;
  for (let number = 0; !isOver(); number++) {
    const subject = await Subject.open(number, random);
    for (let i = 1; i <= reopen && !isOver(); i++, cycle++) {
      await withinTime(`cycle ${cycle}`, async () => {
        subject.record();
        if (cycle % CYCLES_PER_KILL === CYCLES_PER_KILL - 1) await kill(subject, threads, random);
        await subject.plan();
        if (i % 10 === 0) subject.check();
      });
    }
    subject.check();
    await subject.close();
    const now = await memory();
    // By then every policy has planned, and what is made once has been made.
    if (number === policies.length - 1) base = now;
    report(cycle, begin, now);
  }
  assert.equal(threads.size, 0, 'threads are left');
  judge(base, await memory());
}

/**
 * Ends a worker thread: one that is idle, after which the next plan has to come all the same, or one that may
 * be at work, whose plan is lost or has come.
 */
async function kill(subject: Subject, threads: ReadonlySet<Worker>, random: Random): Promise<void> {
  const victim = [...threads][random.below(threads.size)];
  const isIdle = random.below(2) === 0;
  const plan = isIdle ? undefined : subject.balancer.plan();
  if (!isIdle) for (let turns = random.below(3); turns > 0; turns--) await turn();
  await victim?.terminate();
  await plan?.catch((error) => assert.equal(error.code, 'EPLB_WORKER_LOST'));
}

async function withinTime(what: string, work: () => Promise<void>): Promise<void> {
  const watchdog = setTimeout(() => {
    console.error(`${what} hangs`);
    process.exit(1);
  }, WATCHDOG_MS);
  await work();
  clearTimeout(watchdog);
}

function report(cycle: number, begin: number, { heap, rss }: Memory): void {
  const seconds = ((performance.now() - begin) / 1000).toFixed(0);
  console.log(`${cycle} cycles, ${seconds} s, heap ${megabytes(heap)}, memory ${megabytes(rss)}`);
}

function judge(base: Memory | undefined, now: Memory): void {
  assert.ok(base !== undefined, `too few cycles to tell what is kept`);
  const heap = now.heap - base.heap;
  const rss = now.rss - base.rss;
  console.log(`heap grew by ${megabytes(heap)}, memory by ${megabytes(rss)}`);
  assert.ok(heap < MOST_HEAP_GROWTH, 'the heap grew too much');
  assert.ok(rss < MOST_MEMORY_GROWTH, 'the memory grew too much');
}

function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

const { values } = parseArgs({
  options: {
    cycles: { type: 'string', default: 'Infinity' },
    seconds: { type: 'string', default: 'Infinity' },
    reopen: { type: 'string', default: '10000' },
  },
});
await soak(Number(values.cycles), Number(values.seconds), Number(values.reopen), new Random(1));
