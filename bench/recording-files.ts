import { closeSync, openSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { Topology } from 'expert-load-balancer';

/**
 * Bytes that are written over and over: whole steps of any usual size do not repeat within a block of a
 * reader.
 */
const PATTERN_BYTES = 1 << 23;

/** Number types of NumPy's files beside int32, and how whole numbers from 0 to 127 are written in them. */
const NUMBER_TYPES = {
  int8: { code: '<i1', bytes: 1, write: (loads: Int32Array) => Int8Array.from(loads) },
  uint16: { code: '<u2', bytes: 2, write: (loads: Int32Array) => Uint16Array.from(loads) },
  float16: { code: '<f2', bytes: 2, write: (loads: Int32Array) => Uint16Array.from(loads, halfOf) },
  float32: { code: '<f4', bytes: 4, write: (loads: Int32Array) => Float32Array.from(loads) },
  int64: { code: '<i8', bytes: 8, write: (loads: Int32Array) => BigInt64Array.from(loads, BigInt) },
  float64: { code: '<f8', bytes: 8, write: (loads: Int32Array) => Float64Array.from(loads) },
} as const;

/** How recorded loads [steps x layers x experts] lie in a file of NumPy's. */
type NpyKind = 'npy' | `npy ${keyof typeof NUMBER_TYPES}`;

/**
 * How recorded loads lie in a file; of int32, unless it says otherwise. torch.save can be told to write no
 * checksums.
 */
export type RecordingKind = NpyKind | 'pt' | 'pt without checksums';

/**
 * Writes a recording of about that many bytes, as NumPy or as SGLang with PyTorch would, without holding it
 * in memory.
 *
 * @returns how many steps it has, and the sum of its loads
 */
export function writeRecording(
  path: string,
  kind: RecordingKind,
  { numLayers, numLogicalExperts }: Pick<Topology, 'numLayers' | 'numLogicalExperts'>,
  bytes: number,
): { steps: number; total: number } {
  const perStep = numLayers * numLogicalExperts;
  const type = NUMBER_TYPES[kind.slice('npy '.length) as keyof typeof NUMBER_TYPES];
  const bytesPerLoad = type?.bytes ?? 4;
  const steps = Math.max(1, Math.floor(bytes / (bytesPerLoad * perStep)));
  const shape = [steps, numLayers, numLogicalExperts];
  const size = bytesPerLoad * steps * perStep;
  const file = openSync(path, 'w');
  try {
    if (type !== undefined) {
      writeSync(file, npyHeader(shape, type.code));
      const loads = Int32Array.from({ length: PATTERN_BYTES / bytesPerLoad }, (_, i) => (i * 7919) % 128);
      return { steps, total: writePattern(file, size, loads, type.write(loads)).total };
    }
    if (kind === 'npy') {
      writeSync(file, npyHeader(shape, '<i4'));
      return { steps, total: writeLoads(file, size).total };
    }
    const hasChecksums = kind === 'pt';
    const before = torchBegin(shape, size, 0);
    writeSync(file, before);
    const { total, checksum } = writeLoads(file, size);
    writeSync(file, torchEnd(shape, size, hasChecksums ? checksum : undefined));
    // Known now: the beginning once more.
    if (hasChecksums) writeSync(file, torchBegin(shape, size, checksum), 0, before.length, 0);
    return { steps, total };
  } finally {
    closeSync(file);
  }
}

/** Writes loads of 0 to 999, and returns their sum and their checksum. */
function writeLoads(file: number, size: number): { total: number; checksum: number } {
  const loads = Int32Array.from({ length: PATTERN_BYTES / 4 }, (_, i) => (i * 7919 + (i >> 9)) % 1000);
  return writePattern(file, size, loads, loads);
}

/** Writes loads over and over, `size` bytes in all. @param written the loads as they are in the file */
function writePattern(
  file: number,
  size: number,
  loads: Int32Array,
  written: ArrayBufferView,
): { total: number; checksum: number } {
  const pattern = new Uint8Array(written.buffer, written.byteOffset, written.byteLength);
  const bytesPerLoad = pattern.length / loads.length;
  const sum = (some: Int32Array) => some.reduce((all, load) => all + load, 0);
  const patternTotal = sum(loads);
  let total = 0;
  let checksum = 0;
  for (let done = 0; done < size; ) {
    const piece = pattern.subarray(0, Math.min(PATTERN_BYTES, size - done));
    checksum = crc32(piece, checksum);
    done += writeSync(file, piece);
    total +=
      piece.length === PATTERN_BYTES ? patternTotal : sum(loads.subarray(0, piece.length / bytesPerLoad));
  }
  return { total, checksum };
}

/** A whole number from 0 to 127 as the bits of an IEEE 754 binary16. */
function halfOf(load: number): number {
  if (load === 0) return 0;
  const exponent = 31 - Math.clz32(load);
  return ((exponent + 15) << 10) | ((load - 2 ** exponent) << (10 - exponent));
}

function npyHeader(shape: readonly number[], code: string): Buffer {
  const text = `{'descr': '${code}', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`;
  const padded = `${text.padEnd(128 - 10 - 1)}\n`;
  return Buffer.concat([
    Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, padded.length, 0]),
    Buffer.from(padded),
  ]);
}

