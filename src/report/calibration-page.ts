import type { FitError, LinkMeasurement, SlotFit, SlotMeasurement } from '../cost/fit.ts';
import {
  axisNumber,
  axisSeconds,
  bytes,
  counted,
  grouped,
  percent,
  seconds,
} from '../formats/number-text.ts';
import type { CostModel } from '../index.ts';
import { type Html, html } from './html.ts';
import { pageAround } from './page-shell.ts';
import { type PlotAxis, type PlotPoint, plotPicture } from './plot.ts';
import { scrollTable } from './scroll-table.ts';

/** A cost model beside the measurements that it was made of. */
export interface CalibrationReport {
  /** Device, versions, date. */
  readonly source: string;
  /** `7,168 x 2,048, bf16` */
  readonly experts: string;
  readonly cost: CostModel;
  readonly fit: SlotFit;
  readonly slots: readonly SlotMeasurement[];
  /** Empty where they were not measured; then those of {@link base} were taken. */
  readonly exchanges: readonly LinkMeasurement[];
  readonly transfers: readonly LinkMeasurement[];
  readonly base: string;
}

/** Most points of a plot, and most rows of the table. */
const MOST_POINTS = 2000;
const MOST_ROWS = 200;
/** Points of a line. */
const LINE_POINTS = 400;

/** The whole page: it loads nothing, and needs no script. */
export function calibrationPage(report: CalibrationReport, style: string): string {
  const { cost, fit, source, experts, slots } = report;
  const title = `Cost of ${cost.name}`;
  const cells = cellsOf(report);
  const body = html`<header>
<h1>${title}</h1>
<p class="lead">The fit is ${errorText(fit.error)}.</p>
<p>${counted(slots.length, 'measurement')} on ${source}; experts of ${experts}. On those
that a fit was not made of it is ${errorText(fit.errorOnOthers)}.</p>
</header>
<main>
<section aria-labelledby="slots-heading">
<h2 id="slots-heading"><span class="topic">A rank's slots</span> ${curveFinding(cost)}</h2>
<div class="pair plots">
<figure>${curvePlot(cells, cost)}<figcaption>Seconds of a slot: the line is the fit, a point what was measured
with the same tokens in each slot, less ${seconds(cost.fixedSeconds)} that a rank takes
anyway.</figcaption></figure>
<figure>${residualPlot(cells)}<figcaption>Fit against measurement: above 0 it promises more time than was
taken. All measurements.</figcaption></figure>
</div>
${thinnedNote(cells.length)}
${cellTable(cells)}
</section>
${linkSection(report)}
</main>`;
  return pageAround(title, body, style);
}

/** A measurement beside the fit. */
interface Cell {
  readonly active: number;
  readonly tokens: number;
  /** Of its fullest slot, and whether all active ones have as many. */
  readonly most: number;
  readonly isEven: boolean;
  readonly took: number;
  readonly forecast: number;
  readonly error: number;
}

function cellsOf({ slots, cost }: CalibrationReport): Cell[] {
  return slots.map(({ tokensPerSlot, seconds: took }) => {
    const active = tokensPerSlot.filter((tokens) => tokens > 0);
    const most = active.reduce((max, own) => Math.max(max, own), 0);
    const forecast = cost.rankSeconds(tokensPerSlot);
    return {
      active: active.length,
      tokens: active.reduce((sum, own) => sum + own, 0),
      most,
      isEven: active.every((own) => own === most),
      took,
      forecast,
      error: forecast / took - 1,
    };
  });
}

function errorText({ median, worst }: FitError): string {
  return `${percent(median)} off in the median and ${percent(worst)} at worst`;
}

