import { times } from '../../formats/number-text.ts';
import type { ReplayResult } from '../../replay/index.ts';
import type { Colors } from '../colors.ts';
import { fitted } from '../wrap.ts';

/** Lines that the chart takes, without its axis. */
const CHART_LINES = 8;
const MAX_WIDTH = 96;
/** Layers that the heat map shows, each line the worst of several where there are more. */
const MAX_HEAT_LINES = 16;
const MAX_HEAT_RANKS = 32;

/**
 * A small chart of balancedness over time and heat maps of rank loads, for a terminal.
 *
 * @param columns of the terminal: no line is longer, from 20 on
 */
export function renderPictures(result: ReplayResult, columns: number, colors: Colors): string {
  const width = Math.max(10, Math.min(columns, MAX_WIDTH) - 10);
  const lines = [...chart(result, width, colors), '', ...heatMaps(result, columns, colors), ''];
  return `${fitted(lines.join('\n'), columns)}\n`;
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

/** What stands beside the cells of a line: the number of the layer, and what it waits for. */
const BESIDE_CELLS = 13;
const BETWEEN_MAPS = 3;

/**
 * Rank loads that most steps do not exceed, layers down and ranks across, and what each layer waits for; one
 * map beside the other where there is room.
 */
function heatMaps({ heatMap, configuration }: ReplayResult, columns: number, colors: Colors): string[] {
  const numRanks = heatMap.p95Before[0]!.length;
  const mostRanks = Math.max(4, Math.min(MAX_HEAT_RANKS, columns - BESIDE_CELLS));
  const before = heatLines(heatMap.p95Before, heatMap.maximumBefore, mostRanks, colors);
  const after = heatLines(heatMap.p95After, heatMap.maximumAfter, mostRanks, colors);
  const width = BESIDE_CELLS + Math.ceil(numRanks / Math.ceil(numRanks / mostRanks));
  const titles = [
    `no balancing: ${times(meanOf(heatMap.maximumBefore))}`,
    `${configuration.policy}: ${times(meanOf(heatMap.maximumAfter))}`,
  ] as const;
  const gap = Math.max(width, titles[0].length + 2) + BETWEEN_MAPS;
  const maps =
    gap + Math.max(width, titles[1].length) <= columns
      ? [
          ` ${titles[0].padEnd(gap)}${titles[1]}`,
          ...before.map((line, i) => beside(line, after[i]!, width, gap)),
        ]
      : [` ${titles[0]}`, ...before, ` ${titles[1]}`, ...after];
  return [HEAT_TITLE, ...maps];
}

const SHADE_FROM = ['0.8', '1.1', '1.4', '1.7'];
const HEAT_TITLE =
  ' what is waited for, in mean loads: at the right of each layer the largest rank load of a step, in the ' +
  'mean; ranks across, each by the load that 95% of its steps do not exceed: ' +
  `${SHADES.slice(1)
    .map((mark, i) => `${mark} ${SHADE_FROM[i]}`)
    .join('  ')} and more`;

function beside(left: string, right: string, width: number, gap: number): string {
  return `${left}${' '.repeat(gap - width)}${right}`;
}

/** A line a layer, or more layers where there are many: all as wide as each other. */
function heatLines(
  cells: readonly (readonly number[])[],
  maxima: readonly number[],
  mostRanks: number,
  colors: Colors,
): string[] {
  const layersPerLine = Math.ceil(cells.length / MAX_HEAT_LINES);
  const waited = shrink(
    maxima.map((value) => [value]),
    1,
  );
  return shrink(cells, mostRanks).map((row, i) => {
    const layer = String(i * layersPerLine).padStart(4);
    return ` ${layer} ${row.map((load) => shade(load, colors)).join('')} ${times(waited[i]![0]!).padStart(6)}`;
  });
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function shade(load: number, colors: Colors): string {
  const level = load < 0.8 ? 0 : load < 1.1 ? 1 : load < 1.4 ? 2 : load < 1.7 ? 3 : 4;
  const mark = SHADES[level]!;
  return level === 4 ? colors.red(mark) : level === 3 ? colors.yellow(mark) : mark;
}

/** At most so many lines and columns, each cell the largest of those it stands for. */
function shrink(cells: readonly (readonly number[])[], mostRanks: number): number[][] {
  const perLine = Math.ceil(cells.length / MAX_HEAT_LINES);
  const perColumn = Math.ceil(cells[0]!.length / mostRanks);
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
