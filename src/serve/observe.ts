import { checkBalancer, sharedParts } from '../balancer/expert-load-balancer.ts';
import { checkText } from '../core/checks.ts';
import { checkOptions } from '../core/known-keys.ts';
import type { CostModel } from '../cost/cost-model.ts';
import type { AsyncExpertRebalancer, ExpertLoadBalancer, ExpertMapping } from '../index.ts';
import { tell } from './events.ts';
import { type CountedPlan, type MetricsFormat, MetricsRegistry } from './metrics.ts';

/** How a balancer without a service is watched. */
export interface ObserveOptions {
  /** Its name in labels and events. Default 'balancer'. */
  readonly group?: string;
  /** Counts its plans too. */
  readonly rebalancer?: AsyncExpertRebalancer;
  /** For the time lost to imbalance. */
  readonly cost?: CostModel;
}

/** What is known of a balancer since it is watched. */
export interface BalancerObservation {
  /** All metrics as text. Default format 'openmetrics'. */
  openMetrics(format?: MetricsFormat): Promise<string>;
  /** Watches no more. */
  close(): void;
}

const observations = new WeakMap<ExpertLoadBalancer, BalancerObservation>();

/**
 * Watches a balancer of a host that has no service: counts its steps and commits, and the plans of its
 * rebalancer, and tells them on the channels of `CHANNELS`. A balancer is watched once: later calls give the
 * same observation.
 *
 * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`
 * @example
 * ```ts
 * const observation = observeBalancer(balancer, { group: 'decode' });
 * response.end(await observation.openMetrics());
 * ```
 */
export function observeBalancer(
  balancer: ExpertLoadBalancer,
  options: ObserveOptions = {},
): BalancerObservation {
  const known = observations.get(checkBalancer('balancer', balancer));
  if (known !== undefined) return known;
  checkOptions('options', options, ['group', 'rebalancer', 'cost']);
  const { group = 'balancer', rebalancer, cost } = options;
  checkText('group', group);
  const registry = new MetricsRegistry();
  const metrics = registry.add({
    name: group,
    balancer,
    policy: 'own',
    cost,
    isPaused: false,
    get epoch() {
      return balancer.generation;
    },
  });
  let live = balancer.mapping;
  const { numRanks } = balancer.topology;
  const parts = sharedParts(balancer);
  const source = {
    drain() {
      metrics.recorded();
      tell('load', () => ({ group, numSteps: parts.numSteps() + 1 }));
    },
    committed() {
      const { mapping, generation: epoch } = balancer;
      const moves = mapping.movesFrom(live, numRanks);
      live = mapping;
      metrics.committed(moves);
      tell('commit', () => ({ group, epoch, digest: mapping.digest(), moves }));
    },
  };
  parts.sources.add(source);
  const stopListening = rebalancer && countPlans(rebalancer, group, balancer, metrics.planned.bind(metrics));
  const observation: BalancerObservation = {
    openMetrics: (format = 'openmetrics') => registry.text(format),
    close() {
      parts.sources.delete(source);
      stopListening?.();
      observations.delete(balancer);
    },
  };
  observations.set(balancer, observation);
  return observation;
}

/**
 * The metrics of a balancer in the OpenMetrics text format. It is watched from the first call on, as
 * {@link observeBalancer} does: counters begin with that.
 */
export function openMetrics(balancer: ExpertLoadBalancer): Promise<string> {
  return observeBalancer(balancer).openMetrics();
}

type Count = (plan: CountedPlan) => void;

/** @returns what ends that */
function countPlans(
  rebalancer: AsyncExpertRebalancer,
  group: string,
  balancer: ExpertLoadBalancer,
  count: Count,
): () => void {
  const { numRanks } = balancer.topology;
  const note = (plan: CountedPlan) => {
    count(plan);
    tell('plan', () => ({ group, epoch: balancer.generation, ...plan }));
  };
  const planned = ({ mapping, previous, forecast }: Planned) =>
    note({
      status: 'planned',
      seconds: 0,
      moves: mapping.movesFrom(previous, numRanks),
      bytes: forecast?.bytes ?? 0,
    });
  const skipped = ({ reason }: { readonly reason: string }) =>
    note({ status: 'kept', reason, seconds: 0, moves: 0, bytes: 0 });
  const failed = () => note({ status: 'failed', reason: 'error', seconds: 0, moves: 0, bytes: 0 });
  rebalancer.on('pending', planned).on('committed', planned).on('activated', planned);
  rebalancer.on('skipped', skipped).on('error', failed);
  return () => {
    rebalancer.off('pending', planned).off('committed', planned).off('activated', planned);
    rebalancer.off('skipped', skipped).off('error', failed);
  };
}

interface Planned {
  readonly mapping: ExpertMapping;
  readonly previous: ExpertMapping;
  readonly forecast?: { readonly bytes: number };
}
