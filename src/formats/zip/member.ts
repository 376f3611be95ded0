import { EplbError } from '../../core/errors.ts';
import { type ByteSource, readBytes } from '../bytes/source.ts';
import { quote } from '../text.ts';

/** A member of a zip archive, as the archive's directory has it. */
export interface Member {
  /** What the messages call the archive: `recording: "a.npz"`. */
  readonly archive: string;
  readonly name: string;
  /** As it stands in the archive, a character a byte. */
  readonly rawName: string;
  readonly localHeaderOffset: number;
  readonly packedSize: number;
  readonly size: number;
  /** 0 for stored, 8 for deflated. */
  readonly method: number;
  readonly isEncrypted: boolean;
  /** Whether the checksum and sizes stand behind the data, not in the header before it. */
  readonly hasDescriptor: boolean;
  readonly checksum: number;
}

/** Stands in a field of 32 bits whose value is in the extra field of zip64. */
const IN_ZIP64 = 0xffffffff;
const ZIP64_ID = 1;

const ENCRYPTED = 1;
const HAS_DESCRIPTOR = 8;

const HEADER_BYTES = 30;
const HEADER_SIGNATURE = 0x04034b50;
const DESCRIPTOR_SIGNATURE = 0x08074b50;

/**
 * Where in the archive the data of a member begins. The header before the data has to say what the directory
 * says of it.
 *
 * @throws EplbError EPLB_FORMAT naming the field in which they disagree
 */
export async function dataStart(source: ByteSource, member: Member): Promise<number> {
  const { localHeaderOffset: offset, packedSize } = member;
  const fail = (what: string) => memberError(member, what);
  if (offset + HEADER_BYTES > source.size)
    throw fail(`its header would begin at byte ${offset}, outside the file`);
  const header = viewOf(await readBytes(source, offset, HEADER_BYTES));
  const signature = header.getUint32(0, true);
  if (signature !== HEADER_SIGNATURE) {
    throw fail(
      `no header at byte ${offset}, where the directory says: it begins with 0x${signature.toString(16)}`,
    );
  }
  const nameLength = header.getUint16(26, true);
  const extraLength = header.getUint16(28, true);
  const start = offset + HEADER_BYTES + nameLength + extraLength;
  if (start + packedSize > source.size) {
    throw fail(`it would end at byte ${start + packedSize}, the file ends at byte ${source.size}`);
  }
  const rest = await readBytes(source, offset + HEADER_BYTES, nameLength + extraLength);
  const differs = difference(member, header, rest.subarray(0, nameLength), rest.subarray(nameLength));
  if (differs !== undefined) throw fail(`its own header ${differs}`);
  return start;
}

/** In what a header and the directory disagree. */
function difference(
  member: Member,
  header: DataView,
  name: Uint8Array,
  extra: Uint8Array,
): string | undefined {
  const rawName = Buffer.from(name).toString('latin1');
  if (rawName !== member.rawName) return `has the name ${quote(rawName)}`;
  const flags = header.getUint16(6, true);
  const said = (is: boolean) => (is ? 'says that it is' : 'does not say that it is');
  const isEncrypted = (flags & ENCRYPTED) !== 0;
  if (isEncrypted !== member.isEncrypted) {
    return `${said(isEncrypted)} encrypted, the directory ${member.isEncrypted ? 'does' : 'does not'}`;
  }
  const differs = (what: string, found: number | string, told: number | string) =>
    found === told ? undefined : `has the ${what} ${found}, the directory ${told}`;
  const method = differs('method', header.getUint16(8, true), member.method);
  if (method !== undefined) return method;
  const hasDescriptor = (flags & HAS_DESCRIPTOR) !== 0;
  if (hasDescriptor !== member.hasDescriptor) {
    return hasDescriptor
      ? 'says that a descriptor stands behind the data, the directory does not'
      : 'does not say that a descriptor stands behind the data, the directory does';
  }
  if (hasDescriptor) return undefined;
  const [size, packedSize] = sizesIn(header, extra);
  return (
    differs('size', size, member.size) ??
    differs('packed size', packedSize, member.packedSize) ??
    differs('checksum', hex(header.getUint32(14, true)), hex(member.checksum))
  );
}

/** Both sizes in a header, of which large ones stand in the extra field. */
function sizesIn(header: DataView, extra: Uint8Array): [size: number, packedSize: number] {
  const packedSize = header.getUint32(18, true);
  const size = header.getUint32(22, true);
  if (size !== IN_ZIP64 && packedSize !== IN_ZIP64) return [size, packedSize];
  const wide = zip64Numbers(viewOf(extra));
  const told = [size, packedSize].map((short) => (short === IN_ZIP64 ? (wide.shift() ?? short) : short));
  return [told[0]!, told[1]!];
}

/** The numbers of 64 bits in the extra field of zip64. */
function zip64Numbers(extra: DataView): number[] {
  for (let at = 0; at + 4 <= extra.byteLength; ) {
    const end = at + 4 + extra.getUint16(at + 2, true);
    if (extra.getUint16(at, true) === ZIP64_ID) {
      const numbers: number[] = [];
      for (let field = at + 4; field + 8 <= Math.min(end, extra.byteLength); field += 8) {
        numbers.push(Number(extra.getBigUint64(field, true)));
      }
      return numbers;
    }
    at = end;
  }
  return [];
}

/**
 * Checks what stands behind the data of a member that was read to its end: a descriptor, where the directory
 * says that there is one. Writers put a signature before it or not, and sizes of 32 bits or 64.
 *
 * @param end - where the data ends
 * @throws EplbError EPLB_FORMAT when there is none that says what the directory says
 */
export async function checkDescriptor(source: ByteSource, member: Member, end: number): Promise<void> {
  if (!member.hasDescriptor) return;
  const found = viewOf(await readBytes(source, end, Math.min(24, source.size - end)));
  const fits = (at: number, width: 4 | 8) =>
    at + 4 + 2 * width <= found.byteLength &&
    found.getUint32(at, true) === member.checksum &&
    [member.packedSize, member.size].every((told, i) => wholeAt(found, at + 4 + i * width, width) === told);
  const isSigned = found.byteLength >= 4 && found.getUint32(0, true) === DESCRIPTOR_SIGNATURE;
  if (fits(0, 4) || fits(0, 8) || (isSigned && (fits(4, 4) || fits(4, 8)))) return;
  const what = 'the descriptor behind it has another checksum or other sizes than the directory';
  throw memberError(member, what);
}

function wholeAt(view: DataView, at: number, width: 4 | 8): number {
  return width === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The error for something that is wrong with a member. */
export function memberError({ archive, name }: Member, what: string): EplbError {
  return new EplbError('EPLB_FORMAT', `${archive}: member ${quote(name)}: ${what}`);
}

/** The error for a member whose bytes are not those that were written. */
export function memberDamage(member: Member, found: number): EplbError {
  return memberError(
    member,
    `damaged: its checksum is ${hex(found)}, the archive says ${hex(member.checksum)}`,
  );
}

function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0');
}
