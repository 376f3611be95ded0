import { times } from '../../formats/number-text.ts';
import type { ReplayResult } from '../../replay/index.ts';
import type { Colors } from '../colors.ts';

/** Lines that the chart takes, without its axis. */
const CHART_LINES = 8;
const MAX_WIDTH = 96;
/** Layers that the heat map shows, each line the worst of several where there are more. */
const MAX_HEAT_LINES = 16;
const MAX_HEAT_RANKS = 32;

/** A small chart of balancedness over time and a heat map of rank loads, for a terminal. */
export function renderPictures(result: ReplayResult, columns: number, colors: Colors): string {
  const width = Math.max(20, Math.min(columns, MAX_WIDTH) - 10);
  return `${[...chart(result, width, colors), '', ...heatMap(result, colors), ''].join('\n')}\n`;
}

/** Balancedness of the steps: the live mappings as blocks, no balancing as dots, plans below. */
function chart({ series, plans, configuration }: ReplayResult, width: number, colors: Colors): string[] {
  const numPoints = series.firstStep.length;
  const numColumns = Math.min(width, numPoints);
  // A column shows the lowest step of its points: thinning hides no dip.
  const column = (values: readonly number[], at: number) => {
    const from = Math.floor((at * numPoints) / numColumns);
    const to = Math.max(from + 1, Math.floor(((at + 1) * numPoints) / numColumns));
    return Math.min(...values.slice(from, to));
  };
  const at = Array.from({ length: numColumns }, (_, i) => i);
  const live = at.map((i) => column(series.balancedness.min, i));
  const first = at.map((i) => column(series.unbalancedBalancedness.min, i));
  const lowest = Math.min(...live, ...first);
  const bottom = Math.min(0.9, Math.floor(lowest * 10) / 10);
  const lineOf = (value: number) =>
    Math.min(CHART_LINES - 1, Math.floor(((value - bottom) / (1 - bottom)) * CHART_LINES));
  const lines: string[] = [];
  for (let line = CHART_LINES - 1; line >= 0; line--) {
    const cells = at.map((i) => {
      if (lineOf(live[i]!) === line) return colors.green('█');
      return lineOf(first[i]!) === line ? colors.dim('·') : ' ';
    });
    const value = bottom + ((line + 1) / CHART_LINES) * (1 - bottom);
    lines.push(` ${times(value)} │${cells.join('')}`);
  }
  const lastStep = (series.firstStep.at(-1) ?? 0) + series.stepsPerPoint;
  const firstStep = series.firstStep[0] ?? 0;
  const marks: string[] = at.map(() => '─');
  for (const { appliedFromStep } of plans) {
    if (appliedFromStep === null) continue;
    const place = Math.floor(((appliedFromStep - firstStep) / (lastStep - firstStep)) * numColumns);
    marks[Math.min(numColumns - 1, place)] = '┴';
  }
  return [
    ' balancedness of the steps, the lowest of each column: ' +
      `${colors.green('█')} ${configuration.policy}, ${colors.dim('·')} no balancing, ┴ plans`,
    ...lines,
    `      └${marks.join('')}`,
    `       ${String(firstStep).padEnd(Math.max(0, numColumns - String(lastStep).length))}${lastStep}`,
  ];
}

const SHADES = [' ', '░', '▒', '▓', '█'];

/** Mean rank loads, layers down and ranks across, before and after. */
function heatMap({ heatMap: { before, after } }: ReplayResult, colors: Colors): string[] {
  const left = shrink(before);
  const right = shrink(after);
  const width = left[0]!.length;
  const layersPerLine = Math.ceil(before.length / left.length);
  const row = (cells: readonly number[]) => cells.map((load) => shade(load, colors)).join('');
  const head = ` rank loads / mean, layers down, ranks across: ${SHADES.slice(1)
    .map((mark, i) => `${mark} ${['0.8', '1.1', '1.4', '1.7'][i]}`)
    .join('  ')} and more`;
  return [
    head,
    `      ${'before'.padEnd(Math.max(width, 6) + 3)}after`,
    ...left.map((cells, i) => {
      const layer = String(i * layersPerLine).padStart(4);
      return ` ${layer} ${row(cells)}${' '.repeat(Math.max(0, 6 - width) + 3)}${row(right[i]!)}`;
    }),
  ];
}

function shade(load: number, colors: Colors): string {
  const level = load < 0.8 ? 0 : load < 1.1 ? 1 : load < 1.4 ? 2 : load < 1.7 ? 3 : 4;
  const mark = SHADES[level]!;
  return level === 4 ? colors.red(mark) : level === 3 ? colors.yellow(mark) : mark;
}

/** At most so many lines and columns, each cell the largest of those it stands for. */
function shrink(cells: readonly (readonly number[])[]): number[][] {
  const perLine = Math.ceil(cells.length / MAX_HEAT_LINES);
  const perColumn = Math.ceil(cells[0]!.length / MAX_HEAT_RANKS);
  return Array.from({ length: Math.ceil(cells.length / perLine) }, (_, line) =>
    Array.from({ length: Math.ceil(cells[0]!.length / perColumn) }, (_, column) =>
      Math.max(
        ...cells
          .slice(line * perLine, (line + 1) * perLine)
          .flatMap((row) => row.slice(column * perColumn, (column + 1) * perColumn)),
      ),
    ),
  );
}
