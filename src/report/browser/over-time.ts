import { counted, grouped, ratio } from '../../formats/number-text.ts';
import { axisStyle, commonOptionAlong, PLAIN_LINE, titleAbove, titleBelow } from './axes.ts';
import type { Picture, Surface } from './chart.ts';
import type { Line, Report } from './report.ts';
import type { Selection } from './selection.ts';
import { lineColour, lineDash } from './theme.ts';
import { tip } from './tip.ts';

/** Heights in pixels: of the plot, of the space above it, and of a row of plan marks below it. */
const PLOT = 280;
const TOP = 24;
const LANE = 22;

/** Balancedness over time, a line a policy, with a row of marks for each policy's plans below. */
export function overTime(report: Report, selection: Selection, surface: Surface): Picture {
  const shown = report.lines.filter((_, i) => !selection.isHidden(i));
  const planners = shown.filter((line) => line.plans.length > 0);
  const isNarrow = surface.width < 500;
  const { from, to } = selection.range;
  const last = to - 1;
  const floor = floorOf(shown);
  const longestName = Math.max(0, ...planners.map(({ name }) => name.length));
  const left = Math.min(Math.max(52, 14 + 7 * longestName), isNarrow ? 76 : 150);
  const sides = { left, right: isNarrow ? 12 : 20 };
  const lanesTop = TOP + PLOT + 10;
  const lanes = planners.length * LANE;
  const axis = axisStyle(surface);
  const steps = { type: 'value', min: from, max: last, minInterval: 1, ...axis, splitLine: { show: false } };
  const balancedness = { type: 'value', min: floor, max: 1, ...axis };
  return {
    height: lanesTop + lanes + 44,
    text: `Balancedness over steps ${grouped(from)} to ${grouped(last)}. ${shown.map(lineText).join(' ')}`,
    option: {
      ...commonOptionAlong(surface, 'line', ([place]: readonly { axisValue: number }[]) =>
        timeTip(shown, place!.axisValue),
      ),
      axisPointer: { link: [{ xAxisIndex: 'all' }] },
      grid: [
        { ...sides, top: TOP, height: PLOT },
        { ...sides, top: lanesTop, height: Math.max(lanes, 1) },
      ],
      xAxis: [
        { ...steps, gridIndex: 0, axisLabel: { show: false }, axisTick: { show: false } },
        { ...steps, gridIndex: 1, ...titleBelow('step of the recording') },
      ],
      yAxis: [
        { ...balancedness, gridIndex: 0, ...titleAbove(surface, 'balancedness', left) },
        { ...laneAxis(planners, left - 10, surface), gridIndex: 1 },
      ],
      series: [
        ...shown.flatMap((line, i) => lineSeries(line, `line ${i}`, surface)),
        ...planners.map((line, lane) => planMarks(line, lane, surface)),
        chosenStep(selection.step, floor, surface),
      ],
    },
  };
}

/** Where the axis begins: the tenth below the lowest step. */
function floorOf(lines: readonly Line[]): number {
  const lowest = Math.min(1, ...lines.flatMap(({ min }) => Array.from(min)));
  return Math.max(0, Math.floor(lowest * 10 - 1e-9) / 10);
}

/** The names of those that plan, each beside its row of marks. */
function laneAxis(planners: readonly Line[], width: number, { theme }: Surface) {
  return {
    type: 'value',
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
      width,
      overflow: 'truncate',
    },
  };
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
function lineSeries(line: Line, stack: string, { theme }: Surface): object[] {
  const color = lineColour(theme, line.colour);
  const points = (values: Float64Array) => Array.from(values, (value, i) => [middleOf(line, i), value]);
  const { name, min, max, stepsPerPoint } = line;
  const mean = {
    ...PLAIN_LINE,
    name,
    color,
    // A line of one point would not be seen.
    ...(line.mean.length === 1 ? { symbol: 'circle', symbolSize: 8, clip: false } : {}),
    data: points(line.mean),
    lineStyle: { width: 2, type: lineDash(line.colour), color },
    z: line.colour === null ? 2 : 3,
  };
  if (stepsPerPoint === 1) return [mean];
  // The upper line is drawn as its distance from the lower one, for the band between them.
  const thin = { ...PLAIN_LINE, color, stack, lineStyle: { width: 0.75, opacity: 0.7, color } };
  const spread = max.map((value, i) => value - min[i]!);
  return [
    { ...thin, name: `${name}, lowest`, data: points(min) },
    {
      ...thin,
      name: `${name}, highest`,
      data: points(spread),
      lineStyle: { width: 0.75, opacity: 0.35, color },
      areaStyle: { color, opacity: 0.14 },
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
  const lineStyle = { width: 1.5, color: lineColour(theme, colour) };
  return { ...PLAIN_LINE, name: `plans of ${name}`, xAxisIndex: 1, yAxisIndex: 1, data: ticks, lineStyle };
}

/** The chosen step: a faint line behind the others, with a mark above. */
function chosenStep(step: number, floor: number, { theme }: Surface): object {
  return {
    ...PLAIN_LINE,
    name: 'chosen step',
    symbol: (_: unknown, { dataIndex }: { dataIndex: number }) => (dataIndex === 1 ? 'triangle' : 'none'),
    symbolRotate: 180,
    symbolSize: 9,
    symbolOffset: [0, -6],
    showAllSymbol: true,
    clip: false,
    data: [
      [step, floor],
      [step, 1],
    ],
    color: theme.ink,
    lineStyle: { width: 1, color: theme.muted, opacity: 0.5 },
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
