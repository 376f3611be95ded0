import { fromErrorData } from '../core/error-data.ts';
import { EplbError } from '../core/errors.ts';
import { FailedStarts } from './failed-starts.ts';
import { cancelledError, workerLostError } from './job-errors.ts';
import type { LayerKernel } from './layer-kernel.ts';
import { askToLeave, JobWord, jobWords, resetWords } from './layout.ts';
import type { PlanJob } from './plan-job.ts';
import type { PlanTables } from './plan-tables.ts';
import type { PoolJob } from './pool-job.ts';
import { workersFor } from './worker-count.ts';
import type { JobPlace, WorkerAnswer } from './worker-task.ts';
import type { WorkerThread } from './worker-thread.ts';

/** What a job is made of. */
export interface LayersJobParts {
  readonly place: JobPlace;
  readonly job: PlanJob;
  readonly kernel: LayerKernel;
  /** Workers that there is scratch for. */
  readonly maxWorkers: number;
  readonly spins: boolean;
  readonly signal: AbortSignal | undefined;
}

/** A worker of a job. */
interface JobWorker {
  /** Chooses its scratch; the lowest that is free. */
  readonly number: number;
  isLeaving: boolean;
}

/**
 * A job that threads of the pool work on: they come and go between two claims, and whoever plans the last
 * layer has the result. Its input must be in the shared memory by now.
 */
export class LayersJob implements PoolJob {
  /** The tables, on shared memory of their own; undefined when the loads differ too little. */
  readonly result: Promise<PlanTables | undefined>;
  readonly #parts: LayersJobParts;
  readonly #words: Int32Array;
  readonly #workNanoseconds: number;
  readonly #workers = new Map<WorkerThread, JobWorker>();
  #settle!: { resolve(tables: PlanTables | undefined): void; reject(error: Error): void };
  #isSettled = false;
  #isCancelled: boolean;
  /** What came of it, when that is known. */
  #outcome: { readonly tables: PlanTables | undefined } | { readonly error: Error } | undefined;
  /** Threads that were started since the job is there, and ended before they worked on it. */
  readonly #failedStarts = new FailedStarts();
  readonly #createdAt = performance.now();
  #heldSince = 0;

