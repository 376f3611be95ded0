import { crc32, deflateRawSync } from 'node:zlib';

/** A member of an archive that is to be written. What is left out is right; every field can be made wrong. */
export interface ZipMember {
  readonly name: string;
  readonly data: Uint8Array;
  /** Packed, not stored as it is. */
  readonly isPacked?: boolean;
  /**
   * What stands behind the data, with the fields in the local header left 0; a header with all fields when
   * left out.
   */
  readonly descriptor?: 'signed' | 'unsigned' | 'signed, zip64' | 'unsigned, zip64';
  /** Sizes of the local header in its extra field of zip64. */
  readonly isZip64?: boolean;
  /** What the directory says, where that is not so. */
  readonly central?: Partial<ZipFields>;
  /** What the local header, or the descriptor, says, where that is not so. */
  readonly local?: Partial<ZipFields>;
}

interface ZipFields {
  readonly name: string;
  readonly method: number;
  readonly flags: number;
  readonly checksum: number;
  readonly packedSize: number;
  readonly size: number;
}

const HAS_DESCRIPTOR = 8;

/** A zip archive, written from the format's description. */
export function zipFile(members: readonly ZipMember[]): Buffer<ArrayBuffer> {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const member of members) {
    const body = Buffer.from(member.isPacked ? deflateRawSync(member.data) : member.data);
    const fields: ZipFields = {
      name: member.name,
      method: member.isPacked ? 8 : 0,
      flags: member.descriptor === undefined ? 0 : HAS_DESCRIPTOR,
      checksum: crc32(member.data),
      packedSize: body.length,
      size: member.data.length,
    };
    directory.push(centralHeader({ ...fields, ...member.central }, at));
    const local = [localHeader({ ...fields, ...member.local }, member), body];
    if (member.descriptor !== undefined)
      local.push(descriptorOf({ ...fields, ...member.local }, member.descriptor));
    parts.push(...local);
    at += local.reduce((sum, part) => sum + part.length, 0);
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(Buffer.concat(directory).length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, ...directory, end]);
}

function localHeader(fields: ZipFields, { descriptor, isZip64 }: ZipMember): Buffer {
  const name = Buffer.from(fields.name);
  const header = Buffer.alloc(30);
  const extra = Buffer.alloc(isZip64 ? 20 : 0);
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(fields.flags, 6);
  header.writeUInt16LE(fields.method, 8);
  if (descriptor === undefined) {
    header.writeUInt32LE(fields.checksum, 14);
    header.writeUInt32LE(isZip64 ? 0xffffffff : fields.packedSize, 18);
    header.writeUInt32LE(isZip64 ? 0xffffffff : fields.size, 22);
  }
  if (isZip64) {
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(16, 2);
    extra.writeBigUInt64LE(BigInt(fields.size), 4);
    extra.writeBigUInt64LE(BigInt(fields.packedSize), 12);
  }
  header.writeUInt16LE(name.length, 26);
  header.writeUInt16LE(extra.length, 28);
  return Buffer.concat([header, name, extra]);
}

function centralHeader(fields: ZipFields, offset: number): Buffer {
  const name = Buffer.from(fields.name);
  const header = Buffer.alloc(46);
  header.writeUInt32LE(0x02014b50, 0);
  header.writeUInt16LE(fields.flags, 8);
  header.writeUInt16LE(fields.method, 10);
  header.writeUInt32LE(fields.checksum, 16);
  header.writeUInt32LE(fields.packedSize, 20);
  header.writeUInt32LE(fields.size, 24);
  header.writeUInt16LE(name.length, 28);
  header.writeUInt32LE(offset, 42);
  return Buffer.concat([header, name]);
}

function descriptorOf(fields: ZipFields, kind: NonNullable<ZipMember['descriptor']>): Buffer {
  const signature = Buffer.from(kind.startsWith('signed') ? 'PK\u0007\u0008' : '', 'latin1');
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(fields.checksum);
  const width = kind.endsWith('zip64') ? 8 : 4;
  const sizes = Buffer.alloc(2 * width);
  sizes.writeUIntLE(fields.packedSize, 0, Math.min(width, 6));
  sizes.writeUIntLE(fields.size, width, Math.min(width, 6));
  return Buffer.concat([signature, checksum, sizes]);
}
