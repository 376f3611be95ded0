import { zeros } from '../memory/allocate.ts';

/** Copies of bytes that one worker makes one after the other. */
export interface CopyTask {
  readonly kind: 'copies';
  readonly buffers: readonly SharedArrayBuffer[];
  /**
   * [copies][5]: source buffer and byte, target buffer and byte, and how many. Numbers from `buffers.length`
   * on are scratch.
   */
  readonly copies: Float64Array;
  /** The first so many only prepare: they can be dropped, as they write to scratch alone. */
  readonly numPreparing: number;
  /** Bytes of each scratch buffer: the worker's own, gone when the task is done. */
  readonly scratchBytes: readonly number[];
  /** i32[COPY_WORDS], shared: see {@link CopyWord}. */
  readonly words: Int32Array;
}

/** Figures of a copy. */
export const COPY_FIELDS = 5;

/** The words of a task: the index of each in i32[COPY_WORDS]. */
export const CopyWord = {
  /** How far it is: see {@link CopyPhase}. */
  PHASE: 0,
  /** Not 0: what is only prepared is to be dropped. */
  IS_CANCELLED: 1,
} as const;
export const COPY_WORDS = 2;

/** Whether nothing but scratch was written, something, or all. */
export const CopyPhase = { OLD: 0, WRITING: 1, NEW: 2 } as const;

/** Makes the copies. What it leaves is in the task's word, whatever becomes of the thread. */
export function runCopies({ buffers, copies, numPreparing, scratchBytes, words }: CopyTask): void {
  const { OLD, WRITING, NEW } = CopyPhase;
  const bytes = [
    ...buffers.map((buffer) => new Uint8Array(buffer)),
    ...scratchBytes.map((length) => zeros('a buffer slot', Uint8Array, length)),
  ];
  const numCopies = copies.length / COPY_FIELDS;
  Atomics.store(words, CopyWord.PHASE, OLD);
  for (let copy = 0; copy < numCopies; copy++) {
    if (copy <= numPreparing && Atomics.load(words, CopyWord.IS_CANCELLED) !== 0) return;
    if (copy === numPreparing) Atomics.store(words, CopyWord.PHASE, WRITING);
    const at = copy * COPY_FIELDS;
    const source = bytes[copies[at]!]!;
    const first = copies[at + 1]!;
    const target = bytes[copies[at + 2]!]!;
    target.set(source.subarray(first, first + copies[at + 4]!), copies[at + 3]!);
  }
  Atomics.store(words, CopyWord.PHASE, NEW);
}
