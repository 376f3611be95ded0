import { EplbError, EplbTypeError } from '../../core/errors.ts';
import { MemorySource } from '../bytes/source.ts';
import type { LoadFormat } from '../format.ts';
import type { InputFile } from '../input-file.ts';
import { describeNext } from '../json/describe.ts';
import { readNestedNumbers } from '../json/nested-numbers.ts';
import { mostNumbersIn } from '../json/outline.ts';
import { JsonReader } from '../json/reader.ts';
import type { OpenOptions } from '../open-options.ts';
import { jsonOutlineOf, looksLikeJson } from '../recognise.ts';
import type { StoredRecording } from '../recording.ts';
import { denseStrides } from '../tensor/shape.ts';
import type { StoredTensor } from '../tensor/stored.ts';
import { openArray } from './array.ts';
import { oneByOne } from './one-by-one.ts';

/** The key under which SGLang's and DeepSeek's statistics hold the loads. */
const LOADS_KEY = 'logical_count';

/** Nested arrays of loads, bare or as SGLang and DeepSeek write them. */
export const JSON_LOADS: LoadFormat = {
  name: 'json',
  holds: 'loads',
  description:
    'JSON of SGLang and DeepSeek: {"logical_count": [layers][experts]}, [steps][layers][experts], or bare',
  extensions: ['.json'],
  recognise: async (file) => {
    if (!(await looksLikeJson(file))) return false;
    const outline = await jsonOutlineOf(file);
    // What is broken is recognised, for the reader to say how; other JSON may lie beside loads in a
    // directory.
    return outline === undefined || outline.isNested || outline.fields.has(LOADS_KEY);
  },
  open: oneByOne((file, options) => openNested(file, LOADS_KEY, 'json', options)),
};

/**
 * Opens nested arrays of loads: under a key, or bare where the file has none.
 *
 * @param format - name of the format
 * @throws EplbTypeError EPLB_KIND, EplbRangeError EPLB_SHAPE, naming the place; EplbError EPLB_FORMAT
 */
export async function openNested(
  file: InputFile,
  key: string,
  format: string,
  options: OpenOptions,
): Promise<StoredRecording> {
  const { kind, fields } = await file.jsonOutline();
  const bytes = await file.jsonBytes();
  const found = fields.get(key);
  const span = found ?? { start: 0, end: bytes.length };
  const reader = new JsonReader(bytes, file.name, span.start);
  const path = found === undefined ? '' : key;
  if ((found === undefined ? kind : reader.kind()) !== 'array') {
    const what =
      found === undefined
        ? `the JSON is ${describeNext(reader)}; loads are nested arrays of numbers or {"${key}": nested arrays}`
        : `${key} is ${describeNext(reader)}; it must be nested arrays`;
    throw new EplbTypeError('EPLB_KIND', `${file.name}: ${what}`);
  }
  const sink = { data: numbersFor(mostNumbersIn(bytes, span), file.name), length: 0 };
  const shape = readNestedNumbers(reader, { path, name: file.name }, sink);
  const about = { name: file.name, format, notes: [], numBytes: file.size };
  const tensor = inMemory(sink.data.subarray(0, sink.length), shape);
  return openArray({ tensor, namedLoads: path !== '', ...about }, options);
}

/**
 * Room for numbers that take no memory before they are there.
 *
 * @throws EplbError EPLB_FORMAT when there is none
 */
export function numbersFor(count: number, name: string): Float64Array {
  return roomFor(Float64Array, count, name);
}

/** {@link numbersFor} loads, which are read as float32 in the end: half as much. */
export function loadsFor(count: number, name: string): Float32Array {
  return roomFor(Float32Array, count, name);
}

function roomFor<T>(Numbers: new (count: number) => T, count: number, name: string): T {
  try {
    return new Numbers(count);
  } catch (cause) {
    throw new EplbError('EPLB_FORMAT', `${name}: no room for its ${count} numbers: convert it to .npy`, {
      cause,
    });
  }
}

/** Numbers in memory, as a tensor. */
export function inMemory(data: Float32Array | Float64Array, shape: readonly number[]): StoredTensor {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const source = new MemorySource(bytes, 'memory');
  const type = data instanceof Float32Array ? 'float32' : 'float64';
  return { source, offset: 0, type, bigEndian: false, shape, strides: denseStrides(shape) };
}
