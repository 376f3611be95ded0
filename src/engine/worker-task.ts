import { EplbError, type EplbErrorCode, EplbRangeError, EplbTypeError } from '../core/errors.ts';
import type { KernelExports, WasmMemory, WasmModule } from '../memory/kernel-exports.ts';
import type { JobLayout } from './layout.ts';
import { isEven, type PlanJob, planLayers } from './plan-layers.ts';
import { type PlanTables, type SharedAnswers, takeStats } from './plan-tables.ts';

/** What a worker is started with: nothing is compiled or copied in it. */
export interface WorkerSetup {
  readonly module: WasmModule;
  readonly memory: WasmMemory;
  readonly layout: JobLayout;
  /**
   * i32[threads], shared: 1 for each task of the job in flight that a worker has begun. What a thread was lost in is not known otherwise: one
   * that died before fails the next task that it is sent, just as one that dies in it.
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

/** A job for a custom policy: as {@link PlanJob}, without a kernel. */
export type CustomJob = Omit<PlanJob, 'request'>;

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
  | {
      readonly ok: false;
      readonly kind: 'type' | 'range' | 'other';
      readonly code: EplbErrorCode;
      readonly message: string;
    };

/** Works on layers until none is left; errors come back as data. */
export function runLayers(
  kernels: KernelExports,
  setup: WorkerSetup,
  answers: SharedAnswers,
  job: PlanJob,
  worker: number,
): WorkerAnswer {
  try {
    const { memory, layout } = setup;
    if (isEven(kernels, layout, job, worker)) return { ok: true, isEven: true };
    const { buffer } = memory;
    if (!planLayers(kernels, buffer, layout, job, worker, job.result ?? answers.job)) return { ok: true };
    return {
      ok: true,
      tables: { ...(job.result ?? answers.answer()), ...takeStats(buffer, layout, job.request) },
    };
  } catch (error) {
    return answerError(error, 'EPLB_INTERNAL');
  }
}

/** An error as data. Errors without a code of ours get `code`. */
export function answerError(error: unknown, code: EplbErrorCode): WorkerAnswer {
  const kind = error instanceof TypeError ? 'type' : error instanceof RangeError ? 'range' : 'other';
  const message = messageOf(error);
  const own = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
  return own.startsWith('EPLB_')
    ? { ok: false, kind, code: own as EplbErrorCode, message }
    : { ok: false, kind: 'other', code, message };
}

/** What an error says. Anything can be thrown, also what cannot be turned into text. */
export function messageOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return 'an error that cannot be told in words';
  }
}

/** Throws the error that an answer stands for, if it does. */
export function throwAnswer(answer: WorkerAnswer): void {
  if (answer.ok) return;
  const { kind, code, message } = answer;
  if (kind === 'type') throw new EplbTypeError(code, message);
  if (kind === 'range') throw new EplbRangeError(code, message);
  throw new EplbError(code, message);
}
