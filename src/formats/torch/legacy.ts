import { EplbError } from '../../core/errors.ts';
import { type ByteSource, readBytes } from '../bytes/source.ts';
import type { MemoryBudget } from '../memory-budget.ts';
import { BYTES_PER_NUMBER } from '../tensor/number-type.ts';
import { quote } from '../text.ts';
import { readPickleAt } from './pickle.ts';
import { PickleDict, PickleList, type PickleMade, type PickleValue } from './pickle-values.ts';
import { StorageRef, TENSOR_MAKER } from './tensor-ref.ts';

/** A pickle of a number, which such a file begins with. */
const MAGIC = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex');
const VERSION = 1001;

/** How much of the file its pickles may take: they describe tensors, and do not hold them. */
const MOST_PICKLE_BYTES = 2 ** 24;

/** What a file holds that has no zip archive. */
export interface LegacyParts {
  readonly root: PickleValue;
  /** Where the numbers of each storage begin. */
  readonly places: ReadonlyMap<string, number>;
}

/** Whether a file begins as torch.save began it before PyTorch 1.6. */
export function isLegacyTorch(head: Uint8Array): boolean {
  return MAGIC.equals(head.subarray(0, MAGIC.length));
}

/**
 * Reads what torch.save wrote before PyTorch 1.6, or with `_use_new_zipfile_serialization=False`: pickles of
 * a version, of facts on the machine, of what was saved and of the storages' keys, and behind them each
 * storage, its length in front of it. The layout is that of torch/serialization.py; numbers are
 * little-endian on every machine.
 *
 * @throws EplbError EPLB_FORMAT when it is malformed, or holds anything but plain values and tensors
 */
export async function readLegacyTorch(
  source: ByteSource,
  name: string,
  budget: MemoryBudget,
): Promise<LegacyParts> {
  const bytes = await readBytes(source, 0, Math.min(source.size, MOST_PICKLE_BYTES));
  const storages = new Map<string, StorageRef>();
  const maker = {
    ...TENSOR_MAKER,
    persistent: (id: PickleValue) => kept(TENSOR_MAKER.persistent(id), storages),
  };
  const wrong = (what: string) => new EplbError('EPLB_FORMAT', `${name}: ${what}`);
  let at = MAGIC.length;
  const next = () => {
    const { value, end } = readPickleAt(bytes, at, name, maker, budget);
    at = end;
    return value;
  };
  if (next() !== VERSION) throw wrong(`not of version ${VERSION} of the format before PyTorch 1.6`);
  if (!(next() instanceof PickleDict)) throw wrong('it has no facts on the machine that it was saved on');
  const root = next();
  const keys = next();
  if (!(keys instanceof PickleList)) throw wrong('it has no list of its storages');
  const places = new Map<string, number>();
  for (const key of keys.items) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined;
    if (storage === undefined) throw wrong('it lists a storage that nothing is in');
    const length = Number(new DataView((await readBytes(source, at, 8)).slice().buffer).getBigInt64(0, true));
    if (length !== storage.numNumbers) {
      throw wrong(
        `storage ${quote(storage.key)} has ${length} numbers; its tensor says ${storage.numNumbers}`,
      );
    }
    places.set(storage.key, at + 8);
    at += 8 + length * BYTES_PER_NUMBER[storage.type];
    if (at > source.size) throw wrong(`it ends in storage ${quote(storage.key)}`);
  }
  return { root, places };
}

/** Remembers a storage by its key. */
function kept(made: PickleMade, storages: Map<string, StorageRef>): PickleMade {
  if (made instanceof StorageRef) storages.set(made.key, made);
  return made;
}
