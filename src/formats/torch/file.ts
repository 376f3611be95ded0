import { EplbError } from '../../core/errors.ts';
import { zeros } from '../../memory/allocate.ts';
import { type ByteSource, readBytes } from '../bytes/source.ts';
import { MemoryBudget } from '../memory-budget.ts';
import { decodeNumbers } from '../tensor/decode.ts';
import { BYTES_PER_NUMBER } from '../tensor/number-type.ts';
import { countOf } from '../tensor/shape.ts';
import { readTensor, type StoredTensor } from '../tensor/stored.ts';
import { quote } from '../text.ts';
import type { ZipArchive } from '../zip/archive.ts';
import { isLegacyTorch, readLegacyTorch } from './legacy.ts';
import { readPickle } from './pickle.ts';
import type { PickleValue } from './pickle-values.ts';
import { type StorageRef, TENSOR_MAKER, type TensorRef } from './tensor-ref.ts';

const PICKLE = 'data.pkl';

/** Largest pickle that is read: what it describes is in memory, the tensors are not. */
const MOST_PICKLE_BYTES = 2 ** 28;

/**
 * What torch.save wrote. Since PyTorch 1.6 a zip archive of a pickle, of the tensors' numbers as members of
 * their own, and of the byte order; before that, or when asked to, one thing behind the other.
 */
export class TorchFile {
  /** What was saved. */
  readonly root: PickleValue;
  /** Whether the archive has checksums: torch.save has an option to write none. */
  readonly hasChecksums: boolean;
  readonly #name: string;
  readonly #storages: Storages;
  readonly #bigEndian: boolean;

  private constructor(name: string, parts: Parts) {
    this.#name = name;
    this.root = parts.root;
    this.hasChecksums = parts.hasChecksums;
    this.#storages = parts.storages;
    this.#bigEndian = parts.bigEndian;
  }

  /** Whether an archive is of torch.save. */
  static isOne(zip: ZipArchive): boolean {
    return folderOf(zip) !== undefined;
  }

  /**
   * @param head - the first bytes
   * @param source - all of them
   * @param fileBytes - size of the file
   * @param name - the file, for messages
   * @throws EplbError EPLB_FORMAT when it is malformed, or holds anything but plain values and tensors
   */
  static async open(
    head: Uint8Array,
    source: ByteSource,
    zipOf: () => Promise<ZipArchive>,
    fileBytes: number,
    name: string,
  ): Promise<TorchFile> {
    if (isLegacyTorch(head)) {
      const { root, places } = await readLegacyTorch(source, name, new MemoryBudget(fileBytes, name));
      const storages = new LegacyStorages(source, places);
      return new TorchFile(name, { root, storages, hasChecksums: false, bigEndian: false });
    }
    const zip = await zipOf();
    const folder = folderOf(zip);
    if (folder === undefined) {
      throw new EplbError('EPLB_FORMAT', `${name}: a zip archive without ${PICKLE}: not of torch.save`);
    }
    const pickle = folder + PICKLE;
    const size = zip.sizeOf(pickle)!;
    if (size > MOST_PICKLE_BYTES) {
      throw new EplbError(
        'EPLB_FORMAT',
        `${name}: a pickle of ${size} bytes; up to ${MOST_PICKLE_BYTES} are read`,
      );
    }
    // torch.serialization.set_crc32_options(False) leaves a 0 in the place of every checksum.
    const hasChecksums = zip.checksumOf(pickle) !== 0;
    const bytes = await readBytes(await zip.openStored(pickle, hasChecksums), 0, size);
    const root = readPickle(bytes, name, TENSOR_MAKER, new MemoryBudget(fileBytes, name));
    return new TorchFile(name, {
      root,
      storages: new Members(zip, folder, hasChecksums, name),
      hasChecksums,
      bigEndian: await isBigEndian(zip, folder, hasChecksums, name),
    });
  }

