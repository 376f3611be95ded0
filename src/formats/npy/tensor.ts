import type { ByteSource } from '../bytes/source.ts';
import { denseStrides } from '../tensor/shape.ts';
import type { StoredTensor } from '../tensor/stored.ts';
import { readNpyHeader } from './header.ts';

/**
 * The array of a .npy file, where it lies.
 *
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT naming what is wrong with the header
 */
export async function npyTensor(
  source: ByteSource,
  name: string,
): Promise<{ tensor: StoredTensor; notes: readonly string[] }> {
  const { type, bigEndian, fortranOrder, shape, dataOffset, notes } = await readNpyHeader(source, name);
  const strides = denseStrides(shape, fortranOrder);
  return { tensor: { source, offset: dataOffset, type, bigEndian, shape, strides }, notes };
}
