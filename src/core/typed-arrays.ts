// What a typed array really is. Its properties may say anything: a subclass or an object that looks like one
// can have a length of its own, which may even change from one look to the next.

const prototype = Object.getPrototypeOf(Uint8Array.prototype) as object;

function getterOf<T>(key: PropertyKey): (this: unknown) => T {
  return Object.getOwnPropertyDescriptor(prototype, key)!.get as (this: unknown) => T;
}

const kindGetter = getterOf<string | undefined>(Symbol.toStringTag);
const lengthGetter = getterOf<number>('length');
const bufferGetter = getterOf<ArrayBufferLike>('buffer');
const byteOffsetGetter = getterOf<number>('byteOffset');

/** 'Float32Array' and so on; undefined for anything that is not a typed array. */
export function typedArrayKind(value: unknown): string | undefined {
  return kindGetter.call(value);
}

/** An Int32Array of any realm, or of a subclass. */
export function isInt32Array(value: unknown): value is Int32Array {
  return typedArrayKind(value) === 'Int32Array';
}

/** The number of elements a typed array has now. */
export function typedArrayLength(array: unknown): number {
  return lengthGetter.call(array);
}

/**
 * A plain Float32Array on the memory of one, with its length of now; undefined for anything else. Its memory
 * may still be written, and may shrink unless it is shared.
 */
export function plainFloats(value: unknown): Float32Array | undefined {
  if (typedArrayKind(value) !== 'Float32Array') return undefined;
  const length = typedArrayLength(value);
  // The memory may be gone.
  if (length === 0) return new Float32Array(0);
  return new Float32Array(bufferGetter.call(value), byteOffsetGetter.call(value), length);
}

/** A copy of what an array has now: nothing, when its memory has shrunk or gone since it was looked at. */
export function copyOf(array: Float32Array): Float32Array<ArrayBuffer> {
  return array.length === 0 ? new Float32Array(0) : new Float32Array(array);
}

/** Whether other threads may write an array while this one reads it. */
export function isShared(array: Float32Array): boolean {
  return array.buffer instanceof SharedArrayBuffer;
}
