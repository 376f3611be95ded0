import { EplbError } from '../core/errors.ts';

/** Bytes of memory that what a file holds may take for each byte of the file, and that it always may. */
const TIMES_FILE = 4;
const FREE_BYTES = 2 ** 26;

/**
 * What the values of a file may take in memory, lists and texts and keys: a few bytes of a file can stand for
 * a hundred in memory. Numbers in long rows are no problem and need not be counted.
 */
export class MemoryBudget {
  readonly #most: number;
  readonly #name: string;
  #spent = 0;

  /**
   * @param fileBytes - size of the file
   * @param name - the file, for messages
   */
  constructor(fileBytes: number, name: string) {
    this.#most = FREE_BYTES + TIMES_FILE * fileBytes;
    this.#name = name;
  }

  /** @throws EplbError EPLB_FORMAT when there are too many */
  spend(bytes: number): void {
    this.#spent += bytes;
    if (this.#spent > this.#most) {
      throw new EplbError(
        'EPLB_FORMAT',
        `${this.#name}: its many small values would take more than ${this.#most} bytes of memory`,
      );
    }
  }
}
