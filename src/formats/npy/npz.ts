import { EplbError } from '../../core/errors.ts';
import type { InputFile } from '../input-file.ts';
import type { StoredTensor } from '../tensor/stored.ts';
import { quote } from '../text.ts';
import type { ZipArchive } from '../zip/archive.ts';
import { InflatedSource } from '../zip/inflated.ts';
import { npyTensor } from './tensor.ts';

/**
 * The largest packed array in Fortran order that is read. Its steps lie across the whole of it, so that it is
 * unpacked once for every 32 MB of them.
 */
const MOST_SCATTERED_BYTES = 2 ** 28;

/**
 * An array of a .npz file. A packed one (np.savez_compressed) is unpacked as it is read, whatever its size.
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
  if (!(source instanceof InflatedSource) || isForward || source.size <= MOST_SCATTERED_BYTES) return found;
  const what = `packed and in Fortran order, ${source.size} bytes when unpacked`;
  throw new EplbError('EPLB_FORMAT', `${name}: ${what}: save it in C order, or unpacked`);
}
