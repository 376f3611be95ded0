import { EplbError, type EplbErrorCode, isOwnError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';

/** What a request is refused with: an HTTP status, and JSON of a code and what would be right. */
export interface Refused {
  readonly status: number;
  readonly code: EplbErrorCode;
  readonly message: string;
}

/** The HTTP status of a code; of all others 422: the content is wrong. */
const STATUSES: Readonly<Partial<Record<EplbErrorCode, number>>> = {
  EPLB_DENIED: 401,
  EPLB_NOT_FOUND: 404,
  EPLB_STALE: 409,
  EPLB_CONFLICT: 409,
  EPLB_TOO_LARGE: 413,
  EPLB_LIMIT: 429,
  EPLB_INTERNAL: 500,
  EPLB_FILE: 500,
  EPLB_POLICY: 500,
  EPLB_RUNTIME: 500,
  EPLB_THREADS: 500,
  EPLB_WORKER_LOST: 500,
  EPLB_CANCELLED: 503,
  EPLB_CLOSED: 503,
  EPLB_ETCD: 503,
  EPLB_NO_LEADER: 503,
  EPLB_TIMEOUT: 503,
  EPLB_MEMORY: 507,
};

/** An error whose HTTP status is not that of its code. */
export class HttpRefusal extends EplbError {
  readonly status: number;
  constructor(status: number, code: EplbErrorCode, message: string) {
    super(code, message);
    this.status = status;
  }
}

/** What becomes of an error. What is none of this library's own is its fault, and shows nothing of itself. */
export function refusedBy(error: unknown): Refused {
  if (!isOwnError(error)) {
    return { status: 500, code: 'EPLB_INTERNAL', message: 'a fault of the service; its log has more' };
  }
  const { code } = error;
  const status = error instanceof HttpRefusal ? error.status : (STATUSES[code] ?? 422);
  return { status, code, message: printable(error.message) };
}

export function notFound(what: string): EplbError {
  return new EplbError('EPLB_NOT_FOUND', what);
}
