import { type DType, dump, parse } from 'npyjs';
import { EplbRangeError } from '../../errors.ts';
import { DTYPE_NAMES, type NpyHeader, readNpyHeader } from './npy-header.ts';
import { type NumberArray, type Tensor, toRowMajor } from './tensor.ts';

/**
 * Reads an array from the bytes of a .npy file.
 *
 * @param file - the whole file
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT, EplbRangeError EPLB_RANGE for a 64-bit integer beyond 2^53
 */
export function readNpy(file: Uint8Array, name: string): Tensor {
  const header = readNpyHeader(file, name);
  const data = toNumbers(numbersOf(file, header), name);
  return {
    data: header.fortranOrder ? toRowMajor(data, header.shape) : data,
    shape: header.shape,
    format: `.npy, ${DTYPE_NAMES.get(header.dtype)}`,
    namedLoads: false,
  };
}

/**
 * npyjs turns the bytes into numbers. It checks no lengths, refuses big-endian data, and fails on data that is not
 * aligned to its numbers (NumPy pads its headers for that, other writers do not); so it gets the checked data, in
 * little-endian order, behind a header of its own making.
 */
function numbersOf(file: Uint8Array, header: NpyHeader): NumberArray | BigInt64Array | BigUint64Array {
  const data = Buffer.from(file.subarray(header.dataOffset));
  if (header.bigEndian && header.bytesPerNumber === 2) data.swap16();
  if (header.bigEndian && header.bytesPerNumber === 4) data.swap32();
  if (header.bigEndian && header.bytesPerNumber === 8) data.swap64();
  const count = data.length / header.bytesPerNumber;
  return parse(dump(data, [count], { dtype: header.dtype as DType })).data as NumberArray;
}

function toNumbers(data: NumberArray | BigInt64Array | BigUint64Array, name: string): NumberArray {
  if (!(data instanceof BigInt64Array || data instanceof BigUint64Array)) return data;
  const out = new Float64Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const value = Number(data[i]);
    if (!Number.isSafeInteger(value)) {
      throw new EplbRangeError(
        'EPLB_RANGE',
        `${name}: number ${i} is ${data[i]}; whole numbers are read up to ${Number.MAX_SAFE_INTEGER}`,
      );
    }
    out[i] = value;
  }
  return out;
}
