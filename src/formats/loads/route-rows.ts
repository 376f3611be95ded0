import { EplbError, EplbRangeError } from '../../core/errors.ts';
import { grouped, percent } from '../number-text.ts';
import { blocksOf } from '../tensor/blocks.ts';
import { decodeIds, NO_EXPERT, numberAt } from '../tensor/decode.ts';
import { BYTES_PER_NUMBER, isFloat, type NumberType } from '../tensor/number-type.ts';
import type { StoredTensor } from '../tensor/stored.ts';

/** The share of tokens' choices that may name an expert twice before they are taken for something else. */
const MOST_DUPLICATES = 0.01;

/** Ids that are looked at when routes are opened: all of most files, of longer ones runs from all over. */
const LOOKED_AT = 2 ** 26;

/** Runs that a longer file is looked at in. */
const NUM_RUNS = 64;

/** What the experts of one token in one layer are called in messages. */
const ROW = '(token, layer) rows';

/** Counts what is odd in the choices of tokens. A choice is a row of ids, one token's in one layer. */
export class RouteRows {
  readonly #stamps: Int32Array;
  readonly #topK: number;
  #rows = 0;
  #nones = 0;
  #duplicates = 0;
  #first = '';

  constructor(numExperts: number, topK: number) {
    this.#stamps = new Int32Array(numExperts);
    this.#topK = topK;
  }

  /**
   * @param ids - whole rows of ids that are experts, or -1 or {@link NO_EXPERT} for none
   * @param place - names a row by its index, such as `token 3, layer 0`
   */
  add(ids: ArrayLike<number>, place: (row: number) => string): void {
    const stamps = this.#stamps;
    const topK = this.#topK;
    for (let at = 0, index = 0; at < ids.length; index++) {
      // From 1 on: the stamps are 0 at first.
      const row = ++this.#rows;
      let again = NO_EXPERT;
      for (const end = at + topK; at < end; at++) {
        const id = ids[at]!;
        if (id === NO_EXPERT || id === -1) this.#nones++;
        else if (stamps[id] === row) again = id;
        else stamps[id] = row;
      }
      if (again === NO_EXPERT || this.#duplicates++ > 0) continue;
      let times = 0;
      for (let i = at - topK; i < at; i++) if (ids[i] === again) times++;
      this.#first = `${place(index)} names expert ${again} ${times} times`;
    }
  }

  /**
   * What is to be said of them.
   *
   * @param name - the recording, for messages
   * @throws EplbError EPLB_FORMAT when too many name an expert twice and that is not allowed
   */
  notes(name: string, allowDuplicates: boolean): string[] {
    const notes: string[] = [];
    const duplicates = this.#duplicates;
    if (duplicates > 0) {
      const share = duplicates / this.#rows;
      const what =
        `${this.#first}; so do ${grouped(duplicates)} of ${grouped(this.#rows)} ${ROW} ` +
        `(${percent(share)}), while a router picks an expert once a token`;
      if (share > MOST_DUPLICATES && !allowDuplicates) {
        throw new EplbError('EPLB_FORMAT', `${name}: ${what}: --allow-duplicates reads them all the same`);
      }
      notes.push(what);
    }
    return notes;
  }

  /** Says how many ids are none; nothing when all are experts. */
  noneNotes(): string[] {
    return this.#nones === 0 ? [] : [`${grouped(this.#nones)} ids are -1 and were read as no expert`];
  }
}

/**
 * Looks through the routes of an array [tokens, layers, topK]: whether each token's experts are distinct, and
 * which ids are none. Of very long ones, runs from all over the file are looked at.
 *
 * @returns what is to be said of them
 * @throws EplbError EPLB_FORMAT for routes that cannot be true, EplbRangeError EPLB_RANGE for an id that is
 *   no expert
 */
export async function lookAtRoutes(
  tensor: StoredTensor,
  numExperts: number,
  name: string,
  allowDuplicates: boolean,
): Promise<string[]> {
  const [numTokens, numLayers, topK] = tensor.shape as [number, number, number];
  const rows = new RouteRows(numExperts, topK);
  const runs = runsOver(numTokens, numLayers * topK);
  let ids = new Uint16Array(0);
  for (const [from, to] of runs) {
    for await (const block of blocksOf(tensor, from, to)) {
      const count = (block.to - block.from) * numLayers * topK;
      if (ids.length < count) ids = new Uint16Array(count);
      const read = ids.subarray(0, count);
      readIds(block, tensor, numExperts, name, read);
      rows.add(read, (row) => `token ${block.from + Math.floor(row / numLayers)}, layer ${row % numLayers}`);
    }
  }
  const part = runs.length === 1 ? [] : [`of the routes, ${runs.length} runs from all over were looked at`];
  return [
    ...limitNotes(tensor.type, numExperts),
    ...rows.notes(name, allowDuplicates),
    ...rows.noneNotes(),
    ...part,
  ];
}

/** All tokens, or runs of them at even distances. */
function runsOver(numTokens: number, perToken: number): (readonly [from: number, to: number])[] {
  if (numTokens * perToken <= LOOKED_AT) return [[0, numTokens]];
  const length = Math.max(1, Math.floor(LOOKED_AT / NUM_RUNS / perToken));
  return Array.from({ length: NUM_RUNS }, (_, run) => {
    const from = Math.floor((run * (numTokens - length)) / (NUM_RUNS - 1));
    return [from, from + length] as const;
  });
}

/** Ids that the type of a file's numbers cannot hold would have come out as others. */
function limitNotes(type: NumberType, numExperts: number): string[] {
  if (isFloat(type)) return [];
  const bits = 8 * BYTES_PER_NUMBER[type];
  const most = 2 ** (type.startsWith('u') ? bits : bits - 1);
  if (numExperts <= most) return [];
  const rest = `experts ${most} to ${numExperts - 1} cannot be in it, or came out as others`;
  return [`ids of ${type} end at ${most - 1}: ${rest}`];
}

/**
 * Decodes a run of tokens.
 *
 * @throws EplbRangeError EPLB_RANGE for an id that is not an expert
 */
export function readIds(
  block: { readonly from: number; readonly bytes: Uint8Array },
  { type, shape }: Pick<StoredTensor, 'type' | 'shape'>,
  numExperts: number,
  name: string,
  out: Uint16Array,
): void {
  const bad = decodeIds(block.bytes, type, out, numExperts);
  if (bad < 0) return;
  const [, numLayers, topK] = shape as [number, number, number];
  const row = Math.floor(bad / topK);
  const at = `token ${block.from + Math.floor(row / numLayers)}, layer ${row % numLayers}`;
  throw new EplbRangeError(
    'EPLB_RANGE',
    `${name}: expert id ${numberAt(block.bytes, type, bad)} at ${at}; ids go from 0 to ${numExperts - 1} ` +
      `with --experts ${numExperts} (read as routes because the last dimension, ${topK}, is not the ` +
      'number of experts)',
  );
}
