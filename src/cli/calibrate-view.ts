import type { FitError } from '../cost/fit.ts';
import { bytes, counted, grouped, percent, seconds } from '../formats/number-text.ts';
import type { CalibratedCost, Calibration } from './calibration.ts';
import type { Colors } from './colors.ts';
import { type Fact, factLines } from './fact-list.ts';
import { PlainTable } from './plain-table.ts';

/** A row of the table of residuals is a number of active slots and of tokens each. */
const MOST_ROWS = 40;

/** What was measured, what was fitted to it, and how far the two are apart. */
export function renderCalibration(
  measured: Calibration,
  { cost, fit, exchangeError, moveError }: CalibratedCost,
  base: string,
  written: readonly string[],
  colors: Colors,
): string {
  const { fixedSeconds, slotSeconds, links, moves } = cost.toJSON();
  const { latencySeconds, bytesPerSecond } = links.intraNode!;
  const measuredOr = (error: FitError | undefined) =>
    error === undefined ? `of ${base}, not measured` : errorText(error);
  const curve =
    'floor' in slotSeconds
      ? `${seconds(slotSeconds.floor)} at least, ${seconds(slotSeconds.perToken)} a token`
      : slotSeconds.tokens.map((at, i) => `${seconds(slotSeconds.seconds[i]!)} at ${grouped(at)}`).join(', ');
  const facts: Fact[] = [
    ['measured', `${counted(measured.slots.length, 'cell')} on ${measured.source}`],
    ['experts', `${grouped(measured.hiddenSize)} x ${grouped(measured.expertSize)}, ${measured.precision}`],
    ['a rank', `${seconds(fixedSeconds)} a layer, whatever it has`],
    ['a slot', `${curve}; in tiles of ${counted(slotSeconds.tile, 'token')}`],
    ['fit', `${errorText(fit.error)}; on cells that a fit was not made of ${errorText(fit.errorOnOthers)}`],
    ...noiseFacts(measured),
    [
      'links',
      `${seconds(latencySeconds)} to start, ${bytes(bytesPerSecond)}/s (${measuredOr(exchangeError)})`,
    ],
    [
      'moves',
      `${seconds(moves.secondsPerRound)} a round, ${percent(moves.bandwidthShare)} of the links (${measuredOr(moveError)})`,
    ],
    ...written.map((path): Fact => ['written', path]),
  ];
  const text = `${residuals(measured, cost)}\n\n${factLines(facts, colors)}`;
  return `${text.trimEnd()}\n`.replace(/ +$/gm, '');
}

/** What chance makes of a cell, and what no cell was fitted to. */
function noiseFacts({ noise, slots }: Calibration): Fact[] {
  const facts: Fact[] = [];
  if (noise !== undefined) {
    const { passes, drift } = noise;
    const spread = `${percent(passes.median)} in the median of the cells, ${percent(passes.worst)} at worst`;
    facts.push(['passes', `differ by ${spread}; late ones took ${percent(drift)} longer than early ones`]);
  }
  const idle = slots.find(({ tokensPerSlot }) => tokensPerSlot.every((tokens) => tokens === 0));
  if (idle !== undefined) facts.push(['no tokens', `${seconds(idle.seconds)} a rank: left out of the fit`]);
  return facts;
}

function errorText({ median, worst }: FitError): string {
  return `${percent(median)} off in the median, ${percent(worst)} at worst`;
}

/** The cells that the fit is worst at, first. */
function residuals({ slots }: Calibration, cost: CalibratedCost['cost']): string {
  const rows = slots.map(({ tokensPerSlot, seconds: took }) => {
    const forecast = cost.rankSeconds(tokensPerSlot);
    return { tokensPerSlot, took, forecast, error: forecast / took - 1 };
  });
  rows.sort((a, b) => Math.abs(b.error) - Math.abs(a.error));
  const table = new PlainTable(['right', 'right', 'right', 'right', 'right', 'right'], 1);
  table.push(['active', 'tokens', 'most', 'measured', 'fit', 'off']);
  for (const { tokensPerSlot, took, forecast, error } of rows.slice(0, MOST_ROWS)) {
    const active = tokensPerSlot.filter((tokens) => tokens > 0);
    const tokens = active.reduce((sum, own) => sum + own, 0);
    const most = active.reduce((max, own) => Math.max(max, own), 0);
    table.push([
      grouped(active.length),
      grouped(tokens),
      grouped(most),
      seconds(took),
      seconds(forecast),
      percent(error),
    ]);
  }
  const rest = rows.length - MOST_ROWS;
  return rest > 0 ? `${table.toString()}\n and ${counted(rest, 'cell')} nearer than these` : table.toString();
}
