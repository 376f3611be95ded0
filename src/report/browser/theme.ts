/**
 * The colours that charts are drawn in: the page's own, read from its style sheet, so that both change
 * together.
 */
export interface Theme {
  readonly ink: string;
  readonly muted: string;
  readonly grid: string;
  readonly surface: string;
  /** No balancing. */
  readonly baseline: string;
  /** Of replays, in order; {@link DASHES} differ too. */
  readonly series: readonly string[];
  /** From far below the mean, over the mean in the middle, to far above it: an odd number of colours. */
  readonly diverging: readonly string[];
  readonly font: string;
}

/** How lines of the same chart are dashed, beside their colours. */
const DASHES: readonly (readonly number[])[] = [[], [9, 3], [5, 2], [9, 3, 2, 3], [16, 4], [5, 2, 2, 2]];

const SERIES = 8;
const DIVERGING = 7;

/** The theme in force: light or dark, on a screen or on paper. */
export function readTheme(): Theme {
  const style = getComputedStyle(document.documentElement);
  const value = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const values = (name: string, count: number) =>
    Array.from({ length: count }, (_, i) => value(`${name}-${i}`));
  return {
    ink: value('ink'),
    muted: value('muted'),
    grid: value('grid'),
    surface: value('surface'),
    baseline: value('baseline'),
    series: values('series', SERIES),
    diverging: values('diverging', DIVERGING),
    font: style.fontFamily,
  };
}

/** The colour of a line; `index` null is no balancing. */
export function lineColour(theme: Theme, index: number | null): string {
  return index === null ? theme.baseline : theme.series[index % theme.series.length]!;
}

/** The dashes of a line; `index` null is no balancing. */
export function lineDash(index: number | null): number[] {
  return index === null ? [3, 3] : [...DASHES[index % DASHES.length]!];
}
