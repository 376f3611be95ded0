import { EplbError } from '../../core/errors.ts';
import { type ByteSource, readBytes } from '../bytes/source.ts';
import { BYTES_PER_NUMBER, NUMPY_CODES, type NumberType } from '../tensor/number-type.ts';
import { countOf } from '../tensor/shape.ts';
import { quote, shapeText } from '../text.ts';

/**
 * The header of a .npy file, checked. Read here and not by npyjs, which takes whole files, checks no lengths,
 * and knows neither big-endian numbers nor bfloat16; tests compare with it what both can read.
 */
interface NpyHeader {
  readonly type: NumberType;
  readonly bigEndian: boolean;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
  /** Where the data starts, from the beginning of the file. */
  readonly dataOffset: number;
  /** What was taken for something that the header does not say, for people. */
  readonly notes: readonly string[];
}

const TYPES: ReadonlyMap<string, NumberType> = new Map([...NUMPY_CODES, ['V2', 'bfloat16']]);

const BFLOAT16_NOTE =
  'numbers of two bytes without a type (V2) were read as bfloat16, as ml_dtypes writes them';

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

/** Longest header that is read: NumPy itself refuses to parse more than 10,000 characters. */
const MOST_HEADER_BYTES = 1 << 16;

/** Whether the bytes begin as a .npy file does. */
export function hasNpyMagic(bytes: Uint8Array): boolean {
  return MAGIC.every((byte, i) => bytes[i] === byte);
}

/**
 * Reads and checks the header of a .npy file, and that the data after it is exactly as long as the header
 * says.
 *
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT naming what is wrong
 */
export async function readNpyHeader(source: ByteSource, name: string): Promise<NpyHeader> {
  const fail = (what: string) => new EplbError('EPLB_FORMAT', `${name}: ${what}`);
  const start = await readBytes(source, 0, Math.min(source.size, 12));
  if (!hasNpyMagic(start)) {
    const shown = Buffer.from(start.subarray(0, 6)).toString('hex');
    throw fail(`not a .npy file: it begins with the bytes ${shown}, not with 934e554d5059 (\\x93NUMPY)`);
  }
  const { textOffset, dataOffset } = headerBounds(start, source.size, fail);
  const text = Buffer.from(await readBytes(source, textOffset, dataOffset - textOffset)).toString('latin1');

  const shape = shapeOf(text, fail);
  const order = /'fortran_order'\s*:\s*(True|False)\b/.exec(text);
  if (order === null) throw fail("malformed .npy header: 'fortran_order' is neither True nor False");
  const { type, bigEndian } = typeOf(text, fail);
  checkLength(type, shape, source.size - dataOffset, fail);
  const notes = type === 'bfloat16' ? [BFLOAT16_NOTE] : [];
  return { type, bigEndian, fortranOrder: order[1] === 'True', shape, dataOffset, notes };
}

type Fail = (what: string) => EplbError;

function headerBounds(
  start: Uint8Array,
  size: number,
  fail: Fail,
): { textOffset: number; dataOffset: number } {
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const version = start[6] ?? 0;
  const textOffset = version === 1 ? 10 : 12;
  if (size < textOffset) throw fail(`truncated: ${size} bytes, which end inside the .npy header`);
  if (version < 1 || version > 3) {
    throw fail(`.npy version ${version}.${start[7]}; versions 1, 2 and 3 are known`);
  }
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const dataOffset = textOffset + length;
  if (dataOffset > size) {
    throw fail(`truncated: the .npy header ends at byte ${dataOffset}, the file at byte ${size}`);
  }
  if (length > MOST_HEADER_BYTES)
    throw fail(`a .npy header of ${length} bytes; up to ${MOST_HEADER_BYTES} are read`);
  return { textOffset, dataOffset };
}

function shapeOf(text: string, fail: Fail): number[] {
  const inner = /'shape'\s*:\s*\(([^)]*)\)/.exec(text)?.[1];
  const parts = inner?.split(',').map((part) => part.trim());
  if (parts !== undefined && parts.at(-1) === '') parts.pop();
  // Python 2 wrote long integers with an L behind them.
  if (parts === undefined || !parts.every((part) => /^\d+L?$/.test(part))) {
    throw fail(`malformed .npy header: no shape of whole numbers in ${quote(text.trim(), 120)}`);
  }
  return parts.map((part) => Number.parseInt(part, 10));
}

function typeOf(text: string, fail: Fail): { type: NumberType; bigEndian: boolean } {
  const descr = /'descr'\s*:\s*'([^']+)'/.exec(text)?.[1];
  const type = TYPES.get(/^[<>|]([iufV]\d+)$/.exec(descr ?? '')?.[1] ?? '');
  if (descr === undefined || type === undefined) {
    const found = descr === undefined ? 'not a plain type' : quote(descr);
    throw fail(`the type is ${found}; numbers are read from int8 to uint64 and float16 to float64`);
  }
  return { type, bigEndian: descr.startsWith('>') };
}

function checkLength(type: NumberType, shape: readonly number[], present: number, fail: Fail): void {
  const needed = countOf(shape) * BYTES_PER_NUMBER[type];
  const shown = Number.isSafeInteger(needed) ? needed : needed.toExponential(2);
  const what = `shape ${shapeText(shape)} of ${type} needs ${shown} bytes of data`;
  if (needed > present) throw fail(`truncated: ${what}, the file has ${present}`);
  if (needed < present) throw fail(`${present - needed} bytes too many: ${what}, the file has ${present}`);
}
