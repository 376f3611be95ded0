import { bytes, counted, grouped, seconds } from '../../formats/number-text.ts';
import { axisStyle, commonOption, secondsAxis, titleBelow } from './axes.ts';
import type { Picture, Surface } from './chart.ts';
import type { Report } from './report.ts';
import type { Theme } from './theme.ts';
import { tip } from './tip.ts';

/** Where seconds go. */
export const PARTS = ['idealSeconds', 'waitingSeconds', 'moveSeconds', 'planningSeconds'] as const;
type Part = (typeof PARTS)[number];

/** A bar of seconds: a run, or no balancing. */
interface CostBar extends Readonly<Record<Part, number>> {
  readonly name: string;
  /** All parts, or all but planning where steps do not wait for it. */
  readonly modelledSeconds: number;
  readonly moves: number;
  readonly bytes: number;
}

/** What the parts are called. */
export const PART_NAMES: Readonly<Record<Part, string>> = {
  idealSeconds: 'at perfect balance',
  waitingSeconds: 'waiting for the slowest rank',
  moveSeconds: 'moving weights',
  planningSeconds: 'planning',
};

/** Not the first of the colours, which are policies'. */
const WAITING_COLOUR = 4;
const MOVES_COLOUR = 5;
const PLANNING_COLOUR = 6;

/** What the parts are drawn in; shared with the legend beside the chart. */
export function partColours(theme: Theme): readonly (readonly [name: string, colour: string])[] {
  const { baseline, series } = theme;
  const colours = [baseline, series[WAITING_COLOUR]!, series[MOVES_COLOUR]!, series[PLANNING_COLOUR]!];
  return PARTS.map((part, i) => [PART_NAMES[part], colours[i]!]);
}

/**
 * Modelled seconds of every run, and of no balancing where no run stands for it, with the moves behind them.
 */
export function costBars({ runs }: Report): CostBar[] {
  const bars = runs.map(({ name, cost }) => ({ name, ...cost }));
  const [first] = runs;
  if (first === undefined || runs.some(({ line }) => line.colour === null)) return bars;
  const alike = runs.every(({ cost }) => cost.unbalancedSeconds === first.cost.unbalancedSeconds);
  if (!alike) return bars;
  const { idealSeconds, unbalancedSeconds } = first.cost;
  const waitingSeconds = unbalancedSeconds - idealSeconds;
  return [
    {
      ...{ name: 'no balancing', modelledSeconds: unbalancedSeconds, idealSeconds, waitingSeconds },
      ...{ moveSeconds: 0, planningSeconds: 0, moves: 0, bytes: 0 },
    },
    ...bars,
  ];
}

/**
 * Height of a bar with the space around it, and below this width the two charts stand one below the other.
 */
const ROW = 34;
const NARROW = 760;
const TOP = 26;

/** Modelled seconds, a bar a policy in three parts, and the slots that were moved beside it. */
export function costsPicture(report: Report, surface: Surface): Picture {
  const bars = costBars(report);
  const isNarrow = surface.width < NARROW;
  const height = bars.length * ROW;
  const second = isNarrow ? TOP + height + 74 : TOP;
  const longestName = Math.max(...bars.map(({ name }) => name.length));
  const labelWidth = Math.min(surface.width * 0.3, 12 + 7.2 * longestName);
  const left = labelWidth + 14;
  const value = { type: 'value', min: 0, axisLine: { show: false } };
  const splitNumber = isNarrow ? 3 : 4;
  const names = nameAxis(bars, labelWidth, surface);
  return {
    height: second + height + 50,
    text: bars
      .map(
        (bar) =>
          `${bar.name}: ${seconds(bar.modelledSeconds)}, ${counted(bar.moves, 'slot')} moved, ` +
          `${seconds(bar.planningSeconds)} of planning.`,
      )
      .join(' '),
    option: {
      ...commonOption(surface, ({ dataIndex }: { dataIndex: number }) => costTip(bars[dataIndex]!)),
      grid: [
        { left, right: isNarrow ? 64 : '38%', top: TOP, height },
        { left: isNarrow ? left : '66%', right: 64, top: second, height },
      ],
      xAxis: [
        { ...secondsAxis(surface), ...value, gridIndex: 0, splitNumber, ...titleBelow('modelled time') },
        {
          ...axisStyle(surface),
          ...value,
          gridIndex: 1,
          splitNumber,
          ...titleBelow('slots moved'),
          minInterval: 1,
        },
      ],
      yAxis: [
        { ...names, gridIndex: 0 },
        { ...names, gridIndex: 1, axisLabel: { ...names.axisLabel, show: isNarrow } },
      ],
      series: costSeries(bars, surface),
    },
  };
}

/** The names of the bars, downwards, cut where they are very long. */
function nameAxis(bars: readonly CostBar[], width: number, surface: Surface) {
  const { axisLabel, ...axis } = axisStyle(surface);
  const { ink } = surface.theme;
  return {
    ...axis,
    type: 'category',
    data: bars.map(({ name }) => name),
    inverse: true,
    axisTick: { show: false },
    splitLine: { show: false },
    axisLabel: { ...axisLabel, width, overflow: 'truncate', color: ink, hideOverlap: false },
  };
}

/** The parts of every bar on each other, with their sum behind; and the slots moved. */
function costSeries(bars: readonly CostBar[], { theme }: Surface): object[] {
  const bar = { type: 'bar', barWidth: 18, emphasis: { disabled: true } };
  const label = { show: true, position: 'right', color: theme.ink, fontSize: 12 };
  const sum = ({ dataIndex }: { dataIndex: number }) => seconds(bars[dataIndex]!.modelledSeconds);
  const parts = partColours(theme).map(([name, color], i) => ({
    ...bar,
    name,
    stack: 'seconds',
    data: bars.map((one) => one[PARTS[i]!]),
    itemStyle: { color },
    label: { ...label, show: i === PARTS.length - 1, formatter: sum },
  }));
  const moves = {
    ...bar,
    name: 'slots moved',
    xAxisIndex: 1,
    yAxisIndex: 1,
    data: bars.map((one) => one.moves),
    itemStyle: { color: theme.series[MOVES_COLOUR] },
    label: { ...label, formatter: ({ value }: { value: number }) => grouped(value) },
  };
  return [...parts, moves];
}

function costTip(bar: CostBar): HTMLElement {
  return tip(bar.name, [
    ...PARTS.map((part) => [PART_NAMES[part], seconds(bar[part])] as const),
    ['modelled time', seconds(bar.modelledSeconds)],
    ['moved', `${counted(bar.moves, 'slot')}, ${bytes(bar.bytes)}`],
  ]);
}
