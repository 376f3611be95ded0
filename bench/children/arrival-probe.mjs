import { createHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

const PERIOD_MS = 0.1;

/**
 * How long something that arrives at any moment waits for the event loop: ten thousand imagined arrivals a
 * second, each served at the next turn. A loop that stands still makes all wait that arrive meanwhile, so
 * that long blocks weigh by their length; and a loop that turns often is not taken for one that is blocked
 * seldom. Node's own histogram beside it.
 */
export class ArrivalProbe {
  #waits = createHistogram();
  #loop = monitorEventLoopDelay({ resolution: 1 });
  #next = 0;

  start() {
    this.#loop.enable();
    this.#next = performance.now() + PERIOD_MS;
  }

  /** To be called once a turn. */
  turn() {
    const now = performance.now();
    for (; this.#next <= now; this.#next += PERIOD_MS) {
      this.#waits.record(Math.max(1, Math.round((now - this.#next) * 1e6)));
    }
  }

  /** In milliseconds. */
  stop() {
    this.#loop.disable();
    return { waits: inMs(this.#waits), loopDelay: inMs(this.#loop) };
  }
}

function inMs(histogram) {
  return { p999: histogram.percentile(99.9) / 1e6, max: histogram.max / 1e6 };
}
