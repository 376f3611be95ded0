/**
 * What torch.save would write, made by hand: for files that PyTorch itself would not, and for numbers of any
 * choice.
 */
import { crc32 } from 'node:zlib';

/** A zip archive of members that are stored as they are, written from the format's description. */
export function storedZip(
  members: readonly (readonly [name: string, data: Uint8Array])[],
): Buffer<ArrayBuffer> {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const [name, data] of members) {
    const text = Buffer.from(name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt32LE(crc32(data), 14);
    local.writeUInt32LE(data.length, 18);
    local.writeUInt32LE(data.length, 22);
    local.writeUInt16LE(text.length, 26);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt32LE(crc32(data), 16);
    central.writeUInt32LE(data.length, 20);
    central.writeUInt32LE(data.length, 24);
    central.writeUInt16LE(text.length, 28);
    central.writeUInt32LE(at, 42);
    directory.push(central, text);
    parts.push(local, text, Buffer.from(data));
    at += 30 + text.length + data.length;
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(
    directory.reduce((sum, part) => sum + part.length, 0),
    12,
  );
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, ...directory, end]);
}

/** Pickle of an int32 tensor [shape] without gaps over the storage `key`. */
export function tensorPickle(shape: readonly number[], key = '0', numNumbers?: number): string {
  const count = shape.reduce((product, size) => product * size, 1);
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1));
  const length = whole(numNumbers ?? count);
  const storage = `(${text('storage')}ctorch\nIntStorage\n${text(key)}${text('cpu')}${length}tQ`;
  const args = `(${storage}${whole(0)}${tuple(shape)}${tuple(strides)}\x89ccollections\nOrderedDict\n)Rt`;
  return `ctorch._utils\n_rebuild_tensor_v2\n${args}R`;
}

/** Pickle of a tuple of whole numbers. */
export function tuple(numbers: readonly number[]): string {
  return `(${numbers.map(whole).join('')}t`;
}

/** Pickle of a whole number of up to 31 bits. */
export function whole(number: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(number);
  return `J${bytes.toString('latin1')}`;
}

/** Pickle of a text. */
export function text(value: string): string {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(Buffer.byteLength(value));
  return `X${length.toString('latin1')}${Buffer.from(value).toString('latin1')}`;
}

/** A file of a dict, whose values are pickles, and of storages `0`, `1`, ... */
export function torchFile(
  dict: Readonly<Record<string, string>>,
  storages: readonly Int32Array[],
): Buffer<ArrayBuffer> {
  const items = Object.entries(dict).map(([key, value]) => text(key) + value);
  return torchArchive(`}(${items.join('')}u`, storages);
}

/** A file of any pickle, without its protocol and end. */
export function torchArchive(pickle: string, storages: readonly Int32Array[]): Buffer<ArrayBuffer> {
  return storedZip([
    ['archive/data.pkl', Buffer.from(`\x80\x02${pickle}.`, 'latin1')],
    ...storages.map(
      (numbers, i) =>
        [
          `archive/data/${i}`,
          new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength),
        ] as const,
    ),
  ]);
}
