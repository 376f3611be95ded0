import { checkBalancer, type ExpertLoadBalancer, sharedParts } from '../balancer/expert-load-balancer.ts';
import { checkBoolean, show } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';
import type { EplbEvents, EventListener } from '../core/events.ts';
import { checkOptions } from '../core/known-keys.ts';
import type { CostModel } from '../cost/cost-model.ts';
import type { MigrationEvent, MigrationView } from '../migration/coordinator-output.ts';
import { type GroupWatch, type MetricsTextOptions, metricsText, watchGroup } from './group-watch.ts';
import type { WatchCondition, WatchdogOptions } from './watchdog.ts';

/** How a balancer without a service is watched. */
export interface ObserveOptions {
  /** For the time lost to imbalance, and bytes. */
  readonly cost?: CostModel;
  readonly watchdog?: WatchdogOptions;
  /** Of a `MigrationCoordinator` that brings the ranks to new mappings: its `view`. */
  readonly migration?: () => MigrationView | undefined;
}

/** What is known of a balancer since it is watched. */
export interface BalancerObservation {
  /** All metrics as text. @throws EplbTypeError, EplbRangeError for wrong options */
  openMetrics(options?: MetricsTextOptions): string;
  /**
   * What the watchdog finds, always all of them in one order. It looks four times an interval by itself,
   * and whenever this or the metrics are asked for.
   */
  conditions(): readonly WatchCondition[];
  /** A rank says which epoch it serves: those that do not agree for long are flagged. */
  rankServes(rank: number, epoch: number): void;
  /** For the `onEvent` of a `MigrationCoordinator`. */
  onMigration(event: MigrationEvent): void;
  /** Watches no more; so does closing the balancer. */
  close(): void;
}

const observations = new WeakMap<ExpertLoadBalancer, BalancerObservation>();

/**
 * Watches a balancer whose host has no service: counts its steps, plans and commits from now on, with a
 * watchdog. A balancer is observed only once: later calls return the same observation, and their options have
 * no effect.
 *
 * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError `EPLB_RANGE`
 * @example
 * ```ts
 * const observation = observeBalancer(balancer, { watchdog: { intervalMs: 10_000 } });
 * response.end(observation.openMetrics());
 * ```
 */
export function observeBalancer(
  balancer: ExpertLoadBalancer,
  options: ObserveOptions = {},
): BalancerObservation {
  const known = observations.get(checkBalancer('balancer', balancer));
  if (known !== undefined) return known;
  const {
    cost,
    watchdog = {},
    migration,
  } = checkOptions('options', options, [...['cost', 'watchdog', 'migration']]);
  const watch = watchGroup(
    {
      ...{ name: balancer.name, policy: 'own', balancer, cost, isPaused: false },
      get epoch() {
        return balancer.generation;
      },
      ...(migration && { migration }),
    },
    watchdog,
  );
  const { events, onClose } = sharedParts(balancer);
  const listener = listenerOf(watch);
  events.listeners.add(listener);
  const observation: BalancerObservation = {
    openMetrics: (asked = {}) => metricsText([watch], readTextOptions(asked)).text,
    conditions: () => watch.conditions(),
    rankServes: (rank, epoch) => watch.rankServes(rank, epoch),
    onMigration: (event) => watch.coordinated(event),
    close() {
      events.listeners.delete(listener);
      watch.remove();
      offClose();
      observations.delete(balancer);
    },
  };
  const offClose = onClose(() => observation.close());
  observations.set(balancer, observation);
  return observation;
}

/**
 * The metrics of a balancer in the OpenMetrics text format. The first call begins to watch it, like
 * {@link observeBalancer}, and counters begin with that call.
 *
 * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError `EPLB_RANGE`
 */
export function openMetrics(balancer: ExpertLoadBalancer, options: MetricsTextOptions = {}): string {
  return observeBalancer(balancer).openMetrics(options);
}

function readTextOptions(options: MetricsTextOptions): MetricsTextOptions {
  const { format = 'openmetrics', ranks = false } = checkOptions('options', options, ['format', 'ranks']);
  if (format !== 'openmetrics' && format !== 'prometheus') {
    throw new EplbRangeError('EPLB_RANGE', `format: ${show(format)} is neither openmetrics nor prometheus`);
  }
  return { format, ranks: checkBoolean('ranks', ranks) };
}

/** Counts the events of a balancer. */
function listenerOf(watch: GroupWatch): EventListener {
  const counts: { [K in keyof EplbEvents]: (event: EplbEvents[K]) => void } = {
    plan: (event) => watch.planned(event),
    commit: ({ moves }) => watch.committed(moves),
    load: () => watch.recorded(),
    refusal: ({ code }) => watch.refused(code),
    topology: () => {},
    migration: (event) => watch.migrated(event),
    condition: () => {},
  };
  return (name, event) => counts[name](event);
}
