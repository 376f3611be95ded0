import { readlinkSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';
import { basename } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import type { CustomJob } from '../src/engine/plan-job.ts';
import { SharedAnswers } from '../src/engine/plan-tables.ts';
import {
  type LastWords,
  runLayers,
  type WorkerAnswer,
  type WorkerSetup,
  type WorkerTask,
} from '../src/engine/worker-task.ts';
import { instantiateKernels } from '../src/memory/kernel-exports.ts';
import { kernelOf } from '../src/policy/kernels.ts';

// This entry is bundled alone, as CommonJS: a thread is ready 7 ms sooner (measured) when it need not start
// the loader of modules.

const setup = workerData as WorkerSetup;
const kernels = instantiateKernels(setup.module, setup.memory);
const answers = new SharedAnswers(setup.memory.buffer, setup.layout);

yieldToHost();

// What a policy's module throws outside of its call ends the thread. It is told first and the thread ends
// itself: when Node ends it for the error while piscina puts another in its place, the process can miss the
// thread's exit and wait for it for ever (seen with piscina 5.3 on Node 20).
process.on('uncaughtException', (error: unknown) => {
  const lastWords: LastWords = { lastWords: error instanceof Error ? error.message : String(error) };
  parentPort?.postMessage(lastWords);
  process.exit(1);
});

/** The pool's entry: one call a worker and job. */
export function runWorkerTask(task: WorkerTask): WorkerAnswer | Promise<WorkerAnswer> {
  Atomics.store(setup.begun, task.worker, 1);
  if (task.kind === 'layers') {
    return runLayers(kernels, kernelOf(task.job.request), setup, answers, task.job, task.worker);
  }
  if (task.kind === 'custom') return runCustom(task.job);
  return { ok: true };
}

/**
 * A custom policy needs the library itself, as the policy's module has it: not the copy that is bundled here.
 */
async function runCustom(job: CustomJob): Promise<WorkerAnswer> {
  const { runCustomPolicy } = await import('./custom-policy.js');
  return runCustomPolicy(kernels, setup, job);
}

/**
 * Where threads have priorities of their own, which is on Linux, the host's go first. Otherwise a thread that
 * wakes for a job can take the very core that the host's thread is on, which then waits for a millisecond
 * (measured: the host's call that wakes it took 930 us at the 99th percentile, and 110 with this). piscina
 * can do it too, but loads a native addon for it.
 */
function yieldToHost(): void {
  if (process.platform !== 'linux') return;
  try {
    const threadId = Number(basename(readlinkSync('/proc/thread-self')));
    setPriority(threadId, Math.max(getPriority(threadId), constants.priority.PRIORITY_BELOW_NORMAL));
  } catch {
    // No /proc here: the threads share the host's priority.
  }
}
