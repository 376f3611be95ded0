import { checkNumber, show } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';

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

/** Throws when an object has a field that is not one of `fields`. */
export function checkFields(title: string, given: object, fields: readonly string[]): void {
  const unknown = Object.keys(given).find((field) => !fields.includes(field));
  if (unknown === undefined) return;
  const message = `${title}: has an unknown field ${show(unknown)}; its fields are ${fields.join(', ')}`;
  throw new EplbRangeError('EPLB_RANGE', message);
}
