import type { MetricFamily } from '../watch/exposition.ts';
import {
  type GroupWatch,
  type MetricsTextOptions,
  metricsText,
  type Watched,
  watchGroup,
} from '../watch/group-watch.ts';
import type { WatchCondition, WatchdogOptions } from '../watch/watchdog.ts';

export type { MetricsFormat } from '../watch/exposition.ts';
export type { Ages } from '../watch/families.ts';
export type { GroupWatch as GroupMetrics } from '../watch/group-watch.ts';

/** A condition of a group that is not as it should be. */
export interface GroupFault extends Omit<WatchCondition, 'status'> {
  readonly group: string;
}

/** The watches of all groups of a service: their metrics, and what is wrong with them. */
export class MetricsRegistry {
  readonly #options: WatchdogOptions;
  readonly #watches = new Map<string, GroupWatch>();

  constructor(options: WatchdogOptions) {
    this.#options = options;
  }

  /** Watches a group from now on. */
  add(watched: Watched): GroupWatch {
    const watch = watchGroup(watched, this.#options);
    this.#watches.set(watched.name, watch);
    return watch;
  }

  /** Everything as text. @param more of no group */
  text(
    options: MetricsTextOptions,
    more: readonly MetricFamily[] = [],
  ): { readonly text: string; readonly contentType: string } {
    return metricsText(this.#open(), options, more);
  }

  /** What is flagged at the moment. */
  faults(): GroupFault[] {
    return this.#open().flatMap((watch) => {
      const flagged = watch.conditions().filter(({ status }) => !status);
      return flagged.map(({ type, reason }) => ({ group: watch.name, type, reason }));
    });
  }

  /** Those of groups that are still there. */
  #open(): GroupWatch[] {
    for (const [name, { isClosed }] of this.#watches) if (isClosed) this.#watches.delete(name);
    return [...this.#watches.values()];
  }
}
