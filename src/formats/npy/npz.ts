import { EplbError } from '../../core/errors.ts';
import { MemorySource, readBytes } from '../bytes/source.ts';
import type { InputFile } from '../input-file.ts';
import type { StoredTensor } from '../tensor/stored.ts';
import { quote } from '../text.ts';
import type { ZipArchive } from '../zip/archive.ts';
import { InflatedSource } from '../zip/inflated.ts';
import { npyTensor } from './tensor.ts';

/** How much larger than its file a packed array in Fortran order may be: it has to be unpacked whole. */
const MOST_UNPACKED_TIMES = 64;
const MOST_UNPACKED_BYTES = 2 ** 28;

/**
 * An array of a .npz file. One in C order is unpacked as it is read, whatever its size. One in Fortran order, whose steps
 * lie across the whole of it, is unpacked into memory when it was packed (np.savez_compressed).
 *
 * @param array - its name, without `.npy`
 * @throws EplbError EPLB_FORMAT
 */
export async function npzTensor(
  zip: ZipArchive,
  array: string,
  file: InputFile,
): Promise<{ tensor: StoredTensor; notes: readonly string[] }> {
  const source = await zip.open(`${array}.npy`);
  const name = `${file.name}: array ${quote(array)}`;
  const found = await npyTensor(source, name);
  const { shape, strides } = found.tensor;
  const isForward = shape.every((size, axis) => axis === 0 || size === 1 || strides[axis]! <= strides[0]!);
  if (!(source instanceof InflatedSource) || isForward) return found;
  if (source.size > Math.min(MOST_UNPACKED_BYTES, MOST_UNPACKED_TIMES * file.size)) {
    const what = `packed and in Fortran order, ${source.size} bytes when unpacked: save it in C order, or unpacked`;
    throw new EplbError('EPLB_FORMAT', `${name}: ${what}`);
  }
  const whole = new MemorySource(await readBytes(source, 0, source.size), name);
  await source.close();
  return { ...found, tensor: { ...found.tensor, source: whole } };
}
