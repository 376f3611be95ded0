import type { EplbErrorCode } from './errors.ts';

/**
 * Whether an error is one of ours, by its code. Not `instanceof`: the command is built apart from the library, and throws
 * such errors itself as well.
 */
export function isOwnError(error: unknown): error is Error & { readonly code: EplbErrorCode } {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('EPLB_');
}
