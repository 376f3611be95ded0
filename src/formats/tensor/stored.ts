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

/**
 * Reads a whole tensor, row-major without gaps and little-endian.
 *
 * @param target - gets the bytes, at a multiple of 8 in its buffer; its length is the tensor's
 * @throws EplbError as the source does
 */
export async function readTensor(tensor: StoredTensor, target: Uint8Array): Promise<void> {
  if (target.length === 0) return;
  const outer = scatteredAxes(tensor);
  // Where these come first, the pieces follow each other as they should.
  const isInOrder =
    outer.every((axis, i) => axis === outer[0]! + i) && !hasLargeAxisBefore(tensor, outer[0] ?? 0);
  const pieces = isInOrder ? target : new Uint8Array(target.length);
  await readPieces(tensor, outer, pieces);
  if (!isInOrder) {
    const strides = stridesOfPieces(tensor.shape, outer);
    gather(pieces, BYTES_PER_NUMBER[tensor.type], tensor.shape, strides, target);
  }
  if (tensor.bigEndian) swapBytes(target, BYTES_PER_NUMBER[tensor.type]);
}

/** Bytes that are read and left unused rather than reading twice: about what a call of the file system costs. */
const GAP_BYTES = 1 << 16;

/** Pieces that are asked for at once. */
const AT_ONCE = 16;

/**
 * The axes along which a tensor lies so scattered that each index is read by itself, longest stride first: as few as leave
 * pieces that lie in one run, or with small gaps.
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
  const sizes = size === 8 ? [...shape, 2] : [...shape];
  const steps = size === 8 ? [...strides.map((stride) => 2 * stride), 1] : [...strides];
  const targetSteps = denseStrides(sizes);
  // The axis whose numbers are neighbours in the source, and the one whose are in the target, in tiles of both: going
  // along one only would leave the cache at every number of the other (4 times as slow for Fortran order).
  const axes = sizes.map((_, axis) => axis).filter((axis) => sizes[axis]! > 1);
  const last = axes.pop() ?? 0;
  const near = axes.length === 0 ? last : axes.reduce((a, b) => (steps[b]! < steps[a]! ? b : a));
  const others = axes.filter((axis) => axis !== near);
  const plane: Plane = {
    source: unitsOf(from, width),
    target: unitsOf(to, width),
    rows: near === last ? 1 : sizes[near]!,
    rowStep: steps[near] ?? 0,
    targetRowStep: targetSteps[near] ?? 0,
    columns: sizes[last] ?? 1,
    columnStep: steps[last] ?? 0,
    targetColumnStep: targetSteps[last] ?? 0,
  };
  const walk = (depth: number, at: number, targetAt: number): void => {
    const axis = others[depth];
    if (axis === undefined) copyPlane(plane, at, targetAt);
    else
      for (let i = 0; i < sizes[axis]!; i++)
        walk(depth + 1, at + i * steps[axis]!, targetAt + i * targetSteps[axis]!);
  };
  walk(0, 0, 0);
}

/** Two axes of a copy. */
interface Plane {
  readonly source: Uint8Array | Uint16Array | Uint32Array;
  readonly target: Uint8Array | Uint16Array | Uint32Array;
  readonly rows: number;
  readonly rowStep: number;
  readonly targetRowStep: number;
  readonly columns: number;
  readonly columnStep: number;
  readonly targetColumnStep: number;
}

/** 32 x 32 numbers of 4 bytes lie in 64 lines of the cache. */
const TILE = 32;

function copyPlane(plane: Plane, at: number, targetAt: number): void {
  const { rows, columns } = plane;
  for (let row = 0; row < rows; row += TILE) {
    const rowEnd = Math.min(rows, row + TILE);
    for (let column = 0; column < columns; column += TILE) {
      copyTile(plane, at, targetAt, row, rowEnd, column, Math.min(columns, column + TILE));
    }
  }
}

function copyTile(
  { source, target, rowStep, targetRowStep, columnStep, targetColumnStep }: Plane,
  at: number,
  targetAt: number,
  row: number,
  rowEnd: number,
  column: number,
  columnEnd: number,
): void {
  for (let r = row; r < rowEnd; r++) {
    let from = at + r * rowStep + column * columnStep;
    let to = targetAt + r * targetRowStep + column * targetColumnStep;
    for (let c = column; c < columnEnd; c++) {
      target[to] = source[from]!;
      from += columnStep;
      to += targetColumnStep;
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
