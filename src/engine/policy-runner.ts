import { fromErrorData } from '../core/error-data.ts';
import { EplbError } from '../core/errors.ts';
import { MAX_DELAY_MS } from '../core/timers.ts';
import type { KernelRegion } from '../memory/memory-arena.ts';
import { abortCause, cancelledError, workerLostError } from './job-errors.ts';
import { type JobLayout, JobWord, jobWords, resetWords } from './layout.ts';
import type { CustomJob } from './plan-job.ts';
import type { PlanRunner } from './plan-runner.ts';
import type { PlanTables } from './plan-tables.ts';
import { type JobPlace, nextPlaceId, type PolicyTask, type WorkerAnswer } from './worker-task.ts';
import { WorkerThread } from './worker-thread.ts';

/**
 * How long a policy's thread is waited for when it is ended. In a call of the system, such as execSync, it
 * ends when that returns.
 */
const EXIT_WAIT_MS = 1000;

/** A custom policy. */
export interface PolicyModule {
  readonly url: string;
  /** How long it may take to return when its plan is cancelled. */
  readonly graceMs: number;
}

/** The job in flight. */
interface RunningJob {
  readonly signal: AbortSignal | undefined;
  isCancelled: boolean;
  /** Its policy did not return in time: the thread is ended. */
  isOverdue: boolean;
  graceTimer?: NodeJS.Timeout;
}

/** A runner's thread, apart from it: what is known of a runner that is no more. */
interface HeldThread {
  thread: WorkerThread | undefined;
}

/** The threads of balancers that nobody holds any more, and that were not closed. */
const dropped = new FinalizationRegistry<HeldThread>(({ thread }) => void thread?.end());

/**
 * Runs the jobs of one balancer by a custom policy, in a thread of its own.
 *
 * It is none of the pool's: a policy may never return, leave timers and promises behind, or end its thread,
 * and none of that is to reach another balancer's plans. And what a module keeps is its balancer's alone.
 */
export class PolicyRunner implements PlanRunner {
  readonly #policy: PolicyModule;
  readonly #place: JobPlace;
  /** Held as long as the thread may be at work in it. */
  readonly #region: KernelRegion;
  readonly #held: HeldThread = { thread: undefined };
  /** The thread that is being ended. */
  #ending: Promise<void> | undefined;
  #job: RunningJob | undefined;
  workersStarted = 0;
  workersWoken = 0;

  constructor(region: KernelRegion, layout: JobLayout, policy: PolicyModule) {
    this.#policy = policy;
    this.#region = region;
    this.#place = { id: nextPlaceId(), memory: region.memory, layout };
    dropped.register(this, this.#held);
  }

  get layersDone(): number {
    return Atomics.load(this.#words, JobWord.LAYERS_DONE);
  }

  /**
   * When it is cancelled the policy has its grace time to return, and its result is dropped; then its thread
   * is ended.
   */
  async run(job: CustomJob, signal?: AbortSignal): Promise<PlanTables | undefined> {
    const task = { kind: 'custom', placeId: this.#place.id, job, policyUrl: this.#policy.url } as const;
    const { tables, isEven } = await this.#ask(task, signal);
    if (tables !== undefined || isEven) return tables;
    throw new EplbError('EPLB_INTERNAL', 'the policy ended without a mapping');
  }

  /** Starts the thread, and has it load the policy: one that cannot be loaded is known before a plan. */
  async start(): Promise<void> {
    await this.#ask({ kind: 'load', policyUrl: this.#policy.url });
  }

  /** The policy may return as long as its grace time lasts. */
  cancel(): void {
    const job = this.#job;
    if (job === undefined) return;
    job.isCancelled = true;
    Atomics.store(this.#words, JobWord.CANCELLED, 1);
    if (job.graceTimer !== undefined) return;
    job.graceTimer = setTimeout(
      () => {
        job.isOverdue = true;
        void this.close();
      },
      Math.min(this.#policy.graceMs, MAX_DELAY_MS),
    );
  }

  /** Ends the thread, whatever it does: at once, unless it is in a call of the system. */
  async close(): Promise<void> {
    const { thread } = this.#held;
    if (thread !== undefined) this.#ending = endInTime(thread);
    this.#held.thread = undefined;
    await this.#ending;
  }

  async #ask(task: PolicyTask, signal?: AbortSignal): Promise<Extract<WorkerAnswer, { ok: true }>> {
    const job: RunningJob = { signal, isCancelled: signal?.aborted ?? false, isOverdue: false };
    const onAbort = () => this.cancel();
    this.#job = job;
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const answer = await this.#attempt(task, job);
      if (!answer.ok) throw fromErrorData(answer);
      if (job.isCancelled) throw cancelledError(signal);
      return answer;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      clearTimeout(job.graceTimer);
      this.#job = undefined;
    }
  }

  /**
   * Has the thread do the task. One that is lost without having begun it had died before: then it is tried
   * once more.
   */
  async #attempt(task: PolicyTask, job: RunningJob, isRetry = false): Promise<WorkerAnswer> {
    resetWords(this.#words);
    const thread = await this.#start();
    // Cancelled while the thread was starting.
    if (job.isCancelled) throw cancelledError(job.signal);
    if (task.kind === 'custom') this.workersWoken++;
    try {
      return await thread.run(task, this.#place);
    } catch (reason) {
      const { hasBegun } = thread;
      await this.close();
      if (job.isOverdue) throw this.#overdue(job);
      if (!hasBegun && job.isCancelled) throw cancelledError(job.signal);
      if (!hasBegun && !isRetry) return this.#attempt(task, job, true);
      throw workerLostError(reason, thread.lastWords);
    }
  }

  async #start(): Promise<WorkerThread> {
    if (this.#held.thread?.isAlive) return this.#held.thread;
    await this.close();
    const thread = await WorkerThread.start();
    this.workersStarted++;
    this.#held.thread = thread;
    return thread;
  }

  #overdue({ signal }: RunningJob): EplbError {
    const { url, graceMs } = this.#policy;
    const message = `policy: ${url} did not return within ${graceMs} ms of being cancelled`;
    return new EplbError('EPLB_POLICY', message, abortCause(signal));
  }

  get #words(): Int32Array {
    return jobWords(this.#region.buffer, this.#place.layout);
  }
}

async function endInTime(thread: WorkerThread): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const waited = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, EXIT_WAIT_MS);
  });
  await Promise.race([thread.end(), waited]);
  clearTimeout(timer);
}
