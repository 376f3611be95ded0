import { EplbRangeError } from '../../core/errors.ts';

/** Numbers that a table may always have, and how many it may have for each one that it is written from. */
const FREE_NUMBERS = 2 ** 20;
const NUMBERS_PER_NUMBER = 64;

/** The most numbers a table may have that is written from `held` numbers. */
export function mostNumbers(held: number): number {
  return FREE_NUMBERS + NUMBERS_PER_NUMBER * held;
}

/**
 * Checks a table that is to be written and has more numbers than what it says: lists that one long one fills
 * up, or a row for every layer of the model.
 *
 * @param numbers - of the table
 * @param held - numbers that it is made from
 * @throws EplbRangeError EPLB_SHAPE
 */
export function checkExpansion(numbers: number, held: number, path: string): void {
  if (numbers > mostNumbers(held)) throw expansionError(numbers, held, path);
}

/**
 * Numbers that a table which is read may always have: a logical-to-physical one of 64 layers, 512 experts and
 * 256 replicas.
 */
const FREE_READ_NUMBERS = 2 ** 23;

/**
 * Checks a table that has more numbers than the file it is read from: what one long list in it fills the
 * others up to, or rows that stand in it once and are used again. Without a limit a small file could take any
 * amount of memory.
 *
 * @param numbers - of the table
 * @param held - numbers that the file holds
 * @throws EplbRangeError EPLB_SHAPE
 */
export function checkFilledUp(numbers: number, held: number, path: string): void {
  if (numbers > FREE_READ_NUMBERS + held) throw expansionError(numbers, held, path);
}

function expansionError(numbers: number, held: number, path: string): EplbRangeError {
  return new EplbRangeError('EPLB_SHAPE', `${path}: ${held} numbers would make a table of ${numbers}`);
}
