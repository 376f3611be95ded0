/**
 * The number types that files hold loads, expert ids and tables in, by the names that NumPy and PyTorch give
 * them.
 */
export type NumberType =
  | 'int8'
  | 'uint8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'uint64'
  | 'float16'
  | 'bfloat16'
  | 'float32'
  | 'float64';

/** Bytes of one number of each type. */
export const BYTES_PER_NUMBER: Readonly<Record<NumberType, 1 | 2 | 4 | 8>> = {
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  uint64: 8,
  float16: 2,
  bfloat16: 2,
  float32: 4,
  float64: 8,
};

/** NumPy's codes of the types that NumPy itself has: a kind and its bytes. */
export const NUMPY_CODES: ReadonlyMap<string, NumberType> = new Map([
  ['i1', 'int8'],
  ['u1', 'uint8'],
  ['i2', 'int16'],
  ['u2', 'uint16'],
  ['i4', 'int32'],
  ['u4', 'uint32'],
  ['i8', 'int64'],
  ['u8', 'uint64'],
  ['f2', 'float16'],
  ['f4', 'float32'],
  ['f8', 'float64'],
]);

/** Whether a type can hold a fraction. */
export function isFloat(type: NumberType): boolean {
  return type.includes('float');
}
