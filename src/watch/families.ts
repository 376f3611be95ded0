import type { RealisedGain } from '../balancer/gain-record.ts';
import type { MetricFamily, Sample } from './exposition.ts';
import type { Tally } from './tally.ts';
import type { WatchCondition } from './watchdog.ts';
import type { WindowFigures } from './window-figures.ts';

/** All that the metrics of a group are made of, at one moment. */
export interface GroupFigures {
  readonly group: string;
  readonly policy: string;
  readonly epoch: number;
  readonly isPaused: boolean;
  readonly windowSteps: number;
  readonly tally: Tally;
  readonly ages: Ages;
  readonly window: WindowFigures | undefined;
  /** What the mapping that went live last was to gain, and has gained. */
  readonly gain: RealisedGain | undefined;
  readonly conditions: readonly WatchCondition[];
  /** Ranks by what they are. */
  readonly ranks: Readonly<Record<string, number>>;
  /** Whether each rank has a series of its own. */
  readonly isByRank: boolean;
}

/** Seconds since the last plan and the last loads; undefined before the first. */
export interface Ages {
  readonly planSeconds: number | undefined;
  readonly loadSeconds: number | undefined;
}

/** Values by what their labels have beside the group. */
type Values = readonly (readonly [value: number | undefined, labels?: Readonly<Record<string, string>>])[];

interface FamilyRow extends Omit<MetricFamily, 'samples'> {
  values(figures: GroupFigures): Values | ((labels: Sample['labels']) => Sample[]);
}

/** Ranks that have series, of more than that the first ones. */
const MOST_RANKS = 128;

const row = (name: string, type: 'gauge' | 'counter', help: string, values: (f: GroupFigures) => Values) => ({
  ...{ name, type, help, values },
});
const gauge = (name: string, help: string, value: (figures: GroupFigures) => number | undefined) =>
  row(name, 'gauge', help, (figures) => [[value(figures)]]);
const counter = (name: string, help: string, value: (figures: GroupFigures) => number) =>
  row(name, 'counter', help, (figures) => [[value(figures)]]);
/** A series of each member, by a label. */
const by = (label: string, counts: Readonly<Record<string, number>>): Values =>
  Object.entries(counts).map(([value, count]) => [count, { [label]: value }]);

/** Every family, in the order of the text. Of a group at most 60 series, buckets and single ranks apart. */
const ROWS: readonly FamilyRow[] = [
  row('eplb_group_info', 'gauge', 'The policy of a group', ({ policy }) => [[1, { policy }]]),
  gauge('eplb_epoch', 'Number of the live mapping', ({ epoch }) => epoch),
  gauge('eplb_paused', '1 while no plan is offered', ({ isPaused }) => Number(isPaused)),
  gauge('eplb_window_steps', 'Steps in the window', ({ windowSteps }) => windowSteps),
  counter('eplb_steps', 'Steps of loads recorded', ({ tally }) => tally.numSteps),
  gauge(
    'eplb_balancedness_ratio_of_sums',
    'Sum of mean rank loads / sum of largest rank loads, over the layers, mean step of the window',
    ({ window }) => window?.balancednessRatioOfSums,
  ),
  gauge(
    'eplb_step_imbalance_seconds',
    'Seconds that a step takes longer than at perfect balance, by the cost model',
    ({ window }) => window?.imbalanceSeconds,
  ),
  gauge(
    'eplb_worst_layer',
    'Index of the layer with the lowest balancedness',
    ({ window }) => window?.worstLayer,
  ),
  gauge(
    'eplb_worst_rank',
    'Index of the rank that takes longest over all layers, by load and speed',
    ({ window }) => window?.worstRank,
  ),
  gauge(
    'eplb_active_experts',
    'Experts that got tokens in the window, mean of the layers',
    ({ window }) => window?.activeExperts,
  ),
  row('eplb_plans', 'counter', 'Plans by what became of them', ({ tally }) =>
    [...tally.plans.entries()].map(({ labels: [result = '', reason = ''], count }) => [
      count,
      { result, reason },
    ]),
  ),
  row('eplb_moves', 'counter', 'Moves of weights, of plans made and of mappings live', ({ tally }) =>
    by('stage', tally.moves),
  ),
  row(
    'eplb_move_bytes',
    'counter',
    'Bytes of moves, of plans made and of mappings live, where a cost model knows them',
    ({ tally }) => by('stage', tally.moveBytes),
  ),
  {
    ...{ name: 'eplb_planning_seconds', type: 'histogram', help: 'Seconds from a question to its plan' },
    values: ({ tally }) => tally.planning.samples.bind(tally.planning),
  },
  row('eplb_migrations', 'counter', 'Migrations by what became of them', ({ tally }) =>
    by('result', tally.migrations),
  ),
  {
    ...{
      name: 'eplb_migration_seconds',
      type: 'histogram',
      help: 'Seconds from offer to end of a migration',
    },
    values: ({ tally }) => tally.migrating.samples.bind(tally.migrating),
  },
  row('eplb_refusals', 'counter', 'What was refused, by code', ({ tally }) =>
    [...tally.refusals.entries()].map(({ labels: [code = ''], count }) => [count, { code }]),
  ),
  gauge(
    'eplb_predicted_gain',
    'What the live plan was forecast to gain a step, in the unit of eplb_gain_unit_info',
    ({ gain }) => gain?.predictedGain,
  ),
  gauge(
    'eplb_realised_gain',
    'What the live plan has gained a step, in the unit of eplb_gain_unit_info',
    ({ gain }) => gain?.realisedGain,
  ),
  row('eplb_gain_unit_info', 'gauge', 'What gains are in', ({ gain }) =>
    gain === undefined ? [] : [[1, { unit: gain.unit }]],
  ),
  row('eplb_ranks', 'gauge', 'Ranks by state', ({ ranks }) => by('state', ranks)),
  counter('eplb_topology_changes', 'Changes of the ranks', ({ tally }) => tally.numTopologyChanges),
  gauge('eplb_plan_age_seconds', 'Seconds since the last plan', ({ ages }) => ages.planSeconds),
  gauge('eplb_load_age_seconds', 'Seconds since the last step of loads', ({ ages }) => ages.loadSeconds),
  row('eplb_condition', 'gauge', '1 while it is so, 0 when the watchdog has flagged it', ({ conditions }) =>
    conditions.map(({ type, status }) => [Number(status), { condition: type }]),
  ),
  row(
    'eplb_rank_load_ratio',
    'gauge',
    'Load of a rank / its speed, over the mean of the ranks; only where asked for',
    ({ window, isByRank }) =>
      isByRank && window !== undefined
        ? [...window.rankLoadRatios.subarray(0, MOST_RANKS)].map((ratio, rank) => [
            ratio,
            { rank: String(rank) },
          ])
        : [],
  ),
];

/** The families of groups. */
export function familiesOf(groups: readonly GroupFigures[]): MetricFamily[] {
  return ROWS.map(({ name, type, help, values }) => ({
    ...{ name, type, help },
    samples: groups.flatMap((figures) => samplesOf(figures.group, values(figures))),
  }));
}

function samplesOf(group: string, values: ReturnType<FamilyRow['values']>): Sample[] {
  if (typeof values === 'function') return values({ group });
  return values.flatMap(([value, labels]) =>
    value === undefined ? [] : [{ labels: { group, ...labels }, value }],
  );
}
