import { grouped, load, times } from '../../formats/number-text.ts';
import {
  axisStyle,
  commonOptionAlong,
  nodeBorders,
  overlayAxes,
  overlayLines,
  titleAbove,
  titleBelow,
} from './axes.ts';
import type { Picture, Surface } from './chart.ts';
import { indexOfLargest, largest, type Report, type Run, rankLoadsAt } from './report.ts';
import type { Selection } from './selection.ts';
import { lineColour } from './theme.ts';
import { tip } from './tip.ts';

/** A layer's rank loads in one step, with those of no balancing where they are known. */
interface RankLoads {
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
  const { means } = run.rankLoads;
  const ofAll = loads.reduce((sum, one) => sum + one, 0) / loads.length;
  const mean = means?.[sample * report.numLayers + layer] ?? ofAll;
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
  return (
    `In ${place}, rank ${highestRank} has ${times(peakToAverage)} times the mean load with ` +
    `${selection.run.name}`
  );
}

/** Room beside the bars, in pixels. */
const MARGIN = { left: 60, right: 12 };

/** The chosen layer's rank loads in the chosen step, a bar a rank. */
export function rankLoadsPicture(report: Report, selection: Selection, surface: Surface): Picture {
  const chosen = chosenRankLoads(report, selection);
  const { loads, mean, highestRank, unbalanced } = chosen;
  const { numRanks, nodeStarts } = selection.run;
  const ceiling = niceCeiling(Math.max(largest(loads), largest(unbalanced ?? [])));
  const overlay = overlayAxes(numRanks, ceiling);
  const axis = axisStyle(surface);
  const ranks = {
    type: 'category',
    data: Array.from(loads, (_, rank) => String(rank)),
    ...axis,
    ...titleBelow(rankTitle(numRanks, nodeStarts)),
  };
  const tokens = { ...axis, ...titleAbove(surface, 'load of the step (tokens)', MARGIN.left) };
  return {
    height: 300,
    text: `${rankLoadsFinding(report, selection)}: ${load(loads[highestRank]!)} tokens, mean ${load(mean)}.`,
    option: {
      ...commonOptionAlong(surface, 'shadow', ([bar]: readonly { dataIndex: number }[]) =>
        rankTip(bar!.dataIndex, chosen),
      ),
      grid: { ...MARGIN, top: 28, bottom: 46 },
      xAxis: [ranks, overlay.x],
      yAxis: [{ type: 'value', min: 0, max: ceiling, ...tokens }, overlay.y],
      series: rankLoadsSeries(chosen, selection.run, ceiling, surface),
    },
  };
}

/** The bars, the highest in full colour; the mean; and what the ranks would have without balancing. */
function rankLoadsSeries(chosen: RankLoads, run: Run, ceiling: number, { theme, width }: Surface): object[] {
  const { loads, mean, highestRank, unbalanced } = chosen;
  const { numRanks, nodeStarts, name, line } = run;
  const bandWidth = (width - MARGIN.left - MARGIN.right) / numRanks;
  const color = lineColour(theme, line.colour);
  const bars = Array.from(loads, (value, rank) => ({
    value,
    itemStyle: { color, opacity: rank === highestRank ? 1 : 0.62 },
  }));
  const borders = nodeBorders(nodeStarts, ceiling);
  const meanLine = [[0, ceiling - mean] as const, [numRanks, ceiling - mean] as const];
  const series = [
    { type: 'bar', name, barWidth: bandWidth > 3 ? '72%' : '100%', data: bars, emphasis: { disabled: true } },
    overlayLines('nodes', borders, { color: theme.muted, width: 1, type: [2, 3] }),
    overlayLines('mean', [meanLine], { color: theme.ink, width: 1.5, type: [5, 3] }),
  ];
  if (unbalanced === undefined) return series;
  const marks = {
    type: 'scatter',
    name: 'no balancing',
    symbol: 'rect',
    symbolSize: [Math.max(bandWidth * 0.86, 2), 2.5],
    silent: true,
    emphasis: { disabled: true },
    itemStyle: { color: theme.baseline, opacity: 1 },
    data: Array.from(unbalanced),
  };
  return [...series, marks];
}

function rankTitle(numRanks: number, nodeStarts: readonly number[]): string {
  if (nodeStarts.length === 1) return 'rank';
  const sizes = nodeStarts.map((start, node) => (nodeStarts[node + 1] ?? numRanks) - start);
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
  return `rank (${least === most ? least : `${least} to ${most}`} a node)`;
}

/** The next of 1, 1.5, 2, 3, 4, 5, 6, 8 of any power of ten: the end of an axis. */
function niceCeiling(value: number): number {
  if (value === 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value)!;
}

function rankTip(rank: number, { loads, mean, unbalanced }: RankLoads): HTMLElement {
  const share = (value: number) => times(mean === 0 ? 1 : value / mean);
  const text = (value: number) => `${load(value)} tokens, ${share(value)} × the mean`;
  return tip(`rank ${rank}`, [
    ['load', text(loads[rank]!)],
    ...(unbalanced === undefined ? [] : [['no balancing', text(unbalanced[rank]!)] as const]),
  ]);
}
