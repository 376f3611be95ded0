import { times } from '../../../formats/number-text.ts';
import { axisStyle, commonOption, niceInterval, titleBelow } from '../../../report/browser/axes.ts';
import type { Picture, Surface } from '../../../report/browser/chart.ts';
import { divergingColour } from '../../../report/browser/diverging.ts';
import { tip } from '../../../report/browser/tip.ts';
import type { RankMap } from '../view.ts';

/** Room around the cells, in pixels. */
const MARGIN = { left: 44, top: 24, right: 14, bottom: 44 };
/** The column of what is waited for is about as wide as its name, in pixels. */
const COLUMN_WIDTH = 26;
const DEAD = 255;

/** The darkest colour stands for this much at least: what is nearly even is to look so. */
const LEAST_SCALE = 1.5;

/** A rank map with its cells as numbers. */
export interface Cells extends Pick<RankMap, 'rows' | 'columns' | 'layersPerRow' | 'ranksPerColumn'> {
  /** [rows x columns], in means of the layer; NaN where no rank lives. */
  readonly shares: Float64Array;
  readonly most: number;
}

export function cellsOf({ cells, scale, ...sizes }: RankMap): Cells {
  const bytes = Uint8Array.from(atob(cells), (character) => character.charCodeAt(0));
  const shares = Float64Array.from(bytes, (byte) => (byte === DEAD ? Number.NaN : byte * scale));
  return { ...sizes, shares, most: Math.max(LEAST_SCALE, scale * (DEAD - 1)) };
}

interface Cell {
  readonly value: readonly [column: number, row: number, share: number];
}

/** Layers x ranks, and beside them what each layer waits for. */
export function rankMapPicture(cells: Cells, surface: Surface): Picture {
  const { rows, columns, shares, most } = cells;
  const { left, top, right, bottom } = MARGIN;
  const inner = surface.width - left - right;
  const wide = Math.ceil((COLUMN_WIDTH * (columns + 1)) / Math.max(inner - COLUMN_WIDTH, COLUMN_WIDTH));
  const first = columns + 1;
  const all = first + Math.min(wide, Math.max(columns, 1));
  const cellHeight = Math.min(Math.max(Math.floor(300 / rows), 3), 18);
  const height = rows * cellHeight;
  const { theme } = surface;
  const colour = ({ value: [, , share] }: Cell) =>
    share < 0 ? theme.grid : divergingColour(theme, share, most);
  return {
    height: top + height + bottom,
    text: mapText(cells),
    option: {
      ...commonOption(surface, ({ value }: Cell) => cellTip(value, cells)),
      grid: { left, right, top, height },
      xAxis: rankAxis(cells, { first, all, inner }, surface),
      yAxis: layerAxis(cells, cellHeight, surface),
      series: [
        {
          type: 'heatmap',
          data: [...dataOf(shares, columns), ...waitedFor(cells, first, all)],
          itemStyle: { color: colour },
          emphasis: { disabled: true },
          progressive: 0,
        },
      ],
    },
  };
}

/** Cells without a rank that lives have -1: charts leave out what is no number. */
function dataOf(shares: Float64Array, columns: number): (readonly number[])[] {
  return Array.from(shares, (share, i) => {
    const shown = Number.isNaN(share) ? -1 : share;
    return [i % columns, Math.floor(i / columns), shown];
  });
}

function waitedFor({ shares, rows, columns }: Cells, first: number, all: number): number[][] {
  return Array.from({ length: rows }, (_, row) => {
    const own = shares.subarray(row * columns, (row + 1) * columns);
    const highest = Math.max(0, ...own.filter((share) => !Number.isNaN(share)));
    return Array.from({ length: all - first }, (_, i) => [first + i, row, highest]);
  }).flat();
}

function rankAxis(
  { columns, ranksPerColumn }: Cells,
  { first, all, inner }: { readonly first: number; readonly all: number; readonly inner: number },
  surface: Surface,
): object {
  const { axisLabel, ...axis } = axisStyle(surface);
  const widest = String(columns * ranksPerColumn).length;
  const labelEvery = niceInterval((7.5 * widest + 8) / (inner / all));
  const middle = Math.floor((first + all - 1) / 2);
  const name = (i: number) => (i < columns ? String(i * ranksPerColumn) : i === middle ? 'max' : '');
  return {
    type: 'category',
    data: Array.from({ length: all }, (_, i) => name(i)),
    ...{ ...axis, ...titleBelow('rank') },
    axisLine: { show: false },
    axisTick: { show: false },
    axisLabel: {
      ...axisLabel,
      interval: (i: number) => i === middle || (i < columns && i % labelEvery === 0),
      hideOverlap: false,
    },
  };
}

function layerAxis({ rows, layersPerRow }: Cells, cellHeight: number, surface: Surface): object {
  const { axisLabel, nameTextStyle, ...axis } = axisStyle(surface);
  const labelEvery = niceInterval(16 / cellHeight);
  return {
    type: 'category',
    data: Array.from({ length: rows }, (_, row) => String(row * layersPerRow)),
    ...axis,
    ...{ inverse: true, name: 'layer', nameLocation: 'start', nameGap: 8 },
    nameTextStyle: { ...nameTextStyle, align: 'right' },
    axisTick: { show: false },
    axisLabel: { ...axisLabel, interval: (row: number) => row % labelEvery === 0, hideOverlap: false },
  };
}

/** What a cell stands for: one layer and rank, or several. */
function rangeOf(name: string, index: number, each: number): string {
  const first = index * each;
  return each === 1 ? `${name} ${first}` : `${name}s ${first} to ${first + each - 1}`;
}

function cellTip([column, row, share]: Cell['value'], cells: Cells): HTMLElement {
  const layers = rangeOf('layer', row, cells.layersPerRow);
  if (column >= cells.columns) {
    return tip(layers, [['the highest rank load', `${times(share)} × the mean`]]);
  }
  const ranks = rangeOf('rank', column, cells.ranksPerColumn);
  const isOne = cells.layersPerRow * cells.ranksPerColumn === 1;
  const value = share < 0 ? 'dead' : `${times(share)} × the layer's mean`;
  return tip(`${layers}, ${ranks}`, [[isOne ? 'load' : 'the highest', value]]);
}

function mapText({ rows, columns, layersPerRow, ranksPerColumn, shares }: Cells): string {
  const at = shares.reduce((best, share, i) => (share > (shares[best] ?? 0) ? i : best), 0);
  const layers = rangeOf('layer', Math.floor(at / columns), layersPerRow);
  const ranks = rangeOf('rank', at % columns, ranksPerColumn);
  const most = shares[at] ?? 0;
  return (
    `Rank loads now, ${rows} x ${columns} cells of layers and ranks. The highest is ${times(most)} times ` +
    `its layer's mean, in ${layers}, ${ranks}.`
  );
}
