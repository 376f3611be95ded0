import { extname } from 'node:path';
import { quotePath } from '../text.ts';
import { readWhole } from './file.ts';
import { readJson } from './json.ts';
import { readNpy } from './npy.ts';
import { hasNpyMagic } from './npy-header.ts';
import type { Tensor } from './tensor.ts';

/**
 * Reads a recording's array from a file. The content tells the format; the name only decides what a file that is
 * neither is taken for, and so how its error reads.
 *
 * @throws EplbError EPLB_FILE or EPLB_FORMAT; EplbTypeError and EplbRangeError as the readers throw them
 */
export async function readTensor(path: string): Promise<Tensor> {
  const bytes = await readWhole(path, 'recording');
  return readBytes(bytes, path);
}

/** {@link readTensor} on bytes that are already there. */
export function readBytes(bytes: Uint8Array, path: string): Tensor {
  const name = `recording: ${quotePath(path)}`;
  const isNpy = hasNpyMagic(bytes) || extname(path).toLowerCase() === '.npy';
  return isNpy ? readNpy(bytes, name) : readJson(bytes, name);
}
