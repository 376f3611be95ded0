import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { inTempDir } from './cli.ts';
import { until } from './library.ts';

/** The sizes that the hostile policy plans for, and its plan. */
export const SMALL = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 } as const;
export const SMALL_LOADS = [[1, 2, 9, 4]];
export const SMALL_PLAN = [[0, 1, 2, 3, 0, 1]];

/** A policy's module that misbehaves once, in the way of its name: see fixtures/policies/hostile.mjs. */
export interface HostilePolicy {
  readonly url: URL;
  /** Waits until it does. */
  begun(): Promise<void>;
  /** Lets a policy that waits for it go on. */
  open(): void;
  /**
   * Has it misbehave now, long after its plan, and blocks this thread until it has begun to: no event of its
   * thread is seen by then.
   */
  goLate(): void;
  /** How often it was asked for a plan. */
  numPlans(): number;
}

/** Runs `work` with a policy that misbehaves in this way. */
export function withHostile<T>(way: string, work: (policy: HostilePolicy) => Promise<T>): Promise<T> {
  return inTempDir(async (dir) => {
    const mark = join(dir, 'mark');
    const url = new URL('../fixtures/policies/hostile.mjs', import.meta.url);
    url.search = new URLSearchParams({ way, mark }).toString();
    const open = () => writeFileSync(`${mark}.open`, '');
    const begun = () => until(() => existsSync(mark));
    const goLate = () => {
      writeFileSync(`${mark}.go`, '');
      const word = new Int32Array(new SharedArrayBuffer(4));
      for (let looks = 0; !existsSync(`${mark}.gone`); looks++) {
        if (looks > 20_000) throw new Error('the policy never went');
        Atomics.wait(word, 0, 0, 1);
      }
    };
    const numPlans = () => readFileSync(`${mark}.plans`).length;
    try {
      return await work({ url, begun, open, goLate, numPlans });
    } finally {
      open();
    }
  });
}

/** The threads that are started while `work` runs. */
export async function threadsOf<T>(work: (threads: Worker[]) => Promise<T>): Promise<T> {
  const threads: Worker[] = [];
  const add = (worker: Worker) => threads.push(worker);
  process.on('worker', add);
  try {
    return await work(threads);
  } finally {
    process.off('worker', add);
  }
}

/** Whether a thread has ended, as far as this one has heard. */
export function hasEnded(thread: Worker): boolean {
  return thread.threadId === -1;
}
