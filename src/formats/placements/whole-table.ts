import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { MAX_SIZE } from '../../core/topology.ts';
import { isList, type List } from '../json/value.ts';
import { kindOf, shapeText } from '../text.ts';
import type { NumberArray } from './placement.ts';

/**
 * The most numbers a table is read with: a logical-to-physical table of 64 layers, 512 experts and 1,024
 * replicas.
 */
const MOST_NUMBERS = 2 ** 25;

const KNOWN_DEPTHS: Readonly<Record<number, string>> = {
  2: '[layers][physical]',
  3: '[layers][experts][slots]',
};

/** Whole numbers with a shape, row-major. */
export interface WholeTable {
  readonly data: Int32Array;
  readonly shape: readonly number[];
}

/**
 * Nested arrays of whole numbers from -1 on, all of one shape.
 *
 * @param depths - how deep they may be nested
 * @param path - where they stand in the file, for messages
 * @throws EplbTypeError EPLB_KIND, EplbRangeError EPLB_SHAPE or EPLB_MAPPING, naming the place
 */
export function nestedTable(value: unknown, depths: readonly number[], path: string): WholeTable {
  const shape: number[] = [];
  for (let first: unknown = value; isList(first) && shape.length < 5; first = first[0])
    shape.push(first.length);
  const wanted = `it must be ${depths.map((depth) => KNOWN_DEPTHS[depth]).join(' or ')}`;
  if (shape.length === 0) throw new EplbTypeError('EPLB_KIND', `${path} is ${kindOf(value)}; ${wanted}`);
  if (!depths.includes(shape.length)) {
    throw new EplbRangeError('EPLB_SHAPE', `${path} is nested ${shape.length} deep; ${wanted}`);
  }
  checkLengths(value, shape, path);
  const data = new Int32Array(numbersIn(shape, path));
  let filled = 0;
  const at: number[] = [];
  const place = () => `${path}${at.map((index) => `[${index}]`).join('')}`;
  const fill = (entry: List, depth: number): void => {
    for (let i = 0; i < entry.length; i++) {
      at[depth] = i;
      if (depth + 1 < shape.length) fill(entry[i] as List, depth + 1);
      else data[filled++] = wholeNumber(entry[i], -1, place);
    }
  };
  fill(value as List, 0);
  return { data, shape };
}

/** Checks that all arrays are as long as the first ones, before anything is reserved for them. */
function checkLengths(value: unknown, shape: readonly number[], path: string): void {
  const check = (entry: unknown, depth: number, place: () => string): void => {
    if (!isList(entry)) {
      throw new EplbTypeError('EPLB_KIND', `${place()} is ${kindOf(entry)}; it must be an array`);
    }
    if (entry.length !== shape[depth]) {
      const wanted = `not ${shape[depth]} as the first one has`;
      throw new EplbRangeError('EPLB_SHAPE', `${place()} has ${entry.length} entries, ${wanted}`);
    }
    if (depth + 1 === shape.length) return;
    for (let i = 0; i < entry.length; i++) check(entry[i], depth + 1, () => `${place()}[${i}]`);
  };
  check(value, 0, () => path);
}

/** The numbers of an array, checked to be whole and from -1 on. @throws as {@link nestedTable} */
export function wholeTable(array: NumberArray, dimensions: readonly number[], path: string): WholeTable {
  const { data, shape } = array;
  if (!dimensions.includes(shape.length)) {
    const wanted = `it must have ${dimensions.join(' or ')}`;
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `${path}: shape ${shapeText(shape)} has ${shape.length} dimensions; ${wanted}`,
    );
  }
  const whole = new Int32Array(numbersIn(shape, path));
  for (let i = 0; i < whole.length; i++) whole[i] = wholeNumber(data[i], -1, () => `${path}: number ${i}`);
  return { data: whole, shape };
}

/**
 * Returns `value` when it is a whole number from `least` on.
 *
 * @param place - where it stands, for messages: asked for only then
 * @throws EplbTypeError EPLB_KIND, EplbRangeError EPLB_MAPPING
 */
export function wholeNumber(value: unknown, least: number, place: () => string): number {
  if (typeof value !== 'number') {
    throw new EplbTypeError('EPLB_KIND', `${place()} is ${kindOf(value)}; it must be a whole number`);
  }
  if (Number.isInteger(value) && value >= least && value <= MAX_SIZE) return value;
  throw new EplbRangeError(
    'EPLB_MAPPING',
    `${place()} is ${value}; it must be a whole number from ${least} to ${MAX_SIZE}`,
  );
}

function numbersIn(shape: readonly number[], path: string): number {
  const numbers = shape.reduce((product, size) => product * size, 1);
  if (numbers === 0) {
    throw new EplbRangeError('EPLB_SHAPE', `${path}: shape ${shapeText(shape)} holds nothing`);
  }
  if (numbers <= MOST_NUMBERS) return numbers;
  throw new EplbRangeError(
    'EPLB_SHAPE',
    `${path}: shape ${shapeText(shape)} has more than ${MOST_NUMBERS} numbers`,
  );
}

/** One more than the greatest id; 1 when every slot is empty. */
export function expertsIn(slots: Int32Array): number {
  let most = 0;
  for (let i = 0; i < slots.length; i++) if (slots[i]! > most) most = slots[i]!;
  return most + 1;
}

/** Rows of a flat table as nested arrays: for JSON and YAML. */
export function rowsOf(table: Int32Array, width: number): number[][] {
  return Array.from({ length: table.length / width }, (_, row) =>
    Array.from(table.subarray(row * width, (row + 1) * width)),
  );
}
