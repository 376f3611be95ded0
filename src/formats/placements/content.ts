import { EplbError } from '../../errors.ts';
import type { InputFile } from '../input-file.ts';
import { hasNpyMagic } from '../npy/header.ts';
import { npyTensor } from '../npy/tensor.ts';
import { decodeNumbers } from '../tensor/decode.ts';
import { BYTES_PER_NUMBER } from '../tensor/number-type.ts';
import { countOf, readTensor, type StoredTensor } from '../tensor/stored.ts';
import type { Content, NumberArray } from './placement.ts';
import { readYaml } from './yaml.ts';

/** The largest file that is read: a logical-to-physical table of 64 layers, 512 experts and 1,024 replicas in int64. */
const MOST_BYTES = 2 ** 28 + 2 ** 20;

/** The largest text: what JSON takes of it in memory is many times as much. */
const MOST_TEXT_BYTES = 2 ** 26;

const BLANKS: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;

/**
 * Opens the container of a placement's file: an array, several, or a text.
 *
 * @throws EplbError EPLB_FILE or EPLB_FORMAT
 */
export async function readContent(file: InputFile): Promise<Content> {
  const head = await file.head();
  if (file.size > MOST_BYTES) throw tooLarge(file, MOST_BYTES);
  if (hasNpyMagic(head)) {
    const { tensor } = await npyTensor(file.source, file.name);
    return { container: 'npy', array: await readArray(tensor) };
  }
  if (file.size > MOST_TEXT_BYTES) throw tooLarge(file, MOST_TEXT_BYTES);
  const first = head.find((byte) => !BLANKS.has(byte));
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return { container: 'json', value: await file.json() };
  return { container: 'yaml', value: await readYaml(await textOf(file), file.name) };
}

/** All numbers of a tensor. */
async function readArray(tensor: StoredTensor): Promise<NumberArray> {
  const { type, shape } = tensor;
  const bytes = new Uint8Array(countOf(shape) * BYTES_PER_NUMBER[type]);
  await readTensor(tensor, bytes);
  // The two types that tables come in; padded ones have tens of millions of numbers.
  if (type === 'int32') return { data: new Int32Array(bytes.buffer), shape };
  if (type === 'int64') return { data: narrowed(bytes), shape };
  return { data: decodeNumbers(bytes, type), shape };
}

/** 64-bit integers, those that do not fit into 32 bits as numbers that no table holds. */
function narrowed(bytes: Uint8Array): Float64Array {
  const halves = new Int32Array(bytes.buffer);
  const numbers = new Float64Array(halves.length / 2);
  for (let i = 0; i < numbers.length; i++) {
    numbers[i] = (halves[2 * i]! >>> 0) + halves[2 * i + 1]! * 2 ** 32;
  }
  return numbers;
}

async function textOf(file: InputFile): Promise<string> {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await file.whole());
  } catch (error) {
    if (error instanceof EplbError) throw error;
    throw new EplbError('EPLB_FORMAT', `${file.name}: neither an array, an archive nor text`);
  }
}

function tooLarge(file: InputFile, most: number): EplbError {
  return new EplbError(
    'EPLB_FORMAT',
    `${file.name} has ${file.size} bytes; no placement of its kind is over ${most}`,
  );
}
