import { ratio, seconds } from '../../../formats/number-text.ts';
import {
  axisStyle,
  commonOptionAlong,
  overlayAxes,
  overlayLines,
  PLAIN_LINE,
  secondsAxis,
  titleAbove,
} from '../../../report/browser/axes.ts';
import type { Picture, Surface } from '../../../report/browser/chart.ts';
import { lineColour } from '../../../report/browser/theme.ts';
import { tip } from '../../../report/browser/tip.ts';
import type { GroupHistoryView, HistoryPoint, LiveRow } from '../view.ts';
import { clock } from './texts.ts';

/** What is drawn over time. */
export interface OverTime {
  readonly history: GroupHistoryView;
  readonly span: keyof GroupHistoryView;
  readonly live: readonly LiveRow[];
  readonly nowMs: number;
}

const LEFT = 56;
/** Of fewer points each is drawn, as a line of one is not seen. */
const FEW_POINTS = 40;
const LEAST_MS = 60_000;

/** Points of the span, and from when to when it is drawn. */
function framed({ history, span, nowMs }: OverTime) {
  const { points, secondsPerPoint, maxPoints } = history[span];
  const longest = 1000 * secondsPerPoint * maxPoints;
  const first = Math.max(points[0]?.[0] ?? nowMs, nowMs - longest);
  const min = Math.min(first, nowMs - LEAST_MS);
  return { min, max: nowMs, secondsPerPoint, points: points.filter(([at]) => at >= min) };
}

/** Balancedness, with the lowest and the highest step of each point. */
export function balancePicture(over: OverTime, surface: Surface): Picture {
  const { points } = framed(over);
  const means = points.map((point) => point[2]);
  const lowest = Math.min(1, ...points.map((point) => point[3]));
  const floor = Math.max(0, Math.floor(lowest * 10 - 1e-9) / 10);
  const color = lineColour(surface.theme, 0);
  const thin = { ...PLAIN_LINE, color, stack: 'band', lineStyle: { width: 0.75, opacity: 0.6, color } };
  const band = [
    { ...thin, name: 'lowest', data: points.map(([at, , , low]) => [at, low]) },
    {
      ...thin,
      name: 'highest',
      // Stacked: its distance from the lowest, for what is between them.
      data: points.map(([at, , , low, high]) => [at, high - low]),
      areaStyle: { color, opacity: 0.14 },
    },
  ];
  const isThinned = points.some(([, , , low, high]) => high > low);
  const series = [...(isThinned ? band : []), line(points, (point) => point[2], color)];
  return picture(over, surface, {
    text: `Balancedness over time: ${means.length} points, ${
      means.length === 0 ? 'none yet' : `from ${ratio(means[0]!)} to ${ratio(means.at(-1)!)}`
    }.`,
    axis: { type: 'value', min: floor, max: 1, ...axisStyle(surface) },
    title: 'balancedness',
    rows: ([, , mean, low, high]) => [
      ['balancedness', high > low ? `${ratio(mean)} (${ratio(low)} to ${ratio(high)})` : ratio(mean)],
    ],
    series,
  });
}

/** Time that steps lose to imbalance. */
export function lostPicture(over: OverTime, surface: Surface): Picture {
  const { points } = framed(over);
  const timed = points.filter((point) => point[5] !== null);
  const color = lineColour(surface.theme, 1);
  const last = timed.at(-1)?.[5];
  return picture(over, surface, {
    text: `Time that a step loses to imbalance, over time${last == null ? '' : `: ${seconds(last)} at last`}.`,
    axis: { min: 0, ...secondsAxis(surface) },
    title: 'lost a step',
    rows: ([, , , , , lost]) => (lost === null ? [] : [['lost a step', seconds(lost)]]),
    series: [line(timed, (point) => point[5]!, color)],
  });
}

function line(points: readonly HistoryPoint[], value: (point: HistoryPoint) => number, color: string) {
  return {
    ...PLAIN_LINE,
    ...(points.length < FEW_POINTS && { symbol: 'circle', symbolSize: 6, clip: false }),
    name: 'mean',
    color,
    data: points.map((point) => [point[0], value(point)]),
    lineStyle: { width: 2, color },
    z: 3,
  };
}

interface Drawn {
  readonly text: string;
  readonly axis: object;
  readonly title: string;
  readonly rows: (point: HistoryPoint) => (readonly [string, string])[];
  readonly series: readonly object[];
}

function picture(over: OverTime, surface: Surface, { text, axis, title, rows, series }: Drawn): Picture {
  const { min, max, points, secondsPerPoint } = framed(over);
  const marks = over.live.filter(({ at }) => at >= min);
  const withSeconds = max - min < 600_000;
  const style = axisStyle(surface);
  const formatter = (at: number) => clock(at, withSeconds);
  const overlay = overlayAxes(max - min, 1);
  const pieces = marks.map(({ at }) => [[at - min, 0] as const, [at - min, 1] as const]);
  return {
    height: 230,
    text,
    option: {
      ...commonOptionAlong(surface, 'line', ([place]: readonly { axisValue: number }[]) =>
        tipAt(place!.axisValue, { points, marks, secondsPerPoint, rows }),
      ),
      grid: { left: LEFT, right: 16, top: 28, bottom: 28 },
      xAxis: [
        {
          ...{ type: 'time', min, max, ...style },
          splitLine: { show: false },
          axisLine: { ...style.axisLine, onZero: false },
          splitNumber: surface.width < 500 ? 3 : 6,
          axisLabel: { ...style.axisLabel, formatter },
        },
        overlay.x,
      ],
      yAxis: [{ ...axis, ...titleAbove(surface, title, LEFT) }, overlay.y],
      series: [
        ...series,
        overlayLines('went live', pieces, { color: surface.theme.muted, width: 1.25, type: [4, 3] }),
      ],
    },
  };
}

function tipAt(
  at: number,
  {
    points,
    marks,
    secondsPerPoint,
    rows,
  }: {
    readonly points: readonly HistoryPoint[];
    readonly marks: readonly LiveRow[];
    readonly secondsPerPoint: number;
    readonly rows: Drawn['rows'];
  },
): HTMLElement {
  const reach = 1000 * secondsPerPoint;
  const nearest = points.reduce<HistoryPoint | undefined>(
    (best, point) => (best === undefined || Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best),
    undefined,
  );
  const around = marks.filter((mark) => Math.abs(mark.at - at) <= 2 * reach);
  return tip(clock(nearest?.[0] ?? at, secondsPerPoint < 60), [
    ...(nearest === undefined ? [] : [...rows(nearest), ['epoch', String(nearest[1])] as const]),
    ...around.map(({ epoch, moves }) => [`epoch ${epoch} went live`, `${moves} moves`] as const),
  ]);
}
