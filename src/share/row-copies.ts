import { MAX_FLOAT32 } from '../core/checks.ts';
import type { Carver } from '../memory/carver.ts';

// A layer's state is one word. Of its row of slots and of its row of experts it says which of three copies
// is the published one, and whether that has anything that was not taken yet: INDEX and FRESH, moved up by
// the kind of the row.

export const NUM_COPIES = 3;

/** Bits of a state that say which copy is published, and the bit behind them. */
const INDEX_BITS = 2;
const INDEX = (1 << INDEX_BITS) - 1;
const FRESH = 1 << INDEX_BITS;
const BITS_A_KIND = INDEX_BITS + 1;

/** The kinds of rows: how far their bits are moved up in a state. */
export const PHYSICAL = 0;
export const LOGICAL = BITS_A_KIND;

/** Which copy is whose at first. A state of 0 has the first one published, and nothing in it. */
const FIRST_SPARE = 1;
const FIRST_TAKEN = 2;

export function isFresh(state: number, kind: number): boolean {
  return (state & (FRESH << kind)) !== 0;
}

/** The state without what is published of a kind. */
export function withoutFresh(state: number, kind: number): number {
  return state & ~(FRESH << kind);
}

/**
 * Three copies of a row of loads in each layer: the published one, the recording thread's spare one, and the
 * one that the balancer's thread has taken. Only whole rows are ever published, by exchanging one's own copy
 * for the published one.
 */
export class RowCopies {
  readonly kind: number;
  readonly #numLayers: number;
  readonly #rowLength: number;
  /** [copies x layers x row] */
  readonly #data: Float32Array;
  /**
   * [layers]: the recording thread's copies. In shared memory, for whoever connects with the same port again.
   */
  readonly #spares: Uint8Array;
  /** [layers]: the balancer's. */
  readonly #taken: Uint8Array;

  constructor(kind: number, buffer: ArrayBufferLike, at: RowsLayout, numLayers: number, rowLength: number) {
    this.kind = kind;
    this.#numLayers = numLayers;
    this.#rowLength = rowLength;
    this.#data = new Float32Array(buffer, at.data, NUM_COPIES * numLayers * rowLength);
    this.#spares = new Uint8Array(buffer, at.spares, numLayers);
    this.#taken = new Uint8Array(numLayers).fill(FIRST_TAKEN);
  }

  /** Makes the copies of new memory ready. */
  begin(): void {
    this.#spares.fill(FIRST_SPARE);
  }

  /**
   * Recording thread: writes what is published, plus a row, to the spare copy.
   *
   * @returns the index of the first load that is refused, itself or with what there is; -1 when all are good
   */
  prepareSum(layer: number, state: number, row: Float32Array): number {
    const data = this.#data;
    const to = this.#start(this.#spares[layer]!, layer);
    if (!isFresh(state, this.kind)) {
      for (let i = 0; i < row.length; i++) {
        const load = row[i]!;
        if (!(load >= 0 && load <= MAX_FLOAT32)) return i;
        data[to + i] = load;
      }
      return -1;
    }
    const from = this.#start(this.indexIn(state), layer);
    for (let i = 0; i < row.length; i++) {
      const load = row[i]!;
      const sum = data[from + i]! + load;
      if (!(load >= 0 && sum <= MAX_FLOAT32)) return i;
      data[to + i] = sum;
    }
    return -1;
  }

  /**
   * Recording thread: copies what is published, which may be nothing, to the spare copy, and returns that.
   */
  prepareCopy(layer: number, state: number): Float32Array {
    const spare = this.#row(this.#spares[layer]!, layer);
    if (isFresh(state, this.kind)) spare.set(this.published(layer, state));
    else spare.fill(0);
    return spare;
  }

  /** The state in which the spare copy is published. */
  withSpare(layer: number, state: number): number {
    const own = (this.#spares[layer]! | FRESH) << this.kind;
    return (state & ~((INDEX | FRESH) << this.kind)) | own;
  }

  /**
   * Recording thread: the spare copy was published in place of that of `state`, which is the spare one now.
   */
  exchanged(layer: number, state: number): void {
    this.#spares[layer] = this.indexIn(state);
  }

  /** The published copy. */
  published(layer: number, state: number): Float32Array {
    return this.#row(this.indexIn(state), layer);
  }

  /** Which copy is published. */
  indexIn(state: number): number {
    return (state >> this.kind) & INDEX;
  }

  /** The recording thread's copy. */
  spareIndex(layer: number): number {
    return this.#spares[layer]!;
  }

  /** The balancer's thread: the share of a state in which its own copy is published, with nothing in it. */
  empty(layer: number): number {
    return this.#taken[layer]! << this.kind;
  }

  /** The balancer's thread: its own copy was published in place of that of `state`, which is its own now. */
  take(layer: number, state: number): void {
    this.#taken[layer] = this.indexIn(state);
  }

  #row(copy: number, layer: number): Float32Array {
    const start = this.#start(copy, layer);
    return this.#data.subarray(start, start + this.#rowLength);
  }

  #start(copy: number, layer: number): number {
    return (copy * this.#numLayers + layer) * this.#rowLength;
  }
}

/** Where the copies of a kind of rows lie, as byte offsets. */
interface RowsLayout {
  readonly data: number;
  readonly spares: number;
}

export function carveRows(carver: Carver, numLayers: number, rowLength: number): RowsLayout {
  return { data: carver.take(4 * NUM_COPIES * numLayers * rowLength), spares: carver.take(numLayers) };
}
