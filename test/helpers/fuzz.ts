import { crc32, inflateRawSync } from 'node:zlib';
import fc from 'fast-check';

/** One change of a file. Places are taken modulo its length, so that a mutation fits any file. */
type Mutation = (bytes: Buffer) => Buffer;

/** Numbers at the edges of what sizes, counts and offsets are held in. */
const EDGES = [0, 1, 2, 7, 127, 128, 255, 256, 32_767, 65_535, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
const WIDE_EDGES = [
  ...EDGES.map(BigInt),
  2n ** 32n,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 62n,
  2n ** 63n,
  2n ** 64n - 1n,
];
const TEXTS = [
  '0',
  '-1',
  '1',
  '4096',
  '1e9',
  '99999999999',
  '9007199254740993',
  '1e400',
  '[',
  ']',
  '{',
  '"',
  ',',
  'null',
];
const KEYS = ['__proto__', 'constructor', 'toString', 'step', 'layer', 'loads', 'logical_count', 'records'];

const setByte = fc.tuple(fc.nat(), fc.nat(255)).map(
  ([at, byte]): Mutation =>
    (bytes) => {
      const out = Buffer.from(bytes);
      if (out.length > 0) out[at % out.length] = byte;
      return out;
    },
);

const flipBit = fc.tuple(fc.nat(), fc.nat(7)).map(
  ([at, bit]): Mutation =>
    (bytes) => {
      const out = Buffer.from(bytes);
      if (out.length > 0) out[at % out.length]! ^= 1 << bit;
      return out;
    },
);

const truncate = fc.nat().map(
  (at): Mutation =>
    (bytes) =>
      bytes.subarray(0, at % (bytes.length + 1)),
);

const remove = fc.tuple(fc.nat(), fc.nat(40)).map(
  ([at, count]): Mutation =>
    (bytes) =>
      spliced(bytes, at, count, Buffer.alloc(0)),
);

const insert = fc.tuple(fc.nat(), fc.uint8Array({ maxLength: 24 })).map(
  ([at, put]): Mutation =>
    (bytes) =>
      spliced(bytes, at, 0, Buffer.from(put)),
);

/** A piece of the file once more, elsewhere: headers, members and keys that are there twice. */
const copy = fc.tuple(fc.nat(), fc.nat(), fc.nat(200), fc.boolean()).map(
  ([from, at, count, replaces]): Mutation =>
    (bytes) => {
      const start = from % (bytes.length + 1);
      const piece = bytes.subarray(start, start + count);
      return spliced(bytes, at, replaces ? piece.length : 0, piece);
    },
);

/** A field of 2, 4 or 8 bytes, either byte order, with a number that sizes break on. */
const sizeField = fc
  .tuple(fc.nat(), fc.constantFrom(2, 4, 8), fc.constantFrom(...WIDE_EDGES), fc.boolean())
  .map(
    ([at, width, value, isBig]): Mutation =>
      (bytes) => {
        if (bytes.length < width) return bytes;
        const out = Buffer.from(bytes);
        const field = Buffer.alloc(8);
        field.writeBigUInt64LE(value);
        const put = field.subarray(0, width);
        if (isBig) put.reverse();
        put.copy(out, at % (out.length - width + 1));
        return out;
      },
  );

/** A number in a text replaced by another, or by what is not a number. */
const textNumber = fc.tuple(fc.nat(), fc.constantFrom(...TEXTS)).map(
  ([which, put]): Mutation =>
    (bytes) => {
      const text = bytes.toString('latin1');
      const places = [...text.matchAll(/\d+/g)];
      const place = places[which % Math.max(1, places.length)];
      if (place === undefined) return bytes;
      return Buffer.from(
        text.slice(0, place.index) + put + text.slice(place.index + place[0].length),
        'latin1',
      );
    },
);

/** A name in a text replaced by another. */
const textKey = fc.tuple(fc.nat(), fc.constantFrom(...KEYS)).map(
  ([which, put]): Mutation =>
    (bytes) => {
      const text = bytes.toString('latin1');
      const places = [...text.matchAll(/[a-z_]{4,}/g)];
      const place = places[which % Math.max(1, places.length)];
      if (place === undefined) return bytes;
      return Buffer.from(
        text.slice(0, place.index) + put + text.slice(place.index + place[0].length),
        'latin1',
      );
    },
);

/** One to four changes of a file, one after the other. */
export const mutations: fc.Arbitrary<readonly Mutation[]> = fc.array(
  fc.oneof(
    { arbitrary: fc.oneof(setByte, flipBit, sizeField, textNumber), weight: 6 },
    { arbitrary: fc.oneof(truncate, remove, insert, copy, textKey), weight: 2 },
  ),
  { minLength: 1, maxLength: 3 },
);

export function mutated(bytes: Buffer, changes: readonly Mutation[]): Buffer {
  return changes.reduce((before, change) => change(before), bytes);
}

/**
 * A zip archive whose checksums are those of its members again, so that a change of their content is read and
 * not told by them. Anything else stays as it is.
 */
export function withChecksums(bytes: Buffer): Buffer {
  const out = Buffer.from(bytes);
  const signature = Buffer.from('PK\u0001\u0002', 'latin1');
  for (let at = out.indexOf(signature); at !== -1 && at + 46 <= out.length; ) {
    const header = out.readUInt32LE(at + 42);
    if (header + 30 <= out.length) {
      const start = header + 30 + out.readUInt16LE(header + 26) + out.readUInt16LE(header + 28);
      const packedSize = out.readUInt32LE(at + 20);
      const body = out.subarray(start, start + packedSize);
      const checksum = crc32(out.readUInt16LE(at + 10) === 8 ? unpacked(body) : body);
      const hasDescriptor = (out.readUInt16LE(header + 6) & 8) !== 0;
      out.writeUInt32LE(checksum, at + 16);
      if (!hasDescriptor) out.writeUInt32LE(checksum, header + 14);
      else if (start + packedSize + 8 <= out.length) out.writeUInt32LE(checksum, start + packedSize + 4);
    }
    at = out.indexOf(signature, at + 46);
  }
  return out;
}

function unpacked(body: Buffer): Buffer {
  try {
    return inflateRawSync(body, { maxOutputLength: 1 << 24 });
  } catch {
    return Buffer.alloc(0);
  }
}

function spliced(bytes: Buffer, at: number, count: number, put: Buffer): Buffer {
  const place = at % (bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, place), put, bytes.subarray(place + count)]);
}

/**
 * Counts the bytes of all typed arrays and buffers that are made while `work` runs, whether they are used or
 * not.
 */
export async function countingAllocations(work: () => Promise<void>): Promise<number> {
  let allocated = 0;
  const restore: (() => void)[] = [];
  for (const name of [
    'Uint8Array',
    'Uint16Array',
    'Int32Array',
    'Uint32Array',
    'Float32Array',
    'Float64Array',
  ] as const) {
    const original = globalThis[name];
    const counting: typeof original = new Proxy(original, {
      construct(target, args, newTarget): object {
        if (typeof args[0] === 'number') allocated += args[0] * original.BYTES_PER_ELEMENT;
        return Reflect.construct(target, args, newTarget === counting ? target : newTarget);
      },
    });
    Object.assign(globalThis, { [name]: counting });
    restore.push(() => Object.assign(globalThis, { [name]: original }));
  }
  const { alloc } = Buffer;
  Buffer.alloc = (size: number, ...rest) => {
    allocated += size;
    return alloc.call(Buffer, size, ...rest);
  };
  try {
    await work();
  } finally {
    for (const undo of restore) undo();
    Buffer.alloc = alloc;
  }
  return allocated;
}
