import { numOpenSlots } from '../../core/open-slots.ts';
import {
  bytes,
  counted,
  grouped,
  percent,
  places,
  ratio,
  seconds,
  times,
} from '../../formats/number-text.ts';
import type { ReplayReport, ReplayResult } from '../../replay/index.ts';
import { savedShare } from '../../replay/saved-share.ts';
import type { Colors } from '../colors.ts';
import { type Fact, factLines } from '../fact-list.ts';
import { PlainTable } from '../plain-table.ts';
import { ranksText } from '../ranks-text.ts';
import { changeTables } from './change-view.ts';
import { failureTable } from './failure-view.ts';
import { planningText } from './planning-text.ts';
import { costText, recordingFacts } from './replay-view.ts';
import { yardstickFacts } from './score.ts';
import { replayTimeFacts } from './time-facts.ts';
import { trafficTables } from './traffic-view.ts';

/** A column of the comparison. `better` is 1 where more is better, -1 where less is, 0 where neither is. */
interface Column {
  readonly head: readonly [string, string];
  readonly better: 1 | -1 | 0;
  readonly value: (result: ReplayResult, index: number) => number;
  readonly text: (value: number, result: ReplayResult) => string;
}

const COLUMNS: readonly Column[] = [
  {
    head: ['balanced-', 'ness'],
    better: 1,
    value: ({ balance }) => balance.balancednessRatioOfSums,
    text: ratio,
  },
  {
    head: ['worst', 'layer'],
    better: 1,
    value: ({ balance }) => balance.worstLayer.balancednessRatioOfSums,
    text: ratio,
  },
  {
    head: ['mean', 'PAR'],
    better: -1,
    value: ({ balance }) => balance.peakToAverageMeanOfRatios,
    text: ratio,
  },
  { head: ['', 'plans'], better: 0, value: ({ totals }) => totals.numPlans, text: grouped },
  { head: ['', 'moves'], better: -1, value: ({ totals }) => totals.moves, text: grouped },
  { head: ['', 'moved'], better: -1, value: ({ totals }) => totals.bytes, text: bytes },
  { head: ['planning', 'time'], better: -1, value: ({ totals }) => totals.planningSeconds, text: seconds },
  { head: ['modelled', 'time'], better: -1, value: ({ totals }) => totals.modelledSeconds, text: seconds },
  { head: ['', 'saved'], better: 1, value: ({ totals }) => savedShare(totals), text: percent },
];

/** Experts that a rank reads the weights of: more replicas make more of them. */
const ACTIVE: Column = {
  head: ['active', 'experts'],
  better: -1,
  value: ({ time }) => time!.live.meanActiveExperts,
  text: (value, { time }) => `${places(value, 1)}/${places(time!.live.maxActiveExperts, 0)}`,
};

/** A comparison for people: a line a policy, the best of each column marked. */
export function renderCompare(report: ReplayReport, written: readonly string[], colors: Colors): string {
  const { recording, replays } = report;
  const first = replays[0]!;
  const { configuration } = first;
  const planned = replays.filter(({ configuration }) => configuration.policy !== 'static');
  const isPartial = replays.some(({ status }) => status === 'partial');
  const head: Fact[] = [
    ...recordingFacts(recording, Math.max(...replays.map(({ numSteps }) => numSteps))),
    [
      'placement',
      `${counted(numOpenSlots(configuration), 'slot')}, ${ranksText(configuration)}, ` +
        `${counted(configuration.numNodes, 'node')}`,
    ],
    ...(planned.length === 0
      ? []
      : ([['plans', planningText(planned.map((result) => result.configuration))]] as Fact[])),
    ['cost', costText(first)],
    ...replayTimeFacts(first),
    ...(isPartial ? ([['PARTIAL', 'interrupted: each policy of the steps that it came to']] as Fact[]) : []),
  ];
  const close: Fact[] = [
    ['*', `the best of its column; ${report.scores === undefined ? MEANINGS : YARDSTICK_MEANINGS}`],
    ...yardstickFacts(report),
    ...written.map((path): Fact => ['written', path]),
  ];
  const parts = [
    factLines(head, colors).trimEnd(),
    compareTable(report, colors),
    ...changeTables(report.replays, colors),
    ...trafficTables(report.replays, colors),
    ...failureTable(report.replays, colors),
    factLines(close, colors).trimEnd(),
    ...(report.advice === undefined ? [] : [` ${colors.bold(report.advice.sentence)}`]),
  ];
  return `${parts.join('\n\n')}\n`.replace(/ +$/gm, '');
}

const MEANINGS =
  'balancedness is a ratio of sums, saved a share of no balancing; time has moves and planning in it';
const YARDSTICK_MEANINGS = 'balancedness is a ratio of sums, saved a share of no balancing';

function compareTable({ replays, scores }: ReplayReport, colors: Colors): string {
  const columns: Column[] = [...COLUMNS];
  if (replays.every(({ time }) => time !== undefined && !time.isEnlarged)) columns.splice(3, 0, ACTIVE);
  if (scores !== undefined) {
    columns.push({
      head: ['', 'score'],
      better: 1,
      value: (_, index) => scores.values[index]!,
      text: times,
    });
  }
  const isPartial = replays.some(({ status }) => status === 'partial');
  if (isPartial) {
    columns.unshift({ head: ['', 'steps'], better: 0, value: ({ numSteps }) => numSteps, text: grouped });
  }
  const table = new PlainTable(['left', ...columns.map(() => 'right' as const)], 2);
  table.push(['', ...columns.map(({ head }) => colors.bold(head[0]))]);
  table.push([colors.bold('policy'), ...columns.map(({ head }) => colors.bold(head[1]))]);
  // Figures of different steps do not compare.
  const bests = columns.map((column) => (isPartial ? undefined : bestOf(column, replays)));
  replays.forEach((result, index) => {
    const cells = columns.map((column, i) => {
      const text = column.text(column.value(result, index), result);
      return text === bests[i] ? colors.green(`${text}*`) : `${text} `;
    });
    table.push([result.name, ...cells]);
  });
  return table.toString();
}

/** The best text of a column, as printed: equal ones are all best. None when all are equal. */
function bestOf({ better, value, text }: Column, replays: readonly ReplayResult[]): string | undefined {
  if (better === 0) return undefined;
  const values = replays.map((result, index) => value(result, index));
  const best = better === 1 ? Math.max(...values) : Math.min(...values);
  const texts = values.map((own, index) => text(own, replays[index]!));
  const bestText = texts[values.indexOf(best)]!;
  return texts.every((other) => other === bestText) ? undefined : bestText;
}
