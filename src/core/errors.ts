import { printable } from './printable.ts';

/**
 * Every code an error of this library can carry. Codes are stable: match on them, not on messages.
 *
 * - `EPLB_KIND`: a value of the wrong kind (a string where a number belongs).
 * - `EPLB_NOT_WHOLE`, `EPLB_RANGE`, `EPLB_LAYER`: a number that is not whole, out of its range, or not a
 *   layer.
 * - `EPLB_SHAPE`: a row or matrix of the wrong length.
 * - `EPLB_LOAD`: a load that is negative, not finite, or too large for float32.
 * - `EPLB_TOPOLOGY`: numbers that do not fit each other (slots not a multiple of ranks).
 * - `EPLB_RULES`: rules of a placement that contradict each other, or that no placement can keep.
 * - `EPLB_MEMORY`: memory, or address space for it, that cannot be had: the message says which, for what, and
 *   how much.
 * - `EPLB_THREADS`: worker threads that cannot be had, as the system's limit is reached or the process may
 *   not start any.
 * - `EPLB_RUNTIME`: what the runtime lacks: WebAssembly, or a file of this package that a bundler left
 *   behind.
 * - `EPLB_MAPPING`: tables that are not a valid mapping.
 * - `EPLB_POLICY`: a custom policy that failed or returned something that is not a valid mapping.
 * - `EPLB_STALE`: a mapping that was planned from a mapping which is no longer live.
 * - `EPLB_CLOSED`, `EPLB_CANCELLED`, `EPLB_WORKER_LOST`, `EPLB_TIMEOUT`: what ended a call early.
 * - `EPLB_INTERNAL`: a fault of the library itself: please report it.
 * - `EPLB_FILE`, `EPLB_FORMAT`, `EPLB_OPTION`: the command's: a file that cannot be read or written, one that
 *   is malformed, a wrong option.
 * - `EPLB_NOT_FOUND`, `EPLB_CONFLICT`, `EPLB_TOO_LARGE`, `EPLB_LIMIT`, `EPLB_DENIED`: the service's: what is
 *   not there, or is there with other content; a request that is too large, comes too often, or lacks the
 *   token.
 * - `EPLB_UNREACHABLE`: of a command that asks the service: nobody answers there, or something else does.
 * - `EPLB_ETCD`, `EPLB_NO_LEADER`: of services that share etcd: it does not answer, or refuses; no service
 *   leads at the moment, or not for certain.
 */
export type EplbErrorCode =
  | 'EPLB_KIND'
  | 'EPLB_NOT_WHOLE'
  | 'EPLB_RANGE'
  | 'EPLB_LAYER'
  | 'EPLB_SHAPE'
  | 'EPLB_LOAD'
  | 'EPLB_TOPOLOGY'
  | 'EPLB_RULES'
  | 'EPLB_MEMORY'
  | 'EPLB_THREADS'
  | 'EPLB_RUNTIME'
  | 'EPLB_MAPPING'
  | 'EPLB_POLICY'
  | 'EPLB_STALE'
  | 'EPLB_CLOSED'
  | 'EPLB_CANCELLED'
  | 'EPLB_WORKER_LOST'
  | 'EPLB_TIMEOUT'
  | 'EPLB_INTERNAL'
  | 'EPLB_FILE'
  | 'EPLB_FORMAT'
  | 'EPLB_OPTION'
  | 'EPLB_NOT_FOUND'
  | 'EPLB_CONFLICT'
  | 'EPLB_TOO_LARGE'
  | 'EPLB_LIMIT'
  | 'EPLB_DENIED'
  | 'EPLB_UNREACHABLE'
  | 'EPLB_ETCD'
  | 'EPLB_NO_LEADER';

// Messages repeat foreign text, of files and of policies: made printable here, it can be forgotten nowhere.

/** A value of the wrong kind was given. Thrown before anything changes. */
export class EplbTypeError extends TypeError {
  override readonly name = 'EplbTypeError';
  readonly code: EplbErrorCode;
  constructor(code: EplbErrorCode, message: string) {
    super(printable(message));
    this.code = code;
  }
}

/** A value of the right kind but out of range was given. Thrown before anything changes. */
export class EplbRangeError extends RangeError {
  override readonly name = 'EplbRangeError';
  readonly code: EplbErrorCode;
  constructor(code: EplbErrorCode, message: string) {
    super(printable(message));
    this.code = code;
  }
}

/**
 * Something outside the arguments went wrong: closed, cancelled, a worker lost, a file that cannot be read.
 */
export class EplbError extends Error {
  override readonly name = 'EplbError';
  readonly code: EplbErrorCode;
  constructor(code: EplbErrorCode, message: string, options?: ErrorOptions) {
    super(printable(message), options);
    this.code = code;
  }
}

/** Any of the library's own errors. */
export type OwnError = EplbError | EplbTypeError | EplbRangeError;

/** Whether an error is one of the library's own. */
export function isOwnError(error: unknown): error is OwnError {
  return error instanceof EplbError || error instanceof EplbTypeError || error instanceof EplbRangeError;
}
