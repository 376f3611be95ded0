import { bytes, counted, seconds } from '../../formats/number-text.ts';
import type { SweepData, SweepPointData } from '../report-data.ts';
import { axisStyle, commonOption, PLAIN_LINE, secondsAxis, titleAbove, titleBelow } from './axes.ts';
import type { Picture, Surface } from './chart.ts';
import { lineColour, type Theme } from './theme.ts';
import { tip } from './tip.ts';

/** Shapes of the numbers of ranks, in order. */
const SYMBOLS = ['circle', 'rect', 'triangle', 'diamond', 'pin', 'arrow'];

/** What never planning is called where it was not one of the policies. */
const UNBALANCED = 'no balancing';

/** The policies and the numbers of ranks of a sweep, with a colour and a shape for each. */
export function sweepKeys({ points }: SweepData, theme: Theme) {
  const policies = [...new Set(points.map(({ policy }) => policy))];
  const planning = policies.filter((policy) => policy !== 'static');
  const ranks = [...new Set(points.map(({ numRanks }) => numRanks))].sort((a, b) => a - b);
  const unbalanced = policies.includes('static') ? [] : [{ policy: UNBALANCED, colour: theme.baseline }];
  const colours = policies.map((policy) => ({
    policy,
    colour: lineColour(theme, policy === 'static' ? null : planning.indexOf(policy)),
  }));
  return {
    policies: [...unbalanced, ...colours],
    ranks: ranks.map((numRanks, i) => ({ numRanks, symbol: SYMBOLS[i % SYMBOLS.length]! })),
  };
}

/** Room left of the plot, in pixels. */
const LEFT = 60;

/** Modelled seconds against memory for redundant experts, with the Pareto front of each number of ranks. */
export function paretoPicture(sweep: SweepData, surface: Surface): Picture {
  const { points, fronts } = sweep;
  const isNarrow = surface.width < 500;
  const axis = axisStyle(surface);
  const hasRedundant = points.some(({ redundantBytes }) => redundantBytes > 0);
  const memory = isNarrow
    ? 'redundant experts (GB)'
    : 'memory for redundant experts, all ranks together (GB)';
  return {
    height: 400,
    text: paretoText(sweep),
    option: {
      ...commonOption(surface, ({ value }: { value: readonly [number, number, number] }) =>
        pointTip(points[value[2]]!),
      ),
      grid: { left: LEFT, right: isNarrow ? 66 : 84, top: 28, bottom: 46 },
      xAxis: {
        type: 'value',
        min: 0,
        ...(hasRedundant ? {} : { max: 1 }),
        ...axis,
        axisLine: { ...axis.axisLine, onZero: false },
        ...titleBelow(memory),
      },
      yAxis: { ...secondsAxis(surface), scale: true, ...titleAbove(surface, 'modelled time', LEFT) },
      series: [
        ...fronts.map(({ numRanks, points: indices }) =>
          frontLine(
            numRanks,
            indices.map((i) => placeOf(points[i]!)),
            surface.theme,
          ),
        ),
        ...pointSeries(sweep, surface.theme),
        unbalancedMarks(sweep, surface.theme),
      ],
    },
  };
}

/** Where a point is drawn. */
function placeOf({ redundantBytes, modelledSeconds }: SweepPointData): [gigabytes: number, seconds: number] {
  return [redundantBytes / 1e9, modelledSeconds];
}

/** A front, down its steps, with its number of ranks at the end. */
function frontLine(numRanks: number, data: readonly number[][], { muted }: Theme): object {
  const ranks = counted(numRanks, 'rank');
  return {
    ...PLAIN_LINE,
    name: `front of ${ranks}`,
    data,
    step: 'end',
    lineStyle: { width: 1.5, color: muted },
    endLabel: { show: true, formatter: ranks, color: muted, fontSize: 12, distance: 16 },
  };
}

/**
 * The points of each policy and number of ranks; those on a front filled, the advised one ringed and named.
 */
function pointSeries(sweep: SweepData, theme: Theme): object[] {
  const { policies, ranks } = sweepKeys(sweep, theme);
  const advised = sweep.advised === null ? undefined : sweep.points[sweep.advised];
  const groups = policies.flatMap(({ policy, colour }) => ranks.map((rank) => ({ policy, colour, ...rank })));
  const most = Math.max(...sweep.points.map(({ redundantBytes }) => redundantBytes));
  // On the side where there is room.
  const side = advised !== undefined && advised.redundantBytes > most / 2 ? 'left' : 'right';
  const ring = advised === undefined ? [] : [advisedRing(placeOf(advised), side, theme)];
  const series = groups.map(({ policy, colour, numRanks, symbol }) => ({
    type: 'scatter',
    name: `${policy}, ${counted(numRanks, 'rank')}`,
    symbol,
    symbolSize: 11,
    data: sweep.points.flatMap((point, i) => {
      if (point.policy !== policy || point.numRanks !== numRanks) return [];
      const fill = point.onFront ? colour : theme.surface;
      return [
        { value: [...placeOf(point), i], itemStyle: { color: fill, borderColor: colour, borderWidth: 2 } },
      ];
    }),
    emphasis: { disabled: true },
  }));
  return [...ring, ...series];
}

/**
 * A short bar at what every size takes without balancing: nothing is planned, so that policy and interval do
 * not matter.
 */
function unbalancedMarks({ points }: SweepData, theme: Theme): object {
  return {
    type: 'scatter',
    name: UNBALANCED,
    symbol: 'rect',
    symbolSize: [20, 2.5],
    silent: true,
    data: points.map((point) => [placeOf(point)[0], point.modelledSeconds + point.secondsSaved]),
    itemStyle: { color: theme.baseline, opacity: 1 },
    emphasis: { disabled: true },
    z: 4,
  };
}

function advisedRing(at: number[], position: 'left' | 'right', theme: Theme): object {
  return {
    type: 'scatter',
    name: 'advised',
    symbol: 'circle',
    symbolSize: 24,
    silent: true,
    data: [at],
    itemStyle: { color: 'transparent', borderColor: theme.ink, borderWidth: 1.5 },
    label: { show: true, formatter: 'advised', position, color: theme.ink, fontSize: 12 },
  };
}

function paretoText({ points, fronts }: SweepData): string {
  const parts = fronts.map(({ numRanks, points: indices }) => {
    const names = indices.map((i) => `${points[i]!.name}, ${seconds(points[i]!.modelledSeconds)}`);
    return `Pareto front of ${counted(numRanks, 'rank')}: ${names.join('; ')}.`;
  });
  return (
    'Modelled time against memory for redundant experts of ' +
    `${counted(points.length, 'configuration')}. ${parts.join(' ')}`
  );
}

function pointTip({ name, modelledSeconds, secondsSaved, redundantBytes }: SweepPointData): HTMLElement {
  return tip(name, [
    ['modelled', seconds(modelledSeconds)],
    ['saved', seconds(secondsSaved)],
    ['redundant experts', bytes(redundantBytes)],
  ]);
}
