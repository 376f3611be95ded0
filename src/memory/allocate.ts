import { allocationError } from './memory-errors.ts';

// What a caller's sizes ask for may be more than there is: the runtime's own error would not say what it is
// for.

interface ArrayOf<T> {
  readonly BYTES_PER_ELEMENT: number;
  new (length: number): T;
}

/**
 * An array of zeros.
 *
 * @param what names in the message what it is for
 * @throws EplbRangeError `EPLB_MEMORY`, saying how much is needed
 */
export function zeros<T>(what: string, type: ArrayOf<T>, length: number): T {
  return allocate(what, type.BYTES_PER_ELEMENT * length, () => new type(length));
}

/** A SharedArrayBuffer of zeros. @throws as {@link zeros} */
export function sharedBuffer(what: string, bytes: number): SharedArrayBuffer {
  return allocate(what, bytes, () => new SharedArrayBuffer(bytes));
}

/** What `make` makes, of `bytes`. @throws as {@link zeros} */
export function allocate<T>(what: string, bytes: number, make: () => T): T {
  try {
    return make();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw allocationError(what, bytes, cause);
  }
}
