import type { SharingJob } from './share-out.ts';
import type { WorkerThread } from './worker-thread.ts';

/** Work for threads of the pool: they come and go while it lasts. */
export interface PoolJob extends SharingJob {
  /** Settled when no thread works on it any more. */
  readonly result: Promise<unknown>;
  /** Whether threads may be started to help it: not when some ended before they were ready. */
  readonly mayStartThreads: boolean;
  /**
   * Has a thread work on it; resolves when the thread is free again, or lost. Never rejects.
   * @param hasOthers whether there are other threads then
   */
  run(thread: WorkerThread, hasOthers: () => boolean): Promise<void>;
  /**
   * A thread that was started for it ended before it was ready.
   * @param hasOthers whether there are threads that it can wait for
   */
  startFailed(reason: unknown, hasOthers: boolean): void;
}
