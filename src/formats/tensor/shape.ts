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
