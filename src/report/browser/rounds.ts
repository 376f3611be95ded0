import { bytes, counted } from '../../formats/number-text.ts';
import { axisStyle, commonOption, niceInterval, PLAIN_LINE, titleAbove, titleBelow } from './axes.ts';
import type { Picture, Surface } from './chart.ts';
import type { Figures } from './figures.ts';
import { lineColour, lineDash } from './theme.ts';
import { tip } from './tip.ts';
import type { DrawnTransfer, TransferSelection } from './transfer-selection.ts';

/** Room around a band of rounds, in pixels: below it are its rounds' numbers. */
const MARGIN = { left: 44, top: 24, right: 8, bottom: 44 };
/** Between two bands. */
const GAP = 30;
/** Width of a round and height of a rank, in pixels. */
const COLUMN = { least: 36, most: 160 };
const ROW = { least: 5, most: 18, all: 380 };
/** Where in its round a line begins and ends. */
const [START, END] = [0.14, 0.86];
/** Of lines that do not belong to the chosen rank. */
const FAINT = 0.12;

/** How rounds are laid out: in bands below each other, as many as the width needs. */
interface Layout {
  readonly numBands: number;
  readonly roundsPerBand: number;
  readonly column: number;
  readonly row: number;
  readonly numRanks: number;
}

function layoutOf({ data, drawnLayer }: TransferSelection, { width }: Surface): Layout {
  const numRounds = Math.max(1, drawnLayer.rounds.length);
  const inner = width - MARGIN.left - MARGIN.right;
  const numBands = Math.ceil(numRounds / Math.max(1, Math.floor(inner / COLUMN.least)));
  const roundsPerBand = Math.ceil(numRounds / numBands);
  const { numRanks } = data;
  return {
    numBands,
    roundsPerBand,
    column: Math.min(COLUMN.most, inner / roundsPerBand),
    row: Math.min(ROW.most, Math.max(ROW.least, Math.floor(ROW.all / numRanks))),
    numRanks,
  };
}

/** A mark as ECharts hands it on: where it is, and the place of its transfer. */
interface Mark {
  readonly value: readonly [x: number, rank: number, transfer: number];
}

/** The rounds of the drawn layer: a line from the rank that sends to the one that receives. */
export function roundsPicture(selection: TransferSelection, surface: Surface): Picture {
  const { data, drawnTransfers } = selection;
  const layout = layoutOf(selection, surface);
  const { numBands, row, numRanks, column, roundsPerBand } = layout;
  const height = row * numRanks;
  const bands = Array.from({ length: numBands }, (_, band) => band);
  return {
    height: MARGIN.top + numBands * height + (numBands - 1) * GAP + MARGIN.bottom,
    text: `${roundsFinding(selection)}. A line for each transfer, in its round.`,
    option: {
      ...commonOption(surface, ({ value: [, , at] }: Mark) =>
        transferTip(drawnTransfers[at]!, data.bytesPerExpert, data.links),
      ),
      grid: bands.map((band) => ({
        left: MARGIN.left,
        top: MARGIN.top + band * (height + GAP),
        width: column * roundsPerBand,
        height,
      })),
      xAxis: bands.flatMap((band) => [
        roundAxis(band, selection, layout, surface),
        { type: 'value', min: 0, max: roundsPerBand, show: false, gridIndex: band },
      ]),
      yAxis: bands.flatMap((band) => [
        rankAxis(band, layout, surface),
        { type: 'value', min: 0, max: numRanks, show: false, inverse: true, gridIndex: band },
      ]),
      series: bands.flatMap((band) => bandSeries(band, selection, layout, surface)),
    },
  };
}

function roundAxis(
  band: number,
  { drawnLayer }: TransferSelection,
  { roundsPerBand, numBands }: Layout,
  surface: Surface,
): object {
  return {
    type: 'category',
    data: Array.from({ length: roundsPerBand }, (_, i) => {
      const round = band * roundsPerBand + i;
      return round < drawnLayer.rounds.length ? String(round) : '';
    }),
    gridIndex: band,
    ...axisStyle(surface),
    axisLine: { show: false },
    axisTick: { show: false },
    splitLine: { show: true, lineStyle: { color: surface.theme.grid } },
    ...(band === numBands - 1 ? titleBelow('round') : {}),
  };
}

