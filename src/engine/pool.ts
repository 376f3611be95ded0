import type { Piscina } from 'piscina';
import { EplbError } from '../errors.ts';
import type { WasmMemory } from './kernel-exports.ts';
import { kernelModule } from './kernel-module.ts';
import { type JobLayout, JobWord } from './layout.ts';
import { jobWords, type PlanJob } from './plan-layers.ts';
import type { PlanTables } from './plan-tables.ts';
import {
  type CustomJob,
  isLastWords,
  throwAnswer,
  type WorkerAnswer,
  type WorkerSetup,
  type WorkerTask,
} from './worker-task.ts';

/**
 * The worker threads of one balancer, started with the first job. Jobs must not overlap: the caller queues them.
 */
export class PlanPool {
  readonly #threads: number;
  readonly #setup: WorkerSetup;
  readonly #words: Int32Array;
  #workers: Piscina | undefined;
  /** What a worker said of the error that it ended for. */
  #lastWords: string | undefined;

  constructor(threads: number, memory: WasmMemory, layout: JobLayout, policyUrl?: string) {
    this.#threads = threads;
    this.#setup = { module: kernelModule(), memory, layout, policyUrl };
    this.#words = jobWords(memory.buffer, layout);
  }

  /** Layers of the job in flight, or of the last one, that are planned. */
  get layersDone(): number {
    return Atomics.load(this.#words, JobWord.LAYERS_DONE);
  }

  /**
   * Runs a job: every worker claims layers until none is left. Its input must be in the shared memory by now.
   *
   * @returns the tables, on shared memory of their own; undefined when the loads differ less than the job's threshold
   */
  async runLayers(job: PlanJob, signal?: AbortSignal): Promise<PlanTables | undefined> {
    const tasks = Array.from(
      { length: this.#threads },
      (_, worker) => ({ kind: 'layers', job, worker }) as const,
    );
    return tablesOf(await this.#run(tasks, signal));
  }

  /** {@link runLayers} for a custom policy, on one worker. It is not interrupted by `signal`, but its result is dropped. */
  async runCustom(job: CustomJob, signal?: AbortSignal): Promise<PlanTables | undefined> {
    return tablesOf(await this.#run([{ kind: 'custom', job }], signal));
  }

  /** Starts the threads and waits until all are ready for a job. */
  async start(): Promise<void> {
    await this.#run(Array.from({ length: this.#threads }, () => ({ kind: 'start' })));
  }

  /** Stops the job in flight, between two layers or within a search: its promise is rejected with `EPLB_CANCELLED`. */
  cancel(): void {
    Atomics.store(this.#words, JobWord.CANCELLED, 1);
  }

  /** Ends the threads. A job in flight must have settled. */
  async close(): Promise<void> {
    const workers = this.#workers;
    this.#workers = undefined;
    await workers?.destroy();
  }

  async #run(tasks: WorkerTask[], signal?: AbortSignal): Promise<WorkerAnswer[]> {
    this.#words.fill(0);
    const workers = await this.#start();
    // Cancelled while the threads were starting.
    if (signal?.aborted || Atomics.load(this.#words, JobWord.CANCELLED) !== 0) throw cancelled(signal);
    const onAbort = () => this.cancel();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const settled = await Promise.allSettled(tasks.map((task) => this.#runTask(workers, task)));
      const lost = settled.find((result) => result.status === 'rejected');
      if (lost !== undefined) throw await this.#workerLost(lost.reason);
      const answers = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      for (const answer of answers) throwAnswer(answer);
      if (Atomics.load(this.#words, JobWord.CANCELLED) !== 0) throw cancelled(signal);
      return answers;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** The first failure ends the job for the other workers too. */
  async #runTask(workers: Piscina, task: WorkerTask): Promise<WorkerAnswer> {
    try {
      const answer: WorkerAnswer = await workers.run(task);
      if (!answer.ok) this.cancel();
      return answer;
    } catch (error) {
      this.cancel();
      throw error;
    }
  }

  /** A pool that lost a worker is given up whole: the next job starts on a new one, whatever state this one is in. */
  async #workerLost(reason: unknown): Promise<EplbError> {
    await this.close().catch(() => {});
    const message = this.#lastWords ?? (reason instanceof Error ? reason.message : String(reason));
    this.#lastWords = undefined;
    return new EplbError('EPLB_WORKER_LOST', `a worker thread was lost while planning: ${message}`, {
      cause: reason,
    });
  }

  async #start(): Promise<Piscina> {
    if (this.#workers !== undefined) return this.#workers;
    // Loaded with the first job: hosts that plan inline never pay for it.
    const { Piscina } = await import('piscina');
    this.#workers = new Piscina({
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
    // A worker that dies between tasks is replaced by piscina; without a listener its error would end the process.
    this.#workers.on('error', () => {});
    this.#workers.on('message', (message: unknown) => {
      if (isLastWords(message)) this.#lastWords = message.lastWords;
    });
    return this.#workers;
  }
}

/** What the workers together made of a job that none of them failed in. */
function tablesOf(answers: readonly WorkerAnswer[]): PlanTables | undefined {
  for (const answer of answers) {
    if (!answer.ok) continue;
    if (answer.isEven) return undefined;
    if (answer.tables !== undefined) return answer.tables;
  }
  throw new EplbError('EPLB_INTERNAL', 'the workers ended without having planned all layers');
}

function cancelled(signal: AbortSignal | undefined): EplbError {
  const options = signal?.aborted ? { cause: signal.reason } : undefined;
  return new EplbError('EPLB_CANCELLED', 'the plan was cancelled', options);
}
