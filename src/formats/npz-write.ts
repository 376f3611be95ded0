import { once } from 'node:events';

/**
 * A .npz file: a zip of .npy files, stored as they are, as numpy.savez does. The same arrays give the same bytes: the
 * entries carry the earliest time a zip can.
 *
 * @param arrays - name and bytes of each .npy, without the ending
 */
export async function npzFile(
  arrays: readonly (readonly [name: string, npy: Uint8Array])[],
): Promise<Uint8Array> {
  const { ZipFile } = await import('yazl');
  const zip = new ZipFile();
  for (const [name, npy] of arrays) {
    zip.addBuffer(Buffer.from(npy.buffer, npy.byteOffset, npy.byteLength), `${name}.npy`, {
      compress: false,
      mtime: new Date(1980, 0, 1),
      forceDosTimestamp: true,
    });
  }
  const chunks: Buffer[] = [];
  zip.outputStream.on('data', (chunk: Buffer) => chunks.push(chunk));
  zip.end();
  await once(zip.outputStream, 'end');
  return Buffer.concat(chunks);
}
