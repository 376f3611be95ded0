import { denseStrides } from './shape.ts';

/**
 * Copies numbers into row-major order.
 *
 * @param size - bytes of a number; both arrays begin at a multiple of it in their buffers
 * @param strides - of the source, in numbers
 */
export function gather(
  from: Uint8Array,
  size: number,
  shape: readonly number[],
  strides: readonly number[],
  to: Uint8Array,
): void {
  // Two 4-byte halves move 8-byte numbers: a float64 array could change the bits of what is not a float.
  const width = size === 8 ? 4 : size;
  const sizes = size === 8 ? [...shape, 2] : [...shape];
  const steps = size === 8 ? [...strides.map((stride) => 2 * stride), 1] : [...strides];
  const targetSteps = denseStrides(sizes);
  // The axis whose numbers are neighbours in the source, and the one whose are in the target, in tiles of
  // both: going along one only would leave the cache at every number of the other.
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
