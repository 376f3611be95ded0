import { isOwnError } from '../core/errors.ts';

/** Runs `work`. What the library says is wrong is said in the command's terms: with its options and files. */
export function sayingErrors<T>(say: (message: string) => string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (isOwnError(error)) error.message = say(error.message);
    throw error;
  }
}
