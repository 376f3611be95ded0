import { checkWhole, loadError, MAX_FLOAT32, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { copyOf, plainFloats, typedArrayKind, typedArrayLength } from '../core/typed-arrays.ts';
import { zeros } from '../memory/allocate.ts';

/**
 * Loads of all layers, row-major: `data[layer * numExperts + expert]`, [layers x experts].
 *
 * On a SharedArrayBuffer the workers read the rows in place when they need them: it is never copied whole,
 * and must not be written until the call that got it has settled.
 */
export interface LoadMatrix {
  readonly data: Float32Array;
  readonly numLayers: number;
  readonly numExperts: number;
}

/** What a load matrix may be given as: nested arrays [layers][experts], or flat. */
export type LoadsInput = readonly (readonly number[])[] | LoadMatrix;

/** One layer's loads: an array of numbers, or any typed array of real numbers (not BigInt). */
export type LoadRow =
  | readonly number[]
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array;

/**
 * Checks the kind and the shape of a load matrix, not its values, and returns it flat. Nested arrays are
 * copied (and their values checked, as they may hold anything); of a flat matrix the result has the same
 * memory. Every property is read once.
 *
 * @param numExperts the number of experts a row must have; any, when left out
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE`, `EPLB_LOAD`, or `EPLB_MEMORY` when a copy
 * cannot be had
 */
export function toLoadMatrix(
  title: string,
  loads: LoadsInput,
  numLayers?: number,
  numExperts?: number,
): LoadMatrix {
  const matrix = isNested(loads) ? fromNested(title, loads) : checkFlat(title, loads);
  if (numLayers !== undefined && matrix.numLayers !== numLayers) {
    throw new EplbRangeError('EPLB_SHAPE', `${title}: has ${matrix.numLayers} layers, not ${numLayers}`);
  }
  if (numExperts !== undefined && matrix.numExperts !== numExperts) {
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `${title}: has ${matrix.numExperts} experts a layer, not ${numExperts}`,
    );
  }
  return matrix;
}

/**
 * A copy of a matrix, whose memory others may write; its values are checked in the copy.
 *
 * @param room as for {@link checkLoads}
 * @throws as {@link toLoadMatrix}
 */
export function copyLoads(
  title: string,
  { data, numLayers, numExperts }: LoadMatrix,
  room?: LoadsTarget,
): LoadMatrix {
  const copy = { data: copyOf(data), numLayers, numExperts };
  checkLength(title, copy);
  checkLoads(title, copy, room);
  return copy;
}

/** Where a matrix of loads is to be copied to, and how its values are checked there. */
export interface LoadsTarget {
  readonly data: Float32Array;
  /** The index of the first value that is not a load; the length when there is none. */
  firstInvalid(): number;
}

/** {@link copyLoads} to memory that is there: as a new one's pages are, that takes a fifth of the time. */
export function copyLoadsTo(
  title: string,
  matrix: LoadMatrix,
  { data, firstInvalid }: LoadsTarget,
): LoadMatrix {
  const { numLayers, numExperts } = matrix;
  // Shrunk memory has a length of 0.
  checkLength(title, matrix);
  data.set(matrix.data);
  const bad = firstInvalid();
  if (bad < data.length) throw loadError(title, Math.floor(bad / numExperts), bad % numExperts, data[bad]);
  return { data, numLayers, numExperts };
}

/** A matrix of these sizes whose values are checked. @throws as {@link toLoadMatrix} */
export function toCheckedLoads(
  title: string,
  loads: LoadsInput,
  numLayers: number,
  numExperts: number,
): LoadMatrix {
  const matrix = toLoadMatrix(title, loads, numLayers, numExperts);
  checkLoads(title, matrix);
  return matrix;
}

/**
 * Checks every value of a matrix.
 *
 * @param room of the matrix's length, which a copy may be written to for a kernel to check: in a process's
 * first plan that takes a tenth of what this loop does, which nothing has been made of yet
 * @throws as {@link toLoadMatrix}
 */
export function checkLoads(title: string, matrix: LoadMatrix, room?: LoadsTarget): void {
  if (room !== undefined) {
    copyLoadsTo(title, matrix, room);
    return;
  }
  const { data, numExperts } = matrix;
  for (let i = 0; i < data.length; i++) {
    const load = data[i]!;
    if (load >= 0 && load < Number.POSITIVE_INFINITY) continue;
    throw loadError(title, Math.floor(i / numExperts), i % numExperts, load);
  }
}

/**
 * How many loads a row has.
 * @throws EplbTypeError `EPLB_KIND` for anything but an array or a typed array of real numbers
 */
