import { times } from '../../../formats/number-text.ts';
import { axisStyle, niceInterval, titleBelow } from '../../../report/browser/axes.ts';
import type { Picture, Surface } from '../../../report/browser/chart.ts';
import { divergingColour } from '../../../report/browser/diverging.ts';
import { element } from '../../../report/browser/element.ts';
import type { Theme } from '../../../report/browser/theme.ts';
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

/** Columns of the picture: of ranks, one of nothing, and as many as the one beside them needs. */
interface Columns {
  readonly first: number;
  readonly all: number;
  readonly inner: number;
}

function columnsOf({ columns }: Cells, { width }: Surface): Columns {
  const inner = width - MARGIN.left - MARGIN.right;
  const wide = Math.ceil((COLUMN_WIDTH * (columns + 1)) / Math.max(inner - COLUMN_WIDTH, COLUMN_WIDTH));
  return { first: columns + 1, all: columns + 1 + Math.min(wide, columns), inner };
}

const cellHeightOf = ({ rows }: Cells) => Math.min(Math.max(Math.floor(300 / rows), 3), 18);

/**
 * Layers x ranks, and beside them what each layer waits for. The cells are an image, a pixel each, on a
 * canvas over the axes: as marks of a chart they would be painted over many frames, and flicker with every
 * update.
 */
export class RankMapView {
  readonly #canvas = element('canvas', { class: 'cells', 'aria-hidden': 'true' });
  readonly #tip = element('div', { class: 'cell-tip', hidden: '' });
  readonly #cells: () => Cells | undefined;
  #columns: Columns | undefined;

  /** @param host of the chart, which is made by now */
  constructor(host: HTMLElement, cells: () => Cells | undefined) {
    this.#cells = cells;
    host.append(this.#canvas, this.#tip);
    this.#canvas.addEventListener('pointermove', (event) => this.#showTip(event));
    this.#canvas.addEventListener('pointerleave', () => {
      this.#tip.hidden = true;
    });
  }

  /** Paints the cells over the axes of {@link rankMapPicture}. */
  paint(surface: Surface): void {
    const cells = this.#cells();
    this.#canvas.hidden = cells === undefined;
    if (cells === undefined) return;
    this.#columns = columnsOf(cells, surface);
    const { all, inner } = this.#columns;
    const { style } = this.#canvas;
    style.left = `${MARGIN.left}px`;
    style.top = `${MARGIN.top}px`;
    style.width = `${inner}px`;
    style.height = `${cells.rows * cellHeightOf(cells)}px`;
    this.#canvas.width = all;
    this.#canvas.height = cells.rows;
    const context = this.#canvas.getContext('2d')!;
    context.putImageData(imageOf(cells, this.#columns, surface.theme), 0, 0);
  }

  #showTip({ offsetX, offsetY }: PointerEvent): void {
    const cells = this.#cells();
    if (cells === undefined || this.#columns === undefined) return;
    const { all, inner, first } = this.#columns;
    const column = Math.floor((offsetX / inner) * all);
    const row = Math.min(Math.floor(offsetY / cellHeightOf(cells)), cells.rows - 1);
    this.#tip.hidden = column === cells.columns || row < 0;
    this.#tip.replaceChildren(cellTip(Math.min(column, first), row, cells));
    const isRight = offsetX > inner / 2;
    const { style } = this.#tip;
    style.left = isRight ? '' : `${MARGIN.left + offsetX + 12}px`;
    style.right = isRight ? `${MARGIN.right + inner - offsetX + 12}px` : '';
    style.top = `${MARGIN.top + Math.max(0, offsetY - 30)}px`;
  }
}

/** A pixel a cell; that between ranks and what is waited for is nothing. */
function imageOf(cells: Cells, { first, all }: Columns, theme: Theme): ImageData {
  const { rows, columns, shares, most } = cells;
  const image = new ImageData(all, rows);
  const waited = highestOfRows(cells);
  const dead = channelsOf(theme.grid);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < all; column++) {
      if (column === columns) continue;
      const share = column < first ? shares[row * columns + column]! : waited[row]!;
      const colour = Number.isNaN(share) ? dead : channelsOf(divergingColour(theme, share, most));
      image.data.set([...colour, 255], 4 * (row * all + column));
    }
  }
  return image;
}

/** The parts of a colour, `rgb(...)` or `#rrggbb`. */
function channelsOf(colour: string): number[] {
  if (!colour.startsWith('#')) return colour.match(/\d+/g)!.map(Number);
  return [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
}

function highestOfRows({ shares, rows, columns }: Cells): number[] {
  return Array.from({ length: rows }, (_, row) => {
    const own = shares.subarray(row * columns, (row + 1) * columns);
    return Math.max(0, ...own.filter((share) => !Number.isNaN(share)));
  });
}

/** The axes of the map, and what it shows in words. */
export function rankMapPicture(cells: Cells, surface: Surface): Picture {
  const { left, top, right, bottom } = MARGIN;
  const cellHeight = cellHeightOf(cells);
  const height = cells.rows * cellHeight;
  return {
    height: top + height + bottom,
    text: mapText(cells),
    option: {
      textStyle: { fontFamily: surface.theme.font, color: surface.theme.ink },
      grid: { left, right, top, height },
      xAxis: rankAxis(cells, columnsOf(cells, surface), surface),
      yAxis: layerAxis(cells, cellHeight, surface),
      series: [],
    },
  };
}

function rankAxis(
  { columns, ranksPerColumn }: Cells,
  { first, all, inner }: Columns,
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

function cellTip(column: number, row: number, cells: Cells): HTMLElement {
  const layers = rangeOf('layer', row, cells.layersPerRow);
  if (column >= cells.columns) {
    return tip(layers, [['the highest rank load', `${times(highestOfRows(cells)[row]!)} × the mean`]]);
  }
  const ranks = rangeOf('rank', column, cells.ranksPerColumn);
  const share = cells.shares[row * cells.columns + column]!;
  const isOne = cells.layersPerRow * cells.ranksPerColumn === 1;
  const value = Number.isNaN(share) ? 'dead' : `${times(share)} × the layer's mean`;
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
