import { EplbError } from '../../core/errors.ts';
import { type ByteSource, readBytes } from '../bytes/source.ts';
import { ownValue, parseJson } from '../json/parse.ts';
import { BYTES_PER_NUMBER, type NumberType } from '../tensor/number-type.ts';
import { countOf, denseStrides } from '../tensor/shape.ts';
import type { StoredTensor } from '../tensor/stored.ts';
import { kindOf, quote } from '../text.ts';

const TYPES: ReadonlyMap<string, NumberType> = new Map([
  ['I8', 'int8'],
  ['U8', 'uint8'],
  ['I16', 'int16'],
  ['U16', 'uint16'],
  ['I32', 'int32'],
  ['U32', 'uint32'],
  ['I64', 'int64'],
  ['U64', 'uint64'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['F32', 'float32'],
  ['F64', 'float64'],
]);

/** The longest header that the format allows. */
const MOST_HEADER_BYTES = 100_000_000;

/** Bytes before the header: its length. */
const LENGTH_BYTES = 8;

/** Whether the bytes may begin a .safetensors file: a length that fits the file, and a JSON object. */
export function mayBeSafetensors(head: Uint8Array, size: number): boolean {
  if (head.length < LENGTH_BYTES + 2 || head[LENGTH_BYTES] !== 0x7b) return false;
  const length = headerLength(head);
  return length <= MOST_HEADER_BYTES && LENGTH_BYTES + length <= size;
}

/**
 * The tensors of a .safetensors file, by their names, where they lie. Read by the format's published layout: the length of
 * the header in 8 bytes, the header, and the numbers, little-endian and without gaps.
 *
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT
 */
export async function readSafetensors(
  source: ByteSource,
  name: string,
): Promise<ReadonlyMap<string, StoredTensor>> {
  const fail = (what: string) => new EplbError('EPLB_FORMAT', `${name}: ${what}`);
  if (source.size < LENGTH_BYTES)
    throw fail(`truncated: ${source.size} bytes, which hold no .safetensors header`);
  const length = headerLength(await readBytes(source, 0, LENGTH_BYTES));
  const dataStart = LENGTH_BYTES + length;
  if (length > MOST_HEADER_BYTES)
    throw fail(`a .safetensors header of ${length} bytes; up to ${MOST_HEADER_BYTES} are allowed`);
  if (dataStart > source.size) {
    throw fail(
      `truncated: the .safetensors header ends at byte ${dataStart}, the file at byte ${source.size}`,
    );
  }
  const header = parseJson(await readBytes(source, LENGTH_BYTES, length), name);
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw fail(`the .safetensors header is ${kindOf(header)}; it must be an object`);
  }
  const tensors = new Map<string, StoredTensor>();
  for (const [key, entry] of Object.entries(header)) {
    if (key === '__metadata__') continue;
    tensors.set(
      key,
      tensorOf(entry, source, dataStart, (what) => fail(`tensor ${quote(key)}: ${what}`)),
    );
  }
  return tensors;
}

/** A length in 64 bits; one beyond 2^53 comes rounded, and is too long anyway. */
function headerLength(bytes: Uint8Array): number {
  return Number(new DataView(bytes.buffer, bytes.byteOffset, LENGTH_BYTES).getBigUint64(0, true));
}

function tensorOf(
  entry: unknown,
  source: ByteSource,
  dataStart: number,
  fail: (what: string) => EplbError,
): StoredTensor {
  const dtype = ownValue(entry, 'dtype');
  const type = typeof dtype === 'string' ? TYPES.get(dtype) : undefined;
  if (type === undefined)
    throw fail(`the type is ${kindOf(dtype)}; numbers are read from I8 to U64 and F16 to F64`);
  const shape = sizesIn(ownValue(entry, 'shape'));
  const offsets = sizesIn(ownValue(entry, 'data_offsets'));
  if (shape === undefined || offsets?.length !== 2)
    throw fail('it has no shape, or no two data_offsets, of whole numbers');
  const [begin, end] = offsets as [number, number];
  const needed = countOf(shape) * BYTES_PER_NUMBER[type];
  if (end - begin !== needed)
    throw fail(`its shape needs ${needed} bytes, its data_offsets hold ${end - begin}`);
  if (dataStart + end > source.size) {
    throw fail(`truncated: it ends at byte ${dataStart + end}, the file at byte ${source.size}`);
  }
  return { source, offset: dataStart + begin, type, bigEndian: false, shape, strides: denseStrides(shape) };
}

function sizesIn(value: unknown): number[] | undefined {
  if (!Array.isArray(value) || value.length > 8) return undefined;
  return value.every((size) => Number.isSafeInteger(size) && size >= 0) ? value : undefined;
}
