import { grouped, seconds } from '../../formats/number-text.ts';
import { axisStyle, commonOptionAlong, PLAIN_LINE, secondsAxis, titleAbove, titleBelow } from './axes.ts';
import type { Picture, Surface } from './chart.ts';
import type { Report, Run } from './report.ts';
import type { Selection } from './selection.ts';
import { lineColour, lineDash } from './theme.ts';
import { tip } from './tip.ts';

/** Room left of the plot, in pixels. */
const LEFT = 60;

/**
 * Modelled seconds saved so far against no balancing, a line a policy: it falls where moves cost more than
 * they give.
 */
export function savedPicture(report: Report, selection: Selection, surface: Surface): Picture {
  const runs = report.runs.filter(
    ({ line }) => line.colour !== null && !selection.isHidden(report.lines.indexOf(line)),
  );
  const ends = runs.map(
    ({ name, savedSeconds }) => `${name}: ${seconds(savedSeconds.at(-1) ?? 0)} at the end.`,
  );
  const { axisLine, ...axis } = axisStyle(surface);
  return {
    height: 270,
    text: `Modelled time saved so far. ${ends.join(' ')}`,
    option: {
      ...commonOptionAlong(surface, 'line', ([place]: readonly { axisValue: number }[]) =>
        savedTip(runs, place!.axisValue),
      ),
      grid: { left: LEFT, right: surface.width < 500 ? 12 : 20, top: 28, bottom: 46 },
      xAxis: {
        type: 'value',
        minInterval: 1,
        min: selection.range.from,
        max: selection.range.to,
        ...axis,
        // At the bottom, also where seconds are lost.
        axisLine: { ...axisLine, onZero: false },
        splitLine: { show: false },
        ...titleBelow('step of the recording'),
      },
      yAxis: {
        ...secondsAxis(surface),
        ...titleAbove(surface, 'modelled time saved so far', LEFT),
      },
      series: runs.map((run) => savedLine(run, surface)),
    },
  };
}

function savedLine(run: Run, { theme }: Surface): object {
  const color = lineColour(theme, run.line.colour);
  const points = Array.from(run.savedSeconds, (saved, i) => [endOfPoint(run, i), saved]);
  return {
    ...PLAIN_LINE,
    name: run.name,
    color,
    data: [[run.line.firstStep, 0], ...points],
    lineStyle: { width: 2, color, type: lineDash(run.line.colour) },
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
