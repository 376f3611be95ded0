import { EplbError } from '../../errors.ts';
import { blocksOf } from '../tensor/blocks.ts';
import { decodeNumbers } from '../tensor/decode.ts';
import { BYTES_PER_NUMBER, type NumberType } from '../tensor/number-type.ts';
import { countOf, denseStrides } from '../tensor/shape.ts';
import { readTensor, type StoredTensor } from '../tensor/stored.ts';
import { shapeText } from '../text.ts';
import type { NumberArray } from './placement.ts';

/** Numbers that are read into memory for each byte of the file, and how many always are. */
const NUMBERS_PER_BYTE = 64;
const FREE_NUMBERS = 2 ** 20;

/** The widest row of a table that is read without its padding. vLLM's have 1,024. */
const MOST_WIDTH = 2 ** 16;

/**
 * All numbers of a tensor. What a packed file unpacks to may be a thousand times as long: of a table of three dimensions
 * that is padded with -1, as vLLM's, the padding is left out while it is read; other long ones are refused.
 *
 * @param fileBytes - size of the file
 * @throws EplbError EPLB_FORMAT
 */
export async function readArray(tensor: StoredTensor, fileBytes: number, name: string): Promise<NumberArray> {
  const { type, shape } = tensor;
  const most = FREE_NUMBERS + NUMBERS_PER_BYTE * fileBytes;
  if (countOf(shape) <= most) {
    const bytes = new Uint8Array(countOf(shape) * BYTES_PER_NUMBER[type]);
    await readTensor(tensor, bytes);
    await tensor.source.verify?.();
    return { data: numbersOf(bytes, type), shape };
  }
  const [numLayers, numExperts, width] = shape as [number, number, number];
  const dense = denseStrides(shape);
  const isDense = tensor.strides.every((stride, axis) => stride === dense[axis]);
  if (shape.length !== 3 || width > MOST_WIDTH || !isDense) throw tooLong(shape, name);
  const rows = { ...tensor, shape: [numLayers * numExperts, width], strides: [width, 1] };
  let used = 1;
  for await (const { bytes } of blocksOf(rows, 0, rows.shape[0]!)) {
    used = Math.max(used, usedWidth(numbersOf(bytes, type), width));
  }
  await tensor.source.verify?.();
  if (numLayers * numExperts * used > most) throw tooLong(shape, name);
  const data = new Float64Array(numLayers * numExperts * used);
  let at = 0;
  for await (const { bytes } of blocksOf(rows, 0, rows.shape[0]!)) {
    const numbers = numbersOf(bytes, type);
    for (let first = 0; first < numbers.length; first += width) {
      for (let i = 0; i < used; i++) data[at++] = numbers[first + i]!;
    }
  }
  return { data, shape: [numLayers, numExperts, used] };
}

/** How many columns from the left hold anything but -1. */
function usedWidth(numbers: ArrayLike<number>, width: number): number {
  let used = 0;
  for (let first = 0; first < numbers.length; first += width) {
    let end = width;
    while (end > used && numbers[first + end - 1] === -1) end--;
    used = Math.max(used, end);
  }
  return used;
}

function numbersOf(bytes: Uint8Array, type: NumberType): ArrayLike<number> {
  // The two types that tables come in; padded ones have tens of millions of numbers.
  if (type === 'int32') return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  return type === 'int64' ? narrowed(bytes) : decodeNumbers(bytes, type);
}

/** 64-bit integers; those beyond 2^53 come rounded, and no table holds them. */
function narrowed(bytes: Uint8Array): Float64Array {
  const halves = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const numbers = new Float64Array(halves.length / 2);
  for (let i = 0; i < numbers.length; i++) {
    numbers[i] = (halves[2 * i]! >>> 0) + halves[2 * i + 1]! * 2 ** 32;
  }
  return numbers;
}

function tooLong(shape: readonly number[], name: string): EplbError {
  return new EplbError(
    'EPLB_FORMAT',
    `${name}: shape ${shapeText(shape)} is too long for a table in so small a file`,
  );
}