function curveFinding(cost: CostModel): string {
  const { slotSeconds } = cost.toJSON();
  const tile = slotSeconds.tile === 1 ? '' : `, in tiles of ${counted(slotSeconds.tile, 'token')}`;
  if ('floor' in slotSeconds)
    return `${seconds(slotSeconds.floor)} at least, ${seconds(slotSeconds.perToken)} a token${tile}`;
  const [first, last] = [0, slotSeconds.tokens.length - 1].map(
    (i) => `${seconds(slotSeconds.seconds[i]!)} with ${counted(slotSeconds.tokens[i]!, 'token')}`,
  );
  return `From ${first} to ${last}${tile}`;
}

/** Seconds of a slot by its tokens. */
function curvePlot(cells: readonly Cell[], cost: CostModel): Html {
  const points = thinned(cells.filter(({ isEven, active }) => isEven && active > 0)).flatMap((cell) => {
    const y = (cell.took - cost.fixedSeconds) / cell.active;
    return y > 0 ? [{ x: cell.most, y, name: cellName(cell) }] : [];
  });
  const mostTokens = cells.reduce((max, { most }) => Math.max(max, most), 2);
  const line = steps(1, mostTokens).map((tokens): [number, number] => {
    const whole = Math.round(tokens);
    return [whole, cost.slotSeconds(whole)];
  });
  const drawn = line.filter(([, y]) => y > 0);
  return plotPicture({
    text: `Seconds of a slot by its tokens: ${counted(points.length, 'measurement')} and the fit.`,
    x: tokensAxis('tokens of a slot', mostTokens),
    y: timeAxis('time of a slot', [...points.map(({ y }) => y), ...drawn.map(([, y]) => y)]),
    points,
    lines: drawn.length === 0 ? [] : [drawn],
  });
}

/** How far the fit is from each measurement. */
function residualPlot(cells: readonly Cell[]): Html {
  const shown = thinned(cells);
  const mostTokens = cells.reduce((max, { most }) => Math.max(max, most), 2);
  const worst = cells.reduce((a, b) => (Math.abs(b.error) > Math.abs(a.error) ? b : a));
  const reach = Math.max(0.05, 1.1 * Math.abs(worst.error));
  return plotPicture({
    text: `Residuals of ${counted(cells.length, 'measurement')}, at worst ${percent(worst.error)}.`,
    x: tokensAxis('tokens of the fullest slot', mostTokens),
    y: { title: 'fit / measured - 1', from: -reach, to: reach, isLog: false, text: percent },
    points: shown.map((cell) => ({ x: Math.max(1, cell.most), y: cell.error, name: cellName(cell) })),
    lines: [
      [
        [1, 0],
        [mostTokens, 0],
      ],
    ],
  });
}

function cellName({ active, tokens, took, forecast, error }: Cell): string {
  return (
    `${counted(tokens, 'token')} in ${counted(active, 'slot')}: measured ${seconds(took)}, fit ` +
    `${seconds(forecast)}, ${percent(error)}`
  );
}

function cellTable(cells: readonly Cell[]): Html {
  const rows = [...cells]
    .sort((a, b) => Math.abs(b.error) - Math.abs(a.error))
    .slice(0, MOST_ROWS)
    .map(
      ({ active, tokens, most, took, forecast, error }) => html`<tr><th scope="row">${grouped(active)}</th>
<td>${grouped(tokens)}</td><td>${grouped(most)}</td><td>${seconds(took)}</td><td>${seconds(forecast)}</td>
<td>${percent(error)}</td></tr>
`,
    );
  const which = rows.length < cells.length ? `The ${rows.length} worst of ${grouped(cells.length)}` : 'All';
  const table = html`
<thead><tr><th scope="col">Active slots</th><th scope="col">Tokens</th><th scope="col">In the fullest</th>
<th scope="col">Measured</th><th scope="col">Fit</th><th scope="col">Off</th></tr></thead>
<tbody>
${rows}</tbody>`;
  return html`<details><summary>Measurements and residuals</summary>
${scrollTable('cells', html`${which} measurements, those that the fit is worst at first.`, table)}</details>`;
}

