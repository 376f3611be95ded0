import { EplbError, type EplbErrorCode, EplbRangeError, EplbTypeError } from './errors.ts';

/** An error on its way between threads, where neither its class nor its code would survive. */
export interface ErrorData {
  readonly kind: 'type' | 'range' | 'other';
  readonly code: EplbErrorCode;
  readonly message: string;
}

/** An error as data. Errors without a code of ours get `code`. */
export function toErrorData(error: unknown, code: EplbErrorCode): ErrorData {
  const kind = error instanceof TypeError ? 'type' : error instanceof RangeError ? 'range' : 'other';
  const message = messageOf(error);
  const own = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
  return own.startsWith('EPLB_')
    ? { kind, code: own as EplbErrorCode, message }
    : { kind: 'other', code, message };
}

/** The error that data stands for. */
export function fromErrorData({
  kind,
  code,
  message,
}: ErrorData): EplbError | EplbTypeError | EplbRangeError {
  if (kind === 'type') return new EplbTypeError(code, message);
  if (kind === 'range') return new EplbRangeError(code, message);
  return new EplbError(code, message);
}

/** What an error says. Anything can be thrown, also what cannot be turned into text. */
export function messageOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return 'an error that cannot be told in words';
  }
}
