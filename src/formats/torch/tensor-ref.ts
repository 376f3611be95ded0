import { BYTES_PER_NUMBER, type NumberType } from '../tensor/number-type.ts';
import { countOf } from '../tensor/shape.ts';
import { quote } from '../text.ts';
import { NumpyType, PickleBytes, scalarOf } from './numpy-scalar.ts';
import type { PickleMaker } from './pickle.ts';
import {
  describePickle,
  PickleDict,
  type PickleMade,
  PickleTuple,
  type PickleValue,
} from './pickle-values.ts';

/** A tensor as a pickle of torch.save describes it: a view of a storage, which is a member of the archive. */
export class TensorRef implements PickleMade {
  readonly made = 'a tensor';
  readonly storage: StorageRef;
  /** Of its first number in the storage, in numbers. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(storage: StorageRef, offset: number, shape: readonly number[], strides: readonly number[]) {
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

/** A run of numbers: the member `data/<key>` of the archive. */
export class StorageRef implements PickleMade {
  readonly made = 'a storage';
  readonly type: NumberType;
  readonly key: string;
  readonly numNumbers: number;

  constructor(type: NumberType, key: string, numNumbers: number) {
    this.type = type;
    this.key = key;
    this.numNumbers = numNumbers;
  }
}

/** A global that is allowed. */
class Global implements PickleMade {
  readonly made: string;
  constructor(name: string) {
    this.made = name;
  }
}

const REBUILD_TENSOR = 'torch._utils._rebuild_tensor_v2';
/** Of the types that have no storage of their own. */
const REBUILD_TENSOR_OF_TYPE = 'torch._utils._rebuild_tensor_v3';
const REBUILD_PARAMETER = 'torch._utils._rebuild_parameter';
const ORDERED_DICT = 'collections.OrderedDict';
const UNTYPED_STORAGE = 'torch.storage.UntypedStorage';
const SIZE = 'torch.Size';
const NUMPY_TYPE = 'numpy.dtype';
const NUMPY_SCALARS = ['numpy.core.multiarray.scalar', 'numpy._core.multiarray.scalar'];
/** How Python before 3 is given bytes. */
const ENCODE = '_codecs.encode';

const CALLABLE: ReadonlySet<string> = new Set([
  REBUILD_TENSOR,
  REBUILD_TENSOR_OF_TYPE,
  REBUILD_PARAMETER,
  ORDERED_DICT,
  SIZE,
  NUMPY_TYPE,
  ...NUMPY_SCALARS,
  ENCODE,
]);

/** Types by PyTorch's names for them, as a tensor of untyped numbers has one. */
const TYPES: ReadonlyMap<string, NumberType> = new Map(
  Object.keys(BYTES_PER_NUMBER).map((type) => [`torch.${type}`, type as NumberType]),
);

const STORAGES: ReadonlyMap<string, NumberType> = new Map([
  ['torch.ByteStorage', 'uint8'],
  ['torch.CharStorage', 'int8'],
  ['torch.ShortStorage', 'int16'],
  ['torch.IntStorage', 'int32'],
  ['torch.LongStorage', 'int64'],
  ['torch.HalfStorage', 'float16'],
  ['torch.BFloat16Storage', 'bfloat16'],
  ['torch.FloatStorage', 'float32'],
  ['torch.DoubleStorage', 'float64'],
]);

/** PyTorch itself allows 64. */
const MOST_AXES = 8;

/**
 * How often a number of a storage may stand in one tensor, through strides of 0. A table that is the same in
 * every layer is written so; without a bound a few bytes could describePickle a tensor of any size.
 */
const MOST_REPEATS = 4096;
const MOST_REPEATS_AT_ONCE = 64;

/**
 * Makes tensors, and refuses every other global by name: the complete list of what a pickle may call is here.
 */
export const TENSOR_MAKER: PickleMaker = { global: globalOf, call, persistent };

function globalOf(module: string, name: string): PickleMade {
  const full = `${module}.${name}`;
  const isKnown = CALLABLE.has(full) || STORAGES.has(full) || TYPES.has(full) || full === UNTYPED_STORAGE;
  if (isKnown) return new Global(full);
  throw new Error(
    `the global ${quote(full)} is refused: only tensors of numbers are read, and nothing is run: save the ` +
      'tensor alone',
  );
}

function call(callee: PickleValue, args: readonly PickleValue[]): PickleValue {
  if (!(callee instanceof Global)) throw new Error(`a call of ${describePickle(callee)} is refused`);
  if (callee.made === ORDERED_DICT && args.length === 0) return new PickleDict();
  if (callee.made === REBUILD_TENSOR) return tensorOf(args);
  if (callee.made === REBUILD_TENSOR_OF_TYPE) return typedTensorOf(args);
  // A parameter is its tensor, and what training needs beside it.
  if (callee.made === REBUILD_PARAMETER && args[0] instanceof TensorRef) return args[0];
  if (callee.made === SIZE && args[0] instanceof PickleTuple) return args[0];
  if (callee.made === NUMPY_TYPE && typeof args[0] === 'string') return new NumpyType(args[0]);
  if (NUMPY_SCALARS.includes(callee.made)) return scalarOf(args[0], args[1]);
  if (callee.made === ENCODE && typeof args[0] === 'string' && args[1] === 'latin1') {
    return new PickleBytes(new Uint8Array(Buffer.from(args[0], 'latin1')));
  }
  throw new Error(`a call of ${callee.made} with ${args.length} arguments is refused`);
}

/** `('storage', torch.IntStorage, '0', 'cpu', 12)`; the device does not matter. */
function persistent(id: PickleValue): PickleMade {
  const [kind, type, key, , count, view = null] = id instanceof PickleTuple ? id.items : [];
  // Only PyTorch before 0.4 wrote views of storages.
  if (view !== null) throw new Error('a view of a storage is refused: save the tensor alone');
  const isUntyped = type instanceof Global && type.made === UNTYPED_STORAGE;
  const numberType = isUntyped ? 'uint8' : type instanceof Global ? STORAGES.get(type.made) : undefined;
  if (kind !== 'storage' || numberType === undefined || typeof key !== 'string' || !isSize(count)) {
    throw new Error('a persistent id that names no storage of numbers is refused');
  }
  return new StorageRef(numberType, key, count);
}

/** A tensor over bytes that says itself what type its numbers have. */
function typedTensorOf(args: readonly PickleValue[]): TensorRef {
  const [bytes, , , , , , type] = args;
  const numberType = type instanceof Global ? TYPES.get(type.made) : undefined;
  if (!(bytes instanceof StorageRef) || bytes.type !== 'uint8' || numberType === undefined) {
    throw new Error('a tensor without a storage of bytes and a type of numbers');
  }
  const count = Math.floor(bytes.numNumbers / BYTES_PER_NUMBER[numberType]);
  return tensorOf([new StorageRef(numberType, bytes.key, count), ...args.slice(1)]);
}

function tensorOf([storage, offset, shape, strides]: readonly PickleValue[]): TensorRef {
  const sizes = sizesOf(shape);
  const steps = sizesOf(strides);
  const fits = storage instanceof StorageRef && isSize(offset) && sizes !== undefined && steps !== undefined;
  if (!fits || sizes.length !== steps.length)
    throw new Error('a tensor without a storage, an offset, a shape and strides');
  if (sizes.length > MOST_AXES)
    throw new Error(`a tensor of ${sizes.length} dimensions; up to ${MOST_AXES} are read`);
  const { numNumbers, type } = storage;
  const count = countOf(sizes);
  const end = offset + sizes.reduce((span, size, axis) => span + (size - 1) * steps[axis]!, 1);
  if (count > 0 && !(end <= numNumbers && Number.isSafeInteger(end * BYTES_PER_NUMBER[type]))) {
    throw new Error(`a tensor that reaches to number ${end} of a storage of ${numNumbers}`);
  }
  // Of the first axis, one index is read at a time.
  const atOnce = countOf(sizes.slice(1));
  if (count > MOST_REPEATS * numNumbers || atOnce > MOST_REPEATS + MOST_REPEATS_AT_ONCE * numNumbers) {
    throw new Error(`a tensor of ${count} numbers over a storage of ${numNumbers}: too many of each`);
  }
  return new TensorRef(storage, offset, sizes, steps);
}

function sizesOf(value: PickleValue | undefined): number[] | undefined {
  if (!(value instanceof PickleTuple)) return undefined;
  const sizes = value.items.filter(isSize);
  return sizes.length === value.items.length ? sizes : undefined;
}

function isSize(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
