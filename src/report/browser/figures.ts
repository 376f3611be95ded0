import { element } from './element.ts';

/** A column of figures. */
interface Column {
  readonly head: string;
  /** Of the bare numbers, where the texts name one. */
  readonly unit?: 's';
  /** Left out in columns of texts. */
  readonly text?: (value: number) => string;
}

/** Undefined where there is none. */
type Figure = number | string | undefined;

/** The figures of a chart: bare numbers, and how they are read. */
export interface Figures {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Figure[])[];
}

/** The figures behind charts as they are now, by the name that a chart's parts of the page have in front. */
export type ChartFigures = Readonly<Record<string, () => Figures>>;

/** As a table for people: the first column names the rows. */
export function tableOf({ columns, rows }: Figures): HTMLTableElement {
  const head = columns.map((column) => element('th', { scope: 'col' }, column.head));
  const body = rows.map((row) => {
    const [first = '', ...cells] = row.map((value, i) => textOf(value, columns[i]!));
    return element(
      'tr',
      {},
      element('th', { scope: 'row' }, first),
      ...cells.map((text) => element('td', {}, text)),
    );
  });
  return element(
    'table',
    {},
    element('thead', {}, element('tr', {}, ...head)),
    element('tbody', {}, ...body),
  );
}

function textOf(value: Figure, { text = String }: Column): string {
  if (value === undefined) return '';
  return typeof value === 'number' ? text(value) : value;
}

/** A box that scrolls what is in it, by keyboard too. */
export function scrollBox(label: string, content: HTMLElement, more = ''): HTMLElement {
  const attributes = { class: `scroll ${more}`.trim(), tabindex: '0', role: 'region', 'aria-label': label };
  return element('div', attributes, content);
}

/**
 * As comma-separated values by RFC 4180, numbers bare. A text that a spreadsheet would take for a formula
 * begins with an apostrophe.
 */
export function csvOf({ columns, rows }: Figures): string {
  const heads = columns.map(({ head, unit }) => (unit === undefined ? head : `${head} (${unit})`));
  return [heads, ...rows].map((row) => `${row.map(csvField).join(',')}\r\n`).join('');
}

function csvField(value: Figure): string {
  if (typeof value !== 'string') return value === undefined ? '' : String(value);
  const harmless = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
