import { counted, grouped, ratio } from '../format.ts';
import { axisStyle, commonOption, type Picture, type Surface } from './chart.ts';
import type { Line, Report } from './report.ts';
import type { Selection } from './selection.ts';
import { lineColour, lineDash } from './theme.ts';
import { tip } from './tip.ts';

/** Height of a row of plan marks. */
const LANE = 22;
const PLOT_HEIGHT = 280;

/** Balancedness over time, a line a policy, with a row of marks for each policy's plans below. */
export function overTime(report: Report, selection: Selection, surface: Surface): Picture {
  const shown = report.lines.filter((_, i) => !selection.isHidden(i));
  const planners = shown.filter((line) => line.plans.length > 0);
  const { theme, width } = surface;
  const axis = axisStyle(surface);
  const [from, to] = extentOf(report.lines);
  const lowest = Math.min(1, ...shown.flatMap(({ min }) => Array.from(min)));
  const floor = Math.max(0, Math.floor(lowest * 10 - 1e-9) / 10);
  const lanesTop = 24 + PLOT_HEIGHT + 10;
  const x = { type: 'value', min: from, max: to, ...axis, splitLine: { show: false } };
  const longestName = Math.max(0, ...planners.map(({ name }) => name.length));
  const left = Math.min(Math.max(52, 14 + 7 * longestName), width < 500 ? 76 : 150);
  const right = width < 500 ? 12 : 20;
  const lanes = planners.length * LANE;
  return {
    height: lanesTop + lanes + 44,
    text: `Balancedness over steps ${grouped(from)} to ${grouped(to)}. ${shown.map(lineText).join(' ')}`,
    option: {
      ...commonOption(surface),
      tooltip: {
        ...commonOption(surface).tooltip,
        trigger: 'axis',
        axisPointer: { type: 'line', lineStyle: { color: theme.muted } },
        formatter: (params: readonly { axisValue: number }[]) => timeTip(shown, params[0]!.axisValue),
      },
      axisPointer: { link: [{ xAxisIndex: 'all' }] },
      grid: [
        { left, right, top: 24, height: PLOT_HEIGHT },
        { left, right, top: lanesTop, height: Math.max(lanes, 1) },
      ],
      xAxis: [
        { ...x, gridIndex: 0, axisLabel: { show: false }, axisTick: { show: false } },
        {
          ...x,
          gridIndex: 1,
          name: 'step of the recording',
          nameLocation: 'middle',
          nameGap: 26,
        },
      ],
      yAxis: [
        {
          type: 'value',
          gridIndex: 0,
          min: floor,
          max: 1,
          ...axis,
          name: 'balancedness',
          nameTextStyle: { ...axis.nameTextStyle, align: 'left', padding: [0, 0, 0, -left + 4] },
        },
        {
          type: 'value',
          gridIndex: 1,
          min: 0,
          max: Math.max(planners.length, 1),
          interval: 1,
          inverse: true,
          axisLine: { show: false },
          axisTick: { show: false },
          splitLine: { show: false },
          axisLabel: {
            customValues: planners.map((_, lane) => lane + 0.5),
            formatter: (value: number) => planners[Math.floor(value)]?.name ?? '',
            color: theme.muted,
            fontSize: 12,
            width: left - 10,
            overflow: 'truncate',
          },
        },
      ],
      series: [
        ...shown.flatMap((line) => lineSeries(line, surface)),
        ...planners.map((line, lane) => planMarks(line, lane, surface)),
        chosenStep(selection.step, floor, surface),
      ],
    },
  };
}

/** First and last step of the recording that any line has. */
function extentOf(lines: readonly Line[]): [from: number, to: number] {
  const from = Math.min(...lines.map(({ firstStep }) => firstStep));
  const to = Math.max(...lines.map(({ firstStep, numSteps }) => firstStep + numSteps - 1));
  return [from, Math.max(to, from + 1)];
}

function lineText({ name, mean, plans }: Line): string {
  const first = ratio(mean[0] ?? 1);
  return `${name}: from ${first} to ${ratio(mean.at(-1) ?? 1)}, ${counted(plans.length, 'plan')}.`;
}