/** Exchanges and moves beside their fits; what was not measured is said. */
function linkSection({ cost, exchanges, transfers, base }: CalibrationReport): Html {
  const { links, moves } = cost.toJSON();
  const { latencySeconds, bytesPerSecond } = links.intraNode!;
  const moveBandwidth = bytesPerSecond * moves.bandwidthShare;
  const figures = [
    { name: 'Exchanges', measured: exchanges, latency: latencySeconds, bandwidth: bytesPerSecond },
    {
      name: 'Moves of weights',
      measured: transfers,
      latency: moves.secondsPerRound,
      bandwidth: moveBandwidth,
    },
  ].map(({ name, measured, latency, bandwidth }) =>
    measured.length === 0
      ? html`<p>${name} were not measured: they are those of ${base}.</p>`
      : html`<figure>${linkPlot(measured, latency, bandwidth)}<figcaption>${name}: ${seconds(latency)} to start,
${bytes(bandwidth)}/s. The line is the fit of one round; of several the start of the others is taken off.</figcaption></figure>`,
  );
  return html`<section aria-labelledby="links-heading">
<h2 id="links-heading"><span class="topic">Links</span> ${seconds(latencySeconds)} to start,
${bytes(bytesPerSecond)}/s</h2>
<div class="pair plots">${figures}</div>
</section>`;
}

function linkPlot(measured: readonly LinkMeasurement[], latency: number, bandwidth: number): Html {
  const points = thinned(measured).flatMap(({ rounds, bytes: sent, seconds: took }): PlotPoint[] => {
    const forecast = rounds * latency + sent / bandwidth;
    const name =
      `${bytes(sent)} in ${counted(rounds, 'round')}: measured ${seconds(took)}, fit ${seconds(forecast)}, ` +
      percent(forecast / took - 1);
    const ofOne = took - (rounds - 1) * latency;
    return ofOne > 0 ? [{ x: sent, y: ofOne, name }] : [];
  });
  const sizes = measured.map(({ bytes: sent }) => sent);
  const [least, most] = [sizes.reduce((a, b) => Math.min(a, b)), sizes.reduce((a, b) => Math.max(a, b))];
  const line = steps(least, Math.max(most, least * 2)).map((sent): [number, number] => [
    sent,
    latency + sent / bandwidth,
  ]);
  return plotPicture({
    text: `Seconds by bytes: ${counted(points.length, 'measurement')} and the fit.`,
    x: { title: 'bytes', from: least, to: Math.max(most, least * 2), isLog: true, text: bytes },
    y: timeAxis('time', [...points.map(({ y }) => y), ...line.map(([, y]) => y)]),
    points,
    lines: [line],
  });
}

function tokensAxis(title: string, most: number): PlotAxis {
  return { title, from: 1, to: most, isLog: true, text: axisNumber };
}

/** From the least to the most, with some room. */
function timeAxis(title: string, values: readonly number[]): PlotAxis {
  const least = values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  const [from, to] = values.length === 0 ? [1e-6, 1] : [least / 1.2, most * 1.2];
  return { title, from, to, isLog: true, text: axisSeconds };
}

/** From one value to another by equal factors. */
function steps(from: number, to: number): number[] {
  return Array.from({ length: LINE_POINTS + 1 }, (_, i) => from * (to / from) ** (i / LINE_POINTS));
}

/** Of very many every so many. */
function thinned<T>(values: readonly T[]): readonly T[] {
  const every = Math.ceil(values.length / MOST_POINTS);
  return every <= 1 ? values : values.filter((_, i) => i % every === 0);
}

function thinnedNote(numCells: number): Html | undefined {
  if (numCells <= MOST_POINTS) return undefined;
  const nth = Math.ceil(numCells / MOST_POINTS);
  return html`<p class="note">Of ${grouped(numCells)} measurements one in ${nth} is drawn.</p>`;
}
