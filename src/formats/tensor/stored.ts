import type { ByteSource } from '../bytes/source.ts';
import { BYTES_PER_NUMBER, type NumberType } from './number-type.ts';

/** An array of numbers where it lies in a file. Nothing of it is in memory. */
export interface StoredTensor {
  readonly source: ByteSource;
  /** Where in the source its first number is, in bytes. */
  readonly offset: number;
  readonly type: NumberType;
  readonly bigEndian: boolean;
  readonly shape: readonly number[];
  /** How far apart two neighbours along each axis are, in numbers. Not negative. */
  readonly strides: readonly number[];
}

/** Strides of an array without gaps: the last axis turns fastest, or with `fortranOrder` the first. */
export function denseStrides(shape: readonly number[], fortranOrder = false): number[] {
  const strides = shape.map(() => 1);
  const order = shape.map((_, axis) => axis);
  if (!fortranOrder) order.reverse();
  let stride = 1;
  for (const axis of order) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

/** How many numbers an array of this shape has. */
export function countOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** The same tensor with one more axis, of size 1, before the others. */
export function withLeadingAxis(tensor: StoredTensor): StoredTensor {
  return { ...tensor, shape: [1, ...tensor.shape], strides: [0, ...tensor.strides] };
}

/** A part of the tensor: the indices from `from` to before `to` of one axis. */
export function slicedAlong(tensor: StoredTensor, axis: number, from: number, to: number): StoredTensor {
  return {
    ...tensor,
    offset: tensor.offset + from * tensor.strides[axis]! * BYTES_PER_NUMBER[tensor.type],
    shape: tensor.shape.map((size, i) => (i === axis ? to - from : size)),
  };
}

/** Bytes that are read and left unused rather than reading twice: about what a call of the file system costs. */
const GAP_BYTES = 1 << 16;

/**
 * Reads a whole tensor, row-major without gaps and little-endian.
 *
 * @param target - gets the bytes, at a multiple of 8 in its buffer; its length is the tensor's
 * @throws EplbError as the source does
 */
export async function readTensor(tensor: StoredTensor, target: Uint8Array): Promise<void> {
  if (target.length === 0) return;
  await fill(tensor, target, { done: 0 });
  if (tensor.bigEndian) swapBytes(target, BYTES_PER_NUMBER[tensor.type]);
}

/**
 * Fills the target from where the cursor is. A tensor in one piece is read as it is, one with small gaps with its gaps.
 * Of one that lies scattered, each part along the axis with the longest stride is filled by itself.
 */
async function fill(tensor: StoredTensor, target: Uint8Array, cursor: { done: number }): Promise<void> {
  const size = BYTES_PER_NUMBER[tensor.type];
  const { shape, strides } = tensor;
  const bytes = countOf(shape) * size;
  const span = spanOf(shape, strides) * size;
  if (span === bytes && isRowMajor(shape, strides)) {
    await tensor.source.read(target.subarray(cursor.done, cursor.done + bytes), tensor.offset);
    cursor.done += bytes;
    return;
  }
  if (span <= Math.max(4 * bytes, GAP_BYTES)) {
    const raw = new Uint8Array(span);
    await tensor.source.read(raw, tensor.offset);
    gather(raw, size, shape, strides, target.subarray(cursor.done, cursor.done + bytes));
    cursor.done += bytes;
    return;
  }
  const axis = longestAxis(shape, strides);
  if (axis === firstAxis(shape)) {
    for (let i = 0; i < shape[axis]!; i++) await fill(slicedAlong(tensor, axis, i, i + 1), target, cursor);
    return;
  }
  const parts = new Uint8Array(bytes);
  const inParts = { done: 0 };
  for (let i = 0; i < shape[axis]!; i++) await fill(slicedAlong(tensor, axis, i, i + 1), parts, inParts);
  gather(
    parts,
    size,
    shape,
    stridesWithAxisFirst(shape, axis),
    target.subarray(cursor.done, cursor.done + bytes),
  );
  cursor.done += bytes;
}

/** From the first number to behind the last one. */
function spanOf(shape: readonly number[], strides: readonly number[]): number {
  return shape.reduce((span, size, axis) => span + (size - 1) * strides[axis]!, 1);
}

function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
  const dense = denseStrides(shape);
  return shape.every((size, axis) => size === 1 || strides[axis] === dense[axis]);
}

function longestAxis(shape: readonly number[], strides: readonly number[]): number {
  let longest = -1;
  for (let axis = 0; axis < shape.length; axis++) {
    if (shape[axis]! > 1 && (longest === -1 || strides[axis]! > strides[longest]!)) longest = axis;
  }
  return longest;
}

/** The first axis that has more than one index: its parts follow each other in row-major order. */
function firstAxis(shape: readonly number[]): number {
  return shape.findIndex((size) => size > 1);
}

/** Strides of data that is row-major once `axis` is moved to the front. */
function stridesWithAxisFirst(shape: readonly number[], axis: number): number[] {
  const others = denseStrides(shape.map((size, i) => (i === axis ? 1 : size)));
  others[axis] = countOf(shape) / shape[axis]!;
  return others;
}

/** Copies numbers of `size` bytes into row-major order. */
function gather(
  from: Uint8Array,
  size: number,
  shape: readonly number[],
  strides: readonly number[],
  to: Uint8Array,
): void {
  // Two 4-byte halves move 8-byte numbers: a float64 array could change the bits of what is no float.
  const width = size === 8 ? 4 : size;
  const source = unitsOf(from, width);
  const target = unitsOf(to, width);
  const sizes = size === 8 ? [...shape, 2] : [...shape];
  const steps = size === 8 ? [...strides.map((stride) => 2 * stride), 1] : [...strides];
  const last = sizes.length - 1;
  const innerSize = sizes[last] ?? 1;
  const innerStep = steps[last] ?? 1;
  const at = sizes.map(() => 0);
  let start = 0;
  for (let done = 0; done < target.length; ) {
    for (let i = 0, place = start; i < innerSize; i++, place += innerStep) target[done++] = source[place]!;
    // An odometer: the last axis but the inner one turns fastest.
    for (let axis = last - 1; axis >= 0; axis--) {
      start += steps[axis]!;
      at[axis]! += 1;
      if (at[axis]! < sizes[axis]!) break;
      start -= steps[axis]! * sizes[axis]!;
      at[axis] = 0;
    }
  }
}

function unitsOf(
  { buffer, byteOffset, length }: Uint8Array,
  width: number,
): Uint8Array | Uint16Array | Uint32Array {
  const count = length / width;
  if (width === 1) return new Uint8Array(buffer, byteOffset, count);
  return width === 2
    ? new Uint16Array(buffer, byteOffset, count)
    : new Uint32Array(buffer, byteOffset, count);
}

function swapBytes(bytes: Uint8Array, size: number): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (size === 2) buffer.swap16();
  if (size === 4) buffer.swap32();
  if (size === 8) buffer.swap64();
}
