import { EplbError } from '../../errors.ts';
import { quote, shapeText } from '../text.ts';

/** The header of a .npy file, checked. */
export interface NpyHeader {
  /** Kind and bytes of one number, as NumPy writes them: u1, i8, f4. */
  readonly dtype: string;
  readonly bytesPerNumber: number;
  readonly bigEndian: boolean;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
  /** Where the data starts. */
  readonly dataOffset: number;
}

/** The types that hold loads or expert ids, with their names for people. */
export const DTYPE_NAMES: ReadonlyMap<string, string> = new Map([
  ['i1', 'int8'],
  ['u1', 'uint8'],
  ['i2', 'int16'],
  ['u2', 'uint16'],
  ['i4', 'int32'],
  ['u4', 'uint32'],
  ['i8', 'int64'],
  ['u8', 'uint64'],
  ['f2', 'float16'],
  ['f4', 'float32'],
  ['f8', 'float64'],
]);

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

/** Whether the bytes begin as a .npy file does. */
export function hasNpyMagic(bytes: Uint8Array): boolean {
  return MAGIC.every((byte, i) => bytes[i] === byte);
}

/**
 * Reads and checks the header of a .npy file, and that the data after it is exactly as long as the header says.
 *
 * @param bytes - the whole file
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT naming what is wrong
 */
export function readNpyHeader(bytes: Uint8Array, name: string): NpyHeader {
  const fail = (what: string) => new EplbError('EPLB_FORMAT', `${name}: ${what}`);
  if (!hasNpyMagic(bytes)) {
    const start = Buffer.from(bytes.subarray(0, 6)).toString('hex');
    throw fail(`no .npy file: it begins with the bytes ${start}, not with 934e554d5059 (\\x93NUMPY)`);
  }
  const { textOffset, dataOffset } = headerBounds(bytes, fail);
  const text = Buffer.from(bytes.subarray(textOffset, dataOffset)).toString('latin1');

  const shape = shapeOf(text, fail);
  const order = /'fortran_order'\s*:\s*(True|False)\b/.exec(text);
  if (order === null) throw fail("malformed .npy header: 'fortran_order' is neither True nor False");
  const type = typeOf(text, fail);

  const header: NpyHeader = {
    dtype: type.dtype,
    bytesPerNumber: Number(type.dtype.slice(1)),
    bigEndian: type.bigEndian,
    fortranOrder: order[1] === 'True',
    shape,
    dataOffset,
  };
  checkLength(header, bytes.length - dataOffset, fail);
  return header;
}

type Fail = (what: string) => EplbError;

function headerBounds(bytes: Uint8Array, fail: Fail): { textOffset: number; dataOffset: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes[6] ?? 0;
  const textOffset = version === 1 ? 10 : 12;
  if (bytes.length < textOffset)
    throw fail(`truncated: ${bytes.length} bytes, which end inside the .npy header`);
  if (version < 1 || version > 3)
    throw fail(`.npy version ${version}.${bytes[7]}; versions 1, 2 and 3 are known`);
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const dataOffset = textOffset + length;
  if (dataOffset > bytes.length) {
    throw fail(`truncated: the .npy header ends at byte ${dataOffset}, the file at byte ${bytes.length}`);
  }
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

function typeOf(text: string, fail: Fail): { dtype: string; bigEndian: boolean } {
  const descr = /'descr'\s*:\s*'([^']+)'/.exec(text)?.[1];
  const known = /^[<>|]([iuf]\d+)$/.exec(descr ?? '')?.[1];
  if (descr === undefined || known === undefined || !DTYPE_NAMES.has(known)) {
    const found = descr === undefined ? 'not a plain type' : quote(descr);
    throw fail(
      `the type is ${found}; loads and expert ids are read from int8 to uint64 and float16 to float64`,
    );
  }
  return { dtype: known, bigEndian: descr.startsWith('>') };
}

function checkLength(header: NpyHeader, present: number, fail: Fail): void {
  const numbers = header.shape.reduce((product, size) => product * size, 1);
  const needed = numbers * header.bytesPerNumber;
  const shown = Number.isSafeInteger(needed) ? needed : needed.toExponential(2);
  const what = `shape ${shapeText(header.shape)} of ${DTYPE_NAMES.get(header.dtype)} needs ${shown} bytes of data`;
  if (needed > present) throw fail(`truncated: ${what}, the file has ${present}`);
  if (needed < present) throw fail(`${present - needed} bytes too many: ${what}, the file has ${present}`);
}
