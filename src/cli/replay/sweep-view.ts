import { bytes, counted, grouped, percent, ratio, seconds } from '../../formats/number-text.ts';
import type { ReplayReport, SweepPoint, SweepResult } from '../../replay/index.ts';
import { savedShare } from '../../replay/saved-share.ts';
import type { Colors } from '../colors.ts';
import { type Fact, factLines } from '../fact-list.ts';
import { PlainTable } from '../plain-table.ts';
import { recordingFacts } from './replay-view.ts';

/** A sweep for people: a line a point, the Pareto front marked, the advice at the end. */
export function renderSweep(
  { recording, sweep }: Pick<ReplayReport, 'recording'> & { readonly sweep: SweepResult },
  cost: string,
  told: readonly Fact[],
  colors: Colors,
): string {
  const { from, to } = recording.steps;
  const head: Fact[] = [
    ...(to === null
      ? recordingFacts(recording, Number.NaN).filter(([label]) => label !== 'replayed')
      : recordingFacts(recording, to - from)),
    ['cost', cost],
    ...(sweep.status === 'partial'
      ? ([['PARTIAL', 'interrupted: the configurations that were done; run it again to go on']] as Fact[])
      : []),
  ];
  const failed = sweep.points.filter((point) => point.status === 'failed');
  const close: Fact[] = [
    ['*', 'on the Pareto front of modelled time against memory for redundant experts'],
    ['loses', 'share of the load on experts that the worst single failure leaves without a copy'],
    ...lossFacts(sweep.points, recording.numLogicalExperts),
    ...failed.map((point): Fact => ['left out', `${point.name}: ${point.message}`]),
    ...told,
  ];
  const parts = [
    factLines(head, colors).trimEnd(),
    sweepTable(sweep, colors),
    factLines(close, colors).trimEnd(),
    ...(sweep.survivalAdvice === undefined ? [] : [` ${colors.bold(sweep.survivalAdvice)}`]),
    ` ${colors.bold(sweep.advice)}`,
  ];
  return `${parts.join('\n\n')}\n`.replace(/ +$/gm, '');
}

function sweepTable({ points, front }: SweepResult, colors: Colors): string {
  const levels = levelsOf(points);
  const numRight = 8 + levels.length;
  const aligns = Array.from({ length: numRight }, () => 'right' as const);
  const table = new PlainTable(['left', ...aligns, 'left'], 2);
  const losses = levels.map((level) => `a ${level}`);
  table.push(['', '', '', '', 'balanced-', '', '', 'modelled', '', ...losses, 'redundant'].map(colors.bold));
  const names = ['policy', 'slots', 'ranks', 'every', 'ness', 'plans', 'moved', 'time', 'saved'];
  table.push([...names, ...levels.map(() => 'loses'), 'a rank'].map(colors.bold));
  for (const point of points) {
    if (point.status === 'failed') continue;
    const { policy, numPhysicalExperts, numRanks, interval, name } = point;
    const time = seconds(point.modelledSeconds);
    table.push([
      policy,
      grouped(numPhysicalExperts),
      grouped(numRanks),
      interval === null ? '' : grouped(interval),
      ratio(point.balancednessRatioOfSums),
      grouped(point.numPlans),
      bytes(point.bytes),
      time,
      percent(savedShare(point)),
      ...levels.map((level) => percent(lossOf(point, level)?.loadShare ?? 0)),
      `${bytes(point.redundantBytesPerRank)}${front.includes(name) ? colors.green(' *') : ''}`,
    ]);
  }
  return table.toString();
}

/** Which point loses the least on each level, and how many slots it takes to lose nothing. */
function lossFacts(points: readonly SweepPoint[], numExperts: number): Fact[] {
  const done = points.filter((point) => point.status === 'done');
  if (done.length < 2) return [];
  const least = levelsOf(points).map((level): Fact => {
    const losses = done.map((point) => lossOf(point, level)?.loadShare ?? 1);
    const share = Math.min(...losses);
    return [`a ${level}`, `loses least with ${done[losses.indexOf(share)]!.name}: ${percent(share)}`];
  });
  const all = `at least ${counted(2 * numExperts, 'slot')}: each expert twice, and placed for it`;
  return [...least, ['to lose none', all]];
}

/** What may fail in any of the points: `rank`, `node`, ... */
function levelsOf(points: readonly SweepPoint[]): string[] {
  const losses = points.flatMap((point) => (point.status === 'done' ? (point.failureLosses ?? []) : []));
  return [...new Set(losses.map(({ level }) => level))];
}

function lossOf(point: SweepPoint, level: string) {
  if (point.status === 'failed') return undefined;
  return point.failureLosses?.find((loss) => loss.level === level);
}

const CSV_COLUMNS = [
  'policy',
  'slots',
  'ranks',
  'interval',
  'status',
  'modelled_seconds',
  'unbalanced_seconds',
  'seconds_saved',
  'move_seconds',
  'planning_seconds',
  'balancedness_ratio_of_sums',
  'balancedness_mean_of_ratios',
  'peak_to_average_mean_of_ratios',
  'plans',
  'moves',
  'bytes_moved',
  'redundant_bytes',
  'redundant_bytes_per_rank',
  'on_front',
  'on_front_of_its_ranks',
];

/** Of each level, behind the others. */
const LOSS_COLUMNS = ['loses_experts', 'loses_load'];

/** The points as comma-separated values, with a line of names. */
export function sweepCsv({ points, front, frontsByRanks }: SweepResult): string {
  const levels = levelsOf(points);
  const ofRanks = new Set(frontsByRanks.flatMap(({ names }) => names));
  const lines = points.map((point) => [
    ...[point.policy, point.numPhysicalExperts, point.numRanks, point.interval ?? '', point.status],
    ...figures(point),
    ...[Number(front.includes(point.name)), Number(ofRanks.has(point.name))],
    ...levels.flatMap((level) => {
      const loss = lossOf(point, level);
      return [loss?.expertsShare ?? '', loss?.loadShare ?? ''];
    }),
    point.status === 'failed' ? point.message : '',
  ]);
  const losses = levels.flatMap((level) => LOSS_COLUMNS.map((column) => `worst_${level}_${column}`));
  return [[...CSV_COLUMNS, ...losses, 'message'], ...lines]
    .map((cells) => `${cells.map(csvCell).join(',')}\n`)
    .join('');
}

function figures(point: SweepPoint): (number | string)[] {
  if (point.status === 'failed') return Array.from({ length: 13 }, () => '');
  return [
    point.modelledSeconds,
    point.unbalancedSeconds,
    point.secondsSaved,
    point.moveSeconds,
    point.planningSeconds,
    point.balancednessRatioOfSums,
    point.balancednessMeanOfRatios,
    point.peakToAverageMeanOfRatios,
    point.numPlans,
    point.moves,
    point.bytes,
    point.redundantBytes,
    point.redundantBytesPerRank,
  ];
}

/** As RFC 4180 has it: quoted where a comma, a quote or a line break is in it. */
function csvCell(value: number | string): string {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
