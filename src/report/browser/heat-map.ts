import { times } from '../format.ts';
import {
  axisStyle,
  commonOption,
  nodeBorders,
  overlayAxes,
  overlayLines,
  type Picture,
  type Surface,
} from './chart.ts';
import { divergingColour } from './diverging.ts';
import { indexOfLargest, type Report } from './report.ts';
import type { Selection } from './selection.ts';
import { tip } from './tip.ts';

/** Mean rank loads of the chosen run, layers x ranks, in means of the layer: before or after balancing. */
export function heatMap(
  report: Report,
  selection: Selection,
  when: 'before' | 'after',
  surface: Surface,
): Picture {
  const { run, layer: chosen } = selection;
  const { numRanks, ranksPerNode } = run;
  const shares = run.heatMap[when];
  const { numLayers, largestShare } = report;
  const axis = axisStyle(surface);
  const cell = Math.min(Math.max(Math.floor(320 / numLayers), 8), 18);
  const plot = numLayers * cell;
  const left = 44;
  const right = 8;
  const category = (count: number) => Array.from({ length: count }, (_, i) => String(i));
  const labelEvery = niceInterval(Math.ceil((numLayers * 16) / plot));
  const overlay = overlayAxes(numRanks, numLayers);
  const outline = [
    [0, chosen],
    [numRanks, chosen],
    [numRanks, chosen + 1],
    [0, chosen + 1],
    [0, chosen],
  ] as const;
  return {
    height: plot + 24 + 44,
    text: heatMapText(report, selection, when),
    option: {
      ...commonOption(surface),
      tooltip: {
        ...commonOption(surface).tooltip,
        formatter: ({ value: [rank, layer, share] }: { value: [number, number, number] }) =>
          tip(`layer ${layer}, rank ${rank}`, [['load', `${times(share)} × the layer's mean`]]),
      },
      grid: { left, right, top: 24, height: plot },
      xAxis: [
        {
          type: 'category',
          data: category(numRanks),
          ...axis,
          name: 'rank',
          nameLocation: 'middle',
          nameGap: 26,
        },
        overlay.x,
      ],
      yAxis: [
        {
          type: 'category',
          data: category(numLayers),
          ...axis,
          inverse: true,
          name: 'layer',
          nameLocation: 'start',
          nameGap: 8,
          nameTextStyle: { ...axis.nameTextStyle, align: 'right' },
          axisLabel: {
            ...axis.axisLabel,
            interval: (layer: number) =>
              layer === chosen || (layer % labelEvery === 0 && Math.abs(layer - chosen) * cell >= 14),
            hideOverlap: false,
            color: (layer: string) => (Number(layer) === chosen ? surface.theme.ink : surface.theme.muted),
          },
          axisTick: { show: false },
        },
        overlay.y,
      ],
      series: [
        {
          type: 'heatmap',
          data: Array.from(shares, (share, i) => [i % numRanks, Math.floor(i / numRanks), share]),
          itemStyle: {
            color: ({ value }: { value: [number, number, number] }) =>
              divergingColour(surface.theme, value[2], largestShare),
          },
          emphasis: { disabled: true },
          progressive: 0,
        },
        overlayLines('nodes', nodeBorders(numRanks, ranksPerNode, numLayers), {
          color: surface.theme.surface,
          width: 3,
        }),
        overlayLines('chosen layer', [outline], { color: surface.theme.ink, width: 1.5 }),
      ],
    },
  };
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
  return `${name}: mean loads of ${numLayers} layers x ${run.numRanks} ranks. The highest is ${times(shares[at]!)} times its layer's mean, at ${place}.`;
}
