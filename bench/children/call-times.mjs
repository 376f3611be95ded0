/** The times of one kind of call, in milliseconds. Kept where they make no garbage while others are taken. */
export class CallTimes {
  #times = new Float64Array(1 << 16);
  #count = 0;

  add(ms) {
    if (this.#count === this.#times.length) {
      const larger = new Float64Array(2 * this.#count);
      larger.set(this.#times);
      this.#times = larger;
    }
    this.#times[this.#count++] = ms;
  }

  /** As `Stats` of bench/stats.ts; undefined when there was no call. */
  stats() {
    if (this.#count === 0) return undefined;
    const sorted = this.#times.slice(0, this.#count).sort();
    const mean = sorted.reduce((sum, ms) => sum + ms, 0) / sorted.length;
    const squares = sorted.reduce((sum, ms) => sum + (ms - mean) ** 2, 0);
    const quantile = (part) => sorted[Math.floor(part * (sorted.length - 1))];
    return {
      samples: sorted.length,
      min: sorted[0],
      median: quantile(0.5),
      mean,
      deviation: Math.sqrt(squares / Math.max(1, sorted.length - 1)),
      p99: quantile(0.99),
      p999: quantile(0.999),
      max: sorted.at(-1),
    };
  }
}

/** Makes a method of an object time itself. */
export function timeMethod(object, name, times) {
  const method = object[name];
  object[name] = function (...args) {
    const start = performance.now();
    try {
      return method.apply(this, args);
    } finally {
      times.add(performance.now() - start);
    }
  };
}
