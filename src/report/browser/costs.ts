import { bytes, counted, grouped, seconds } from '../format.ts';
import { axisStyle, commonOption, type Picture, type Surface } from './chart.ts';
import type { Report } from './report.ts';
import type { Theme } from './theme.ts';
import { tip } from './tip.ts';

/** Where modelled seconds go. */
const PARTS = ['idealSeconds', 'waitingSeconds', 'moveSeconds'] as const;
type Part = (typeof PARTS)[number];

/** A bar of modelled seconds: a run, or no balancing. */
interface CostBar extends Readonly<Record<Part, number>> {
  readonly name: string;
  readonly moves: number;
  readonly bytes: number;
}

const NAMES: Readonly<Record<Part, string>> = {
  idealSeconds: 'at perfect balance',
  waitingSeconds: 'waiting for the slowest rank',
  moveSeconds: 'moving weights',
};

/** What the parts are drawn in; shared with the legend beside the chart. */
export function partColours(theme: Theme): readonly (readonly [name: string, colour: string])[] {
  // Not the first colours, which are policies'.
  const colours = [theme.baseline, theme.series[4]!, theme.series[5]!];
  return PARTS.map((part, i) => [NAMES[part], colours[i]!]);
}

/** Modelled seconds of every run, and of no balancing where no run stands for it, with the moves behind them. */
export function costBars({ runs }: Report): CostBar[] {
  const bars = runs.map(({ name, cost }) => ({ name, ...cost }));
  const [first] = runs;
  if (first === undefined || runs.some(({ line }) => line.colour === null)) return bars;
  const alike = runs.every(({ cost }) => cost.unbalancedSeconds === first.cost.unbalancedSeconds);
  if (!alike) return bars;
  const { idealSeconds, unbalancedSeconds } = first.cost;
  const waitingSeconds = unbalancedSeconds - idealSeconds;
  return [
    { name: 'no balancing', idealSeconds, waitingSeconds, moveSeconds: 0, moves: 0, bytes: 0 },
    ...bars,
  ];
}

/** Modelled seconds, a bar a policy in three parts, and the slots that were moved beside it. */
export function costsPicture(report: Report, surface: Surface): Picture {
  const bars = costBars(report);
  const { theme, width } = surface;
  const axis = axisStyle(surface);
  const narrow = width < 760;
  const names = bars.map(({ name }) => name);
  const labelWidth = Math.min(width * 0.3, 12 + 7.2 * Math.max(...names.map((name) => name.length)));
  const rows = bars.length * 34;
  const top = 26;
  const second = narrow ? top + rows + 74 : top;
  const category = {
    type: 'category',
    data: names,
    inverse: true,
    ...axis,
    axisTick: { show: false },
    splitLine: { show: false },
    axisLabel: {
      ...axis.axisLabel,
      width: labelWidth,
      overflow: 'truncate',
      color: theme.ink,
      hideOverlap: false,
    },
  };
  const bar = { type: 'bar', barWidth: 18, emphasis: { disabled: true } };
  const value = {
    type: 'value',
    min: 0,
    ...axis,
    nameLocation: 'middle',
    nameGap: 26,
    axisLine: { show: false },
    splitNumber: narrow ? 3 : 4,
  };
  const left = labelWidth + 14;
  const split = narrow ? { left, right: 64 } : { left, right: '38%' };
  const total = (one: CostBar) => PARTS.reduce((sum, part) => sum + one[part], 0);
  return {
    height: second + rows + 50,
    text: bars
      .map((one) => `${one.name}: ${seconds(total(one))}, ${counted(one.moves, 'slot')} moved.`)
      .join(' '),
    option: {
      ...commonOption(surface),
      tooltip: {
        ...commonOption(surface).tooltip,
        formatter: ({ dataIndex }: { dataIndex: number }) => costTip(bars[dataIndex]!),
      },
      grid: [
        { ...split, top, height: rows },
        { left: narrow ? left : '66%', right: 64, top: second, height: rows },
      ],
      xAxis: [
        { ...value, gridIndex: 0, name: 'modelled seconds' },
        {
          ...value,
          gridIndex: 1,
          name: 'slots moved',
          minInterval: 1,
        },
      ],
      yAxis: [
        { ...category, gridIndex: 0 },
        { ...category, gridIndex: 1, axisLabel: { ...category.axisLabel, show: narrow } },
      ],
      series: [
        ...PARTS.map((part, i) => ({
          ...bar,
          name: NAMES[part],
          stack: 'seconds',
          data: bars.map((one) => one[part]),
          itemStyle: { color: partColours(theme)[i]![1] },
          label: {
            show: part === 'moveSeconds',
            position: 'right',
            color: theme.ink,
            fontSize: 12,
            formatter: ({ dataIndex }: { dataIndex: number }) => seconds(total(bars[dataIndex]!)),
          },
        })),
        {
          ...bar,
          name: 'slots moved',
          xAxisIndex: 1,
          yAxisIndex: 1,
          data: bars.map(({ moves }) => moves),
          itemStyle: { color: theme.series[5] },
          label: {
            show: true,
            position: 'right',
            color: theme.ink,
            fontSize: 12,
            formatter: ({ value: count }: { value: number }) => grouped(count),
          },
        },
      ],
    },
  };
}

function costTip(bar: CostBar): HTMLElement {
  return tip(bar.name, [
    ...PARTS.map((part) => [NAMES[part], seconds(bar[part])] as const),
    ['moved', `${counted(bar.moves, 'slot')}, ${bytes(bar.bytes)}`],
  ]);
}
