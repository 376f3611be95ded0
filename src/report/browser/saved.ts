import { grouped, seconds } from '../format.ts';
import { axisStyle, commonOption, type Picture, type Surface } from './chart.ts';
import type { Report, Run } from './report.ts';
import type { Selection } from './selection.ts';
import { lineColour, lineDash } from './theme.ts';
import { tip } from './tip.ts';

/** Modelled seconds saved so far against no balancing, a line a policy: it falls where moves cost more than they give. */
export function savedPicture(report: Report, selection: Selection, surface: Surface): Picture {
  const runs = report.runs.filter(
    ({ line }) => line.colour !== null && !selection.isHidden(report.lines.indexOf(line)),
  );
  const axis = axisStyle(surface);
  const left = 60;
  return {
    height: 270,
    text: `Modelled seconds saved so far. ${runs.map((run) => `${run.name}: ${seconds(run.savedSeconds.at(-1) ?? 0)} at the end.`).join(' ')}`,
    option: {
      ...commonOption(surface),
      tooltip: {
        ...commonOption(surface).tooltip,
        trigger: 'axis',
        axisPointer: { type: 'line', lineStyle: { color: surface.theme.muted } },
        formatter: (params: readonly { axisValue: number }[]) => savedTip(runs, params[0]!.axisValue),
      },
      grid: { left, right: surface.width < 500 ? 12 : 20, top: 28, bottom: 46 },
      xAxis: {
        type: 'value',
        min: Math.min(...report.lines.map(({ firstStep }) => firstStep)),
        max: Math.max(...report.lines.map(({ firstStep, numSteps }) => firstStep + numSteps)),
        ...axis,
        axisLine: { onZero: false, lineStyle: { color: surface.theme.muted } },
        splitLine: { show: false },
        name: 'step of the recording',
        nameLocation: 'middle',
        nameGap: 26,
      },
      yAxis: {
        type: 'value',
        ...axis,
        name: 'modelled seconds saved so far',
        nameTextStyle: { ...axis.nameTextStyle, align: 'left', padding: [0, 0, 0, -left + 4] },
      },
      series: runs.map((run) => ({
        type: 'line',
        name: run.name,
        symbol: 'none',
        silent: true,
        data: [
          [run.line.firstStep, 0],
          ...Array.from(run.savedSeconds, (saved, i) => [endOfPoint(run, i), saved]),
        ],
        lineStyle: {
          width: 2,
          color: lineColour(surface.theme, run.line.colour),
          type: lineDash(run.line.colour),
        },
        color: lineColour(surface.theme, run.line.colour),
        emphasis: { disabled: true },
      })),
    },
  };
}

/** Modelled seconds that a run had saved before a step; undefined after its end. */
export function savedBefore({ line, savedSeconds }: Run, step: number): number | undefined {
  const point = Math.ceil((step - line.firstStep) / line.stepsPerPoint) - 1;
  return point < 0 ? 0 : savedSeconds[point];
}

/** The step after a point. */
export function endOfPoint({ line }: Run, point: number): number {
  return line.firstStep + Math.min((point + 1) * line.stepsPerPoint, line.numSteps);
}

function savedTip(runs: readonly Run[], step: number): HTMLElement {
  const rows = runs.flatMap((run): [string, string][] => {
    const saved = savedBefore(run, step);
    return saved === undefined ? [] : [[run.name, seconds(saved)]];
  });
  return tip(`before step ${grouped(step)}`, rows);
}
