import { MAX_FLOAT32 } from '../../core/checks.ts';
import { BYTES_PER_NUMBER, type NumberType } from './number-type.ts';

/** Numbers as typed arrays give them. 64-bit integers are pairs of a low and a high half: BigInt is slow. */
type NumberView =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array;

/**
 * Numbers of a file as loads.
 *
 * @param bytes - little-endian, at a multiple of 8 in their buffer
 * @param out - gets one load for each number; its length says how many
 * @returns the index of the first number that is not a load (negative, not finite, or beyond float32), or -1
 */
export function decodeLoads(bytes: Uint8Array, type: NumberType, out: Float32Array): number {
  switch (type) {
    case 'int64':
      return wideLoads(viewOf(bytes, Uint32Array), true, out);
    case 'uint64':
      return wideLoads(viewOf(bytes, Uint32Array), false, out);
    case 'float16':
    case 'bfloat16':
      return halfLoads(viewOf(bytes, Uint16Array), type, out);
    default:
      return plainLoads(viewOf(bytes, PLAIN_VIEWS[type]), out);
  }
}

/** What stands in ids for -1, which is not an expert: a token that was sent to fewer. */
export const NO_EXPERT = 0xffff;

/**
 * Numbers of a file as expert ids; -1 as {@link NO_EXPERT}.
 *
 * @param bytes - as for {@link decodeLoads}
 * @returns the index of the first number that is neither -1 nor a whole number from 0 to before `numExperts`,
 *   or -1
 */
export function decodeIds(bytes: Uint8Array, type: NumberType, out: Uint16Array, numExperts: number): number {
  if (type in PLAIN_VIEWS) {
    return plainIds(viewOf(bytes, PLAIN_VIEWS[type as PlainType]), out, numExperts);
  }
  for (let i = 0; i < out.length; i++) {
    const id = numberAt(bytes, type, i);
    if (!(id >= -1 && id < numExperts && Number.isInteger(id))) return i;
    out[i] = id;
  }
  return -1;
}

/**
 * One number of a file. 64-bit integers beyond 2^53 come rounded.
 *
 * @param bytes - as for {@link decodeLoads}
 */
export function numberAt(bytes: Uint8Array, type: NumberType, index: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = index * BYTES_PER_NUMBER[type];
  switch (type) {
    case 'int64':
      return Number(view.getBigInt64(at, true));
    case 'uint64':
      return Number(view.getBigUint64(at, true));
    case 'float16':
    case 'bfloat16':
      return halfTable(type)[view.getUint16(at, true)]!;
    default:
      return viewOf(bytes, PLAIN_VIEWS[type])[index]!;
  }
}

/** {@link numberAt} for all numbers. For tables, which are small; loads go through {@link decodeLoads}. */
export function decodeNumbers(bytes: Uint8Array, type: NumberType): Float64Array {
  const count = bytes.length / BYTES_PER_NUMBER[type];
  if (type in PLAIN_VIEWS) return new Float64Array(viewOf(bytes, PLAIN_VIEWS[type as PlainType]));
  return Float64Array.from({ length: count }, (_, i) => numberAt(bytes, type, i));
}

/**
 * {@link numberAt} for all numbers, in as little memory as can be: as they lie, half floats as float32,
 * 64-bit integers as float64.
 *
 * @param bytes - as for {@link decodeLoads}; the result may be a view of them
 */
export function viewNumbers(bytes: Uint8Array, type: NumberType): ArrayLike<number> {
  switch (type) {
    case 'int64':
    case 'uint64':
      return wideNumbers(viewOf(bytes, Uint32Array), type === 'int64');
    case 'float16':
    case 'bfloat16': {
      const numbers = new Float32Array(bytes.length / 2);
      halfLoads(viewOf(bytes, Uint16Array), type, numbers);
      return numbers;
    }
    default:
      return viewOf(bytes, PLAIN_VIEWS[type]);
  }
}

function wideNumbers(halves: Uint32Array, isSigned: boolean): Float64Array {
  const high = isSigned ? new Int32Array(halves.buffer, halves.byteOffset, halves.length) : halves;
  const numbers = new Float64Array(halves.length / 2);
  for (let i = 0; i < numbers.length; i++) numbers[i] = halves[2 * i]! + high[2 * i + 1]! * 2 ** 32;
  return numbers;
}

type PlainType = Exclude<NumberType, 'int64' | 'uint64' | 'float16' | 'bfloat16'>;

type ViewClass<V> = { new (buffer: ArrayBufferLike, byteOffset: number, length: number): V } & {
  readonly BYTES_PER_ELEMENT: number;
};

const PLAIN_VIEWS: Readonly<Record<PlainType, ViewClass<NumberView>>> = {
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  float32: Float32Array,
  float64: Float64Array,
};

function viewOf<V>(bytes: Uint8Array, View: ViewClass<V>): V {
  return new View(bytes.buffer, bytes.byteOffset, Math.floor(bytes.byteLength / View.BYTES_PER_ELEMENT));
}

