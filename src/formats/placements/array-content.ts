import { EplbError } from '../../core/errors.ts';
import { blocksOf } from '../tensor/blocks.ts';
import { viewNumbers } from '../tensor/decode.ts';
import { BYTES_PER_NUMBER } from '../tensor/number-type.ts';
import { countOf, denseStrides } from '../tensor/shape.ts';
import { readTensor, type StoredTensor } from '../tensor/stored.ts';
import { shapeText } from '../text.ts';
import type { NumberArray } from './placement.ts';

/** Numbers of a packed or repeated table that are read into memory, whatever its file's size. */
const FREE_NUMBERS = 2 ** 22;

/** The widest row of a table that is read without its padding. vLLM's have 1,024. */
const MOST_WIDTH = 2 ** 16;

/**
 * The longest of them, which has to be unpacked twice. vLLM's of 64 layers and 512 experts have a quarter of
 * that.
 */
const MOST_PADDED_BYTES = 2 ** 30;

/**
 * All numbers of a tensor. What a packed file unpacks to may be a thousand times as long: of a table of three
 * dimensions that is padded with -1, as vLLM's, the padding is left out while it is read; other long ones are
 * refused.
 *
 * @param fileBytes - size of the file
 * @throws EplbError EPLB_FORMAT
 */
export async function readArray(tensor: StoredTensor, fileBytes: number, name: string): Promise<NumberArray> {
  const { type, shape } = tensor;
  const count = countOf(shape);
  const numBytes = count * BYTES_PER_NUMBER[type];
  if (count <= FREE_NUMBERS || numBytes <= fileBytes) {
    const bytes = new Uint8Array(numBytes);
    await readTensor(tensor, bytes);
    await tensor.source.verify?.();
    return { data: viewNumbers(bytes, type), shape };
  }
  const [numLayers, numExperts, width] = shape as [number, number, number];
  const dense = denseStrides(shape);
  const isDense = tensor.strides.every((stride, axis) => stride === dense[axis]);
  if (shape.length !== 3 || width > MOST_WIDTH || numBytes > MOST_PADDED_BYTES || !isDense) {
    throw tooLong(shape, name);
  }
  const rows = { ...tensor, shape: [numLayers * numExperts, width], strides: [width, 1] };
  let used = 1;
  for await (const { bytes } of blocksOf(rows, 0, rows.shape[0]!)) {
    used = Math.max(used, usedWidth(viewNumbers(bytes, type), width));
  }
  await tensor.source.verify?.();
  if (numLayers * numExperts * used > FREE_NUMBERS) throw tooLong(shape, name);
  const data = new Float64Array(numLayers * numExperts * used);
  let at = 0;
  for await (const { bytes } of blocksOf(rows, 0, rows.shape[0]!)) {
    const numbers = viewNumbers(bytes, type);
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

function tooLong(shape: readonly number[], name: string): EplbError {
  return new EplbError(
    'EPLB_FORMAT',
    `${name}: shape ${shapeText(shape)} is too long for a table in so small a file`,
  );
}
