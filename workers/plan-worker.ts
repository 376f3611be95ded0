import { existsSync, readlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants, getPriority, setPriority } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { EplbError } from '../src/core/errors.ts';
import { runCopies } from '../src/engine/copy-task.ts';
import type { CustomJob } from '../src/engine/plan-job.ts';
import { SharedAnswers } from '../src/engine/plan-tables.ts';
import {
  errorAnswer,
  type JobPlace,
  type LastWords,
  runLayers,
  type SentTask,
  TaskState,
  ThreadWord,
  type WorkerAnswer,
  type WorkerSetup,
} from '../src/engine/worker-task.ts';
import { instantiateKernels, type KernelExports } from '../src/memory/kernel-exports.ts';
import { keepFurtherModule } from '../src/memory/kernel-module.ts';
import { kernelOf } from '../src/policy/kernels.ts';

// This entry is bundled alone, as CommonJS: a thread is ready 7 ms sooner (measured) when it need not start
// the loader of modules.

/** A place of jobs, as this thread works there. */
interface WorkPlace extends JobPlace {
  readonly kernels: KernelExports;
  readonly answers: SharedAnswers;
}

/** How long a thread that is to spin does so after a job, in milliseconds: then it sleeps as any other. */
const SPIN_MS = 50;

const { module, words } = workerData as WorkerSetup;
const places = new Map<number, WorkPlace>();

yieldToHost();

// What a policy's module throws outside of its call ends the thread. It is told first and the thread ends
// itself: when Node ends it for the error while piscina puts another in its place, the process can miss the
// thread's exit and wait for it for ever (seen with piscina 5.3 on Node 20).
process.on('uncaughtException', (error: unknown) => {
  const lastWords: LastWords = { lastWords: error instanceof Error ? error.message : String(error) };
  parentPort?.postMessage(lastWords);
  process.exit(1);
});

/** The pool's entry: one call a task. Errors come back as data. */
export function runWorkerTask(sent: SentTask): WorkerAnswer | Promise<WorkerAnswer> {
  try {
    return run(sent);
  } catch (error) {
    return errorAnswer(error, 'EPLB_INTERNAL');
  }
}

function run({ task, place, number }: SentTask): WorkerAnswer | Promise<WorkerAnswer> {
  if (place !== undefined) places.set(place.id, enter(place));
  if (task.kind === 'start') return { ok: true };
  if (task.kind === 'forget') {
    places.delete(task.placeId);
    return { ok: true };
  }
  const { SENT, BEGUN } = TaskState;
  if (Atomics.compareExchange(words, ThreadWord.TASK_STATE, SENT, BEGUN) !== SENT) return { ok: true };
  if (task.kind === 'copies') {
    runCopies(task);
    return { ok: true };
  }
  if (task.kind === 'load') return loadCustom(task.policyUrl);
  const known = places.get(task.placeId)!;
  if (task.kind === 'custom') return runCustom(known, task.job, task.policyUrl);
  const { kernels, answers } = known;
  const answer = runLayers(kernels, kernelOf(task.job.request), known, answers, task.job, task.worker);
  // When the answer is on its way.
  if (task.spins) setImmediate(() => spin(number));
  return answer;
}

function enter(place: JobPlace): WorkPlace {
  if (place.furtherModule !== undefined) keepFurtherModule(place.furtherModule);
  const kernels = instantiateKernels(module, place.memory);
  return { ...place, kernels, answers: new SharedAnswers(place.memory.buffer, place.layout) };
}

async function loadCustom(policyUrl: string): Promise<WorkerAnswer> {
  try {
    await (await customPolicies(policyUrl)).loadPolicy(policyUrl);
    return { ok: true };
  } catch (error) {
    return errorAnswer(error, 'EPLB_POLICY');
  }
}

async function runCustom(place: WorkPlace, job: CustomJob, policyUrl: string): Promise<WorkerAnswer> {
  try {
    const { runCustomPolicy } = await customPolicies(policyUrl);
    return await runCustomPolicy(place.kernels, place, job, policyUrl);
  } catch (error) {
    return errorAnswer(error, 'EPLB_POLICY');
  }
}

/**
 * A custom policy needs the library itself, as the policy's module has it: not the copy that is bundled here.
 * Where a bundle has only this file, it is that of the package that the module imports.
 */
async function customPolicies(policyUrl: string): Promise<typeof import('./custom-policy.js')> {
  if (existsSync(join(__dirname, 'custom-policy.js'))) return import('./custom-policy.js');
  let manifest: string;
  try {
    manifest = createRequire(policyUrl).resolve('expert-load-balancer/package.json');
  } catch (cause) {
    const message = `policy: ${policyUrl} does not find expert-load-balancer, of which the bundle has a part only`;
    throw new EplbError('EPLB_RUNTIME', `${message}: see docs/bundlers.md in the package`, { cause });
  }
  return import(pathToFileURL(join(dirname(manifest), 'dist/custom-policy.js')).href);
}

/** Keeps the core busy until a task is sent after this one, whose message is then there to be read. */
function spin(number: number): void {
  const end = performance.now() + SPIN_MS;
  while (Atomics.load(words, ThreadWord.TASKS_SENT) <= number && performance.now() < end);
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
