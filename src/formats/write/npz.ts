import { Readable } from 'node:stream';

/** An array in a .npz file, as a .npy file of its own. */
interface NpzEntry {
  /** The array's name. */
  readonly name: string;
  /** Bytes of the .npy file. */
  readonly size: number;
  /** The bytes themselves, asked for once. */
  content(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** From 4 GB on, sizes do not fit into the older fields of a zip. */
const ZIP64_BYTES = 2 ** 32 - 2 ** 16;

/**
 * A .npz file, piece by piece: a zip of .npy files, stored as they are, as numpy.savez does. The same arrays
 * give the same bytes, as the entries carry the earliest time a zip can.
 *
 * @throws whatever the content of an entry throws
 */
export async function* npzChunks(entries: readonly NpzEntry[]): AsyncGenerator<Uint8Array> {
  const { ZipFile } = await import('./zip-file.ts');
  const zip = new ZipFile();
  const output = zip.outputStream as Readable;
  zip.on('error', (error: Error) => output.destroy(error));
  for (const { name, size, content } of entries) {
    const options = {
      size,
      compress: false,
      mtime: new Date(1980, 0, 1),
      forceDosTimestamp: true,
      forceZip64Format: size > ZIP64_BYTES,
    };
    zip.addReadStreamLazy(`${name}.npy`, options, (done) => {
      const bytes = Readable.from(content(), { objectMode: false });
      // Not heard, what a recording's reader throws would end the process.
      bytes.on('error', (error) => output.destroy(error));
      done(null, bytes);
    });
  }
  zip.end();
  yield* output as AsyncIterable<Uint8Array>;
}

/** {@link npzChunks} of arrays in memory, in one piece. */
export async function npzFile(
  arrays: readonly (readonly [name: string, npy: Uint8Array])[],
): Promise<Uint8Array> {
  const entries = arrays.map(([name, npy]) => ({ name, size: npy.length, content: () => [npy] }));
  const chunks: Uint8Array[] = [];
  for await (const chunk of npzChunks(entries)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