function rankAxis(band: number, { numRanks, row }: Layout, surface: Surface): object {
  const every = niceInterval(14 / row);
  const { axisLabel, ...axis } = axisStyle(surface);
  return {
    type: 'category',
    data: Array.from({ length: numRanks }, (_, rank) => String(rank)),
    gridIndex: band,
    inverse: true,
    nameLocation: 'start',
    ...axis,
    ...(band === 0 ? titleAbove(surface, 'rank', MARGIN.left) : {}),
    axisTick: { show: false },
    axisLabel: { ...axisLabel, hideOverlap: false, interval: (rank: number) => rank % every === 0 },
  };
}

/** The lines of a band, by link and by whether they stand out, with marks at both ends; nodes' borders. */
function bandSeries(
  band: number,
  { data, drawnTransfers, rank }: TransferSelection,
  { roundsPerBand, row }: Layout,
  { theme }: Surface,
): object[] {
  const axes = { xAxisIndex: 2 * band + 1, yAxisIndex: 2 * band + 1 };
  const own = drawnTransfers
    .map((transfer, at) => ({ ...transfer, at, x: transfer.round - band * roundsPerBand }))
    .filter(({ x }) => x >= 0 && x < roundsPerBand);
  const size = Math.min(7, Math.max(4, row - 3));
  const series = data.links.flatMap((_, link) =>
    [true, false].flatMap((isFaint) => {
      const drawn = own.filter(
        (one) =>
          one.link === link && isFaint === (rank !== undefined && one.source !== rank && one.target !== rank),
      );
      if (drawn.length === 0) return [];
      const color = lineColour(theme, link);
      const style = { color, opacity: isFaint ? FAINT : 1 };
      const marks = { type: 'scatter', ...axes, symbolSize: size, itemStyle: style, z: isFaint ? 3 : 6 };
      return [
        {
          ...PLAIN_LINE,
          ...axes,
          data: drawn.flatMap(({ x, source, target }) => [
            [x + START, source + 0.5],
            [x + END, target + 0.5],
            [null, null],
          ]),
          lineStyle: { ...style, width: 1.5, type: lineDash(link) },
          z: isFaint ? 2 : 5,
        },
        { ...marks, data: drawn.map(({ x, source, at }) => [x + START, source + 0.5, at]) },
        {
          ...marks,
          symbol: 'triangle',
          symbolRotate: -90,
          symbolSize: size + 2,
          data: drawn.map(({ x, target, at }) => [x + END, target + 0.5, at]),
        },
      ];
    }),
  );
  const borders = data.nodeStarts.slice(1).map((border) => [
    [0, border],
    [roundsPerBand, border],
    [null, null],
  ]);
  const nodes = { ...PLAIN_LINE, ...axes, data: borders.flat(), z: 1 };
  return [...series, { ...nodes, lineStyle: { color: theme.muted, width: 1, type: [2, 3] } }];
}

function transferTip(
  { round, source, target, expert, link }: DrawnTransfer,
  bytesPerExpert: number,
  links: readonly string[],
): HTMLElement {
  return tip(`round ${round}: rank ${source} to rank ${target}`, [
    ['expert', String(expert)],
    ['weights', bytes(bytesPerExpert)],
    ['link', links[link]!],
  ]);
}

/** How many rounds the drawn layer takes, beside its bound. */
export function roundsFinding({ layer, drawnLayer, drawnTransfers }: TransferSelection): string {
  const { rounds, bound } = drawnLayer;
  const which = layer === undefined ? ', with as many rounds as any,' : '';
  if (rounds.length === 0) return `Layer ${drawnLayer.layer}${which} has no rounds`;
  const more = rounds.length - bound;
  const beside = more === 0 ? 'which is the bound' : `${more} more than the bound`;
  return (
    `Layer ${drawnLayer.layer}${which} makes ${counted(drawnTransfers.length, 'transfer')} in ` +
    `${counted(rounds.length, 'round')}, ${beside}`
  );
}

/** The drawn layer's transfers, one by one; where a rank is chosen, its own. */
export function roundsFigures({ data, drawnLayer, drawnTransfers, rank }: TransferSelection): Figures {
  return {
    columns: [
      { head: 'layer', text: String },
      { head: 'round', text: String },
      { head: 'expert', text: String },
      { head: 'from rank', text: String },
      { head: 'to rank', text: String },
      { head: 'link' },
      { head: 'bytes', text: bytes },
    ],
    rows: drawnTransfers
      .filter(({ source, target }) => rank === undefined || source === rank || target === rank)
      .map(({ round, expert, source, target, link }) => [
        drawnLayer.layer,
        round,
        expert,
        source,
        target,
        data.links[link]!,
        data.bytesPerExpert,
      ]),
  };
}
