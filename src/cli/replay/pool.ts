import { availableParallelism } from 'node:os';
import type { Piscina } from 'piscina';
import { EplbError, type EplbErrorCode } from '../../core/errors.ts';
import {
  checkAddressSpace,
  countBooting,
  isRefused,
  refusedError,
  warnOfFewThreads,
} from '../../engine/thread-limits.ts';
import type { ReplayResult } from '../../replay/index.ts';
import type { ReplayAnswer, ReplayTask } from './task.ts';

/** Worker threads that replay one configuration each: each is a pool of one, so that there may be fewer. */
export class ReplayPool {
  readonly #threads: readonly Piscina[];
  readonly #idle: Piscina[];
  /** Replays that wait for a thread. */
  readonly #waiting: ((thread: Piscina) => void)[] = [];

  private constructor(threads: readonly Piscina[]) {
    this.#threads = threads;
    this.#idle = [...threads];
  }

  /**
   * Starts no more threads than there are tasks, and than the machine runs at once; fewer, with a warning,
   * where no more can be had.
   * @throws (as a rejection) EplbError `EPLB_THREADS` when none can be had
   */
  static async start(numTasks: number): Promise<ReplayPool> {
    const numWanted = Math.max(1, Math.min(numTasks, availableParallelism()));
    const threads: Piscina[] = [];
    try {
      while (threads.length < numWanted) threads.push(await startThread());
    } catch (error) {
      if (threads.length === 0 || !isRefused(error)) throw error;
      warnOfFewThreads(threads.length, numWanted, error);
    }
    return new ReplayPool(threads);
  }

  /** @throws (as a rejection) what the replay threw, as an EplbError with its code and message */
  async replay(task: ReplayTask): Promise<ReplayResult> {
    const answer = await this.#run(task);
    if (answer.ok) return answer.result;
    if (answer.code === undefined) throw new Error(answer.message);
    throw new EplbError(answer.code satisfies EplbErrorCode, answer.message);
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.destroy()));
  }

  async #run(task: ReplayTask): Promise<ReplayAnswer> {
    const thread = this.#idle.pop() ?? (await new Promise<Piscina>((resolve) => this.#waiting.push(resolve)));
    try {
      return await thread.run(task);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new EplbError('EPLB_WORKER_LOST', `a worker thread was lost while replaying: ${why}`, { cause });
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#idle.push(thread);
      else next(thread);
    }
  }
}

async function startThread(): Promise<Piscina> {
  const { Piscina } = await import('piscina');
  checkAddressSpace();
  try {
    const thread = new Piscina({
      filename: new URL('./replay-worker.js', import.meta.url).href,
      name: 'replayInWorker',
      minThreads: 1,
      maxThreads: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      recordTiming: false,
      // A replay waits for its file: the thread's own event loop has to turn.
      atomics: 'disabled',
    });
    thread.on('error', () => {});
    countBooting(thread.threads[0]!);
    return thread;
  } catch (error) {
    throw refusedError(error) ?? error;
  }
}
