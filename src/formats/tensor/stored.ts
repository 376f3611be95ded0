import type { ByteSource } from '../bytes/source.ts';
import { gather } from './gather.ts';
import { BYTES_PER_NUMBER, type NumberType } from './number-type.ts';
import { countOf, denseStrides } from './shape.ts';

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

/**
 * Reads a whole tensor, row-major without gaps and little-endian.
 *
 * @param target - gets the bytes, at a multiple of 8 in its buffer; its length is the tensor's
 * @param room - for pieces that have to be put into order, as long at least; made when it is needed and left
 *   out
 * @throws EplbError as the source does
 */
export async function readTensor(tensor: StoredTensor, target: Uint8Array, room?: Uint8Array): Promise<void> {
  if (target.length === 0) return;
  const outer = scatteredAxes(tensor);
  // Where these come first, the pieces follow each other as they should.
  const isInOrder =
    outer.every((axis, i) => axis === outer[0]! + i) && !hasLargeAxisBefore(tensor, outer[0] ?? 0);
  const pieces = isInOrder ? target : (room?.subarray(0, target.length) ?? new Uint8Array(target.length));
  await readPieces(tensor, outer, pieces);
  if (!isInOrder) {
    const strides = stridesOfPieces(tensor.shape, outer);
    gather(pieces, BYTES_PER_NUMBER[tensor.type], tensor.shape, strides, target);
  }
  if (tensor.bigEndian) swapBytes(target, BYTES_PER_NUMBER[tensor.type]);
}

/**
 * Bytes that are read and left unused rather than reading twice: about what a call of the file system costs.
 */
const GAP_BYTES = 1 << 16;

/** Pieces that are asked for at once. */
const AT_ONCE = 16;

/**
 * The axes along which a tensor lies so scattered that each index is read by itself, longest stride first: as
 * few as leave pieces that lie in one run, or with small gaps.
 */
function scatteredAxes({ shape, strides, type }: StoredTensor): number[] {
  const size = BYTES_PER_NUMBER[type];
  const inner = [...shape];
  const axes = shape.map((_, axis) => axis).filter((axis) => shape[axis]! > 1);
  axes.sort((a, b) => strides[b]! - strides[a]! || a - b);
  const outer: number[] = [];
  for (const axis of axes) {
    const span = spanOf(inner, strides) * size;
    if (span <= Math.max(4 * countOf(inner) * size, GAP_BYTES)) break;
    outer.push(axis);
    inner[axis] = 1;
  }
  return outer;
}

/** Whether an axis before `axis` has more than one index. */
function hasLargeAxisBefore({ shape }: StoredTensor, axis: number): boolean {
  return shape.slice(0, axis).some((size) => size > 1);
}

/** Strides of data whose pieces follow each other in the order of the outer axes, each row-major. */
function stridesOfPieces(shape: readonly number[], outer: readonly number[]): number[] {
  const inner = shape.map((_, axis) => axis).filter((axis) => !outer.includes(axis));
  const order = [...outer, ...inner];
  const dense = denseStrides(order.map((axis) => shape[axis]!));
  return shape.map((_, axis) => dense[order.indexOf(axis)]!);
}

/** Reads each piece into `target`, some at a time. */
async function readPieces(tensor: StoredTensor, outer: readonly number[], target: Uint8Array): Promise<void> {
  const piece = { ...tensor, shape: tensor.shape.map((size, axis) => (outer.includes(axis) ? 1 : size)) };
  const pieceBytes = countOf(piece.shape) * BYTES_PER_NUMBER[tensor.type];
  const numPieces = target.length / pieceBytes;
  const read = async (index: number): Promise<void> => {
    let rest = index;
    let offset = tensor.offset;
    for (const axis of [...outer].reverse()) {
      const size = tensor.shape[axis]!;
      offset += (rest % size) * tensor.strides[axis]! * BYTES_PER_NUMBER[tensor.type];
      rest = Math.floor(rest / size);
    }
    await readPiece({ ...piece, offset }, target.subarray(index * pieceBytes, (index + 1) * pieceBytes));
  };
  for (let index = 0; index < numPieces; index += AT_ONCE) {
    const count = Math.min(AT_ONCE, numPieces - index);
    await Promise.all(Array.from({ length: count }, (_, i) => read(index + i)));
  }
}

/** Reads a piece that lies in one run, or with gaps that are read too. */
async function readPiece(
  { source, offset, type, shape, strides }: StoredTensor,
  target: Uint8Array,
): Promise<void> {
  if (isRowMajor(shape, strides)) return source.read(target, offset);
  const size = BYTES_PER_NUMBER[type];
  const raw = new Uint8Array(spanOf(shape, strides) * size);
  await source.read(raw, offset);
  gather(raw, size, shape, strides, target);
}

/** From the first number to behind the last one. */
function spanOf(shape: readonly number[], strides: readonly number[]): number {
  return shape.reduce((span, size, axis) => span + (size - 1) * strides[axis]!, 1);
}

function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
  const dense = denseStrides(shape);
  return shape.every((size, axis) => size === 1 || strides[axis] === dense[axis]);
}

function swapBytes(bytes: Uint8Array, size: number): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (size === 2) buffer.swap16();
  if (size === 4) buffer.swap32();
  if (size === 8) buffer.swap64();
}
