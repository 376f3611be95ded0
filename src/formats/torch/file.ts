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
import { readPickle } from './pickle.ts';
import type { PickleValue } from './pickle-values.ts';
import { TENSOR_MAKER, type TensorRef } from './tensor-ref.ts';

const PICKLE = 'data.pkl';

/** What torch.save began its files with before PyTorch 1.6: a pickle of a number. */
const LEGACY_MAGIC = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex');

/** Largest pickle that is read: what it describes is in memory, the tensors are not. */
const MOST_PICKLE_BYTES = 2 ** 28;

/**
 * What torch.save wrote, since PyTorch 1.6: a zip archive of a pickle, of the tensors' numbers as members of
 * their own, and of the byte order.
 */
export class TorchFile {
  /** What was saved. */
  readonly root: PickleValue;
  /** Whether the archive has checksums: torch.save has an option to write none. */
  readonly hasChecksums: boolean;
  readonly #zip: ZipArchive;
  readonly #name: string;
  readonly #folder: string;
  readonly #bigEndian: boolean;
  readonly #storages = new Map<string, ByteSource>();

  private constructor(zip: ZipArchive, name: string, parts: Parts) {
    this.#zip = zip;
    this.#name = name;
    this.root = parts.root;
    this.hasChecksums = parts.hasChecksums;
    this.#folder = parts.folder;
    this.#bigEndian = parts.bigEndian;
  }

  /** Whether an archive is of torch.save. */
  static isOne(zip: ZipArchive): boolean {
    return folderOf(zip) !== undefined;
  }

  /**
   * @param head - the first bytes
   * @param fileBytes - size of the file
   * @param name - the file, for messages
   * @throws EplbError EPLB_FORMAT when it is malformed, or holds anything but plain values and tensors
   */
  static async open(
    head: Uint8Array,
    zipOf: () => Promise<ZipArchive>,
    fileBytes: number,
    name: string,
  ): Promise<TorchFile> {
    if (LEGACY_MAGIC.equals(head.subarray(0, LEGACY_MAGIC.length))) {
      const what =
        'saved by PyTorch before version 1.6, or without the zip format: load it there and save it again';
      throw new EplbError('EPLB_FORMAT', `${name}: ${what}`);
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
    return new TorchFile(zip, name, {
      root,
      folder,
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
    const { key, type, numNumbers } = ref.storage;
    const member = `${this.#folder}data/${key}`;
    let source = this.#storages.get(member);
    if (source === undefined) {
      const size = this.#zip.sizeOf(member);
      const wanted = numNumbers * BYTES_PER_NUMBER[type];
      if (size !== undefined && size < wanted) {
        const what =
          `member ${quote(member)} has ${size} bytes; ${numNumbers} numbers of ${type} need ` + `${wanted}`;
        throw new EplbError('EPLB_FORMAT', `${this.#name}: ${what}`);
      }
      source = await this.#zip.openStored(member, this.hasChecksums);
      this.#storages.set(member, source);
    }
    const { shape, strides } = ref;
    const offset = ref.offset * BYTES_PER_NUMBER[type];
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
  readonly folder: string;
  readonly hasChecksums: boolean;
  readonly bigEndian: boolean;
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
