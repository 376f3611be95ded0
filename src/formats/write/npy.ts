import { littleEndianBytes } from '../../core/byte-order.ts';

/** Types that .npy files are written with, by the letters of NumPy. */
type NpyType = '<i4' | '<f4';

/**
 * Bytes that every header takes: NumPy asks for a multiple of 64, and one size lets a header be written again
 * later.
 */
export const NPY_HEADER_BYTES = 128;

/**
 * The header of a .npy file in row-major order, version 1.0: NumPy's own layout, padded with blanks.
 *
 * @returns {@link NPY_HEADER_BYTES} bytes
 */
export function npyHeader(type: NpyType, shape: readonly number[]): Uint8Array {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const header = new Uint8Array(NPY_HEADER_BYTES).fill(0x20);
  header.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, NPY_HEADER_BYTES - 10, 0]);
  header.set(new TextEncoder().encode(text), 10);
  header[NPY_HEADER_BYTES - 1] = 0x0a;
  return header;
}

/** A whole .npy file of int32. */
export function int32Npy(data: Int32Array, shape: readonly number[]): Uint8Array {
  const file = new Uint8Array(NPY_HEADER_BYTES + data.byteLength);
  file.set(npyHeader('<i4', shape));
  file.set(littleEndianBytes(data), NPY_HEADER_BYTES);
  return file;
}
