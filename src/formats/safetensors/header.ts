import { EplbError } from '../../core/errors.ts';
import { type ByteSource, readBytes } from '../bytes/source.ts';
import { describeNext } from '../json/describe.ts';
import { JsonReader } from '../json/reader.ts';
import { MemoryBudget } from '../memory-budget.ts';
import { BYTES_PER_NUMBER, type NumberType } from '../tensor/number-type.ts';
import { countOf, denseStrides } from '../tensor/shape.ts';
import type { StoredTensor } from '../tensor/stored.ts';
import { quote } from '../text.ts';

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

/** More than any tensor of counts has. */
const MOST_AXES = 8;

/** Bytes before the header: its length. */
const LENGTH_BYTES = 8;

/** Whether the bytes may begin a .safetensors file: a length that fits the file, and a JSON object. */
export function mayBeSafetensors(head: Uint8Array, size: number): boolean {
  if (head.length < LENGTH_BYTES + 2 || head[LENGTH_BYTES] !== 0x7b) return false;
  const length = headerLength(head);
  return length <= MOST_HEADER_BYTES && LENGTH_BYTES + length <= size;
}

/**
 * The tensors of a .safetensors file, by their names, where they lie. Read by the format's published layout:
 * the length of the header in 8 bytes, the header, and the numbers, little-endian and without gaps.
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
  const tensors = new Map<string, StoredTensor>();
  const budget = new MemoryBudget(source.size, name);
  const reader = new JsonReader(await readBytes(source, LENGTH_BYTES, length), name);
  if (reader.kind() !== 'object') {
    throw fail(`the .safetensors header is ${describeNext(reader)}; it must be an object`);
  }
  reader.openObject();
  for (let isFirst = true; reader.hasEntry(isFirst, 'object'); isFirst = false) {
    const key = reader.key();
    if (key === '__metadata__') {
      reader.skip();
      continue;
    }
    budget.spend(TENSOR_BYTES + key.length);
    const entry = readEntry(reader);
    tensors.set(
      key,
      tensorOf(entry, source, dataStart, (what) => fail(`tensor ${quote(key)}: ${what}`)),
    );
  }
  reader.end();
  return tensors;
}

/** What a tensor takes in memory until it is read, about. */
const TENSOR_BYTES = 512;

/** What the header says of a tensor: undefined for what is not there or no such thing. */
interface Entry {
  readonly type: NumberType | undefined;
  /** The type as it stands there, for messages. */
  readonly shownType: string;
  readonly shape: number[] | undefined;
  readonly offsets: number[] | undefined;
}

function readEntry(reader: JsonReader): Entry {
  let type: NumberType | undefined;
  let shownType = 'missing';
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  if (reader.kind() !== 'object') {
    reader.skip();
    return { type, shownType, shape, offsets };
  }
  reader.openObject();
  for (let isFirst = true; reader.hasEntry(isFirst, 'object'); isFirst = false) {
    const key = reader.key();
    if (key === 'dtype') {
      shownType = describeNext(reader);
      type = reader.kind() === 'text' ? TYPES.get(reader.ahead((next) => next.text())) : undefined;
      reader.skip();
    } else if (key === 'shape') shape = readSizes(reader);
    else if (key === 'data_offsets') offsets = readSizes(reader);
    else reader.skip();
  }
  return { type, shownType, shape, offsets };
}

/** The whole numbers of the array that is next, or undefined when it is none of these. */
function readSizes(reader: JsonReader): number[] | undefined {
  if (reader.kind() !== 'array') {
    reader.skip();
    return undefined;
  }
  const sizes: number[] = [];
  let isWell = true;
  reader.openArray();
  for (let i = 0; reader.hasEntry(i === 0, 'array'); i++) {
    const size = reader.kind() === 'number' ? reader.number() : Number.NaN;
    if (Number.isNaN(size)) reader.skip();
    isWell &&= i < MOST_AXES && Number.isSafeInteger(size) && size >= 0;
    if (isWell) sizes.push(size);
  }
  return isWell ? sizes : undefined;
}

/** A length in 64 bits; one beyond 2^53 comes rounded, and is too long anyway. */
function headerLength(bytes: Uint8Array): number {
  return Number(new DataView(bytes.buffer, bytes.byteOffset, LENGTH_BYTES).getBigUint64(0, true));
}

function tensorOf(
  { type, shownType, shape, offsets }: Entry,
  source: ByteSource,
  dataStart: number,
  fail: (what: string) => EplbError,
): StoredTensor {
  if (type === undefined)
    throw fail(`the type is ${shownType}; numbers are read from I8 to U64 and F16 to F64`);
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
