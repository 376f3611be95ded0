import type { Piscina } from 'piscina';
import { fromErrorData } from '../core/error-data.ts';
import { EplbError } from '../core/errors.ts';
import { sharedBuffer } from '../memory/allocate.ts';
import { kernelModule } from '../memory/kernel-module.ts';
import type { KernelRegion } from '../memory/memory-arena.ts';
import { type JobLayout, JobWord, jobWords } from './layout.ts';
import type { CustomJob, PlanJob } from './plan-job.ts';
import type { PlanTables } from './plan-tables.ts';
import { isLastWords, type WorkerAnswer, type WorkerSetup, type WorkerTask } from './worker-task.ts';

/** setTimeout's own limit: a longer delay would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;
/**
 * How long a policy's thread is waited for when it is ended. In a call of the system, such as execSync, it
 * ends when that returns.
 */
const EXIT_WAIT_MS = 1000;

/** The custom policy of a pool's threads. */
export interface PoolPolicy {
  /** Of its module. */
  readonly url: string;
  /** How long it may take to return when its plan is cancelled. */
  readonly graceMs: number;
}

/** The job in flight. */
interface RunningJob {
  readonly signal: AbortSignal | undefined;
  isCancelled: boolean;
  /** Its policy did not return in time: the threads are ended. */
  isOverdue: boolean;
  graceTimer?: NodeJS.Timeout;
}

/**
 * The worker threads of one balancer, started with the first job. Jobs must not overlap: the caller queues
 * them.
 *
 * A pool of piscina's that lost a thread is given up whole, and the next job gets a new one: piscina does
 * replace a thread, but tasks that wait for the new one wait for ever when it ends before it is ready.
 */
export class PlanPool {
  readonly #threads: number;
  readonly #setup: WorkerSetup;
  /** Held as long as the threads may be at work in it. */
  readonly #region: KernelRegion;
  readonly #policy: PoolPolicy | undefined;
  #workers: Piscina | undefined;
  /** No thread of `#workers` has ended. */
  #isWhole = false;
  /** Threads that are being ended. */
  #ending: Promise<void> | undefined;
  #job: RunningJob | undefined;
  /** What a worker said of the error that it ended for. */
  #lastWords: string | undefined;

  constructor(threads: number, region: KernelRegion, layout: JobLayout, policy?: PoolPolicy) {
    const begun = new Int32Array(sharedBuffer('the threads of a pool', 4 * threads));
    this.#threads = threads;
    this.#setup = { module: kernelModule(), memory: region.memory, layout, begun, policyUrl: policy?.url };
    this.#region = region;
    this.#policy = policy;
  }

  get #words(): Int32Array {
    return jobWords(this.#region.buffer, this.#setup.layout);
  }

