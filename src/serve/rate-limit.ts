import { performance } from 'node:perf_hooks';
import { EplbError } from '../core/errors.ts';

/** So many a second, and as many at once after a quiet second. */
export class RateLimit {
  readonly #perSecond: number;
  #left: number;
  #at = performance.now();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#left = perSecond;
  }

  /** Takes one. @throws EplbError `EPLB_LIMIT` when none is left */
  take(): void {
    const now = performance.now();
    this.#left = Math.min(this.#perSecond, this.#left + ((now - this.#at) / 1000) * this.#perSecond);
    this.#at = now;
    if (this.#left < 1) {
      const message = `more than ${this.#perSecond} requests a second, limits.maxRequestsPerSecond`;
      throw new EplbError('EPLB_LIMIT', message);
    }
    this.#left--;
  }
}
