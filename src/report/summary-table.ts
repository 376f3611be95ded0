import { bytes, counted, grouped, percent, ratio, seconds, times } from '../formats/number-text.ts';
import type { ReplayReport, ReplayResult } from '../replay/result.ts';
import { savedShare } from '../replay/saved-share.ts';
import { isStatic } from './compact.ts';
import { type Html, html } from './html.ts';
import { scrollTable } from './scroll-table.ts';

/** A column of figures. */
interface Column {
  readonly title: string;
  readonly value: (replay: ReplayResult) => number;
  readonly text: (value: number, replay: ReplayResult) => string;
  /** Which end is best; none when neither is. */
  readonly best?: 'highest' | 'lowest';
  /** A cost that no balancing never has: the best is looked for among the policies that plan. */
  readonly ofPlanning?: true;
}

/** Columns under a common heading. */
interface Group {
  readonly title: string;
  readonly columns: readonly Column[];
}

const GROUPS: readonly Group[] = [
  {
    title: 'Balancedness',
    columns: [
      {
        title: 'ratio of sums',
        value: ({ balance }) => balance.balancednessRatioOfSums,
        text: ratio,
        best: 'highest',
      },
      {
        title: 'mean of ratios',
        value: ({ balance }) => balance.balancednessMeanOfRatios,
        text: ratio,
        best: 'highest',
      },
      {
        title: '5th percentile',
        value: ({ balance }) => balance.balancednessPercentiles.p5,
        text: ratio,
        best: 'highest',
      },
      {
        title: 'worst layer',
        value: ({ balance }) => balance.worstLayer.balancednessRatioOfSums,
        text: (value, { balance }) => `${ratio(value)} (${balance.worstLayer.layer})`,
        best: 'highest',
      },
    ],
  },
  {
    title: 'PAR',
    columns: [
      {
        title: 'mean of ratios',
        value: ({ balance }) => balance.peakToAverageMeanOfRatios,
        text: ratio,
        best: 'lowest',
      },
    ],
  },
  {
    title: 'Plans',
    columns: [
      { title: 'made', value: ({ totals }) => totals.numPlans, text: grouped },
      {
        title: 'planning',
        value: ({ totals }) => totals.planningSeconds,
        text: seconds,
        best: 'lowest',
        ofPlanning: true,
      },
    ],
  },
  {
    title: 'Moved',
    columns: [
      {
        title: 'slots',
        value: ({ totals }) => totals.moves,
        text: grouped,
        best: 'lowest',
        ofPlanning: true,
      },
      {
        title: 'weights',
        value: ({ totals }) => totals.bytes,
        text: bytes,
        best: 'lowest',
        ofPlanning: true,
      },
    ],
  },
  {
    title: 'Modelled time',
    columns: [
      { title: 'in all', value: ({ totals }) => totals.modelledSeconds, text: seconds, best: 'lowest' },
      { title: 'saved', value: ({ totals }) => totals.secondsSaved, text: savedText, best: 'highest' },
    ],
  },
];

/** The replays side by side, the best of each column marked. */
export function summaryTable({ replays, scores }: ReplayReport): Html {
  const shown = scores === undefined ? GROUPS : [...GROUPS, scoreGroup(replays, scores.values)];
  const all = shown.flatMap(({ columns }) => columns);
  const best = all.map((column) => bestOf(column, replays));
  const groups = shown.map(
    ({ title, columns }) => html`<th scope="colgroup" colspan="${columns.length}">${title}</th>`,
  );
  const heads = all.map(({ title }) => html`<th scope="col">${title}</th>`);
  const rows = replays.map((replay) => {
    const cells = all.map((column, i) => cell(column, replay, best[i]!));
    return html`<tr><th scope="row">${replay.name}${statusNote(replay)}</th>${cells}</tr>\n`;
  });
  const legend = replays.length > 1 ? 'The best of each column is bold, with a dot.' : '';
  const score = scores === undefined ? '' : ` A score of 100 is that of ${scores.reference}.`;
  const about = html`All figures over ${stepsText(replays)}. ${legend}${score}`;
  return scrollTable(
    'summary',
    about,
    html`
<thead><tr><th scope="col" rowspan="2">Policy</th>${groups}</tr>
<tr class="under">${heads}</tr></thead>
<tbody>
${rows}</tbody>`,
  );
}

/** The scores of a public yardstick, in the order of the replays. */
function scoreGroup(replays: readonly ReplayResult[], values: readonly number[]): Group {
  const value = (replay: ReplayResult) => values[replays.indexOf(replay)]!;
  return { title: 'Score', columns: [{ title: 'higher is better', value, text: times, best: 'highest' }] };
}

function savedText(value: number, { totals }: ReplayResult): string {
  return `${seconds(value)} (${percent(savedShare(totals))})`;
}

function stepsText(replays: readonly ReplayResult[]): string {
  const counts = [...new Set(replays.map(({ numSteps }) => numSteps))];
  return counts.length === 1 ? counted(counts[0]!, 'step') : 'the steps that each policy saw';
}

function statusNote({ status }: ReplayResult): Html | undefined {
  return status === 'complete' ? undefined : html` <span class="tag">partial</span>`;
}

function cell(column: Column, replay: ReplayResult, best: ReadonlySet<ReplayResult>): Html {
  const text = column.text(column.value(replay), replay);
  if (!best.has(replay)) return html`<td>${text}</td>`;
  return html`<td class="best"><strong>${text}</strong><span class="unseen"> (best)</span></td>`;
}

/**
 * The replays that are best in a column: none where all are alike, several where they share the first place.
 */
function bestOf(
  { value, best, ofPlanning }: Column,
  replays: readonly ReplayResult[],
): ReadonlySet<ReplayResult> {
  const candidates = replays.filter((replay) => ofPlanning !== true || !isStatic(replay));
  const values = candidates.map(value);
  const [lowest, highest] = [Math.min(...values), Math.max(...values)];
  if (best === undefined || candidates.length < 2 || lowest === highest) return new Set();
  const bar = best === 'lowest' ? lowest : highest;
  return new Set(candidates.filter((replay) => value(replay) === bar));
}
