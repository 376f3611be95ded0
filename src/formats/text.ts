import { show } from '../core/checks.ts';
import { jsonText } from '../core/printable.ts';

/** Longest piece of foreign text (a file name, a header, a value) that a message repeats. */
const QUOTE_LIMIT = 60;

/**
 * Foreign text made safe for a one-line message: quoted, {@link printable}, cut when long.
 *
 * @param text - anything that came from outside: an argument, a file name, a piece of a file
 * @param limit - characters kept
 */
export function quote(text: string, limit: number = QUOTE_LIMIT): string {
  // Types are no guard where anybody may call.
  if (typeof text !== 'string') return show(text);
  const kept = text.length > limit ? `${text.slice(0, limit)}...` : text;
  return jsonText(kept);
}

/** A file path in messages: quoted like {@link quote}, but kept whole up to what systems allow. */
export function quotePath(path: string): string {
  return quote(path, 4096);
}

/** A shape as NumPy prints it: (8327, 26, 6). */
export function shapeText(shape: readonly number[]): string {
  return `(${shape.join(', ')}${shape.length === 1 ? ',' : ''})`;
}

/** What a JSON value is, for messages: `the text "abc"`, `null`, `an object with the keys "a", "b"`. */
export function kindOf(value: unknown): string {
  if (Array.isArray(value) || value instanceof Int32Array) {
    return value.length === 0 ? 'an empty array' : 'an array';
  }
  if (typeof value === 'string') return `the text ${quote(value)}`;
  if (typeof value !== 'object' || value === null) return String(value);
  const keys = Object.keys(value);
  const shown = keys.slice(0, 3).map((key) => quote(key, 30));
  if (keys.length > 3) shown.push('...');
  return keys.length === 0 ? 'an empty object' : `an object with the keys ${shown.join(', ')}`;
}
