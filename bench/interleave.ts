import { sink } from './measure.ts';
import { type Stats, summarize } from './stats.ts';

/** A task, and the check of what its last run returned. */
export interface Task<T> {
  readonly run: () => T;
  readonly check: (result: T) => void;
}

/** How long tasks that are to be compared are run. */
interface Rounds {
  readonly rounds: number;
  /** Milliseconds of every task in every round; at least one run. */
  readonly time: number;
}

/**
 * Times tasks in turns, a little of each in every round, so that what the machine does besides weighs on all
 * of them alike. The first round only warms up.
 *
 * @returns of each task, in milliseconds
 */
export function interleave<T>(tasks: readonly Task<T>[], { rounds, time }: Rounds): Stats[] {
  const samples = tasks.map((): number[] => []);
  for (let round = 0; round <= rounds; round++) {
    tasks.forEach((task, i) => {
      const times = runFor(time, task);
      if (round > 0) samples[i]!.push(...times);
    });
  }
  return samples.map(summarize);
}

/** Runs a task for a while, at least once: the milliseconds of each run. */
export function runFor<T>(time: number, { run, check }: Task<T>): number[] {
  globalThis.gc?.();
  const times: number[] = [];
  let result: T;
  const begin = performance.now();
  do {
    const start = performance.now();
    result = run();
    times.push(performance.now() - start);
    sink(result);
  } while (performance.now() - begin < time);
  check(result);
  return times;
}
