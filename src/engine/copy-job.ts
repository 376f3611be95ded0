import { fromErrorData } from '../core/error-data.ts';
import { sharedBuffer } from '../memory/allocate.ts';
import { COPY_FIELDS, COPY_WORDS, CopyPhase, type CopyTask, CopyWord } from './copy-task.ts';
import { FailedStarts } from './failed-starts.ts';
import { workerLostError } from './job-errors.ts';
import type { PoolJob } from './pool-job.ts';
import { workersFor } from './worker-count.ts';
import { type PoolMember, sharedPool } from './worker-pool.ts';
import { nextPlaceId } from './worker-task.ts';
import type { WorkerThread } from './worker-thread.ts';

/** Copies that belong together: all are made, or none, as far as they can be dropped. */
export type CopyStep = Omit<CopyTask, 'kind' | 'words'>;

/** What became of a step: nothing but scratch was written, all was, or it ended between. */
export type CopyOutcome = 'old' | 'new' | 'broken';

/** What became of a job. */
export interface CopyResult {
  /** One for each step. */
  readonly outcomes: readonly CopyOutcome[];
  /** Why the job ended early, when it was not cancelled. */
  readonly error?: Error;
}

/** What a job is made of. */
export interface CopyJobParts {
  readonly steps: readonly CopyStep[];
  readonly maxWorkers: number;
  /** Told of each step that was begun, in the order in which they end. */
  readonly onOutcome: (step: number, outcome: CopyOutcome) => void;
}

/** In messages. */
const WORK = 'moving weights';

/** Nanoseconds of a byte: 7 GB a second, as one thread copies what is in no cache. */
const NANOSECONDS_PER_BYTE = 0.15;

/** Copies that threads of the pool make, step by step: each takes the next one when it is done with one. */
class CopyJob implements PoolJob {
  readonly result: Promise<CopyResult>;
  readonly #parts: CopyJobParts;
  /** [steps x COPY_WORDS] */
  readonly #words: Int32Array;
  /** [steps] */
  readonly #nanoseconds: Float64Array;
  readonly #outcomes: CopyOutcome[];
  readonly #workers = new Map<WorkerThread, { isLeaving: boolean }>();
  /** Steps that no worker has, the next one last. */
  readonly #left: number[];
  #leftNanoseconds: number;
  #settle!: (result: CopyResult) => void;
  #isSettled = false;
  #isCancelled = false;
  #error: Error | undefined;
  readonly #failedStarts = new FailedStarts();
  readonly #createdAt = performance.now();
  #heldSince = 0;

  constructor(parts: CopyJobParts) {
    const { steps } = parts;
    this.#parts = parts;
    this.#words = new Int32Array(sharedBuffer('copies', 4 * COPY_WORDS * Math.max(1, steps.length)));
    this.#nanoseconds = Float64Array.from(steps, ({ copies }) => NANOSECONDS_PER_BYTE * bytesOf(copies));
    this.#outcomes = steps.map(() => 'old');
    this.#left = steps.map((_, step) => steps.length - 1 - step);
    this.#leftNanoseconds = this.#nanoseconds.reduce((sum, own) => sum + own, 0);
    this.result = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#settleIfDone();
  }

  get numWorkers(): number {
    return this.#workers.size;
  }

