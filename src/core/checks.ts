import { type EplbErrorCode, EplbRangeError, EplbTypeError } from './errors.ts';
import { printable } from './printable.ts';

/** The largest finite float32. */
export const MAX_FLOAT32 = (2 - 2 ** -23) * 2 ** 127;

/** How a value reads in a message: short, printable, and told apart from its look-alikes ("3" is not 3). */
export function show(value: unknown): string {
  return printable(shown(value));
}

function shown(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  }
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  try {
    const name = String(value.constructor?.name ?? 'object');
    const length = Reflect.get(value, 'length');
    const text = typeof length === 'number' ? ` of length ${length}` : '';
    return `${/^[AEIOU]/i.test(name) ? 'an' : 'a'} ${name}${text}`;
  } catch {
    // It only looks like what it is called, or its own code throws.
    return 'an object';
  }
}

/** Returns `value` when it is an object, else throws a TypeError that names `title`. */
export function checkObject<T extends object>(title: string, value: T): T {
  if (typeof value === 'object' && value !== null) return value;
  throw new EplbTypeError('EPLB_KIND', `${title}: ${show(value)} is not an object`);
}

/** Returns `value` when it is true or false, else throws a TypeError that names `title`. */
export function checkBoolean(title: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new EplbTypeError('EPLB_KIND', `${title}: ${show(value)} is not true or false`);
}

/** Returns `value` when it is a text, else throws a TypeError that names `title`. */
export function checkText(title: string, value: unknown): string {
  if (typeof value === 'string') return value;
  throw new EplbTypeError('EPLB_KIND', `${title}: ${show(value)} is not a text`);
}

/** Returns `value` when it is a number, else throws a TypeError that names `title`. */
export function checkNumber(title: string, value: unknown): number {
  if (typeof value === 'number') return value;
  throw new EplbTypeError('EPLB_KIND', `${title}: ${show(value)} is not a number`);
}

/** Returns `value` when it is a whole number in [least, most], else throws, naming `title`. */
export function checkWhole(
  title: string,
  value: unknown,
  least: number,
  most: number = Number.MAX_SAFE_INTEGER,
  code: EplbErrorCode = 'EPLB_RANGE',
): number {
  const number = checkNumber(title, value);
  if (Number.isInteger(number) && number >= least && number <= most) return number;
  const wanted = most === Number.MAX_SAFE_INTEGER ? `at least ${least}` : `from ${least} to ${most}`;
  if (!Number.isInteger(number)) {
    throw new EplbRangeError('EPLB_NOT_WHOLE', `${title}: ${number} is not a whole number ${wanted}`);
  }
  throw new EplbRangeError(code, `${title}: ${number} is not ${wanted}`);
}

/**
 * The different numbers of a list, rising, each entry read once.
 *
 * @param what they number, as 'ranks'
 * @param count how many of these there are: every number is below it
 */
export function checkNumbered(title: string, given: unknown, what: string, count: number): number[] {
  if (!Array.isArray(given)) {
    throw new EplbTypeError('EPLB_KIND', `${title}: ${show(given)} is not a list of ${what}`);
  }
  // Not map(), which passes over holes.
  const numbers = Array.from(given, (value, i) => checkWhole(`${title}[${i}]`, value, 0, count - 1));
  return [...new Set(numbers)].sort((a, b) => a - b);
}

/**
 * A copy of a list with an entry for each rank, each read once and checked.
 *
 * @param what they are, as 'numbers'
 */
export function listOf<T>(
  title: string,
  given: unknown,
  numRanks: number,
  what: string,
  check: (title: string, value: unknown) => T,
): T[] {
  if (!Array.isArray(given)) {
    throw new EplbTypeError('EPLB_KIND', `${title}: ${show(given)} is not an array of ${what}, one a rank`);
  }
  const { length } = given;
  if (length !== numRanks) {
    throw new EplbRangeError('EPLB_SHAPE', `${title}: has ${length} ${what}, not ${numRanks}, one a rank`);
  }
  // Not map(), which passes over holes, and not by its iterator, which may give any number of values.
  return Array.from({ length: numRanks }, (_, rank) => check(`${title}: rank ${rank}`, given[rank]));
}

/** Returns `value` when it is a finite number >= `least`, else throws, naming `title`. */
export function checkAtLeast(title: string, value: unknown, least: number): number {
  const number = checkNumber(title, value);
  if (Number.isFinite(number) && number >= least) return number;
  throw new EplbRangeError('EPLB_RANGE', `${title}: ${number} is not a finite number of at least ${least}`);
}

/**
 * Throws a RangeError unless `multiple` is a multiple of `divisor`.
 * @param why it has to be
 */
export function checkMultiple(
  title: string,
  multiple: number,
  divisorTitle: string,
  divisor: number,
  why?: string,
): void {
  if (multiple % divisor === 0) return;
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `${title}: ${multiple} is not a multiple of ${divisorTitle} ${divisor}${why === undefined ? '' : `: ${why}`}`,
  );
}

/** The error for a refused load: itself no load, or too large for what was recorded before. */
export function recordError(
  title: string,
  layer: number,
  index: number,
  value: unknown,
): EplbTypeError | EplbRangeError {
  if (typeof value !== 'number' || !(value >= 0 && value <= MAX_FLOAT32))
    return loadError(title, layer, index, value);
  const where = `${title}: layer ${layer}, index ${index}: ${value}`;
  return new EplbRangeError('EPLB_LOAD', `${where} does not fit a float32 together with what the step has`);
}

/** The error for a load that is not a finite number >= 0 in float32. */
export function loadError(
  title: string,
  layer: number,
  index: number,
  value: unknown,
): EplbTypeError | EplbRangeError {
  const where = `${title}: layer ${layer}, index ${index}: ${show(value)}`;
  if (typeof value !== 'number') return new EplbTypeError('EPLB_KIND', `${where} is not a number`);
  const why = value >= 0 && Number.isFinite(value) ? 'does not fit a float32' : 'is not a finite load >= 0';
  return new EplbRangeError('EPLB_LOAD', `${where} ${why}`);
}

/** Throws unless `layer` is a layer. Written for the recording path: one comparison when all is well. */
export function checkLayer(title: string, layer: number, numLayers: number): void {
  if (Number.isInteger(layer) && layer >= 0 && layer < numLayers) return;
  checkWhole(`${title}: layer`, layer, 0, numLayers - 1, 'EPLB_LAYER');
}

/**
 * Slots of each rank.
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_TOPOLOGY` when ranks do not divide them
 */
export function slotsPerRankOf(numPhysicalExperts: number, numRanks: number): number {
  checkWhole('numRanks', numRanks, 1);
  if (numPhysicalExperts % numRanks === 0) return numPhysicalExperts / numRanks;
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `numRanks: ${numRanks} does not divide ${numPhysicalExperts} slots`,
  );
}
