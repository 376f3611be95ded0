/** What a .npy file is to be made of. Everything can be made wrong. */
export interface NpyParts {
  /** The type as in the header: '<f4', '|u1', '>i8'. */
  readonly descr: string;
  readonly shape: readonly number[];
  /** The numbers, written in the byte order that `descr` says. */
  readonly values: readonly number[];
  readonly fortranOrder?: boolean;
  readonly version?: 1 | 2 | 3;
  /** The data starts at a multiple of this many bytes. */
  readonly align?: number;
  /** Replaces the whole header text. */
  readonly header?: string;
}

/** The bytes of a .npy file, written from the format's description and not by the library that reads it. */
export function npyFile(parts: NpyParts): Uint8Array<ArrayBuffer> {
  const { descr, shape, fortranOrder = false, version = 1, align = 64 } = parts;
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const order = fortranOrder ? 'True' : 'False';
  let text = parts.header ?? `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${sizes}), }`;
  const textOffset = version === 1 ? 10 : 12;
  text += ' '.repeat((align - ((textOffset + text.length + 1) % align)) % align);
  text += '\n';
  const head = Buffer.alloc(textOffset);
  head.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]);
  if (version === 1) head.writeUInt16LE(text.length, 8);
  else head.writeUInt32LE(text.length, 8);
  return new Uint8Array(Buffer.concat([head, Buffer.from(text, 'latin1'), numberBytes(descr, parts.values)]));
}

/**
 * The shape in a .npy file's header. Of a file of one-byte numbers, the data is the end of that many bytes.
 */
export function npyShape(file: Uint8Array): number[] {
  const header = Buffer.from(file.subarray(0, 128)).toString('latin1');
  return /'shape': \(([\d, ]+)\)/.exec(header)![1]!.split(',').map(Number);
}

function numberBytes(descr: string, values: readonly number[]): Uint8Array {
  const size = Number(descr.slice(2));
  const view = new DataView(new ArrayBuffer(values.length * size));
  const little = descr[0] !== '>';
  values.forEach((value, i) => {
    writers[descr.slice(1)]?.(view, i * size, value, little);
  });
  return new Uint8Array(view.buffer);
}

type Writer = (view: DataView, at: number, value: number, little: boolean) => void;

const writers: Readonly<Record<string, Writer>> = {
  i1: (view, at, value) => view.setInt8(at, value),
  u1: (view, at, value) => view.setUint8(at, value),
  i2: (view, at, value, little) => view.setInt16(at, value, little),
  u2: (view, at, value, little) => view.setUint16(at, value, little),
  i4: (view, at, value, little) => view.setInt32(at, value, little),
  u4: (view, at, value, little) => view.setUint32(at, value, little),
  i8: (view, at, value, little) => view.setBigInt64(at, BigInt(value), little),
  u8: (view, at, value, little) => view.setBigUint64(at, BigInt(value), little),
  // Halves of the whole numbers 0 to 2048 only: enough to be told apart, and simple to encode.
  f2: (view, at, value, little) => view.setUint16(at, halfOf(value), little),
  f4: (view, at, value, little) => view.setFloat32(at, value, little),
  f8: (view, at, value, little) => view.setFloat64(at, value, little),
};

function halfOf(value: number): number {
  if (value === 0) return 0;
  const exponent = Math.floor(Math.log2(value));
  return ((exponent + 15) << 10) | ((value / 2 ** exponent - 1) * 1024);
}
