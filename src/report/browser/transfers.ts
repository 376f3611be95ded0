import { counted } from '../../formats/number-text.ts';
import type { TransferData } from '../transfer-data.ts';
import { Chart, followMedia } from './chart.ts';
import { followTables } from './data-tables.ts';
import { gradientOf, sequentialStops } from './diverging.ts';
import { offerDownloads } from './downloads.ts';
import { byId, element } from './element.ts';
import { fillLineLegend } from './legends.ts';
import { roundsFigures, roundsFinding, roundsPicture } from './rounds.ts';
import { rankOfRow, sentFigures, sentFinding, sentPicture, sentScaleText } from './sent.ts';
import { lineColour, lineDash, readTheme } from './theme.ts';
import { TransferSelection } from './transfer-selection.ts';

/** More marks than this are drawn on a canvas. */
const MOST_MARKS = 2000;

/** The page of a transfer plan: its charts, and the choice of a layer and a rank. */
export function showTransfers(data: TransferData): void {
  const selection = new TransferSelection(data);
  followChoice(selection);
  const sent = new Chart(byId('sent'), 'canvas', (surface) => sentPicture(selection, surface));
  const renderer = 2 * selection.mostTransfers > MOST_MARKS ? 'canvas' : 'svg';
  const rounds = new Chart(byId('rounds'), renderer, (surface) => roundsPicture(selection, surface));
  sent.onClick(0, (_, row) => {
    const from = rankOfRow(selection, byId('sent').clientWidth, row);
    selection.chooseRank(from === selection.rank ? undefined : from);
  });
  const figures = { sent: () => sentFigures(selection), rounds: () => roundsFigures(selection) };
  followTables(figures, (fill) => selection.onChange(fill));
  const scaleText = () => sentScaleText(selection, byId('sent').clientWidth);
  offerDownloads(
    new Map([
      ['sent', sent],
      ['rounds', rounds],
    ]),
    figures,
    (id) => (id === 'sent' ? { stops: sequentialStops(readTheme()), most: scaleText() } : undefined),
  );
  const show = () => {
    byId('sent-finding').textContent = sentFinding(selection);
    byId('rounds-finding').textContent = roundsFinding(selection);
    byId('sent-most').textContent = scaleText();
  };
  const colour = () => {
    const theme = readTheme();
    byId('sent-scale').style.background = gradientOf(sequentialStops(theme));
    fillLineLegend(
      'link-legend',
      data.links.map((name, i) => ({ name, colour: lineColour(theme, i), dash: lineDash(i) })),
    );
    show();
  };
  selection.onChange(() => {
    show();
    sent.change();
    rounds.change();
  });
  followMedia(colour);
  colour();
}

/** The fields that choose a layer, in the order to move, and a rank. */
function followChoice(selection: TransferSelection): void {
  const { layers, numRanks } = selection.data;
  const field = (id: string, all: string, names: readonly string[]) => {
    const select = byId<HTMLSelectElement>(id);
    const options = names.map((name, i) => element('option', { value: String(i) }, name));
    select.append(element('option', { value: '' }, all), ...options);
    return select;
  };
  const numberIn = ({ value }: HTMLSelectElement) => (value === '' ? undefined : Number(value));
  const layer = field(
    'layer',
    'all',
    layers.map(({ layer: name, rounds }) => `${name}: ${counted(rounds.length, 'round')}`),
  );
  const rank = field(
    'rank',
    'all',
    Array.from({ length: numRanks }, (_, i) => String(i)),
  );
  layer.addEventListener('change', () => selection.chooseLayer(numberIn(layer)));
  rank.addEventListener('change', () => selection.chooseRank(numberIn(rank)));
  selection.onChange(() => {
    rank.value = selection.rank === undefined ? '' : String(selection.rank);
  });
}
