import { checkWhole, loadError, show } from './checks.ts';
import { zeros } from './engine/allocate.ts';
import { EplbRangeError, EplbTypeError } from './errors.ts';

/**
 * Loads of all layers, row-major: `data[layer * numExperts + expert]`, [layers x experts].
 *
 * On a SharedArrayBuffer the workers read the rows in place when they need them: it is never copied whole, and must
 * not be written until the call that got it has settled.
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
 * Checks the kind and the shape of a load matrix, not its values, and returns it flat. Nested arrays are copied (and
 * their values checked, as they may hold anything); a flat matrix is returned as it is.
 *
 * @param numExperts the number of experts a row must have; any, when left out
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE` or `EPLB_LOAD`
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

/** Checks every value of a matrix. @throws as {@link toLoadMatrix} */
export function checkLoads(title: string, matrix: LoadMatrix): void {
  const { data, numExperts } = matrix;
  for (let i = 0; i < data.length; i++) {
    const load = data[i]!;
    if (load >= 0 && load < Number.POSITIVE_INFINITY) continue;
    throw loadError(title, Math.floor(i / numExperts), i % numExperts, load);
  }
}

/** Copies one row into `to`, which has its length. @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE` */
export function copyRow(title: string, layer: number, row: LoadRow, to: Float32Array): void {
  // Float32Array first: what engines record, at full speed.
  if (!(row instanceof Float32Array) && !isRealTypedArray(row)) {
    if (!Array.isArray(row)) {
      throw new EplbTypeError('EPLB_KIND', `${title}: layer ${layer}: ${show(row)} is not an array of loads`);
    }
    for (let i = 0; i < row.length; i++) {
      // A negative load may be too small for a float32 to show it.
      if (typeof row[i] !== 'number' || row[i] < 0) throw loadError(title, layer, i, row[i]);
    }
  }
  if (row.length !== to.length) {
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `${title}: layer ${layer}: has ${row.length} loads, not ${to.length}`,
    );
  }
  to.set(row);
}

function isRealTypedArray(row: unknown): boolean {
  return (
    ArrayBuffer.isView(row) &&
    !(row instanceof DataView) &&
    !(row instanceof BigInt64Array) &&
    !(row instanceof BigUint64Array)
  );
}

function isNested(loads: LoadsInput): loads is readonly (readonly number[])[] {
  return Array.isArray(loads);
}

function fromNested(title: string, rows: readonly (readonly number[])[]): LoadMatrix {
  const numLayers = rows.length;
  const numExperts = (rows[0] as readonly number[] | undefined)?.length ?? 0;
  if (numLayers === 0 || numExperts === 0) {
    throw new EplbRangeError('EPLB_SHAPE', `${title}: has no loads: [layers][experts] is wanted`);
  }
  const data = zeros(title, Float32Array, numLayers * numExperts);
  // A plain loop: forEach passes over holes.
  for (let layer = 0; layer < numLayers; layer++) {
    const row = rows[layer]!;
    const target = data.subarray(layer * numExperts, (layer + 1) * numExperts);
    copyRow(title, layer, row, target);
    const bad = target.findIndex((load) => !(load >= 0 && load < Number.POSITIVE_INFINITY));
    if (bad >= 0) throw loadError(title, layer, bad, row[bad]);
  }
  return { data, numLayers, numExperts };
}

function checkFlat(title: string, matrix: LoadMatrix): LoadMatrix {
  if (typeof matrix !== 'object' || matrix === null || !(matrix.data instanceof Float32Array)) {
    const wanted = 'nested arrays or {data: Float32Array, numLayers, numExperts}';
    throw new EplbTypeError('EPLB_KIND', `${title}: ${show(matrix)} is not a load matrix: ${wanted}`);
  }
  const numLayers = checkWhole(`${title}.numLayers`, matrix.numLayers, 1);
  const numExperts = checkWhole(`${title}.numExperts`, matrix.numExperts, 1);
  if (matrix.data.length !== numLayers * numExperts) {
    const shape = `${numLayers} x ${numExperts}`;
    throw new EplbRangeError('EPLB_SHAPE', `${title}.data: has ${matrix.data.length} loads, not ${shape}`);
  }
  return { data: matrix.data, numLayers, numExperts };
}
