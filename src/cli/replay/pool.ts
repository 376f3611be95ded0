import { availableParallelism } from 'node:os';
import type { Piscina } from 'piscina';
import { EplbError, type EplbErrorCode } from '../../core/errors.ts';
import type { ReplayResult } from '../../replay/index.ts';
import type { ReplayAnswer, ReplayTask } from './task.ts';

/** Worker threads that replay one configuration each. */
export class ReplayPool {
  readonly #workers: Piscina;

  private constructor(workers: Piscina) {
    this.#workers = workers;
  }

  /** Starts no more threads than there are tasks, and than the machine runs at once. */
  static async start(numTasks: number): Promise<ReplayPool> {
    const { Piscina } = await import('piscina');
    const threads = Math.max(1, Math.min(numTasks, availableParallelism()));
    const workers = new Piscina({
      filename: new URL('./replay-worker.js', import.meta.url).href,
      name: 'replayInWorker',
      minThreads: threads,
      maxThreads: threads,
      idleTimeout: Number.POSITIVE_INFINITY,
      recordTiming: false,
      // A replay waits for its file: the thread's own event loop has to turn.
      atomics: 'disabled',
    });
    workers.on('error', () => {});
    return new ReplayPool(workers);
  }

  /** @throws (as a rejection) what the replay threw, as an EplbError with its code and message */
  async replay(task: ReplayTask): Promise<ReplayResult> {
    let answer: ReplayAnswer;
    try {
      answer = await this.#workers.run(task);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new EplbError('EPLB_WORKER_LOST', `a worker thread was lost while replaying: ${why}`, { cause });
    }
    if (answer.ok) return answer.result;
    if (answer.code === undefined) throw new Error(answer.message);
    throw new EplbError(answer.code satisfies EplbErrorCode, answer.message);
  }

  async close(): Promise<void> {
    await this.#workers.destroy();
  }
}
