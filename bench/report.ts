import { type Verdict, verdictsOf } from './bars.ts';
import type { Figure, Unit } from './figure.ts';
import type { Machine } from './machine.ts';

/** A whole run, as --json writes it. Runs of another format, machine, seed or length are not to be compared. */
export interface Report {
  readonly format: 1;
  readonly machine: Machine;
  readonly seed: number;
  readonly isQuick: boolean;
  /** Of the machine, the run itself included at its end: other work makes every figure worse. */
  readonly loadAverage: { readonly before: number; readonly after: number };
  readonly figures: readonly ReportedFigure[];
}

/** What is known of a run before it. */
export type RunHead = Omit<Report, 'figures' | 'loadAverage'>;

export interface ReportedFigure extends Figure {
  readonly bars: readonly Verdict[];
}

export function reported(figure: Figure): ReportedFigure {
  return { ...figure, bars: verdictsOf(figure) };
}

/** The lines at the head of a run. */
export function headLines({ machine, seed, isQuick }: RunHead, loadBefore: number): string[] {
  return [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB; ${machine.system}`,
    `Node ${machine.node} (V8 ${machine.v8}); seed ${seed}; load average ${loadBefore} before the run`,
    ...(isQuick ? ['a quick run: not for its times'] : []),
  ];
}

const HEADINGS = ['figure', 'min', 'median', 'mean ± deviation', 'unit', 'runs', 'bar', 'beside it'];
const IS_RIGHT_ALIGNED = [false, true, true, true, false, true, false, false];

/** A plain table with aligned columns. */
export function plainTable(figures: readonly Figure[]): string {
  const rows = [HEADINGS, ...figures.map(figureCells)];
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) => row.map((cell, column) => pad(cell, widths[column]!, IS_RIGHT_ALIGNED[column]!)).join('  '))
    .map((line) => line.trimEnd())
    .join('\n');
}

export function markdownTable(figures: readonly Figure[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = IS_RIGHT_ALIGNED.map((isRight) => (isRight ? '---:' : '---'));
  const escaped = (figure: Figure) => figureCells(figure).map((cell) => cell.replaceAll('<', '\\<'));
  return [line(HEADINGS), line(rule), ...figures.map((figure) => line(escaped(figure)))].join('\n');
}

/** How many of the goals are met, and which are not. */
export function barSummary(figures: readonly Figure[]): string[] {
  const goals = figures.flatMap((figure) =>
    verdictsOf(figure)
      .slice(0, 1)
      .map((verdict) => ({ figure, verdict })),
  );
  const missed = goals.filter(({ verdict }) => !verdict.isMet);
  if (goals.length === 0) return ['no bars in these suites'];
  const isLeastMissed = (figure: Figure) => !verdictsOf(figure).at(-1)!.isMet;
  return [
    `bars met: ${goals.length - missed.length} of ${goals.length}`,
    ...missed.map(({ figure }) => {
      const reached = isLeastMissed(figure) ? '' : ' (the looser bar is met)';
      return `NOT MET: ${figure.id}: ${number(figure.value)} ${figure.unit}${reached}`;
    }),
  ];
}

function figureCells(figure: Figure): string[] {
  const { id, unit, value, stats } = figure;
  const besides = figure.beside.map(
    ({ label, value: amount, unit: of }) => `${label} ${quantity(amount, of)}`,
  );
  const timed = stats && [
    number(stats.min),
    number(stats.median),
    `${number(stats.mean)} ± ${number(stats.deviation)}`,
  ];
  const [min, median, mean] = timed ?? ['', number(value), ''];
  return [
    id,
    min!,
    median!,
    mean!,
    unit,
    stats ? String(stats.samples) : '',
    barText(figure),
    besides.join(', '),
  ];
}

function barText(figure: Figure): string {
  const what = figure.statistic === 'p99' ? 'p99 ' : '';
  return verdictsOf(figure)
    .map(({ limit, isMet }) => `${what}${limit.relation} ${limit.value}: ${isMet ? 'met' : 'NOT MET'}`)
    .join('; ');
}

function quantity(value: number, unit: Unit): string {
  return unit === 'x' ? `${number(value)}x` : `${number(value)} ${unit}`;
}

/** Three significant digits, never as a power of ten. */
function number(value: number): string {
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return value.toFixed(size >= 1 ? 2 : 3);
}

function pad(cell: string, width: number, isRight: boolean): string {
  return isRight ? cell.padStart(width) : cell.padEnd(width);
}
