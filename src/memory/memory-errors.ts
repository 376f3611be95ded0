import { EplbError, EplbRangeError } from '../core/errors.ts';
import { MAX_MEMORY_PAGES, PAGE_BYTES } from './constants.ts';

const MEBIBYTE = 2 ** 20;

/** @throws EplbError `EPLB_RUNTIME` where there is no WebAssembly */
export function checkWebAssembly(): void {
  if ('WebAssembly' in globalThis) return;
  throw new EplbError(
    'EPLB_RUNTIME',
    'Node runs without WebAssembly, as with --jitless: the kernels need it',
  );
}

// What cannot be had, and why: each an EplbRangeError `EPLB_MEMORY` that says what the memory is for, and how
// much is needed.

/** More than one memory can have, whatever the process has. */
export function reachError(what: string, bytes: number): EplbRangeError {
  const most = (MAX_MEMORY_PAGES * PAGE_BYTES) / MEBIBYTE;
  const limit = `at most ${most} MiB can be had: 32-bit offsets reach no further`;
  const message = `${needs(what, bytes, 'shared memory')}; ${limit}`;
  return new EplbRangeError('EPLB_MEMORY', message);
}

/** No WebAssembly memory can be made, however small. */
export function addressSpaceError(what: string, bytes: number, cause: unknown): EplbRangeError {
  const message =
    `${needs(what, bytes, 'shared memory')}, and this process lacks the address space for it: ` +
    'a WebAssembly memory reserves some 10 GB of address space, however small it is (the limit is that of ' +
    'ulimit -v or of the container; node --disable-wasm-trap-handler reserves 4 GB or less)';
  return withCause(message, cause);
}

/** There is address space, and no memory to put into it. */
export function shortageError(what: string, bytes: number, cause: unknown): EplbRangeError {
  const needed = needs(what, bytes, 'shared memory');
  const message = `${needed}, and this process gets no more memory from the system`;
  return withCause(message, cause);
}

/** A buffer or an array cannot be made. */
export function allocationError(what: string, bytes: number, cause: unknown): EplbRangeError {
  return withCause(`${needs(what, bytes, 'memory')}, which this process cannot get`, cause);
}

function needs(what: string, bytes: number, kind: string): string {
  return `${what} needs ${Math.ceil(bytes / MEBIBYTE)} MiB of ${kind}`;
}

function withCause(message: string, cause: unknown): EplbRangeError {
  const error = new EplbRangeError('EPLB_MEMORY', message);
  error.cause = cause;
  return error;
}
