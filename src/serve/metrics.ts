import { performance } from 'node:perf_hooks';
import { Counter, Gauge, Histogram, type Metric, type OpenMetricsContentType, Registry } from 'prom-client';
import { sharedParts } from '../balancer/expert-load-balancer.ts';
import { differencesOfRanks } from '../core/rank-speeds.ts';
import type { Topology } from '../core/topology.ts';
import type { CostModel } from '../cost/cost-model.ts';
import { layerCosts, summarizeCost } from '../cost/layer-costs.ts';
import type { ExpertLoadBalancer } from '../index.ts';
import { balancedness, layerBalances, summarizeBalance } from '../loads/balancedness.ts';
import type { LoadMatrix } from '../loads/load-matrix.ts';
import { type ExpertMapping, replicaCountOf, tablesOf } from '../mapping/expert-mapping.ts';

/** What metrics look at. */
export interface Measured {
  readonly name: string;
  readonly balancer: ExpertLoadBalancer;
  readonly epoch: number;
  readonly policy: string;
  readonly cost: CostModel | undefined;
  readonly isPaused: boolean;
}

/** A plan, as it is counted. */
export interface CountedPlan {
  readonly status: 'planned' | 'kept' | 'failed';
  readonly reason?: string;
  /** 0 is not counted as a time. */
  readonly seconds: number;
  readonly moves: number;
  readonly bytes: number;
}

/** Seconds since the last plan and the last loads; undefined before the first. */
export interface Ages {
  readonly planSeconds: number | undefined;
  readonly loadSeconds: number | undefined;
}

const PLANNING_SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];

const STAGES = ['planned', 'live'];

/** The format of the answer to a scrape. */
export type MetricsFormat = 'openmetrics' | 'prometheus';

const gauges = {
  eplb_window_balancedness_ratio: 'Sum of mean rank loads / sum of largest rank loads, mean of the window',
  eplb_imbalance_seconds: 'Seconds that a step takes longer than at perfect balance, by the cost model',
  eplb_worst_layer: 'Index of the layer with the lowest balancedness',
  eplb_worst_rank: 'Index of the rank that takes longest over all layers, by load and speed',
  eplb_active_experts: 'Experts that got tokens in the window, mean of the layers',
  eplb_predicted_gain: 'What the live plan was forecast to gain a step, in the unit of eplb_gain_unit_info',
  eplb_realised_gain: 'What the live plan has gained a step, in the unit of eplb_gain_unit_info',
  eplb_epoch: 'Number of the live mapping',
  eplb_window_steps: 'Steps in the window',
  eplb_plan_age_seconds: 'Seconds since the last plan',
  eplb_load_age_seconds: 'Seconds since the last step of loads',
  eplb_paused: '1 while no plan is offered',
} as const;

