import assert from 'node:assert/strict';
import { Bench, type FnReturnedObject } from 'tinybench';
import type { Stats } from './stats.ts';

/**
 * How long a task is run: at least `time` milliseconds and `iterations` calls, after the same kind of
 * warm-up.
 */
export interface Limits {
  readonly time: number;
  readonly iterations: number;
  readonly warmupTime: number;
  readonly warmupIterations: number;
}

let swallowed = 0;

/** Takes a result so that no optimiser can leave out the work that made it. */
export function sink(result: unknown): void {
  // Whether a result is an object depends on it; what it is added to is printed at the end of a run.
  if (typeof result === 'object' && result !== null) swallowed++;
  else if (typeof result === 'number') swallowed += result & 1;
}

export function sinkTotal(): number {
  return swallowed;
}

/** Times a synchronous call, in milliseconds, and then checks what its last run returned. */
export async function measure<T>(limits: Limits, run: () => T, check: (result: T) => void): Promise<Stats> {
  const last: { result?: T } = {};
  const stats = await runTask(limits, false, () => {
    last.result = run();
    sink(last.result);
  });
  check(last.result as T);
  return stats;
}

/** Times a call until its promise has resolved, in milliseconds. */
export async function measureAsync<T>(
  limits: Limits,
  run: () => Promise<T>,
  check: (result: T) => void,
): Promise<Stats> {
  const last: { result?: T } = {};
  const stats = await runTask(limits, true, async () => {
    last.result = await run();
    sink(last.result);
  });
  check(last.result as T);
  return stats;
}

/**
 * Times a part of a call that it measures itself: `prepare` is not timed, `run` is, and stands for `calls`
 * calls of which one is the sample. For what is too quick to be timed alone, or needs a fresh state each
 * time.
 */
export async function measurePart(
  limits: Limits,
  prepare: () => void,
  run: () => void,
  calls = 1,
): Promise<Stats> {
  return runTask(limits, false, () => {
    const begin = performance.now();
    prepare();
    const start = performance.now();
    run();
    const end = performance.now();
    return {
      overriddenDuration: (end - start) / calls,
      overriddenIterationCost: end - begin,
    } satisfies FnReturnedObject;
  });
}

/** A task that fails does not throw in tinybench: its state is what tells. */
async function runTask(limits: Limits, isAsync: boolean, run: () => unknown): Promise<Stats> {
  globalThis.gc?.();
  const bench = new Bench(limits);
  bench.add('task', run, { async: isAsync });
  const [task] = await bench.run();
  const result = task?.result;
  if (result?.state === 'errored') throw result.error;
  assert.equal(result?.state, 'completed');
  assert.ok(result?.state === 'completed');
  const { samplesCount, min, p50, mean, sd, p99, p999, max } = result.latency;
  assert.ok(samplesCount >= limits.iterations, `only ${samplesCount} runs of ${limits.iterations}`);
  return { samples: samplesCount, min, median: p50, mean, deviation: sd, p99, p999, max };
}
