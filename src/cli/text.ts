/** Longest piece of foreign text (a file name, a header, a value) that a message repeats. */
const QUOTE_LIMIT = 60;

/**
 * Foreign text made safe for a one-line message: quoted, control characters escaped, cut when long.
 *
 * @param text - anything that came from outside: an argument, a file name, a piece of a file
 * @param limit - characters kept
 */
export function quote(text: string, limit: number = QUOTE_LIMIT): string {
  const kept = text.length > limit ? `${text.slice(0, limit)}...` : text;
  // JSON escapes the C0 control characters; DEL and C1, which terminals obey too, it leaves as they are.
  return JSON.stringify(kept).replace(/\p{Cc}/gu, (c) => `\\u00${c.charCodeAt(0).toString(16)}`);
}

/** A file path in messages: quoted like {@link quote}, but kept whole up to what systems allow. */
export function quotePath(path: string): string {
  return quote(path, 4096);
}

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

/** A shape as NumPy prints it: (8327, 26, 6). */
export function shapeText(shape: readonly number[]): string {
  return `(${shape.join(', ')}${shape.length === 1 ? ',' : ''})`;
}
