import { bytes, counted, grouped } from '../../formats/number-text.ts';
import { axisStyle, commonOption, niceInterval, shortCount, titleAbove, titleBelow } from './axes.ts';
import type { Picture, Surface } from './chart.ts';
import { letterColour, sequentialColour } from './diverging.ts';
import type { Figures } from './figures.ts';
import { largest } from './report.ts';
import { tip } from './tip.ts';
import type { TransferSelection } from './transfer-selection.ts';

/** Room around the cells, in pixels. */
const MARGIN = { left: 44, top: 24, right: 8, bottom: 44 };
/** Sizes in pixels: of a cell, of all cells together, and of a cell that a count is written into. */
const CELL = { least: 4, most: 44, all: 640, written: 28 };

/** A cell as ECharts hands it on. */
interface Cell {
  readonly value: readonly [to: number, from: number, experts: number];
}

/** Experts that each rank sends to each, a row for each sender, of the chosen layer or of all. */
function sentOf({ data, transfers }: TransferSelection): number[][] {
  const sent = Array.from({ length: data.numRanks }, () => new Array<number>(data.numRanks).fill(0));
  for (const { source, target } of transfers) sent[source]![target]!++;
  return sent;
}

/** Where a cell is too small for a rank, it stands for several in a row. */
interface Blocks {
  readonly ranksPerBlock: number;
  /** In pixels. */
  readonly cell: number;
  readonly sent: readonly (readonly number[])[];
}

function blocksOf(selection: TransferSelection, width: number): Blocks {
  const { numRanks } = selection.data;
  const inner = Math.min(width - MARGIN.left - MARGIN.right, CELL.all);
  const ranksPerBlock = Math.ceil((CELL.least * numRanks) / inner);
  const numBlocks = Math.ceil(numRanks / ranksPerBlock);
  const blocks = Array.from({ length: numBlocks }, () => new Array<number>(numBlocks).fill(0));
  sentOf(selection).forEach((row, from) => {
    const block = blocks[Math.floor(from / ranksPerBlock)]!;
    row.forEach((experts, to) => {
      block[Math.floor(to / ranksPerBlock)]! += experts;
    });
  });
  return { ranksPerBlock, cell: Math.min(CELL.most, Math.floor(inner / numBlocks)), sent: blocks };
}

/** Experts sent from rank to rank, a row for each that sends. */
export function sentPicture(selection: TransferSelection, surface: Surface): Picture {
  const { theme } = surface;
  const { bytesPerExpert, numRanks } = selection.data;
  const { ranksPerBlock, cell, sent } = blocksOf(selection, surface.width);
  const size = cell * sent.length;
  const most = largest(sent.flat());
  const chosen = selection.rank === undefined ? undefined : Math.floor(selection.rank / ranksPerBlock);
  const isChosen = (rank: number) => chosen !== undefined && rank === first(chosen);
  const share = (experts: number) => (most === 0 ? 0 : experts / most);
  const first = (block: number) => block * ranksPerBlock;
  const name = (block: number) => {
    const last = Math.min(first(block) + ranksPerBlock, numRanks) - 1;
    return last === first(block) ? `rank ${last}` : `ranks ${first(block)} to ${last}`;
  };
  const { axisLabel, ...axis } = axisStyle(surface);
  const ranks = (pixels: number) => {
    const every = niceInterval(pixels / cell);
    return {
      type: 'category',
      data: sent.map((_, block) => String(first(block))),
      ...axis,
      axisLine: { show: false },
      axisTick: { show: false },
      axisLabel: {
        ...axisLabel,
        hideOverlap: false,
        interval: (block: number) =>
          block === chosen ||
          (block % every === 0 && (chosen === undefined || Math.abs(block - chosen) * cell >= pixels)),
        color: (name: string) => (isChosen(Number(name)) ? theme.ink : theme.muted),
      },
    };
  };
  return {
    height: MARGIN.top + size + MARGIN.bottom,
    text: `${sentFinding(selection)}. A row for each rank that sends, a column for each that receives.`,
    option: {
      ...commonOption(surface, ({ value: [to, from, experts] }: Cell) =>
        tip(`${name(from)} to ${name(to)}`, [
          ['experts', grouped(experts)],
          ['weights', bytes(experts * bytesPerExpert)],
        ]),
      ),
      grid: { ...MARGIN, width: size, height: size },
      xAxis: { ...ranks(7.5 * String(numRanks).length + 8), ...titleBelow('to rank') },
      yAxis: {
        ...ranks(16),
        inverse: true,
        nameLocation: 'start',
        ...titleAbove(surface, 'from rank', MARGIN.left),
      },
      series: [
        {
          type: 'heatmap',
          data: sent.flatMap((row, from) =>
            row.flatMap((experts, to) => {
              // No link leads from a rank to itself.
              if (from === to && ranksPerBlock === 1) return [];
              return [{ value: [to, from, experts], label: { color: letterColour(theme, share(experts)) } }];
            }),
          ),
          itemStyle: {
            color: ({ value }: Cell) => sequentialColour(theme, share(value[2])),
            borderColor: theme.surface,
            borderWidth: cell >= 12 ? 1 : 0,
          },
          label: {
            show: cell >= CELL.written,
            fontSize: 12,
            formatter: ({ value }: Cell) => (value[2] === 0 ? '' : shortCount(value[2])),
          },
          emphasis: { disabled: true },
          progressive: 0,
        },
      ],
    },
  };
}