  /**
   * A tensor of the file, where it lies.
   *
   * @throws EplbError EPLB_FORMAT when its numbers are not there, or not as many as the pickle says
   */
  async tensor(ref: TensorRef): Promise<StoredTensor> {
    const { type } = ref.storage;
    const { source, at } = await this.#storages.open(ref.storage);
    const { shape, strides } = ref;
    const offset = at + ref.offset * BYTES_PER_NUMBER[type];
    return { source, offset, type, bigEndian: this.#bigEndian, shape, strides };
  }

  /** All numbers of a tensor, row-major. For tables, which are small. @throws as {@link TorchFile.tensor} */
  async numbers(ref: TensorRef): Promise<Float64Array> {
    const tensor = await this.tensor(ref);
    const bytes = zeros(this.#name, Uint8Array, countOf(tensor.shape) * BYTES_PER_NUMBER[tensor.type]);
    await readTensor(tensor, bytes);
    await tensor.source.verify?.();
    return decodeNumbers(bytes, tensor.type);
  }

  /** What is to be said of the file, for people. */
  get notes(): readonly string[] {
    return this.hasChecksums ? [] : [NO_CHECKSUMS_NOTE];
  }
}

const NO_CHECKSUMS_NOTE = 'torch.save wrote no checksums, so that damage to the numbers would not be noticed';

interface Parts {
  readonly root: PickleValue;
  readonly storages: Storages;
  readonly hasChecksums: boolean;
  readonly bigEndian: boolean;
}

/** Where the numbers of storages are. */
interface Storages {
  /** The bytes that a storage is in, and where it begins there. @throws EplbError EPLB_FORMAT */
  open(storage: StorageRef): Promise<{ readonly source: ByteSource; readonly at: number }>;
}

/** Storages that are members of the archive. */
class Members implements Storages {
  readonly #zip: ZipArchive;
  readonly #folder: string;
  readonly #hasChecksums: boolean;
  readonly #name: string;
  readonly #opened = new Map<string, ByteSource>();

  constructor(zip: ZipArchive, folder: string, hasChecksums: boolean, name: string) {
    this.#zip = zip;
    this.#folder = folder;
    this.#hasChecksums = hasChecksums;
    this.#name = name;
  }

  async open({ key, type, numNumbers }: StorageRef): Promise<{ source: ByteSource; at: number }> {
    const member = `${this.#folder}data/${key}`;
    const opened = this.#opened.get(member);
    if (opened !== undefined) return { source: opened, at: 0 };
    const size = this.#zip.sizeOf(member);
    const wanted = numNumbers * BYTES_PER_NUMBER[type];
    if (size !== undefined && size < wanted) {
      const what = `member ${quote(member)} has ${size} bytes; ${numNumbers} numbers of ${type} need ${wanted}`;
      throw new EplbError('EPLB_FORMAT', `${this.#name}: ${what}`);
    }
    const source = await this.#zip.openStored(member, this.#hasChecksums);
    this.#opened.set(member, source);
    return { source, at: 0 };
  }
}

/** Storages that stand one behind the other in a file without an archive. */
class LegacyStorages implements Storages {
  readonly #source: ByteSource;
  readonly #places: ReadonlyMap<string, number>;

  constructor(source: ByteSource, places: ReadonlyMap<string, number>) {
    this.#source = source;
    this.#places = places;
  }

  async open({ key }: StorageRef): Promise<{ source: ByteSource; at: number }> {
    const at = this.#places.get(key);
    if (at === undefined) throw new EplbError('EPLB_FORMAT', `storage ${quote(key)} is not in the file`);
    return { source: this.#source, at };
  }
}

/**
 * The folder in the archive that everything is in: `archive/`, or the name that the file had when it was
 * saved.
 */
function folderOf(zip: ZipArchive): string | undefined {
  const pickle = zip.names().find((name) => name === PICKLE || name.endsWith(`/${PICKLE}`));
  return pickle?.slice(0, -PICKLE.length);
}

/** PyTorch before 2.1 wrote no byte order, and ran on little-endian machines. */
async function isBigEndian(
  zip: ZipArchive,
  folder: string,
  hasChecksums: boolean,
  name: string,
): Promise<boolean> {
  const size = zip.sizeOf(`${folder}byteorder`);
  if (size === undefined) return false;
  const source = await zip.openStored(`${folder}byteorder`, hasChecksums);
  const order = Buffer.from(await readBytes(source, 0, Math.min(size, 16))).toString('latin1');
  if (order === 'little' || order === 'big') return order === 'big';
  throw new EplbError('EPLB_FORMAT', `${name}: the byte order ${quote(order)} is neither little nor big`);
}
