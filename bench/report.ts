import { type Verdict, verdictsOf } from './bars.ts';
import { type Figure, STATISTIC_NAMES, type Unit } from './figure.ts';
import type { Machine } from './machine.ts';
import { alignedTable, number } from './table.ts';

/**
 * A whole run, as --json writes it. Runs of another format, machine, seed or length are not to be compared.
 */
export interface Report {
  readonly format: 2;
  readonly machine: Machine;
  readonly seed: number;
  readonly isQuick: boolean;
  /** Of the machine, the run itself included at its end: other work makes every figure worse. */
  readonly loadAverage: { readonly before: number; readonly after: number };
  /**
   * By suite: milliseconds of a fixed piece of work, before and after it. What tells a slower machine from
   * slower code.
   */
  readonly yardsticks: Readonly<Record<string, number>>;
  readonly figures: readonly ReportedFigure[];
}

/** What is known of a run before it. */
export type RunHead = Omit<Report, 'figures' | 'loadAverage' | 'yardsticks'>;

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

/** As a plain table. */
export function plainTable(figures: readonly Figure[]): string {
  return alignedTable([HEADINGS, ...figures.map(figureCells)], IS_RIGHT_ALIGNED);
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
  const isMissed = ({ verdict }: (typeof goals)[number]) => !verdict.isMet && !verdict.isOfMachine;
  const missed = goals.filter(isMissed);
  const ofMachine = goals.filter(({ verdict }) => verdict.isOfMachine);
  if (goals.length === 0) return ['no bars in these suites'];
  const isLeastMissed = (figure: Figure) => !verdictsOf(figure).at(-1)!.isMet;
  return [
    `bars met: ${goals.length - missed.length - ofMachine.length} of ${goals.length}`,
    ...missed.map(({ figure }) => {
      const of = isTail(figure) ? ` (${STATISTIC_NAMES[figure.statistic]})` : '';
      const reached = isLeastMissed(figure) ? '' : ' (the looser bar is met)';
      return `NOT MET: ${figure.id}: ${number(figure.value)} ${figure.unit}${of}${reached}`;
    }),
    ...ofMachine.map(({ figure }) => `the machine's: ${figure.id}: ${number(figure.value)} ${figure.unit}`),
  ];
}

function figureCells(figure: Figure): string[] {
  const { id, unit, value, stats } = figure;
  const { control } = figure;
  const besides = [
    ...(control === undefined ? [] : [`control, ${control.label} ${quantity(control.value, unit)}`]),
    ...figure.beside.map(({ label, value: amount, unit: of }) => `${label} ${quantity(amount, of)}`),
  ];
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
  const what = isTail(figure) ? `${STATISTIC_NAMES[figure.statistic]} ` : '';
  return verdictsOf(figure)
    .map((verdict) => `${what}${verdict.limit.relation} ${verdict.limit.value}: ${outcomeText(verdict)}`)
    .join('; ');
}

function outcomeText({ isMet, isOfMachine }: Verdict): string {
  if (isMet) return 'met';
  return isOfMachine ? "the machine's" : 'NOT MET';
}

function isTail({ statistic }: Figure): boolean {
  return statistic === 'p99' || statistic === 'p999';
}

function quantity(value: number, unit: Unit): string {
  return unit === 'x' ? `${number(value)}x` : `${number(value)} ${unit}`;
}
