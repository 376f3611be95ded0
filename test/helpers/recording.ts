import { EplbError, EplbRangeError, EplbTypeError } from '../../src/core/errors.ts';

/**
 * Whether something thrown is one of the library's errors, by its source (not the built library's classes).
 */
export function isEplbError(error: unknown): error is EplbError | EplbTypeError | EplbRangeError {
  const known =
    error instanceof EplbError || error instanceof EplbTypeError || error instanceof EplbRangeError;
  return known && error.code.startsWith('EPLB_');
}
