// Numbers as people read them, in one spelling, the same in every locale: in messages, in what commands
// print, and in reports, whose browser script uses them too.

/** A whole number with thousands separators: 8,327. */
export function grouped(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 0 });
}

/** A count with its noun: `1 rank`, `1,024 ranks`. */
export function counted(value: number, noun: string): string {
  return `${grouped(value)} ${noun}${value === 1 ? '' : 's'}`;
}

/** A ratio such as balancedness, to four places: 0.9585. */
export function ratio(value: number): string {
  return places(value, 4);
}

/** How many times something is something else, to two places: 1.43. */
export function times(value: number): string {
  return places(value, 2);
}

/** A number to so many places: 0.958. */
export function places(value: number, count: number): string {
  return value.toFixed(count);
}

/** A number to three figures, in the shortest form: 0.0123, 1.23, 1.23e+4. */
export function threeFigures(value: number): string {
  return value.toPrecision(3);
}

/** A share to one place: 13.4%. */
export function percent(share: number): string {
  return `${places(100 * share, 1)}%`;
}

/** Units from the largest to the smallest; each begins where its number would be 1. */
const SECONDS = [
  [1, 's'],
  [1e-3, 'ms'],
  [1e-6, 'µs'],
  [1e-9, 'ns'],
] as const;
const BYTES = [
  [1e15, 'PB'],
  [1e12, 'TB'],
  [1e9, 'GB'],
  [1e6, 'MB'],
  [1e3, 'kB'],
] as const;

/** A duration to three figures at least: 12.3 ms, 1,254 s. */
export function seconds(value: number): string {
  return value === 0 ? '0 s' : withUnit(value, SECONDS);
}

/** Bytes in decimal units, to three figures: 88.1 MB. */
export function bytes(value: number): string {
  return Math.abs(value) < 999.5 ? `${grouped(value)} B` : withUnit(value, BYTES);
}

/** A number on an axis, which is round already: 0.25, 80, 12,000. */
export function axisNumber(value: number): string {
  return value.toLocaleString('en-US', { maximumSignificantDigits: 6 });
}

/** A duration on an axis, which is round already: 20 s, 0.5 ms. */
export function axisSeconds(value: number): string {
  const [size, unit] = unitOf(value, SECONDS);
  return value === 0 ? '0' : `${axisNumber(value / size)} ${unit}`;
}

/** A load in tokens: whole where it is large, else to three figures. */
export function load(value: number): string {
  return figures(value);
}

type Unit = readonly [size: number, name: string];

function withUnit(value: number, units: readonly Unit[]): string {
  const [size, name] = unitOf(value, units);
  return `${figures(value / size)} ${name}`;
}

/** The largest unit that a value has one of. What rounds up to one has it: not 1000 ms. */
function unitOf(value: number, units: readonly Unit[]): Unit {
  return units.find(([size]) => Math.abs(value) >= 0.9995 * size) ?? units.at(-1)!;
}

/** Three figures, and more where a whole number has more. */
function figures(value: number): string {
  const magnitude = Math.abs(value);
  if (magnitude === 0) return '0';
  if (magnitude >= 99.95) return grouped(value);
  if (magnitude >= 9.995) return value.toFixed(1);
  return magnitude >= 0.9995 ? value.toFixed(2) : value.toPrecision(3);
}

/** A number to two significant digits. */
export function twoDigits(value: number): number {
  return Number(value.toPrecision(2));
}
