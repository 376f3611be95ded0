import { EplbError } from '../../core/errors.ts';
import { gunzipped, hasGzipMagic } from './gzip.ts';
import { type ByteSource, readBytes } from './source.ts';

/** Bytes that show what a file is wrapped in. */
const LOOKED_AT = 64;

const LFS_POINTER = 'version https://git-lfs.github.com/spec/';

/**
 * What a file holds, unpacked where it is packed by gzip. What is not the file that it seems is named.
 *
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT for a pointer of Git LFS and for text that is not UTF-8
 */
export async function unwrapped(source: ByteSource, name: string): Promise<ByteSource> {
  const head = await readBytes(source, 0, Math.min(source.size, LOOKED_AT));
  if (hasGzipMagic(head)) return gunzipped(source, name);
  await source.close();
  const fail = (what: string) => new EplbError('EPLB_FORMAT', `${name} ${what}`);
  if (Buffer.from(head).toString('latin1').startsWith(LFS_POINTER)) {
    throw fail('is a pointer of Git LFS, and not the file itself: git lfs pull gets it');
  }
  if (isUtf16(head)) throw fail('is a text in UTF-16: save it as UTF-8');
  return source;
}

/** A byte order mark of UTF-16, or plain characters of two bytes each. */
function isUtf16(head: Uint8Array): boolean {
  const [first, second] = head;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) return true;
  if (head.length < 8) return false;
  const isPlain = (byte: number) => (byte >= 0x20 && byte < 0x7f) || byte === 0x0a || byte === 0x0d;
  const areWide = (odd: number) =>
    head.subarray(0, 8).every((byte, i) => (i % 2 === odd ? byte === 0 : isPlain(byte)));
  return areWide(1) || areWide(0);
}
