/**
 * Finds out how long the event loop stands still: a callback that queues itself again with setImmediate as
 * often as it can, and keeps the longest time between two calls. Much finer than a timer, whose own period is
 * a millisecond.
 */
export class GapProbe {
  #last = 0;
  #longest = 0;
  #isRunning = false;

  /** Starts a measurement; resolves when the loop turns. */
  async start(): Promise<void> {
    this.#isRunning = true;
    this.#longest = 0;
    await turn();
    this.#last = performance.now();
    setImmediate(this.#tick);
  }

  /** Ends it: the longest gap in milliseconds, the time since the last turn included. */
  stop(): number {
    this.#note();
    this.#isRunning = false;
    return this.#longest;
  }

  readonly #tick = (): void => {
    if (!this.#isRunning) return;
    this.#note();
    setImmediate(this.#tick);
  };

  #note(): void {
    const now = performance.now();
    if (now - this.#last > this.#longest) this.#longest = now - this.#last;
    this.#last = now;
  }
}

/** One turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
