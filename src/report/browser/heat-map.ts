import { times } from '../../formats/number-text.ts';
import { axisStyle, commonOption, nodeBorders, overlayAxes, overlayLines, titleBelow } from './axes.ts';
import type { Picture, Surface } from './chart.ts';
import { divergingColour } from './diverging.ts';
import { indexOfLargest, type Report } from './report.ts';
import type { Selection } from './selection.ts';
import { tip } from './tip.ts';

/** Room around the cells, in pixels. */
const MARGIN = { left: 44, top: 24, right: 8, bottom: 44 };

/** A cell as ECharts hands it on. */
interface Cell {
  readonly value: readonly [rank: number, layer: number, share: number];
}

/** Mean rank loads of the chosen run, layers x ranks, in means of the layer: before or after balancing. */
export function heatMap(
  report: Report,
  selection: Selection,
  when: 'before' | 'after',
  surface: Surface,
): Picture {
  const { numLayers } = report;
  const { numRanks } = selection.run;
  const cellHeight = Math.min(Math.max(Math.floor(320 / numLayers), 8), 18);
  const height = numLayers * cellHeight;
  const { left, top, right, bottom } = MARGIN;
  const axis = axisStyle(surface);
  const overlay = overlayAxes(numRanks, numLayers);
  const ranks = { type: 'category', data: category(numRanks), ...axis, ...titleBelow('rank') };
  return {
    height: top + height + bottom,
    text: heatMapText(report, selection, when),
    option: {
      ...commonOption(surface, ({ value: [rank, layer, share] }: Cell) =>
        tip(`layer ${layer}, rank ${rank}`, [['load', `${times(share)} × the layer's mean`]]),
      ),
      grid: { left, right, top, height },
      xAxis: [ranks, overlay.x],
      yAxis: [layerAxis(numLayers, selection.layer, cellHeight, surface), overlay.y],
      series: heatMapSeries(report, selection, when, surface),
    },
  };
}

function category(count: number): string[] {
  return Array.from({ length: count }, (_, i) => String(i));
}

/** The layers, downwards; the chosen one is always named, and its name stands out. */
function layerAxis(numLayers: number, chosen: number, cellHeight: number, surface: Surface): object {
  const { axisLabel, nameTextStyle, ...axis } = axisStyle(surface);
  const { ink, muted } = surface.theme;
  const labelEvery = niceInterval(16 / cellHeight);
  return {
    type: 'category',
    data: category(numLayers),
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

/** The cells, gaps between nodes, and a frame around the chosen layer. */
function heatMapSeries(
  { numLayers, largestShare }: Report,
  { run, layer }: Selection,
  when: 'before' | 'after',
  { theme }: Surface,
): object[] {
  const { numRanks, ranksPerNode } = run;
  const shares = run.heatMap[when];
  const frame = [
    [0, layer],
    [numRanks, layer],
    [numRanks, layer + 1],
    [0, layer + 1],
    [0, layer],
  ] as const;
  return [
    {
      type: 'heatmap',
      data: Array.from(shares, (share, i) => [i % numRanks, Math.floor(i / numRanks), share]),
      itemStyle: { color: ({ value }: Cell) => divergingColour(theme, value[2], largestShare) },
      emphasis: { disabled: true },
      progressive: 0,
    },
    overlayLines('nodes', nodeBorders(numRanks, ranksPerNode, numLayers), { color: theme.surface, width: 3 }),
    overlayLines('chosen layer', [frame], { color: theme.ink, width: 1.5 }),
  ];
}

/** 1, 2, 5, 10, ...: the first that is at least this. */
function niceInterval(least: number): number {
  return [1, 2, 5, 10, 20, 50, 100].find((interval) => interval >= least) ?? least;
}

function heatMapText({ numLayers }: Report, { run }: Selection, when: 'before' | 'after'): string {
  const shares = run.heatMap[when];
  const at = indexOfLargest(shares);
  const place = `layer ${Math.floor(at / run.numRanks)}, rank ${at % run.numRanks}`;
  const name = when === 'before' ? 'Without balancing' : `With ${run.name}`;
  return (
    `${name}: mean loads of ${numLayers} layers x ${run.numRanks} ranks. The highest is ` +
    `${times(shares[at]!)} times its layer's mean, at ${place}.`
  );
}