  constructor(parts: LayersJobParts) {
    const { place, job, kernel, signal } = parts;
    this.#parts = parts;
    this.#words = jobWords(place.memory.buffer, place.layout);
    this.#workNanoseconds =
      place.layout.topology.numLayers * kernel.nanosecondsPerLayer(job.request, place.layout.topology, job);
    this.#isCancelled = signal?.aborted ?? false;
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    resetWords(this.#words);
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  get numWorkers(): number {
    return this.#workers.size;
  }

  /** Workers that were not asked to leave. */
  get numStaying(): number {
    let staying = 0;
    for (const { isLeaving } of this.#workers.values()) if (!isLeaving) staying++;
    return staying;
  }

  /** When it got a worker after it had none, by performance.now(); 0 when it never had one. */
  get heldSince(): number {
    return this.#heldSince;
  }

  /**
   * How many workers what is left to claim is worth; 0 when it is to have no more for now.
   */
  get numWorthwhile(): number {
    if (this.#isSettled || this.#isCancelled || this.#outcome !== undefined) return 0;
    // Whoever came now could have the number of one that leaves.
    if (this.numStaying < this.#workers.size) return 0;
    const { place, kernel, maxWorkers } = this.#parts;
    const { numLayers } = place.layout.topology;
    const unclaimed = numLayers - Atomics.load(this.#words, JobWord.NEXT_LAYER);
    if (unclaimed <= 0) return 0;
    const work = (this.#workNanoseconds * unclaimed) / numLayers;
    return workersFor(work, Math.ceil(unclaimed / kernel.layersPerClaim), maxWorkers);
  }

  /** Whether threads may be started to help it: not when some ended before they were ready. */
  get mayStartThreads(): boolean {
    return this.#failedStarts.mayStartThreads;
  }

  /**
   * Has a thread work on it; resolves when the thread is free again, or lost.
   * @param hasOthers whether there are other threads then
   */
  async run(thread: WorkerThread, hasOthers: () => boolean): Promise<void> {
    const { place, job, spins } = this.#parts;
    const number = this.#freeNumber();
    if (this.#workers.size === 0) this.#heldSince = performance.now();
    this.#workers.set(thread, { number, isLeaving: false });
    try {
      const task = { kind: 'layers', placeId: place.id, job, worker: number, spins } as const;
      this.#answered(thread, await thread.run(task, place));
    } catch (reason) {
      this.#lost(thread, reason, hasOthers());
    }
  }

  /** Has a worker leave when it is done with what it claimed: the one with the highest number. */
  giveBackOne(): void {
    const staying = [...this.#workers.values()].filter(({ isLeaving }) => !isLeaving);
    const last = staying.reduce((a, b) => (b.number > a.number ? b : a));
    last.isLeaving = true;
    askToLeave(this.#words, last.number);
  }

  /** Stops it, between two layers or within a search. */
  cancel(): void {
    this.#isCancelled = true;
    this.#stop();
    this.#settleIfDone();
  }

  /**
   * A thread that was started for it ended before it was ready.
   * @param hasOthers whether there are threads that it can wait for
   */
  startFailed(reason: unknown, hasOthers: boolean): void {
    this.#failedStarts.add(reason);
    if (this.#workers.size > 0 || this.mayStartThreads || hasOthers) return;
    this.#outcome ??= { error: workerLostError(reason) };
    this.#settleIfDone();
  }

  #answered(thread: WorkerThread, answer: WorkerAnswer): void {
    // Of a task that was withdrawn nothing is known any more.
    if (!this.#remove(thread)) return;
    if (!answer.ok) this.#fail(fromErrorData(answer));
    else if (answer.isEven) this.#outcome ??= { tables: undefined };
    else if (answer.tables !== undefined) this.#outcome ??= { tables: answer.tables };
    this.#settleIfDone();
  }

  /**
   * One that had not begun had died before: the job goes on without it, but not where new ones die time and
   * again. What one did that had begun nobody knows. And one that is still there could not be sent the task.
   */
  #lost(thread: WorkerThread, reason: unknown, hasOthers: boolean): void {
    if (!this.#remove(thread)) return;
    if (thread.hasBegun || thread.isAlive) this.#fail(workerLostError(reason, thread.lastWords));
    else if (thread.startedAt > this.#createdAt) this.startFailed(reason, hasOthers);
    this.#settleIfDone();
  }

  /** The first failure ends the job for the other workers too. */
  #fail(error: Error): void {
    this.#outcome ??= { error };
    this.#stop();
  }

  #stop(): void {
    Atomics.store(this.#words, JobWord.CANCELLED, 1);
  }

  #settleIfDone(): void {
    if (this.#outcome !== undefined || this.#isCancelled) this.#withdraw();
    if (this.#workers.size > 0 || this.#isSettled) return;
    const outcome = this.#outcome;
    if (outcome !== undefined && 'error' in outcome) this.#end(() => this.#settle.reject(outcome.error));
    else if (this.#isCancelled) this.#end(() => this.#settle.reject(cancelledError(this.#parts.signal)));
    else if (outcome !== undefined) this.#end(() => this.#settle.resolve(outcome.tables));
    else if (this.#isClaimed) this.#end(() => this.#settle.reject(incompleteError()));
  }

  #end(settle: () => void): void {
    this.#isSettled = true;
    settle();
  }

  /** Takes a worker off the list, if it is there; when all have left that were to, nobody is to any more. */
  #remove(thread: WorkerThread): boolean {
    if (!this.#workers.delete(thread)) return false;
    if (this.numStaying === this.#workers.size) askToLeave(this.#words);
    return true;
  }

  /** Nobody waits for workers that have not begun. */
  #withdraw(): void {
    for (const thread of this.#workers.keys()) if (thread.withdraw()) this.#workers.delete(thread);
  }

  get #isClaimed(): boolean {
    return Atomics.load(this.#words, JobWord.NEXT_LAYER) >= this.#parts.place.layout.topology.numLayers;
  }

  #freeNumber(): number {
    const taken = new Set([...this.#workers.values()].map(({ number }) => number));
    let number = 0;
    while (taken.has(number)) number++;
    return number;
  }
}

function incompleteError(): EplbError {
  return new EplbError('EPLB_INTERNAL', 'the workers ended without having planned all layers');
}
