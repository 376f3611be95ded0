import { furtherModule } from '../memory/kernel-module.ts';
import type { KernelRegion } from '../memory/memory-arena.ts';
import type { LayerKernel } from './layer-kernel.ts';
import { LayersJob } from './layers-job.ts';
import { type JobLayout, JobWord, jobWords } from './layout.ts';
import type { CustomJob, KernelRequest } from './plan-job.ts';
import type { PlanRunner } from './plan-runner.ts';
import { makeLargeTables, type PlanTables } from './plan-tables.ts';
import { workersFor } from './worker-count.ts';
import { type PoolMember, sharedPool } from './worker-pool.ts';
import { nextPlaceId } from './worker-task.ts';

/** How a balancer's jobs are run. */
export interface KernelRunnerOptions {
  readonly kernel: LayerKernel;
  readonly request: KernelRequest;
  /** Threads that a job may have: what the layout has scratch for. */
  readonly maxThreads: number;
  /** Whether threads keep their cores busy for a while when a job is done. */
  readonly spins: boolean;
}

/** What the pool has of a balancer that nobody holds any more, and that was not closed. */
const dropped = new FinalizationRegistry<{ readonly member: PoolMember; readonly placeId: number }>(
  ({ member, placeId }) => void sharedPool().leave(member, placeId),
);

/** Runs the jobs of one balancer, by a kernel, in the pool of the calling thread. */
export class KernelRunner implements PlanRunner {
  readonly #options: KernelRunnerOptions;
  /** Held as long as threads may be at work in it. */
  readonly #region: KernelRegion;
  readonly #layout: JobLayout;
  readonly #placeId = nextPlaceId();
  readonly #member: PoolMember;
  #job: LayersJob | undefined;

  constructor(region: KernelRegion, layout: JobLayout, options: KernelRunnerOptions) {
    this.#options = options;
    this.#region = region;
    this.#layout = layout;
    this.#member = { maxThreads: options.maxThreads, workersStarted: 0, workersWoken: 0 };
    dropped.register(this, { member: this.#member, placeId: this.#placeId });
  }

  get layersDone(): number {
    return Atomics.load(jobWords(this.#region.buffer, this.#layout), JobWord.LAYERS_DONE);
  }

  get workersStarted(): number {
    return this.#member.workersStarted;
  }

  get workersWoken(): number {
    return this.#member.workersWoken;
  }

  /** As many threads as the job is worth claim its layers, until none is left. */
  async run(customJob: CustomJob, signal?: AbortSignal): Promise<PlanTables | undefined> {
    const { kernel, request, maxThreads, spins } = this.#options;
    const job = { ...customJob, request, result: makeLargeTables(this.#layout.topology) };
    const place = {
      ...{ id: this.#placeId, memory: this.#region.memory, layout: this.#layout },
      furtherModule: furtherModule(),
    };
    const layersJob = new LayersJob({ place, job, kernel, maxWorkers: maxThreads, spins, signal });
    const onAbort = () => layersJob.cancel();
    this.#job = layersJob;
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const pool = sharedPool();
      pool.join(this.#member);
      pool.add(layersJob, this.#member);
      if (signal?.aborted) layersJob.cancel();
      return await layersJob.result;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#job = undefined;
    }
  }

  async start(): Promise<void> {
    const { kernel, request, maxThreads } = this.#options;
    const { topology } = this.#layout;
    const { numLayers } = topology;
    const work = numLayers * kernel.nanosecondsPerLayer(request, topology);
    const numClaims = Math.ceil(numLayers / kernel.layersPerClaim);
    const pool = sharedPool();
    pool.join(this.#member);
    await pool.start(workersFor(work, numClaims, maxThreads), this.#member);
  }

  cancel(): void {
    this.#job?.cancel();
  }

  async close(): Promise<void> {
    await sharedPool().leave(this.#member, this.#placeId);
  }
}
