import { bytes, counted, grouped, ratio, seconds, times } from '../../../formats/number-text.ts';
import { type Figures, scrollBox, tableOf } from '../../../report/browser/figures.ts';
import type { DashboardPlans, HistorySpan, HotCell, LiveRow, PlanRow } from '../view.ts';
import { ago, clock } from './texts.ts';

const UNKNOWN = '–';

const shown = new WeakMap<HTMLElement, string>();

/**
 * Puts a table where another one was, unless that has the same figures; none where there are none. The box
 * that scrolls stays, with the focus and where it was.
 */
export function showTable(host: HTMLElement, label: string, figures: Figures): void {
  const text = JSON.stringify(figures.rows);
  if (shown.get(host) === text) return;
  shown.set(host, text);
  if (figures.rows.length === 0) {
    host.replaceChildren();
    return;
  }
  const table = tableOf(figures);
  const box = host.firstElementChild;
  if (box === null) host.append(scrollBox(label, table));
  else box.replaceChildren(table);
}

const head = (...names: readonly string[]) => names.map((name) => ({ head: name }));
const bytesText = (value: number | null) => (value === null ? UNKNOWN : bytes(value));
const balance = (pair: { readonly before: number | null; readonly after: number | null } | null) =>
  pair === null ? UNKNOWN : `${ratioText(pair.before)} → ${ratioText(pair.after)}`;
const ratioText = (value: number | null) => (value === null ? UNKNOWN : value.toFixed(3));

/** Of a step in seconds, or of the mean layer in mean rank loads. */
function gainText(unit: 'share' | 'seconds', value: number | null, numLayers: number): string {
  if (value === null) return UNKNOWN;
  return unit === 'seconds' ? seconds(value) : `${times(value / numLayers)} × mean`;
}

/** Mappings that went live: predicted beside realised. */
export function liveFigures(rows: readonly LiveRow[], numLayers: number, nowMs: number): Figures {
  return {
    columns: head(
      ...['epoch', 'went live', 'moves', 'bytes', 'balancedness predicted', 'balancedness realised'],
      ...['over steps', 'gain predicted', 'gain realised'],
    ),
    rows: rows.map(({ at, epoch, moves, bytes: moved, predicted, realised, gain }) => [
      ...[String(epoch), ago(at, nowMs), grouped(moves), bytesText(moved)],
      ...[balance(predicted), balance(realised), grouped(realised.steps)],
      gain === null ? UNKNOWN : gainText(gain.unit, gain.predicted, numLayers),
      gain === null || gain.steps === 0 ? UNKNOWN : gainText(gain.unit, gain.realised, numLayers),
    ]),
  };
}

/** What the newest mapping that went live came to. */
export function liveFinding([newest]: readonly LiveRow[], epoch: number): string {
  if (newest === undefined) return `None since the service started: ranks serve epoch ${epoch}`;
  const { realised, predicted } = newest;
  const came =
    realised.after === null
      ? 'no step was measured since'
      : `balancedness went ${fromTo(realised)} in ${counted(realised.steps, 'measured step')}`;
  const promised = predicted === null ? '' : `; ${fromTo(predicted)} was predicted`;
  return `Epoch ${newest.epoch}: ${came}${promised}`;
}

const fromTo = ({ before, after }: { readonly before: number | null; readonly after: number | null }) =>
  before === null ? `to ${ratioText(after)}` : `from ${ratioText(before)} to ${ratioText(after)}`;

/** The last questions for plans. */
export function planFigures(rows: readonly PlanRow[], nowMs: number): Figures {
  return {
    columns: head(
      ...['asked', 'result', 'times', 'from epoch', 'planning', 'moves', 'bytes'],
      ...['balancedness predicted', 'digest'],
    ),
    rows: rows.map((row) => [
      ...[ago(row.at, nowMs), resultText(row), grouped(row.times), String(row.epoch)],
      ...[seconds(row.seconds), grouped(row.moves), bytesText(row.bytes)],
      ...[balance(row.predicted), row.digest?.slice(0, 12) ?? UNKNOWN],
    ]),
  };
}

const resultText = ({ status, reason }: Pick<PlanRow, 'status' | 'reason'>) =>
  reason === '' ? status : `${status}: ${reason}`;

/** How often which result was given, in a sentence. */
export function planCounts({ counts }: DashboardPlans): string {
  return counts
    .map(
      ({ result, reason, count }) =>
        `${grouped(count)} ${resultText({ status: result as PlanRow['status'], reason })}`,
    )
    .join(', ');
}

/** What moved, of plans made and of mappings that went live. */
export function movesText({ moves, bytes: moved }: DashboardPlans): string {
  const inBytes = (value: number | undefined) => (value === undefined ? '' : ` (${bytes(value)})`);
  return (
    `${counted(moves.live, 'move')}${inBytes(moved?.live)} went live, ` +
    `${grouped(moves.planned)}${inBytes(moved?.planned)} were planned`
  );
}

export function hottestFigures(cells: readonly HotCell[]): Figures {
  return {
    columns: head('layer', 'rank', '× mean of the layer'),
    rows: cells.map(({ layer, rank, share }) => [String(layer), String(rank), times(share)]),
  };
}

/** The points behind the charts, newest first. */
export function historyFigures({ points, secondsPerPoint }: HistorySpan): Figures {
  return {
    columns: head('from', 'epoch', 'balancedness', 'lowest', 'highest', 'lost a step'),
    rows: [...points]
      .reverse()
      .map(([at, epoch, mean, low, high, lost]) => [
        ...[clock(at, secondsPerPoint < 60), String(epoch), ratio(mean), ratio(low), ratio(high)],
        lost === null ? UNKNOWN : seconds(lost),
      ]),
  };
}
