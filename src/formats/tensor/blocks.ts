import { zeros } from '../../memory/allocate.ts';
import { BYTES_PER_NUMBER } from './number-type.ts';
import { countOf, denseStrides } from './shape.ts';
import { readTensor, type StoredTensor, slicedAlong } from './stored.ts';

/** A run of a tensor's rows (its first axis). */
interface Block {
  readonly from: number;
  readonly to: number;
  /** The numbers, row-major and little-endian. The reader's own: valid until the next block is asked for. */
  readonly bytes: Uint8Array;
}

/** Bytes of a block that lies in one piece: longer ones are no faster. */
const BLOCK_BYTES = 1 << 20;

/**
 * Bytes of a block that has to be collected: fewer, longer pieces of each column. Three of them are in
 * memory.
 */
const SCATTERED_BLOCK_BYTES = 1 << 24;

/**
 * The rows from `from` to before `to`, in blocks. While the caller works on one, the next is read.
 *
 * @throws EplbError as the tensor's source does
 */
export async function* blocksOf(tensor: StoredTensor, from: number, to: number): AsyncGenerator<Block> {
  // A range may begin beyond the end.
  if (from >= to) return;
  const rowBytes = (countOf(tensor.shape) / tensor.shape[0]!) * BYTES_PER_NUMBER[tensor.type];
  const isScattered = tensor.strides[0]! * BYTES_PER_NUMBER[tensor.type] < rowBytes;
  const blockBytes = isScattered ? SCATTERED_BLOCK_BYTES : BLOCK_BYTES;
  const rows = Math.min(to - from, Math.max(1, Math.floor(blockBytes / rowBytes)));
  const lying = rowsInMemory(tensor, from, to);
  if (lying !== undefined) {
    if (from < to) yield { from, to, bytes: lying };
    return;
  }
  // Two buffers in turn, each as long as a block and no longer than what there is to read.
  const buffers = [zeros('a block of rows', Uint8Array, rows * rowBytes)];
  if (to - from > rows) buffers.push(zeros('a block of rows', Uint8Array, rows * rowBytes));

  const room = isScattered ? new Uint8Array(rows * rowBytes) : undefined;
  const read = async (start: number, turn: number): Promise<Block> => {
    const end = Math.min(to, start + rows);
    const bytes = buffers[turn % 2]!.subarray(0, (end - start) * rowBytes);
    await readTensor(slicedAlong(tensor, 0, start, end), bytes, room);
    return { from: start, to: end, bytes };
  };
  let next = from < to ? read(from, 0) : undefined;
  try {
    for (let turn = 1; next !== undefined; turn++) {
      const block = await next;
      next = block.to < to ? read(block.to, turn) : undefined;
      // Looked at when it is its turn, which is late for an error that nobody waits for yet.
      next?.catch(() => undefined);
      yield block;
    }
  } finally {
    // Of a caller that stops early: nothing is read on behind its back, from a file that it may have closed.
    await next?.catch(() => undefined);
  }
}

/** Rows that lie in memory as a block is to have them. */
function rowsInMemory(tensor: StoredTensor, from: number, to: number): Uint8Array | undefined {
  const { source, offset, type, bigEndian, shape, strides } = slicedAlong(tensor, 0, from, to);
  const dense = denseStrides(shape);
  const isDense = shape.every((size, axis) => size === 1 || strides[axis] === dense[axis]);
  if (source.view === undefined || bigEndian || !isDense) return undefined;
  const bytes = source.view(offset, countOf(shape) * BYTES_PER_NUMBER[type]);
  return bytes.byteOffset % 8 === 0 ? bytes : undefined;
}