/**
 * Copied by the engine, and looked at afterwards: a loop that does both is slower. What is wrong is found
 * again, number by number, only when there is something.
 */
function plainLoads(from: NumberView, out: Float32Array): number {
  if (from instanceof Float64Array) return doubleLoads(from, out);
  out.set(from.length === out.length ? from : from.subarray(0, out.length));
  if (from instanceof Float32Array) return firstBadFloat(out);
  // Of whole numbers, only a negative one is not a load.
  return isSigned(from) && hasNegative(from, out.length) ? from.findIndex((load) => load < 0) : -1;
}

function doubleLoads(from: Float64Array, out: Float32Array): number {
  for (let i = 0; i < out.length; i++) {
    const load = from[i]!;
    if (!(load >= 0 && load <= MAX_FLOAT32)) return i;
    out[i] = load;
  }
  return -1;
}

function isSigned(from: NumberView): boolean {
  return from instanceof Int8Array || from instanceof Int16Array || from instanceof Int32Array;
}

function hasNegative(from: NumberView, length: number): boolean {
  let bits = 0;
  for (let i = 0; i < length; i++) bits |= from[i]!;
  return bits < 0;
}

/** The index of the first float32 that is negative or not finite, or -1. */
function firstBadFloat(loads: Float32Array): number {
  // By their bits as whole numbers, finite ones come before infinity and NaN, and negative ones are negative.
  const bits = new Int32Array(loads.buffer, loads.byteOffset, loads.length);
  let most = 0;
  let signs = 0;
  for (let i = 0; i < bits.length; i++) {
    const found = bits[i]!;
    if (found > most) most = found;
    signs |= found;
  }
  if (most <= LARGEST_FINITE_BITS && signs >= 0) return -1;
  // A negative zero leads here too, and is none of these.
  return loads.findIndex((load) => !(load >= 0 && load < Number.POSITIVE_INFINITY));
}

const LARGEST_FINITE_BITS = 0x7f7fffff;

function wideLoads(halves: Uint32Array, isSigned: boolean, out: Float32Array): number {
  for (let i = 0; i < out.length; i++) {
    const high = halves[2 * i + 1]!;
    if (isSigned && high >= 2 ** 31) return i;
    out[i] = high * 2 ** 32 + halves[2 * i]!;
  }
  return -1;
}

function halfLoads(from: Uint16Array, type: 'float16' | 'bfloat16', out: Float32Array): number {
  // As bits: a float would be made a double and a float again.
  const bits = new Int32Array(out.buffer, out.byteOffset, out.length);
  const tableBits = new Int32Array(halfTable(type).buffer);
  let most = 0;
  for (let i = 0; i < bits.length; i++) {
    const half = from[i]!;
    if (half > most) most = half;
    bits[i] = tableBits[half]!;
  }
  return most < INFINITY_BITS[type] ? -1 : firstBadFloat(out);
}

function plainIds(from: NumberView, out: Uint16Array, numExperts: number): number {
  if (from instanceof Uint8Array || from instanceof Uint16Array) {
    out.set(from.length === out.length ? from : from.subarray(0, out.length));
    // Faster than the search, and enough where the number of experts is a power of two.
    return allBits(out) < numExperts ? -1 : out.findIndex((id) => id >= numExperts);
  }
  for (let i = 0; i < out.length; i++) {
    const id = from[i]!;
    out[i] = id;
    if (!(id >= 0 && id < numExperts && out[i] === id) && id !== -1) return i;
  }
  return -1;
}

/** All numbers or-ed together: at least the largest of them. */
function allBits(numbers: Uint16Array): number {
  const { buffer, byteOffset, length } = numbers;
  if (byteOffset % 4 !== 0 || length === 0) return 0xffff;
  const pairs = new Int32Array(buffer, byteOffset, Math.floor(length / 2));
  let bits = numbers[length - 1]!;
  for (let i = 0; i < pairs.length; i++) bits |= pairs[i]!;
  return (bits & 0xffff) | (bits >>> 16);
}

/** Infinity has the least bits of all that are not a finite load. */
const INFINITY_BITS = { float16: 0x7c00, bfloat16: 0x7f80 };

const tables = new Map<NumberType, Float32Array>();

/** The values of all 65,536 half floats, made when first needed. */
function halfTable(type: 'float16' | 'bfloat16'): Float32Array {
  let table = tables.get(type);
  if (table === undefined) {
    table = type === 'float16' ? Float32Array.from({ length: 65_536 }, (_, bits) => half(bits)) : brains();
    tables.set(type, table);
  }
  return table;
}

/** IEEE 754 binary16: 1 bit of sign, 5 of exponent (bias 15), 10 of fraction. */
function half(bits: number): number {
  const sign = bits >= 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -14 : sign * (1 + fraction) * 2 ** (exponent - 15);
}

/** A bfloat16 is the upper half of a float32. */
function brains(): Float32Array {
  return new Float32Array(Uint32Array.from({ length: 65_536 }, (_, bits) => bits << 16).buffer);
}
