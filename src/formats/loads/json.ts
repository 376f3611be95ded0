import { EplbTypeError } from '../../core/errors.ts';
import { MemorySource } from '../bytes/source.ts';
import type { LoadFormat } from '../format.ts';
import type { InputFile } from '../input-file.ts';
import { nestedNumbers } from '../json/nested-numbers.ts';
import { ownValue } from '../json/parse.ts';
import { firstCharacters, jsonOf } from '../recognise.ts';
import { denseStrides } from '../tensor/shape.ts';
import type { StoredTensor } from '../tensor/stored.ts';
import { kindOf } from '../text.ts';
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
    if (!/^[[{]/.test(await firstCharacters(file))) return false;
    const root = await jsonOf(file);
    // What is broken is recognised, for the reader to say how; other JSON may lie beside loads in a directory.
    return (
      root === undefined ||
      (Array.isArray(root) && Array.isArray(root[0])) ||
      ownValue(root, LOADS_KEY) !== undefined
    );
  },
  open: oneByOne(async (file, options) => {
    const { value, path } = await nestedLoads(file);
    const { data, shape } = nestedNumbers(value, path, file.name);
    const about = { name: file.name, format: 'json', notes: [], numBytes: file.size };
    return openArray({ tensor: inMemory(data, shape), namedLoads: path !== '', ...about }, options);
  }),
};

async function nestedLoads(file: InputFile): Promise<{ value: readonly unknown[]; path: string }> {
  const root = await file.json();
  if (Array.isArray(root)) return { value: root, path: '' };
  const value = ownValue(root, LOADS_KEY);
  if (Array.isArray(value)) return { value, path: LOADS_KEY };
  const what =
    value === undefined
      ? `the JSON is ${kindOf(root)}; loads are nested arrays of numbers or {"${LOADS_KEY}": nested arrays}`
      : `${LOADS_KEY} is ${kindOf(value)}; it must be nested arrays`;
  throw new EplbTypeError('EPLB_KIND', `${file.name}: ${what}`);
}

/** Numbers in memory, as a tensor. */
export function inMemory(data: Float64Array, shape: readonly number[]): StoredTensor {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const source = new MemorySource(bytes, 'memory');
  return { source, offset: 0, type: 'float64', bigEndian: false, shape, strides: denseStrides(shape) };
}