  /** Layers of the job in flight, or of the last one, that are planned. */
  get layersDone(): number {
    return Atomics.load(this.#words, JobWord.LAYERS_DONE);
  }

  /**
   * Runs a job: every worker claims layers until none is left. Its input must be in the shared memory by now.
   *
   * @returns the tables, on shared memory of their own; undefined when the loads differ less than the job's
   * threshold
   */
  async runLayers(job: PlanJob, signal?: AbortSignal): Promise<PlanTables | undefined> {
    const tasks = Array.from(
      { length: this.#threads },
      (_, worker) => ({ kind: 'layers', job, worker }) as const,
    );
    return answeredTables(await this.#run(tasks, signal));
  }

  /**
   * {@link runLayers} for a custom policy, on one worker. When it is cancelled the policy has its grace time
   * to return, and its result is dropped; then its thread is ended.
   */
  async runCustom(job: CustomJob, signal?: AbortSignal): Promise<PlanTables | undefined> {
    return answeredTables(await this.#run([{ kind: 'custom', job, worker: 0 }], signal));
  }

  /** Starts the threads and waits until all are ready for a job. */
  async start(): Promise<void> {
    await this.#run(Array.from({ length: this.#threads }, (_, worker) => ({ kind: 'start', worker })));
  }

  /**
   * Stops the job in flight, between two layers or within a search: its promise is rejected with
   * `EPLB_CANCELLED`.
   */
  cancel(): void {
    const job = this.#job;
    if (job === undefined) return;
    job.isCancelled = true;
    this.#stopWorkers();
    if (this.#policy === undefined || job.graceTimer !== undefined) return;
    job.graceTimer = setTimeout(
      () => {
        job.isOverdue = true;
        void this.close();
      },
      Math.min(this.#policy.graceMs, MAX_DELAY_MS),
    );
  }

  /** Ends the threads, whatever they do. A job in flight is lost. */
  async close(): Promise<void> {
    if (this.#workers !== undefined) this.#ending = this.#end(this.#workers);
    this.#workers = undefined;
    await this.#ending;
  }

  async #run(tasks: readonly WorkerTask[], signal?: AbortSignal): Promise<WorkerAnswer[]> {
    const job: RunningJob = { signal, isCancelled: signal?.aborted ?? false, isOverdue: false };
    const onAbort = () => this.cancel();
    this.#job = job;
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const answers = await this.#attempt(tasks, job);
      for (const answer of answers) if (!answer.ok) throw fromErrorData(answer);
      if (job.isCancelled) throw cancelled(job);
      return answers;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      clearTimeout(job.graceTimer);
      this.#job = undefined;
    }
  }

  /**
   * Runs the tasks. Threads that are lost without having begun their tasks had died before: then the job is
   * tried once more. Its input is still in the memory, and it writes all of its output again.
   */
  async #attempt(tasks: readonly WorkerTask[], job: RunningJob, isRetry = false): Promise<WorkerAnswer[]> {
    this.#words.fill(0);
    this.#setup.begun.fill(0);
    this.#lastWords = undefined;
    const workers = await this.#start();
    // Cancelled while the threads were starting.
    if (job.isCancelled) throw cancelled(job);
    const settled = await Promise.allSettled(tasks.map((task) => this.#runTask(workers, task)));
    const losses = tasks.filter((_, i) => settled[i]!.status === 'rejected');
    if (losses.length === 0) {
      return settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    }
    await this.close();
    if (job.isOverdue) throw this.#overdue(job);
    const hasBegun = losses.some(({ worker }) => Atomics.load(this.#setup.begun, worker) !== 0);
    if (!hasBegun && job.isCancelled) throw cancelled(job);
    if (!hasBegun && !isRetry) return this.#attempt(tasks, job, true);
    throw this.#workerLost(settled.find((result) => result.status === 'rejected')?.reason);
  }

  /** The first failure ends the job for the other workers too. */
  async #runTask(workers: Piscina, task: WorkerTask): Promise<WorkerAnswer> {
    try {
      const answer: WorkerAnswer = await workers.run(task);
      if (!answer.ok) this.#stopWorkers();
      return answer;
    } catch (error) {
      this.#stopWorkers();
      throw error;
    }
  }

  #stopWorkers(): void {
    Atomics.store(this.#words, JobWord.CANCELLED, 1);
  }

  #workerLost(reason: unknown): EplbError {
    const message = this.#lastWords ?? (reason instanceof Error ? reason.message : String(reason));
    return new EplbError('EPLB_WORKER_LOST', `a worker thread was lost while planning: ${message}`, {
      cause: reason,
    });
  }

  #overdue({ signal }: RunningJob): EplbError {
    const { url, graceMs } = this.#policy!;
    const message = `policy: ${url} did not return within ${graceMs} ms of being cancelled`;
    return new EplbError('EPLB_POLICY', message, causeOf(signal));
  }

  async #start(): Promise<Piscina> {
    if (this.#workers !== undefined && this.#isWhole) return this.#workers;
    await this.close();
    // Loaded with the first job: hosts that plan inline never pay for it.
    const { Piscina } = await import('piscina');
    const workers = new Piscina({
      filename: new URL('./worker.cjs', import.meta.url).href,
      name: 'runWorkerTask',
      minThreads: this.#threads,
      maxThreads: this.#threads,
      idleTimeout: Number.POSITIVE_INFINITY,
      workerData: this.#setup,
      recordTiming: false,
      // Idle threads wait for their port as any other does: a policy's module may have timers.
      atomics: 'async',
    });
    // An idle worker's error would end the process without a listener.
    workers.on('error', () => {});
    workers.on('workerDestroy', () => {
      if (this.#workers === workers) this.#isWhole = false;
    });
    workers.on('message', (message: unknown) => {
      if (isLastWords(message)) this.#lastWords = message.lastWords;
    });
    this.#workers = workers;
    this.#isWhole = true;
    return workers;
  }

  /**
   * Ends threads, whatever they do. Those of kernels are waited for, as they may write to the memory until
   * they have ended. One of a policy ends at once too, unless it is in a call of the system.
   */
  async #end(workers: Piscina): Promise<void> {
    const ended = workers.destroy();
    if (this.#policy === undefined) return ended;
    let timer: NodeJS.Timeout | undefined;
    const waited = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, EXIT_WAIT_MS);
    });
    await Promise.race([ended, waited]);
    clearTimeout(timer);
  }
}

/** What the workers together made of a job that none of them failed in. */
function answeredTables(answers: readonly WorkerAnswer[]): PlanTables | undefined {
  for (const answer of answers) {
    if (!answer.ok) continue;
    if (answer.isEven) return undefined;
    if (answer.tables !== undefined) return answer.tables;
  }
  throw new EplbError('EPLB_INTERNAL', 'the workers ended without having planned all layers');
}

function cancelled({ signal }: RunningJob): EplbError {
  return new EplbError('EPLB_CANCELLED', 'the plan was cancelled', causeOf(signal));
}

function causeOf(signal: AbortSignal | undefined): ErrorOptions | undefined {
  return signal?.aborted ? { cause: signal.reason } : undefined;
}
