import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { EplbError } from '../../core/errors.ts';
import { hasZipMagic } from '../zip/archive.ts';
import { InflatedSource } from '../zip/inflated.ts';
import { type ByteSource, MemorySource, readBytes } from './source.ts';

/** Bytes that a file is unpacked to in memory at once; of a longer one a piece at a time is. */
const MOST_AT_ONCE = 2 ** 25;

/** Packed bytes that are read at once. */
const PACKED_BYTES = 1 << 16;

/** Header and trailer of a file that holds nothing. */
const LEAST_BYTES = 18;

/** Whether the bytes begin as a file of gzip does. */
export function hasGzipMagic(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b && bytes[2] === 8;
}

/**
 * What a file of gzip unpacks to. Of a long one a piece at a time is in memory, and it is read from front to
 * back: what lies before is unpacked anew.
 *
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT when it is cut off, or an archive that cannot be read so; while reading, when
 *   it is damaged
 */
export async function gunzipped(source: ByteSource, name: string): Promise<ByteSource> {
  if (source.size < LEAST_BYTES) throw new EplbError('EPLB_FORMAT', `${name}: truncated gzip`);
  // The checksum and the size of what was packed, the last mod 2 ** 32.
  const end = await readBytes(source, source.size - 8, 8);
  const view = new DataView(end.buffer, end.byteOffset, end.byteLength);
  const [checksum, size] = [view.getUint32(0, true), view.getUint32(4, true)];
  if (size === 0) throw new EplbError('EPLB_FORMAT', `${name} is empty when unpacked`);
  const member = {
    archive: name,
    ...{ name: 'gzip', rawName: 'gzip', localHeaderOffset: 0, packedSize: source.size, size },
    ...{ method: 8, isEncrypted: false, hasDescriptor: false, checksum },
  };
  const inflated = new InflatedSource(member, {
    begin: () => {
      const gunzip = createGunzip();
      // Its errors are those of what it ends in, which has a listener.
      pipeline(Readable.from(chunksOf(source)), gunzip, () => undefined);
      return gunzip;
    },
    checkEnd: async () => undefined,
    close: () => source.close(),
  });
  if (size <= MOST_AT_ONCE) {
    const bytes = await readBytes(inflated, 0, size);
    await inflated.close();
    return new MemorySource(bytes, name);
  }
  if (!hasZipMagic(await readBytes(inflated, 0, 4))) return inflated;
  throw new EplbError('EPLB_FORMAT', `${name}: a large archive in gzip: unpack it with gunzip first`);
}

async function* chunksOf(source: ByteSource): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < source.size; at += PACKED_BYTES) {
    yield readBytes(source, at, Math.min(PACKED_BYTES, source.size - at));
  }
}
