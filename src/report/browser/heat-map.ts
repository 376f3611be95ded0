import { times } from '../../formats/number-text.ts';
import {
  axisStyle,
  commonOption,
  niceInterval,
  nodeBorders,
  overlayAxes,
  overlayLines,
  titleBelow,
} from './axes.ts';
import type { Picture, Surface } from './chart.ts';
import { divergingColour } from './diverging.ts';
import { type HeatView, indexOfLargest, meanOf, type Report, type Run } from './report.ts';
import type { Selection } from './selection.ts';
import { tip } from './tip.ts';

/** Room around the cells, in pixels. */
const MARGIN = { left: 44, top: 24, right: 14, bottom: 44 };
/** The column of what is waited for is at least as wide as its name, in pixels. */
const COLUMN_WIDTH = 26;

/** A cell as ECharts hands it on. */
interface Cell {
  readonly value: readonly [column: number, layer: number, share: number];
}

/** The columns: ranks, one of nothing, and as many as the one of what is waited for needs. */
interface Columns {
  readonly numRanks: number;
  readonly first: number;
  readonly all: number;
}

function columnsOf(numRanks: number, { width }: Surface): Columns {
  const inner = width - MARGIN.left - MARGIN.right;
  // So many of all that they are wide enough; half the picture at most.
  const wide = Math.ceil((COLUMN_WIDTH * (numRanks + 1)) / Math.max(inner - COLUMN_WIDTH, COLUMN_WIDTH));
  return { numRanks, first: numRanks + 1, all: numRanks + 1 + Math.min(wide, numRanks) };
}

/**
 * Rank loads of the chosen run, layers x ranks, in means of the layer: before or after balancing. Beside
 * them what each layer waits for.
 */
export function heatMap(
  report: Report,
  selection: Selection,
  when: 'before' | 'after',
  surface: Surface,
): Picture {
  const { numLayers } = report;
  const { run, view, layer } = selection;
  const cellHeight = Math.min(Math.max(Math.floor(320 / numLayers), 8), 18);
  const height = numLayers * cellHeight;
  const { left, top, right, bottom } = MARGIN;
  const columns = columnsOf(run.numRanks, surface);
  const overlay = overlayAxes(columns.all, numLayers);
  const what = view === 'p95' ? '95th percentile' : 'mean';
  return {
    height: top + height + bottom,
    text: heatMapText(report, selection, when),
    option: {
      ...commonOption(surface, ({ value: [column, at, share] }: Cell) =>
        column < run.numRanks
          ? tip(`layer ${at}, rank ${column}`, [[what, `${times(share)} × the layer's mean`]])
          : tip(`layer ${at}`, [['waits for, on average', `${times(share)} × its mean`]]),
      ),
      grid: { left, right, top, height },
      xAxis: [rankAxis(columns, surface), overlay.x],
      yAxis: [layerAxis(numLayers, layer, cellHeight, surface), overlay.y],
      series: heatMapSeries(report, selection, when, columns, surface),
    },
  };
}

/** The ranks, and the name of the column beside them. */
function rankAxis({ numRanks, first, all }: Columns, surface: Surface): object {
  const { axisLabel, ...axis } = axisStyle(surface);
  const band = (surface.width - MARGIN.left - MARGIN.right) / all;
  const labelEvery = niceInterval((7.5 * String(numRanks).length + 8) / band);
  const middle = Math.floor((first + all - 1) / 2);
  return {
    type: 'category',
    data: Array.from({ length: all }, (_, i) => (i < numRanks ? String(i) : i === middle ? 'max' : '')),
    ...axis,
    ...titleBelow('rank'),
    axisLine: { show: false },
    axisTick: { show: false },
    axisLabel: {
      ...axisLabel,
      interval: (i: number) => i === middle || (i < numRanks && i % labelEvery === 0),
      hideOverlap: false,
    },
  };
}

/** The layers, downwards; the chosen one is always named, and its name stands out. */
function layerAxis(numLayers: number, chosen: number, cellHeight: number, surface: Surface): object {
  const { axisLabel, nameTextStyle, ...axis } = axisStyle(surface);
  const { ink, muted } = surface.theme;
  const labelEvery = niceInterval(16 / cellHeight);
  return {
    type: 'category',
    data: Array.from({ length: numLayers }, (_, i) => String(i)),
    ...axis,
    inverse: true,
    name: 'layer',
    nameLocation: 'start',
    nameGap: 8,
    nameTextStyle: { ...nameTextStyle, align: 'right' },
    axisTick: { show: false },
    axisLabel: {
      ...axisLabel,
      interval: (layer: number) =>
        layer === chosen || (layer % labelEvery === 0 && Math.abs(layer - chosen) * cellHeight >= 14),
      hideOverlap: false,
      color: (layer: string) => (Number(layer) === chosen ? ink : muted),
    },
  };
}

/** The cells, what is waited for, gaps between nodes, and a frame around the chosen layer. */
function heatMapSeries(
  { numLayers, largestShare }: Report,
  { run, layer, view }: Selection,
  when: 'before' | 'after',
  { first, all }: Columns,
  { theme }: Surface,
): object[] {
  const { numRanks, nodeStarts } = run;
  const shares = run.heatMap[when][view];
  const cells = Array.from(shares, (share, i) => [i % numRanks, Math.floor(i / numRanks), share]);
  const waited = Array.from(run.heatMap[when].maximum, (share, at) =>
    Array.from({ length: all - first }, (_, i) => [first + i, at, share]),
  );
  const frame = [
    [0, layer],
    [all, layer],
    [all, layer + 1],
    [0, layer + 1],
    [0, layer],
  ] as const;
  return [
    {
      type: 'heatmap',
      data: [...cells, ...waited.flat()],
      itemStyle: { color: ({ value }: Cell) => divergingColour(theme, value[2], largestShare[view]) },
      emphasis: { disabled: true },
      progressive: 0,
    },
    overlayLines('nodes', nodeBorders(nodeStarts, numLayers), { color: theme.surface, width: 3 }),
    overlayLines('chosen layer', [frame], { color: theme.ink, width: 1.5 }),
  ];
}

const CELLS: Readonly<Record<HeatView, string>> = {
  p95: '95th percentiles of the steps of',
  mean: 'means over the steps of',
};

function heatMapText({ numLayers }: Report, { run, view }: Selection, when: 'before' | 'after'): string {
  const { [view]: shares, maximum } = run.heatMap[when];
  const at = indexOfLargest(shares);
  const place = `layer ${Math.floor(at / run.numRanks)}, rank ${at % run.numRanks}`;
  const name = when === 'before' ? 'Without balancing' : `With ${run.name}`;
  return (
    `${name}: ${CELLS[view]} rank loads, ${numLayers} layers x ${run.numRanks} ranks. The highest is ` +
    `${times(shares[at]!)} times its layer's mean, at ${place}. A layer waits for ` +
    `${times(meanOf(maximum))} times its mean on average.`
  );
}

/** What layers wait for, before and after: as a mean over layers, and of the worst. */
export function heatFinding({ heatMap, line, name }: Run): string {
  const worst = (values: Float64Array) => times(values.reduce((a, b) => Math.max(a, b), 0));
  const [before, after] = [heatMap.before.maximum, heatMap.after.maximum];
  const mean = times(meanOf(before));
  if (line.colour === null) {
    return `Without balancing a layer waits for ${mean} times its mean load, the worst for ${worst(before)}`;
  }
  return (
    `${name} takes what a layer waits for from ${mean} to ${times(meanOf(after))} times its mean load, ` +
    `in the worst layer from ${worst(before)} to ${worst(after)}`
  );
}
