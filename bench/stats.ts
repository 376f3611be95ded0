/** What is kept of the samples of a figure, in the figure's unit. */
export interface Stats {
  readonly samples: number;
  readonly min: number;
  readonly median: number;
  readonly mean: number;
  /** Standard deviation of the samples. */
  readonly deviation: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export function summarize(samples: readonly number[]): Stats {
  const sorted = [...samples].sort((a, b) => a - b);
  const mean = sorted.reduce((sum, sample) => sum + sample, 0) / sorted.length;
  const squares = sorted.reduce((sum, sample) => sum + (sample - mean) ** 2, 0);
  return {
    samples: sorted.length,
    min: sorted[0]!,
    median: quantile(sorted, 0.5),
    mean,
    deviation: Math.sqrt(squares / Math.max(1, sorted.length - 1)),
    p99: quantile(sorted, 0.99),
    p999: quantile(sorted, 0.999),
    max: sorted.at(-1)!,
  };
}

/** The same samples in another unit. */
export function scale(stats: Stats, factor: number): Stats {
  return {
    samples: stats.samples,
    min: stats.min * factor,
    median: stats.median * factor,
    mean: stats.mean * factor,
    deviation: stats.deviation * factor,
    p99: stats.p99 * factor,
    p999: stats.p999 * factor,
    max: stats.max * factor,
  };
}

export function median(samples: readonly number[]): number {
  return summarize(samples).median;
}

/** Between the two nearest samples by linear interpolation. */
function quantile(sorted: readonly number[], part: number): number {
  const at = part * (sorted.length - 1);
  const below = sorted[Math.floor(at)]!;
  const above = sorted[Math.ceil(at)]!;
  return below + (above - below) * (at - Math.floor(at));
}