export function rowLength(title: string, layer: number, row: LoadRow): number {
  const kind = typedArrayKind(row);
  if (kind === undefined ? !Array.isArray(row) : kind === 'BigInt64Array' || kind === 'BigUint64Array') {
    throw new EplbTypeError('EPLB_KIND', `${title}: layer ${layer}: ${show(row)} is not an array of loads`);
  }
  return kind === undefined ? row.length : typedArrayLength(row);
}

/**
 * Copies one row into `to`, which has its length. Arrays and Float64Arrays are checked meanwhile, each
 * element read once; the values of other typed arrays are to be checked in the copy.
 *
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE` or `EPLB_LOAD`; part of the row may have
 * been copied then
 */
export function copyRow(title: string, layer: number, row: LoadRow, to: Float32Array, length?: number): void {
  try {
    // What engines record, at full speed.
    if (row instanceof Float32Array && typedArrayLength(row) === to.length) {
      to.set(row);
      return;
    }
  } catch {
    // It only looks like one, or another thread has made its memory larger in the meantime.
  }
  copyOther(title, layer, row, to, length);
}

/**
 * {@link copyRow} for other rows. A function of its own, so that the other one is inlined where it is called.
 */
function copyOther(title: string, layer: number, row: LoadRow, to: Float32Array, length?: number): void {
  const given = length ?? rowLength(title, layer, row);
  if (given !== to.length) {
    const loads = `has ${given} loads, not ${to.length}`;
    throw new EplbRangeError('EPLB_SHAPE', `${title}: layer ${layer}: ${loads}`);
  }
  const kind = typedArrayKind(row);
  if (kind === undefined || kind === 'Float64Array') copyNumbers(title, layer, row, to);
  else to.set(row);
}

/** Copies numbers from anything that has them by index. */
function copyNumbers(title: string, layer: number, row: ArrayLike<unknown>, to: Float32Array): void {
  for (let i = 0; i < to.length; i++) {
    const load = row[i];
    // A negative load may be too small for a float32 to show it.
    if (typeof load !== 'number' || !(load >= 0 && Math.fround(load) <= MAX_FLOAT32)) {
      throw loadError(title, layer, i, load);
    }
    to[i] = load;
  }
}

function isNested(loads: LoadsInput): loads is readonly (readonly number[])[] {
  return Array.isArray(loads);
}

function fromNested(title: string, rows: readonly (readonly number[])[]): LoadMatrix {
  const numLayers = rows.length;
  const first = rows[0];
  const numExperts = numLayers === 0 ? 0 : rowLength(title, 0, first!);
  if (numLayers === 0 || numExperts === 0) {
    throw new EplbRangeError('EPLB_SHAPE', `${title}: has no loads: [layers][experts] is wanted`);
  }
  checkWhole(`${title}: layers`, numLayers, 1);
  checkWhole(`${title}: layer 0: length`, numExperts, 1);
  const data = zeros(title, Float32Array, numLayers * numExperts);
  // A plain loop: forEach passes over holes.
  for (let layer = 0; layer < numLayers; layer++) {
    const target = data.subarray(layer * numExperts, (layer + 1) * numExperts);
    if (layer === 0) copyRow(title, layer, first!, target, numExperts);
    else copyRow(title, layer, rows[layer]!, target);
    const bad = target.findIndex((load) => !(load >= 0 && load < Number.POSITIVE_INFINITY));
    if (bad >= 0) throw loadError(title, layer, bad, target[bad]);
  }
  return { data, numLayers, numExperts };
}

function checkFlat(title: string, matrix: LoadMatrix): LoadMatrix {
  const isObject = typeof matrix === 'object' && matrix !== null;
  const data = isObject ? plainFloats(matrix.data) : undefined;
  if (data === undefined) {
    const wanted = 'nested arrays or {data: Float32Array, numLayers, numExperts}';
    throw new EplbTypeError('EPLB_KIND', `${title}: ${show(matrix)} is not a load matrix: ${wanted}`);
  }
  const numLayers = checkWhole(`${title}.numLayers`, matrix.numLayers, 1);
  const numExperts = checkWhole(`${title}.numExperts`, matrix.numExperts, 1);
  checkLength(title, { data, numLayers, numExperts });
  return { data, numLayers, numExperts };
}

function checkLength(title: string, { data, numLayers, numExperts }: LoadMatrix): void {
  if (data.length === numLayers * numExperts) return;
  const shape = `${numLayers} x ${numExperts}`;
  throw new EplbRangeError('EPLB_SHAPE', `${title}.data: has ${data.length} loads, not ${shape}`);
}
