import { checkNumber, checkObject, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';

/** No time in a cost model is longer: so sums of many stay finite. */
export const MOST_SECONDS = 1e6;

/** Returns `value` when it is a number from `least` to `most`, else throws, naming `title`. */
export function checkWithin(title: string, value: unknown, least: number, most: number): number {
  const number = checkNumber(title, value);
  if (number >= least && number <= most) return number;
  throw new EplbRangeError('EPLB_RANGE', `${title}: ${number} is not from ${least} to ${most}`);
}

/** Returns `value` when it is seconds that a cost model may have, else throws, naming `title`. */
export function checkSeconds(title: string, value: unknown): number {
  return checkWithin(title, value, 0, MOST_SECONDS);
}

/**
 * Returns `given` when it is an object, and no list, with none but these fields; else throws, naming `title`.
 * Any field will do when none are told.
 */
export function checkFields<T extends object>(title: string, given: T, fields?: readonly string[]): T {
  if (Array.isArray(checkObject(title, given))) {
    throw new EplbTypeError('EPLB_KIND', `${title}: ${show(given)} is not an object`);
  }
  const unknown = Object.keys(given).find((field) => fields?.includes(field) === false);
  if (unknown === undefined) return given;
  const message = `${title}: has an unknown field ${show(unknown)}; its fields are ${fields?.join(', ')}`;
  throw new EplbRangeError('EPLB_RANGE', message);
}
