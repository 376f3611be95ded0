import type { Piscina } from 'piscina';
import { packageFile } from '../core/package-file.ts';
import { sharedBuffer } from '../memory/allocate.ts';
import { kernelModule } from '../memory/kernel-module.ts';
import { checkAddressSpace, countBooting, refusedError } from './thread-limits.ts';
import {
  isLastWords,
  type JobPlace,
  type SentTask,
  TaskState,
  THREAD_WORDS,
  ThreadWord,
  type WorkerAnswer,
  type WorkerSetup,
  type WorkerTask,
} from './worker-task.ts';

type PiscinaOptions = ConstructorParameters<typeof Piscina>[0];

/**
 * A worker thread, which is sent one task after the other.
 *
 * It is a pool of piscina's with a single thread. So a thread that is lost takes nothing but its own task
 * with it, and is not replaced behind our back: tasks that wait for a thread that piscina starts in the place
 * of another wait for ever when that one ends before it is ready. And a job says itself which threads it
 * wakes.
 */
export class WorkerThread {
  readonly #piscina: Piscina;
  readonly #words: Int32Array;
  /** By performance.now(). */
  readonly startedAt = performance.now();
  /** The places that the thread was told of. */
  readonly #places = new Set<number>();
  /** Resolves when the thread has ended, of itself or as it was told to. */
  readonly #exited: Promise<void>;
  #isAlive = true;
  #numTasks = 0;
  #lastWords: string | undefined;

  private constructor(piscina: Piscina, words: Int32Array) {
    this.#piscina = piscina;
    this.#words = words;
    const worker = piscina.threads[0]!;
    countBooting(worker);
    this.#exited = new Promise((resolve) => {
      worker.once('exit', () => resolve());
    });
    // An idle thread's error would end the process without a listener.
    piscina.on('error', () => {});
    // Before piscina puts another thread in its place.
    piscina.on('workerDestroy', () => this.#destroy());
    piscina.on('message', (message: unknown) => {
      if (isLastWords(message)) this.#lastWords = message.lastWords;
    });
  }

  /**
   * Begins to start a thread: it takes tasks from now on, and is at work on them when it is ready.
   * @throws (as a rejection) EplbError `EPLB_THREADS`, `EPLB_RUNTIME`
   */
  static async start(): Promise<WorkerThread> {
    // Loaded with the first job: hosts that plan inline never pay for it.
    const { Piscina } = await import('piscina');
    const words = new Int32Array(sharedBuffer('a thread', 4 * THREAD_WORDS));
    const setup: WorkerSetup = { module: kernelModule(), words };
    const workerFile = packageFile('worker.cjs', () => new URL('./worker.cjs', import.meta.url));
    const options: PiscinaOptions & { readonly workerFile: string } = {
      // What a thread runs and what the pool calls in it are one file: all that a bundle has to take along.
      workerFile,
      filename: workerFile,
      name: 'runWorkerTask',
      minThreads: 1,
      maxThreads: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      workerData: setup,
      recordTiming: false,
      // Idle threads wait for their port, as any other does. Waiting in Atomics.wait instead brings little (a
      // task sent and answered takes 50 us and not 60 where they follow on each other, and 145 and not 160
      // where they do not, of which 50 and more are the host's own), and freezes the thread's timers.
      atomics: 'disabled',
    };
    checkAddressSpace();
    try {
      return new WorkerThread(new Piscina(options), words);
    } catch (error) {
      throw refusedError(error) ?? error;
    }
  }

  /** Whether it has not ended, as far as this thread has heard. */
  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Whether it has begun the job's task that it was sent last. */
  get hasBegun(): boolean {
    return Atomics.load(this.#words, ThreadWord.TASK_STATE) === TaskState.BEGUN;
  }

  /** What it said of the error that it ended for. */
  get lastWords(): string | undefined {
    return this.#lastWords;
  }

  /**
   * Sends a task, the next one when the answer is here.
   *
   * @param place of the job's task
   * @throws (as a rejection) when the thread is lost, before the task or in it
   */
  async run(task: WorkerTask, place?: JobPlace): Promise<WorkerAnswer> {
    const isNew = place !== undefined && !this.#places.has(place.id);
    if (isNew) this.#places.add(place.id);
    Atomics.store(this.#words, ThreadWord.TASK_STATE, TaskState.SENT);
    let isOk = false;
    try {
      const answer = await this.#send(task, isNew ? place : undefined);
      isOk = answer.ok;
      return answer;
    } finally {
      // It may not have been told.
      if (isNew && !isOk) this.#places.delete(place.id);
    }
  }

  /** Takes the job's task back, unless it is begun: then the thread does nothing of it. */
  withdraw(): boolean {
    const { SENT, WITHDRAWN } = TaskState;
    return Atomics.compareExchange(this.#words, ThreadWord.TASK_STATE, SENT, WITHDRAWN) === SENT;
  }

  /** Has the thread let go of a place, when it is done with what it has to do. */
  forget(placeId: number): void {
    if (!this.#isAlive || !this.#places.delete(placeId)) return;
    this.#send({ kind: 'forget', placeId }).catch(() => {});
  }

  /** Ends the thread, whatever it does; resolves when it has ended. */
  async end(): Promise<void> {
    this.#destroy();
    await this.#exited;
  }

  async #send(task: WorkerTask, place?: JobPlace): Promise<WorkerAnswer> {
    // piscina would start another.
    if (!this.#isAlive) throw new Error('the thread has ended');
    const sent: SentTask = { task, place, number: ++this.#numTasks };
    const answered: Promise<WorkerAnswer> = this.#piscina.run(sent);
    Atomics.store(this.#words, ThreadWord.TASKS_SENT, this.#numTasks);
    return answered;
  }

  /** Once only: piscina that is told again puts another thread in the place of the one that it ends. */
  #destroy(): void {
    if (!this.#isAlive) return;
    this.#isAlive = false;
    void this.#piscina.destroy();
  }
}
