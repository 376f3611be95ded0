/** What a recording's numbers are held in. 64-bit integers are held as float64, checked to be exact. */
export type NumberArray =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array;

/** An array as read from a file, before anything is known about its meaning. Row-major. */
export interface Tensor {
  readonly data: NumberArray;
  readonly shape: readonly number[];
  /** How the file is written and holds its numbers, for people: `.npy, uint8`. */
  readonly format: string;
  /** True when the file itself says that these are loads (JSON under `logical_count`). */
  readonly namedLoads: boolean;
}

/** Column-major (Fortran order) data put into row-major order; a copy. */
export function toRowMajor(data: NumberArray, shape: readonly number[]): NumberArray {
  const out = data.slice();
  const strides: number[] = [];
  let stride = 1;
  for (const size of shape) {
    strides.push(stride);
    stride *= size;
  }
  const at = shape.map(() => 0);
  let source = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = data[source]!;
    // An odometer: the last axis turns fastest in row-major order.
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      source += strides[axis]!;
      at[axis]! += 1;
      if (at[axis]! < shape[axis]!) break;
      source -= strides[axis]! * shape[axis]!;
      at[axis] = 0;
    }
  }
  return out;
}

/** Whether every value is a whole number; true at once for integer arrays. */
export function allWhole(data: NumberArray): boolean {
  if (!(data instanceof Float32Array || data instanceof Float64Array)) return true;
  for (let i = 0; i < data.length; i++) {
    if (!Number.isInteger(data[i])) return false;
  }
  return true;
}