/** The step in the middle of a point. */
function middleOf({ firstStep, numSteps, stepsPerPoint }: Line, point: number): number {
  const first = point * stepsPerPoint;
  return firstStep + (first + Math.min(first + stepsPerPoint, numSteps) - 1) / 2;
}

/** The mean as a line; where steps were thinned, between thin lines of the lowest and the highest of them. */
function lineSeries(line: Line, { theme }: Surface): object[] {
  const colour = lineColour(theme, line.colour);
  const points = (values: Float64Array) => Array.from(values, (value, i) => [middleOf(line, i), value]);
  const common = { type: 'line', symbol: 'none', silent: true, color: colour, emphasis: { disabled: true } };
  const mean = {
    ...common,
    name: line.name,
    data: points(line.mean),
    lineStyle: { width: 2, type: lineDash(line.colour), color: colour },
    z: line.colour === null ? 2 : 3,
  };
  if (line.stepsPerPoint === 1) return [mean];
  const thin = { width: 0.75, opacity: 0.7, color: colour };
  const spread = line.max.map((value, i) => value - line.min[i]!);
  return [
    { ...common, name: `${line.name}, lowest`, stack: line.name, data: points(line.min), lineStyle: thin },
    {
      ...common,
      name: `${line.name}, highest`,
      stack: line.name,
      data: points(spread),
      lineStyle: { ...thin, opacity: 0.35 },
      areaStyle: { color: colour, opacity: 0.14 },
    },
    mean,
  ];
}

/** A tick for every plan, where it was started. One path, however many they are. */
function planMarks({ name, colour, plans }: Line, lane: number, { theme }: Surface): object {
  const ticks = plans.flatMap(({ startedAfterStep: step }) => [
    [step, lane + 0.2],
    [step, lane + 0.8],
    [null, null],
  ]);
  return {
    type: 'line',
    name: `plans of ${name}`,
    xAxisIndex: 1,
    yAxisIndex: 1,
    symbol: 'none',
    silent: true,
    data: ticks,
    lineStyle: { width: 1.5, color: lineColour(theme, colour) },
    emphasis: { disabled: true },
  };
}

/** The chosen step: a faint line behind the others, with a mark above. */
function chosenStep(step: number, floor: number, { theme }: Surface): object {
  return {
    type: 'line',
    name: 'chosen step',
    symbol: (_: unknown, { dataIndex }: { dataIndex: number }) => (dataIndex === 1 ? 'triangle' : 'none'),
    symbolRotate: 180,
    symbolSize: 9,
    symbolOffset: [0, -6],
    showAllSymbol: true,
    clip: false,
    silent: true,
    data: [
      [step, floor],
      [step, 1],
    ],
    color: theme.ink,
    lineStyle: { width: 1, color: theme.muted, opacity: 0.5 },
    emphasis: { disabled: true },
    z: 1,
  };
}

/** Balancedness around a step, and the plans that are marked there. */
function timeTip(lines: readonly Line[], step: number): HTMLElement {
  const longest = Math.max(...lines.map(({ stepsPerPoint }) => stepsPerPoint));
  const values = lines.flatMap((line): [string, string][] => {
    const point = Math.floor((Math.round(step) - line.firstStep) / line.stepsPerPoint);
    const mean = line.mean[point];
    if (mean === undefined) return [];
    if (line.stepsPerPoint === 1) return [[line.name, ratio(mean)]];
    return [[line.name, `${ratio(mean)} (${ratio(line.min[point]!)} to ${ratio(line.max[point]!)})`]];
  });
  const plans = lines.flatMap((line) => plansAround(line, step, longest));
  const heading = longest === 1 ? `step ${grouped(step)}` : `${longest} steps around ${grouped(step)}`;
  return tip(heading, [...values, ...plans]);
}

/** Plans that were started within a point of a step. */
function plansAround({ name, plans }: Line, step: number, reach: number): [string, string][] {
  return plans
    .filter(({ startedAfterStep }) => Math.abs(startedAfterStep - step) <= reach)
    .map(({ startedAfterStep, appliedFromStep, moves }) => {
      const effect =
        appliedFromStep === null
          ? 'changes nothing'
          : `${counted(moves, 'move')} from step ${grouped(appliedFromStep)} on`;
      return [`${name} plans after ${grouped(startedAfterStep)}`, effect];
    });
}
