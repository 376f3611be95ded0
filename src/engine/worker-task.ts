import { type ErrorData, toErrorData } from '../core/error-data.ts';
import type { EplbErrorCode } from '../core/errors.ts';
import type { KernelExports, WasmMemory, WasmModule } from '../memory/kernel-exports.ts';
import type { CopyTask } from './copy-task.ts';
import type { LayerKernel } from './layer-kernel.ts';
import type { JobLayout } from './layout.ts';
import { takeExtras } from './plan-extras.ts';
import type { CustomJob, PlanJob } from './plan-job.ts';
import { isEven, planLayers } from './plan-layers.ts';
import type { PlanTables, SharedAnswers } from './plan-tables.ts';

/** What a worker is started with: nothing is compiled in it. */
export interface WorkerSetup {
  readonly module: WasmModule;
  /** i32[THREAD_WORDS], shared: see {@link ThreadWord}. */
  readonly words: Int32Array;
}

/** The words of a thread: the index of each in i32[THREAD_WORDS]. */
export const ThreadWord = {
  /** How far the task is that the thread was sent last: see {@link TaskState}. */
  TASK_STATE: 0,
  /** Tasks that the thread was sent so far: a worker that spins looks at it. */
  TASKS_SENT: 1,
} as const;
export const THREAD_WORDS = 2;

/**
 * Who has a task. What a thread was lost in is not known otherwise: one that died before fails the next task
 * that it is sent, just as one that dies in it. And a job that is done waits for no thread that has not
 * begun.
 */
export const TaskState = { SENT: 0, BEGUN: 1, WITHDRAWN: 2 } as const;

/** Where a balancer's jobs are. A thread is told once, with the first task that names it. */
export interface JobPlace {
  /** A number that no other place in this process has. */
  readonly id: number;
  readonly memory: WasmMemory;
  readonly layout: JobLayout;
  /** Of kernels that not every balancer needs, where the host has them. */
  readonly furtherModule?: WasmModule | undefined;
}

let numPlaces = 0;

/** An id for a further place. */
export function nextPlaceId(): number {
  return numPlaces++;
}

interface LayersTask {
  readonly kind: 'layers';
  readonly placeId: number;
  readonly job: PlanJob;
  /** The number of the worker in the job, which chooses its scratch. */
  readonly worker: number;
  /** Whether the thread keeps its core busy for a while when it is done, to take up its next task sooner. */
  readonly spins: boolean;
}

interface CustomTask {
  readonly kind: 'custom';
  readonly placeId: number;
  readonly job: CustomJob;
  /** Of the policy's module. */
  readonly policyUrl: string;
}

/** What a custom policy's thread is asked: to load its module, or a whole job. */
export type PolicyTask = { readonly kind: 'load'; readonly policyUrl: string } | CustomTask;

/** Everything a thread is asked: to be there, to work, or to forget a place. */
export type WorkerTask =
  | { readonly kind: 'start' }
  | { readonly kind: 'forget'; readonly placeId: number }
  | LayersTask
  | CopyTask
  | PolicyTask;

/** A task, and what goes with it. */
export interface SentTask {
  readonly task: WorkerTask;
  /** The task's place, when the thread does not know it. */
  readonly place?: JobPlace | undefined;
  /** The number of the task among those of the thread: what TASKS_SENT is once it is sent. */
  readonly number: number;
}

/** What a worker says before it ends itself for an error that was thrown outside of any task. */
export interface LastWords {
  readonly lastWords: string;
}

/** Whether a message is a worker's last words: a policy's module may send anything over the same port. */
export function isLastWords(message: unknown): message is LastWords {
  return (
    typeof message === 'object' && message !== null && typeof Reflect.get(message, 'lastWords') === 'string'
  );
}

/** What a worker answers. Errors are data: neither class nor code survives the way between threads. */
export type WorkerAnswer =
  | {
      readonly ok: true;
      /** The job's tables: from the worker that planned its last layer. */
      readonly tables?: PlanTables;
      /** The loads do not differ enough: nothing was planned, by any worker. */
      readonly isEven?: true;
    }
  | ({ readonly ok: false } & ErrorData);

/**
 * Works on layers until none is left; errors come back as data.
 * @param kernel the one that the job's request names
 */
export function runLayers(
  kernels: KernelExports,
  kernel: LayerKernel,
  { memory, layout }: JobPlace,
  answers: SharedAnswers,
  job: PlanJob,
  worker: number,
): WorkerAnswer {
  try {
    const { buffer } = memory;
    if (isEven(kernels, buffer, layout, job, worker)) return { ok: true, isEven: true };
    const out = job.result ?? answers.job;
    if (!planLayers(kernels, kernel, buffer, layout, job, worker, out)) return { ok: true };
    const extras = takeExtras(kernel, job.request, buffer, layout);
    return { ok: true, tables: { ...(job.result ?? answers.answer()), ...extras } };
  } catch (error) {
    return errorAnswer(error, 'EPLB_INTERNAL');
  }
}

/** An error as an answer. Errors without a code of ours get `code`. */
export function errorAnswer(error: unknown, code: EplbErrorCode): WorkerAnswer {
  return { ok: false, ...toErrorData(error, code) };
}
