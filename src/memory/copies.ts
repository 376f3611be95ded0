import { allocate } from './allocate.ts';

// Copies out of shared memory. Not slice(): on shared memory V8 copies that byte by byte, four times slower
// (measured).

/** A copy of int32 values, outside of the shared memory. */
export function copyInts(
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number,
): Int32Array<ArrayBuffer> {
  const values = new Int32Array(buffer, byteOffset, length);
  return allocate('a copy', 4 * length, () => new Int32Array(values));
}

/** A copy of float32 values, outside of the shared memory. */
export function copyFloats(
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number,
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(buffer, byteOffset, length);
  return allocate('a copy', 4 * length, () => new Float32Array(values));
}
