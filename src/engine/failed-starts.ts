import { isRefused } from './thread-limits.ts';

/**
 * Once more, as the first one may have been ended from outside. One that dies before it works on the job is
 * such a start too.
 */
const MOST_FAILED_STARTS = 2;

/** Counts a job's threads that ended before they were ready for it. */
export class FailedStarts {
  #count = 0;

  /** Whether further ones may be started for it. */
  get mayStartThreads(): boolean {
    return this.#count < MOST_FAILED_STARTS;
  }

  /** Where the system refuses threads, another one would be refused too. */
  add(reason: unknown): void {
    this.#count = isRefused(reason) ? MOST_FAILED_STARTS : this.#count + 1;
  }
}
