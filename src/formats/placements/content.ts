import { isUtf8 } from 'node:buffer';
import { EplbError, isOwnError } from '../../core/errors.ts';
import type { InputFile } from '../input-file.ts';
import { readJson } from '../json/value.ts';
import { hasNpyMagic } from '../npy/header.ts';
import { npzTensor } from '../npy/npz.ts';
import { npyTensor } from '../npy/tensor.ts';
import { orUndefined } from '../recognise.ts';
import { quote } from '../text.ts';
import { TorchFile } from '../torch/file.ts';
import { isLegacyTorch } from '../torch/legacy.ts';
import { PickleDict, PickleList, type PickleValue } from '../torch/pickle-values.ts';
import { TensorRef } from '../torch/tensor-ref.ts';
import { hasZipMagic } from '../zip/archive.ts';
import { readArray } from './array-content.ts';
import type { Content, NumberArray } from './placement.ts';
import { TABLE_NAMES } from './table-names.ts';
import { initialMappingRecord } from './vllm-records.ts';
import { readYaml } from './yaml.ts';

/**
 * The largest file that is read: a logical-to-physical table of 64 layers, 512 experts and 1,024 replicas in
 * int64.
 */
const MOST_BYTES = 2 ** 28 + 2 ** 20;

/** The largest text. */
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
    return { container: 'npy', array: await readArray(tensor, file.size, file.name) };
  }
  if (isLegacyTorch(head)) return readTorch(file);
  if (hasZipMagic(head)) return TorchFile.isOne(await file.zip()) ? readTorch(file) : readNpz(file);
  const text = await file.whole(MOST_TEXT_BYTES, 'a placement');
  if (!isUtf8(text)) {
    throw new EplbError(
      'EPLB_FORMAT',
      `${file.name}: neither a .npy, .npz or .pt file nor JSON or YAML text`,
    );
  }
  return readText(text, file.name);
}

/** JSON where it begins as JSON does; else, and where it is none, YAML, of which JSON is a part. */
async function readText(text: Uint8Array, name: string): Promise<Content> {
  const start = hasMark(text) ? 3 : 0;
  const first = text.subarray(start).find((byte) => !BLANKS.has(byte));
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) {
    return { container: 'yaml', value: await readYaml(text, name) };
  }
  const record = initialMappingRecord(text, name);
  if (record !== undefined) return { container: 'json', ...record };
  try {
    return { container: 'json', value: readJson(text, name) };
  } catch (error) {
    if (!isOwnError(error)) throw error;
    // Braces and brackets without quotes are YAML; what is neither is told as the JSON that it looks like.
    const value = await orUndefined(readYaml(text, name));
    if (value === undefined) throw error;
    return { container: 'yaml', value };
  }
}

function hasMark(text: Uint8Array): boolean {
  return text[0] === 0xef && text[1] === 0xbb && text[2] === 0xbf;
}

/** The tables in a .npz; other arrays are not looked at. */
async function readNpz(file: InputFile): Promise<Content> {
  const zip = await file.zip();
  const arrays = new Map<string, NumberArray>();
  for (const member of zip.names()) {
    const array = member.endsWith('.npy') ? member.slice(0, -'.npy'.length) : '';
    if (!TABLE_NAMES.includes(array)) continue;
    const { tensor } = await npzTensor(zip, array, file);
    arrays.set(array, await readArray(tensor, file.size, `${file.name}: array ${quote(array)}`));
    await tensor.source.close();
  }
  return { container: 'npz', arrays };
}

/** The tables in what torch.save wrote, under their keys. */
async function readTorch(file: InputFile): Promise<Content> {
  const torch = await file.torch();
  const value: Record<string, unknown> = Object.create(null);
  const { notes } = torch;
  if (torch.root instanceof TensorRef) {
    const array = await readArray(await torch.tensor(torch.root), file.size, file.name);
    return { container: 'npy', array, notes };
  }
  if (!(torch.root instanceof PickleDict)) return { container: 'pt', value: null, notes };
  for (const key of torch.root.keys()) {
    const entry = torch.root.get(key);
    if (!TABLE_NAMES.includes(key)) value[key] = null;
    else if (entry instanceof TensorRef) {
      value[key] = await readArray(await torch.tensor(entry), file.size, `${file.name}: ${key}`);
    } else value[key] = plainLists(entry, 0);
  }
  return { container: 'pt', value, notes };
}

/** Python's lists as arrays; a table has three in each other at most. */
function plainLists(value: PickleValue | undefined, depth: number): unknown {
  if (!(value instanceof PickleList) || depth >= 4) return value;
  const { items } = value;
  return items instanceof Int32Array ? items : items.map((item) => plainLists(item, depth + 1));
}

function tooLarge(file: InputFile, most: number): EplbError {
  return new EplbError(
    'EPLB_FORMAT',
    `${file.name} has ${file.size} bytes; no placement of its kind is over ${most}`,
  );
}
