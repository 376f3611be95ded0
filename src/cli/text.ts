export { quote, quotePath, shapeText } from '../formats/text.ts';

/** A whole number with thousands separators, the same in every locale: 8,327. */
export function grouped(value: number): string {
  return value.toLocaleString('en-US');
}

/** A count with its noun: `1 rank`, `1,024 ranks`. */
export function counted(value: number, noun: string): string {
  return `${grouped(value)} ${noun}${value === 1 ? '' : 's'}`;
}

/** A duration with a unit that keeps three figures: 0.412 ms, 12.3 ms, 1.25 s. */
export function duration(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toPrecision(3)} s`;
  return `${ms >= 100 ? Math.round(ms) : ms.toPrecision(3)} ms`;
}