/** The rank that a row of a picture so wide stands for; undefined where it stands for several. */
export function rankOfRow(selection: TransferSelection, width: number, row: number): number | undefined {
  return blocksOf(selection, width).ranksPerBlock === 1 ? row : undefined;
}

/** What the strongest cell of a picture so wide stands for. */
export function sentScaleText(selection: TransferSelection, width: number): string {
  const { sent, ranksPerBlock } = blocksOf(selection, width);
  const most = largest(sent.flat());
  const ranks = ranksPerBlock === 1 ? '' : ` between groups of ${ranksPerBlock} ranks`;
  return `${counted(most, 'expert')}, ${bytes(most * selection.data.bytesPerExpert)}${ranks}`;
}

/** Who sends and who receives most, in a sentence. */
export function sentFinding(selection: TransferSelection): string {
  const { layer, transfers, data } = selection;
  const where = layer === undefined ? 'In all layers' : `In layer ${layer.layer}`;
  if (transfers.length === 0) return `${where} nothing crosses a link`;
  const { sent, received } = totalsOf(selection);
  const [sender, receiver] = [sent, received].map((counts) => counts.indexOf(largest(counts)));
  const [most, other] = [sent[sender!]!, received[receiver!]!];
  const text = (experts: number) => `${counted(experts, 'expert')} (${bytes(experts * data.bytesPerExpert)})`;
  const receives = `rank ${receiver} receives most, ${text(other)}`;
  return `${where} rank ${sender} sends most, ${text(most)}, and ${receives}`;
}

/** Experts by rank. */
function totalsOf({ data, transfers }: TransferSelection): { sent: number[]; received: number[] } {
  const [sent, received] = [0, 1].map(() => new Array<number>(data.numRanks).fill(0)) as [number[], number[]];
  for (const { source, target } of transfers) {
    sent[source]!++;
    received[target]!++;
  }
  return { sent, received };
}

/** The figures of the picture, always rank by rank. */
export function sentFigures(selection: TransferSelection): Figures {
  const { bytesPerExpert } = selection.data;
  const { sent, received } = totalsOf(selection);
  return {
    columns: [
      { head: 'rank', text: String },
      { head: 'experts sent', text: grouped },
      { head: 'experts received', text: grouped },
      { head: 'bytes sent', text: bytes },
      { head: 'bytes received', text: bytes },
      ...sent.map((_, rank) => ({ head: `to rank ${rank}`, text: grouped })),
    ],
    rows: sentOf(selection).map((row, rank) => [
      rank,
      sent[rank]!,
      received[rank]!,
      sent[rank]! * bytesPerExpert,
      received[rank]! * bytesPerExpert,
      ...row,
    ]),
  };
}