/** What stands before the numbers in the archive that torch.save writes for {"logical_count": tensor}. */
function torchBegin(shape: readonly number[], size: number, checksum: number): Buffer {
  const pickle = statisticsPickle(shape, size);
  const pickleSum = checksum === 0 ? 0 : crc32(pickle);
  return Buffer.concat([local(PICKLE, pickle.length, pickleSum), pickle, local(STORAGE, size, checksum)]);
}

/** What stands behind the numbers. */
function torchEnd(shape: readonly number[], size: number, checksum: number | undefined): Buffer {
  const pickle = statisticsPickle(shape, size);
  const second = local(PICKLE, 0, 0).length + pickle.length;
  const before = torchBegin(shape, size, 0).length;
  const directory = Buffer.concat([
    central(PICKLE, pickle.length, 0, checksum === undefined ? 0 : crc32(pickle)),
    central(STORAGE, size, second, checksum ?? 0),
  ]);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(2, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(before + size, 16);
  return Buffer.concat([directory, end]);
}

const PICKLE = 'archive/data.pkl';
const STORAGE = 'archive/data/0';

function statisticsPickle(shape: readonly number[], size: number): Buffer {
  return Buffer.from(
    `\x80\x02}${text('logical_count')}ctorch._utils\n_rebuild_tensor_v2\n` +
      `((${text('storage')}ctorch\nIntStorage\n` +
      `${text('0')}${text('cpu')}${whole(size / 4)}tQ${whole(0)}${tuple(shape)}` +
      `${tuple([shape[1]! * shape[2]!, shape[2]!, 1])}\x89ccollections\nOrderedDict\n)RtRs.`,
    'latin1',
  );
}

function local(name: string, size: number, checksum: number): Buffer {
  const head = Buffer.alloc(30);
  head.writeUInt32LE(0x04034b50, 0);
  head.writeUInt32LE(checksum, 14);
  head.writeUInt32LE(size, 18);
  head.writeUInt32LE(size, 22);
  head.writeUInt16LE(name.length, 26);
  return Buffer.concat([head, Buffer.from(name)]);
}

function central(name: string, size: number, offset: number, checksum: number): Buffer {
  const head = Buffer.alloc(46);
  head.writeUInt32LE(0x02014b50, 0);
  head.writeUInt32LE(checksum, 16);
  head.writeUInt32LE(size, 20);
  head.writeUInt32LE(size, 24);
  head.writeUInt16LE(name.length, 28);
  head.writeUInt32LE(offset, 42);
  return Buffer.concat([head, Buffer.from(name)]);
}

function text(value: string): string {
  return `X${uint32(value.length)}${value}`;
}

function whole(value: number): string {
  return `J${uint32(value)}`;
}

function tuple(values: readonly number[]): string {
  return `(${values.map(whole).join('')}t`;
}

function uint32(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.toString('latin1');
}