  get numStaying(): number {
    let staying = 0;
    for (const { isLeaving } of this.#workers.values()) if (!isLeaving) staying++;
    return staying;
  }

  get heldSince(): number {
    return this.#heldSince;
  }

  get numWorthwhile(): number {
    if (this.#isEnding || this.#left.length === 0) return 0;
    return workersFor(this.#leftNanoseconds, this.#left.length, this.#parts.maxWorkers);
  }

  get mayStartThreads(): boolean {
    return this.#failedStarts.mayStartThreads;
  }

  async run(thread: WorkerThread, hasOthers: () => boolean): Promise<void> {
    const worker = { isLeaving: false };
    if (this.#workers.size === 0) this.#heldSince = performance.now();
    this.#workers.set(thread, worker);
    while (!this.#isEnding && !worker.isLeaving) {
      const step = this.#left.pop();
      if (step === undefined) break;
      this.#leftNanoseconds -= this.#nanoseconds[step]!;
      if (!(await this.#runStep(thread, step, hasOthers))) break;
    }
    this.#workers.delete(thread);
    this.#settleIfDone();
  }

  giveBackOne(): void {
    for (const worker of this.#workers.values()) {
      if (worker.isLeaving) continue;
      worker.isLeaving = true;
      return;
    }
  }

  startFailed(reason: unknown, hasOthers: boolean): void {
    this.#countFailedStart(reason, hasOthers || this.#workers.size > 0);
    this.#settleIfDone();
  }

  /** Begins no step any more, and drops what is only prepared; what is being written is written whole. */
  cancel(): void {
    this.#isCancelled = true;
    this.#stop();
    this.#settleIfDone();
  }

  get #isEnding(): boolean {
    return this.#isSettled || this.#isCancelled || this.#error !== undefined;
  }

  /** @returns false when the thread is lost */
  async #runStep(thread: WorkerThread, step: number, hasOthers: () => boolean): Promise<boolean> {
    const words = this.#words.subarray(step * COPY_WORDS, (step + 1) * COPY_WORDS);
    const task: CopyTask = { kind: 'copies', ...this.#parts.steps[step]!, words };
    let isLost = false;
    try {
      const answer = await thread.run(task);
      if (!answer.ok) this.#fail(fromErrorData(answer));
    } catch (reason) {
      isLost = true;
      // One that had not begun had died before: another thread takes the step.
      if (!thread.hasBegun && !thread.isAlive) {
        this.#left.push(step);
        this.#leftNanoseconds += this.#nanoseconds[step]!;
        // But not where new ones die time and again.
        if (thread.startedAt > this.#createdAt) this.#countFailedStart(reason, hasOthers());
        return false;
      }
      this.#fail(workerLostError(reason, thread.lastWords, WORK));
    }
    const phase = Atomics.load(words, CopyWord.PHASE);
    const outcome = phase === CopyPhase.NEW ? 'new' : phase === CopyPhase.OLD ? 'old' : 'broken';
    this.#outcomes[step] = outcome;
    this.#parts.onOutcome(step, outcome);
    return !isLost;
  }

  #countFailedStart(reason: unknown, mayWait: boolean): void {
    this.#failedStarts.add(reason);
    if (!this.mayStartThreads && !mayWait) this.#error ??= workerLostError(reason, undefined, WORK);
  }

  #fail(error: Error): void {
    this.#error ??= error;
    this.#stop();
  }

  #stop(): void {
    for (let at: number = CopyWord.IS_CANCELLED; at < this.#words.length; at += COPY_WORDS)
      Atomics.store(this.#words, at, 1);
  }

  #settleIfDone(): void {
    if (this.#workers.size > 0 || this.#isSettled) return;
    if (this.#left.length > 0 && !this.#isEnding) return;
    this.#isSettled = true;
    const error = this.#error;
    this.#settle({ outcomes: this.#outcomes, ...(error === undefined ? {} : { error }) });
  }
}

function bytesOf(copies: Float64Array): number {
  let bytes = 0;
  for (let at = COPY_FIELDS - 1; at < copies.length; at += COPY_FIELDS) bytes += copies[at]!;
  return bytes;
}

/** Makes copies in the pool of the calling thread. A signal that is aborted has it end early. */
export async function runCopyJob(parts: CopyJobParts, signal?: AbortSignal): Promise<CopyResult> {
  const job = new CopyJob(parts);
  const member: PoolMember = { maxThreads: parts.maxWorkers, workersStarted: 0, workersWoken: 0 };
  const onAbort = () => job.cancel();
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) job.cancel();
  const pool = sharedPool();
  pool.join(member);
  try {
    pool.add(job, member);
    return await job.result;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await pool.leave(member, nextPlaceId());
  }
}
