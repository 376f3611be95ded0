import type { Stats } from './stats.ts';

export type Unit = 'ms' | 'us' | 'ns' | 'MB' | 'x';

/** What of the samples counts. */
type Statistic = 'median' | 'p99' | 'p999';

/** A number that belongs beside a figure: a peer's time, a ratio, the cold first call. */
interface Beside {
  readonly label: string;
  readonly value: number;
  readonly unit: Unit;
}

/**
 * What the machine makes of the same without the library: in the same run, in the same process, as often.
 */
interface Control {
  readonly label: string;
  /** In the figure's unit, and of the same statistic. */
  readonly value: number;
}

/** One line of the results. */
export interface Figure {
  /** suite/size/case: the same from run to run, so that runs can be compared and bars find their figures. */
  readonly id: string;
  readonly unit: Unit;
  /** The number that counts, in `unit`, and which of the statistics it is. */
  readonly value: number;
  readonly statistic: Statistic | 'single';
  /** Left out for what follows from other figures. */
  readonly stats?: Stats;
  readonly beside: readonly Beside[];
  /** By which a bar that is missed is judged. */
  readonly control?: Control;
}

/** A figure that was sampled. */
export function sampled(
  id: string,
  unit: Unit,
  stats: Stats,
  beside: readonly Beside[] = [],
  statistic: Statistic = 'median',
): Figure {
  return { id, unit, value: stats[statistic], statistic, stats, beside };
}

/** The words for what of the samples counts. */
export const STATISTIC_NAMES: Record<Figure['statistic'], string> = {
  median: 'median',
  p99: 'p99',
  p999: 'p99.9',
  single: '',
};

/** A figure that follows from others: a ratio or a difference. */
export function derived(id: string, unit: Unit, value: number, beside: readonly Beside[] = []): Figure {
  return { id, unit, value, statistic: 'single', beside };
}

/** The figure with its control. */
export function controlled(figure: Figure, label: string, value: number): Figure {
  return { ...figure, control: { label, value } };
}

export function beside(label: string, value: number, unit: Unit): Beside {
  return { label, value, unit };
}
