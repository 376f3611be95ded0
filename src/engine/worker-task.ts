import { type ErrorData, toErrorData } from '../core/error-data.ts';
import type { EplbErrorCode } from '../core/errors.ts';
import type { KernelExports, WasmMemory, WasmModule } from '../memory/kernel-exports.ts';
import type { LayerKernel } from './layer-kernel.ts';
import type { JobLayout } from './layout.ts';
import { takeExtras } from './plan-extras.ts';
import type { CustomJob, PlanJob } from './plan-job.ts';
import { isEven, planLayers } from './plan-layers.ts';
import type { PlanTables, SharedAnswers } from './plan-tables.ts';

/** What a worker is started with: nothing is compiled or copied in it. */
export interface WorkerSetup {
  readonly module: WasmModule;
  readonly memory: WasmMemory;
  readonly layout: JobLayout;
  /**
   * i32[threads], shared: 1 for each task of the job in flight that a worker has begun. What a thread was
   * lost in is not known otherwise: one that died before fails the next task that it is sent, just as one
   * that dies in it.
   */
  readonly begun: Int32Array;
  /** The module of a custom policy, when there is one. */
  readonly policyUrl?: string | undefined;
}

/** What a worker is asked: its share of a job, a custom policy's whole job, or nothing but to be there. */
export type WorkerTask = (
  | { readonly kind: 'layers'; readonly job: PlanJob }
  | { readonly kind: 'custom'; readonly job: CustomJob }
  | { readonly kind: 'start' }
) & {
  /** The number of the task in its job, which also chooses the scratch. */
  readonly worker: number;
};

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
  setup: WorkerSetup,
  answers: SharedAnswers,
  job: PlanJob,
  worker: number,
): WorkerAnswer {
  try {
    const { memory, layout } = setup;
    if (isEven(kernels, layout, job, worker)) return { ok: true, isEven: true };
    const { buffer } = memory;
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