/** The metrics of all groups of a service, or of one balancer: at most 60 series a group. */
export class MetricsRegistry {
  readonly #registries: {
    readonly openmetrics: Registry<OpenMetricsContentType>;
    readonly prometheus: Registry;
  };
  readonly #gauges: Readonly<Record<keyof typeof gauges, Gauge<'group'>>>;
  readonly plans: Counter<'group' | 'result' | 'reason'>;
  readonly moves: Counter<'group' | 'stage'>;
  readonly moveBytes: Counter<'group'>;
  readonly steps: Counter<'group'>;
  readonly planning: Histogram<'group'>;
  readonly info: Gauge<'group' | 'policy'>;
  readonly unit: Gauge<'group' | 'unit'>;
  readonly #groups = new Map<string, GroupMetrics>();

  constructor() {
    const openmetrics = new Registry<OpenMetricsContentType>();
    openmetrics.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
    const prometheus = new Registry();
    this.#registries = { openmetrics, prometheus };
    const registers: Registry[] = [];
    const group = ['group'] as const;
    const all = Object.entries(gauges).map(
      ([name, help]) => [name, new Gauge({ name, help, labelNames: group, registers })] as const,
    );
    this.#gauges = Object.fromEntries(all) as Record<keyof typeof gauges, Gauge<'group'>>;
    const counter = <T extends string>(name: string, help: string, labelNames: readonly T[]) =>
      new Counter<T>({ name, help, labelNames: [...labelNames], registers });
    this.plans = counter('eplb_plans', 'Plans by what became of them', ['group', 'result', 'reason']);
    this.moves = counter('eplb_moves', 'Moves of weights, of plans answered and of mappings live', [
      'group',
      'stage',
    ]);
    this.moveBytes = counter('eplb_planned_move_bytes', 'Bytes of the moves of plans answered', group);
    this.steps = counter('eplb_steps', 'Steps of loads recorded', group);
    this.planning = new Histogram({
      name: 'eplb_planning_seconds',
      help: 'Seconds from a question to its plan',
      labelNames: group,
      buckets: PLANNING_SECONDS,
      registers,
    });
    const labelled = <T extends string>(name: string, help: string, labelNames: readonly T[]) =>
      new Gauge<T>({ name, help, labelNames: [...labelNames], registers });
    this.info = labelled('eplb_group_info', 'The policy of a group', ['group', 'policy']);
    this.unit = labelled('eplb_gain_unit_info', 'What gains are in', ['group', 'unit']);
    const { plans, moves, moveBytes, steps, planning, info, unit } = this;
    for (const metric of [...all.map(([, gauge]) => gauge), planning, info, unit] as Metric[]) {
      openmetrics.registerMetric(metric);
      prometheus.registerMetric(metric);
    }
    // The names of counters end with _total in both formats; only OpenMetrics adds it.
    for (const metric of [plans, moves, moveBytes, steps] as Metric[]) {
      openmetrics.registerMetric(metric);
      prometheus.registerMetric(withTotal(metric));
    }
  }

  /** Counts for a group from now on. */
  add(measured: Measured): GroupMetrics {
    const metrics = new GroupMetrics(this, measured);
    this.#groups.set(measured.name, metrics);
    return metrics;
  }

  forget(name: string): void {
    this.#groups.delete(name);
    for (const gauge of Object.values(this.#gauges)) gauge.remove({ group: name });
  }

  /** Everything as text. */
  async text(format: MetricsFormat): Promise<string> {
    for (const group of this.#groups.values()) group.refresh(this.#gauges);
    return this.#registries[format].metrics();
  }

  contentType(format: MetricsFormat): string {
    return this.#registries[format].contentType;
  }
}

/** A metric as it is, under its name with `_total`. */
function withTotal(metric: Metric): Metric {
  return new Proxy(metric, {
    get(target, key) {
      if (key === 'name') return `${Reflect.get(target, 'name')}_total`;
      if (key !== 'get') return Reflect.get(target, key);
      return async () => {
        const found = await target.get();
        return { ...found, name: `${found.name}_total` };
      };
    },
  });
}

/** What is counted of one group. */
export class GroupMetrics {
  readonly #registry: MetricsRegistry;
  readonly #measured: Measured;
  readonly #planLabels = new Map<string, { group: string; result: string; reason: string }>();
  #lastPlan: number | undefined;
  #lastLoad: number | undefined;

  constructor(registry: MetricsRegistry, measured: Measured) {
    this.#registry = registry;
    this.#measured = measured;
    const { name: group, policy } = measured;
    registry.info.set({ group, policy }, 1);
    for (const stage of STAGES) registry.moves.inc({ group, stage }, 0);
    registry.steps.inc({ group }, 0);
    registry.moveBytes.inc({ group }, 0);
  }

  planned({ status, reason = '', seconds, moves, bytes }: CountedPlan): void {
    const group = this.#measured.name;
    this.#lastPlan = performance.now();
    const labels = { group, result: status, reason };
    this.#planLabels.set(`${status} ${reason}`, labels);
    this.#registry.plans.inc(labels);
    if (moves > 0) this.#registry.moves.inc({ group, stage: 'planned' }, moves);
    if (bytes > 0) this.#registry.moveBytes.inc({ group }, bytes);
    if (seconds > 0) this.#registry.planning.observe({ group }, seconds);
  }

  committed(moves: number): void {
    this.#registry.moves.inc({ group: this.#measured.name, stage: 'live' }, moves);
  }

  recorded(): void {
    this.#lastLoad = performance.now();
    this.#registry.steps.inc({ group: this.#measured.name });
  }

  ages(): Ages {
    const age = (since: number | undefined) =>
      since === undefined ? undefined : (performance.now() - since) / 1000;
    return { planSeconds: age(this.#lastPlan), loadSeconds: age(this.#lastLoad) };
  }

  /** Forgets the group. */
  remove(): void {
    const { name: group, policy } = this.#measured;
    const { plans, moves, moveBytes, steps, planning, info, unit } = this.#registry;
    for (const labels of this.#planLabels.values()) plans.remove(labels);
    for (const stage of STAGES) moves.remove({ group, stage });
    for (const metric of [moveBytes, steps, planning]) metric.remove({ group });
    info.remove({ group, policy });
    for (const one of ['share', 'seconds']) unit.remove({ group, unit: one });
    this.#registry.forget(group);
  }

  /** Sets what is only looked at when somebody asks. */
  refresh(to: Readonly<Record<keyof typeof gauges, Gauge<'group'>>>): void {
    const { name: group, balancer, epoch, isPaused, cost } = this.#measured;
    const set = (name: keyof typeof gauges, value: number | undefined) => {
      if (value === undefined) to[name].remove({ group });
      else to[name].set({ group }, value);
    };
    const { planSeconds, loadSeconds } = this.ages();
    set('eplb_epoch', epoch);
    set('eplb_window_steps', balancer.numSamples);
    set('eplb_plan_age_seconds', planSeconds);
    set('eplb_load_age_seconds', loadSeconds);
    set('eplb_paused', isPaused ? 1 : 0);
    const gain = sharedParts(balancer).gains.gains.at(-1);
    set('eplb_predicted_gain', gain?.predictedGain);
    set('eplb_realised_gain', gain?.realisedGain);
    if (gain !== undefined) this.#registry.unit.set({ group, unit: gain.unit }, 1);
    if (balancer.numSamples === 0) return;
    const loads = balancer.getAverageLogicalLoad();
    const { mapping, topology } = balancer;
    const { numRanks, numNodes, nodeOfRank, linkClasses } = topology;
    const ranks = differencesOfRanks(topology);
    const layers = layerBalances(loads, mapping, numRanks, ranks);
    const ratios = layers.map(balancedness);
    set('eplb_window_balancedness_ratio', summarizeBalance(layers).balancednessRatioOfSums);
    set('eplb_worst_layer', ratios.indexOf(Math.min(...ratios)));
    set('eplb_worst_rank', worstRank(loads, mapping, topology));
    const numActive = loads.data.reduce((count, load) => count + (load > 0 ? 1 : 0), 0);
    set('eplb_active_experts', numActive / loads.numLayers);
    if (cost === undefined) return;
    const { seconds, secondsAtBalance } = summarizeCost(
      layerCosts(loads, mapping, numRanks, cost, {
        numNodes,
        ...(nodeOfRank && { nodeOfRank }),
        ...(linkClasses && { linkClasses }),
        ...ranks,
      }),
    );
    set('eplb_imbalance_seconds', Math.max(0, seconds - secondsAtBalance));
  }
}

/** The rank that takes longest over all layers, the lowest of equal ones. */
function worstRank(
  loads: LoadMatrix,
  mapping: ExpertMapping,
  { numRanks, rankSpeed }: Pick<Topology, 'numRanks' | 'rankSpeed'>,
): number {
  const { phyToLog, numPhysicalExperts, numLogicalExperts } = tablesOf(mapping);
  const counts = replicaCountOf(mapping);
  const slotsPerRank = numPhysicalExperts / numRanks;
  const sums = new Float64Array(numRanks);
  for (let i = 0; i < phyToLog.length; i++) {
    if (phyToLog[i]! < 0) continue;
    const at = Math.floor(i / numPhysicalExperts) * numLogicalExperts + phyToLog[i]!;
    sums[Math.floor((i % numPhysicalExperts) / slotsPerRank)]! += loads.data[at]! / counts[at]!;
  }
  const times = rankSpeed === undefined ? sums : sums.map((sum, rank) => sum / rankSpeed[rank]!);
  return times.indexOf(Math.max(...times));
}
