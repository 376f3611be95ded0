export { counted, grouped, quote, quotePath, shapeText } from '../formats/text.ts';

/** A duration with a unit that keeps three figures: 0.412 ms, 12.3 ms, 1.25 s. */
export function duration(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toPrecision(3)} s`;
  return `${ms >= 100 ? Math.round(ms) : ms.toPrecision(3)} ms`;
}
