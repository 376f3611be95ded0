import { messageOf } from '../core/error-data.ts';
import { EplbError, isOwnError, type OwnError } from '../core/errors.ts';

export function cancelledError(signal: AbortSignal | undefined): EplbError {
  return new EplbError('EPLB_CANCELLED', 'the plan was cancelled', abortCause(signal));
}

/** Why a signal was aborted, as the cause of an error. */
export function abortCause(signal: AbortSignal | undefined): ErrorOptions | undefined {
  return signal?.aborted ? { cause: signal.reason } : undefined;
}

/**
 * @param lastWords what the thread said of the error that it ended for
 * @param work what it was at
 * @returns an error of the library's own as it is: then the thread never was
 */
export function workerLostError(reason: unknown, lastWords?: string, work = 'planning'): OwnError {
  if (isOwnError(reason)) return reason;
  const message = `a worker thread was lost while ${work}: ${lastWords ?? messageOf(reason)}`;
  return new EplbError('EPLB_WORKER_LOST', message, { cause: reason });
}
