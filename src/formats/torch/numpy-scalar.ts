import { numberAt } from '../tensor/decode.ts';
import { NUMPY_CODES, type NumberType } from '../tensor/number-type.ts';
import { type PickleMade, PickleTuple, type PickleValue } from './pickle-values.ts';

/** NumPy's names of types that a scalar may have. */
const TYPES: ReadonlyMap<string, NumberType> = new Map([...NUMPY_CODES, ['b1', 'uint8']]);

/** A NumPy type, as a pickle describes it before its state says in which order its bytes are. */
export class NumpyType implements PickleMade {
  readonly made = 'a NumPy type';
  readonly name: string;
  isBigEndian = false;

  constructor(name: string) {
    this.name = name;
  }

  /** Takes the state, `(3, '<', None, None, None, -1, -1, 0)`. @throws Error for another one */
  build(state: PickleValue): void {
    const order = state instanceof PickleTuple ? state.items[1] : undefined;
    if (order !== '<' && order !== '>' && order !== '|' && order !== '=') {
      throw new Error('a NumPy type without a byte order is refused');
    }
    this.isBigEndian = order === '>';
  }
}

/** Bytes of a pickle: those of NumPy's scalars. */
export class PickleBytes implements PickleMade {
  readonly made = 'bytes';
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** The number of a scalar. @throws Error for one that is not a number */
export function scalarOf(type: PickleValue | undefined, bytes: PickleValue | undefined): number {
  const numberType = type instanceof NumpyType ? TYPES.get(type.name) : undefined;
  if (!(type instanceof NumpyType) || numberType === undefined || !(bytes instanceof PickleBytes)) {
    throw new Error('a NumPy scalar that is not a number is refused');
  }
  const size = Number(type.name.slice(1));
  if (bytes.bytes.length !== size)
    throw new Error(`a NumPy scalar of ${bytes.bytes.length} bytes, not ${size}`);
  const ordered = new Uint8Array(8);
  ordered.set(bytes.bytes);
  if (type.isBigEndian) ordered.subarray(0, size).reverse();
  return numberAt(ordered, numberType, 0);
}
