import { grouped, load, times } from '../format.ts';
import {
  axisStyle,
  commonOption,
  nodeBorders,
  overlayAxes,
  overlayLines,
  type Picture,
  type Surface,
} from './chart.ts';
import { indexOfLargest, largest, type Report, type Run, rankLoadsAt } from './report.ts';
import type { Selection } from './selection.ts';
import { lineColour } from './theme.ts';
import { tip } from './tip.ts';

/** A layer's rank loads in one step, with those of no balancing where they are known. */
export interface RankLoads {
  readonly loads: Float64Array;
  readonly mean: number;
  readonly highestRank: number;
  /** Largest / mean; 1 when there is no load. */
  readonly peakToAverage: number;
  readonly unbalanced: Float64Array | undefined;
}

/** What the chosen layer and step hold. */
export function chosenRankLoads(report: Report, { run, sample, step, layer }: Selection): RankLoads {
  const loads = rankLoadsAt(report, run, sample, layer);
  const mean = loads.reduce((sum, one) => sum + one, 0) / loads.length;
  const highestRank = indexOfLargest(loads);
  const peakToAverage = mean === 0 ? 1 : loads[highestRank]! / mean;
  return { loads, mean, highestRank, peakToAverage, unbalanced: unbalancedAt(report, run, step, layer) };
}

/** The same of the run that never plans, if there is one of the same ranks that has the step. */
function unbalancedAt(report: Report, run: Run, step: number, layer: number): Float64Array | undefined {
  const other = report.runs.find(({ line, numRanks }) => line.colour === null && numRanks === run.numRanks);
  if (other === undefined || other === run) return undefined;
  const sample = other.rankLoads.steps.indexOf(step);
  return sample === -1 ? undefined : rankLoadsAt(report, other, sample, layer);
}

/** What the chosen layer and step show, in a sentence. */
export function rankLoadsFinding(report: Report, selection: Selection): string {
  const { highestRank, peakToAverage } = chosenRankLoads(report, selection);
  const place = `layer ${selection.layer}, step ${grouped(selection.step)}`;
  return `In ${place}, rank ${highestRank} has ${times(peakToAverage)} times the mean load with ${selection.run.name}`;
}

/** The chosen layer's rank loads in the chosen step, a bar a rank. */
export function rankLoadsPicture(report: Report, selection: Selection, surface: Surface): Picture {
  const { loads, mean, highestRank, unbalanced } = chosenRankLoads(report, selection);
  const { run } = selection;
  const { theme, width } = surface;
  const axis = axisStyle(surface);
  const left = 60;
  const right = 12;
  const band = (width - left - right) / run.numRanks;
  const colour = lineColour(theme, run.line.colour);
  const ceiling = niceCeiling(Math.max(largest(loads), largest(unbalanced ?? [])));
  const overlay = overlayAxes(run.numRanks, ceiling);
  return {
    height: 300,
    text: `${rankLoadsFinding(report, selection)}: ${load(loads[highestRank]!)} tokens, mean ${load(mean)}.`,
    option: {
      ...commonOption(surface),
      tooltip: {
        ...commonOption(surface).tooltip,
        trigger: 'axis',
        axisPointer: { type: 'shadow' },
        formatter: (params: readonly { dataIndex: number }[]) =>
          rankTip(params[0]!.dataIndex, loads, mean, unbalanced),
      },
      grid: { left, right, top: 28, bottom: 46 },
      xAxis: [
        {
          type: 'category',
          data: Array.from(loads, (_, rank) => String(rank)),
          ...axis,
          name: run.ranksPerNode < run.numRanks ? `rank (${run.ranksPerNode} a node)` : 'rank',
          nameLocation: 'middle',
          nameGap: 26,
        },
        overlay.x,
      ],
      yAxis: [
        {
          type: 'value',
          min: 0,
          ...axis,
          name: 'load of the step (tokens)',
          nameTextStyle: { ...axis.nameTextStyle, align: 'left', padding: [0, 0, 0, -left + 4] },
          max: ceiling,
        },
        overlay.y,
      ],
      series: [
        {
          type: 'bar',
          name: run.name,
          barWidth: band > 3 ? '72%' : '100%',
          data: Array.from(loads, (value, rank) => ({
            value,
            itemStyle: { color: colour, opacity: rank === highestRank ? 1 : 0.62 },
          })),
          emphasis: { disabled: true },
        },
        overlayLines('nodes', nodeBorders(run.numRanks, run.ranksPerNode, ceiling), {
          color: theme.muted,
          width: 1,
          type: [2, 3],
        }),
        overlayLines(
          'mean',
          [
            [
              [0, ceiling - mean],
              [run.numRanks, ceiling - mean],
            ],
          ],
          {
            color: theme.ink,
            width: 1.5,
            type: [5, 3],
          },
        ),
        ...(unbalanced === undefined
          ? []
          : [
              {
                type: 'scatter',
                name: 'no balancing',
                symbol: 'rect',
                symbolSize: [Math.max(band * 0.86, 2), 2.5],
                silent: true,
                emphasis: { disabled: true },
                itemStyle: { color: theme.baseline, opacity: 1 },
                data: Array.from(unbalanced),
              },
            ]),
      ],
    },
  };
}

/** The next of 1, 1.5, 2, 3, 4, 5, 6, 8 of any power of ten: the end of an axis. */
function niceCeiling(value: number): number {
  if (value === 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value)!;
}

function rankTip(rank: number, loads: Float64Array, mean: number, unbalanced?: Float64Array): HTMLElement {
  const text = (value: number) => `${load(value)} tokens, ${times(mean === 0 ? 1 : value / mean)} × the mean`;
  return tip(`rank ${rank}`, [
    ['load', text(loads[rank]!)],
    ...(unbalanced === undefined ? [] : [['no balancing', text(unbalanced[rank]!)] as const]),
  ]);
}
