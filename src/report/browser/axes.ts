import { axisNumber, axisSeconds, threeFigures, twoDigits } from '../../formats/number-text.ts';
import type { Surface } from './chart.ts';

/** What charts have in common: the page's letters, and a tooltip inside the chart. */
export function commonOption<Params>({ theme }: Surface, formatter: (params: Params) => HTMLElement) {
  return {
    textStyle: { fontFamily: theme.font, color: theme.ink },
    tooltip: {
      formatter,
      confine: true,
      backgroundColor: theme.surface,
      borderColor: theme.grid,
      textStyle: { color: theme.ink, fontSize: 13, fontFamily: theme.font },
      transitionDuration: 0,
    },
  };
}

/** As {@link commonOption}, with a tooltip for the place along the x axis and not only over a mark. */
export function commonOptionAlong<Params>(
  surface: Surface,
  pointer: 'line' | 'shadow',
  formatter: (params: readonly Params[]) => HTMLElement,
) {
  const common = commonOption(surface, formatter);
  const style = pointer === 'line' ? { lineStyle: { color: surface.theme.muted } } : {};
  return {
    ...common,
    tooltip: { ...common.tooltip, trigger: 'axis', axisPointer: { type: pointer, ...style } },
  };
}

/** What axes have in common. */
export function axisStyle({ theme }: Surface) {
  return {
    axisLabel: { color: theme.muted, fontSize: 12, hideOverlap: true, formatter: axisText },
    nameTextStyle: { color: theme.muted, fontSize: 12 },
    axisLine: { lineStyle: { color: theme.muted } },
    axisTick: { lineStyle: { color: theme.muted } },
    splitLine: { lineStyle: { color: theme.grid } },
  };
}

/** A number, or a category's name. */
function axisText(value: number | string): string {
  return typeof value === 'number' ? axisNumber(value) : value;
}

/** {@link axisStyle} for durations. */
export function secondsAxis(surface: Surface) {
  const { axisLabel, ...axis } = axisStyle(surface);
  return { type: 'value', ...axis, axisLabel: { ...axisLabel, formatter: axisSeconds } };
}

/** The title of an x axis: below its middle. */
export function titleBelow(name: string) {
  return { name, nameLocation: 'middle', nameGap: 26 };
}

/** The title of a y axis: above it, from the chart's left edge on. */
export function titleAbove({ theme }: Surface, name: string, left: number) {
  return {
    name,
    nameTextStyle: { color: theme.muted, fontSize: 12, align: 'left', padding: [0, 0, 0, 4 - left] },
  };
}

/** What marks have in common that neither react to the mouse nor have symbols on their corners. */
export const PLAIN_LINE = { type: 'line', symbol: 'none', silent: true, emphasis: { disabled: true } };

/**
 * Axes without a picture, from edge to edge of the grid: for lines over category axes, whose own values are
 * the middles.
 */
export function overlayAxes(xMax: number, yMax: number) {
  return {
    x: { type: 'value', min: 0, max: xMax, show: false },
    y: { type: 'value', min: 0, max: yMax, show: false, inverse: true },
  };
}

/** A line in pieces: where its corners are. */
type Pieces = readonly (readonly (readonly [x: number, y: number])[])[];

/** Straight pieces, as one path on {@link overlayAxes}. */
export function overlayLines(
  name: string,
  pieces: Pieces,
  lineStyle: { readonly color: string; readonly width: number; readonly type?: readonly number[] },
): object {
  const data = pieces.flatMap((piece) => [...piece, [null, null]]);
  return { ...PLAIN_LINE, name, xAxisIndex: 1, yAxisIndex: 1, data, lineStyle, z: 5 };
}

/** Upright lines between the nodes; none where all ranks are one node's. */
export function nodeBorders(nodeStarts: readonly number[], height: number): Pieces {
  return nodeStarts.slice(1).map((rank) => [[rank, 0] as const, [rank, height] as const]);
}

/** 1, 2, 5, 10, ...: the first that is at least this. */
export function niceInterval(least: number): number {
  return [1, 2, 5, 10, 20, 50, 100].find((interval) => interval >= least) ?? least;
}

/** A count that fits into a cell: 1,234 is 1.2k. */
export function shortCount(count: number): string {
  if (count < 1000) return String(count);
  return count < 1e6 ? `${axisNumber(twoDigits(count / 1e3))}k` : `${threeFigures(count / 1e6)}M`;
}
