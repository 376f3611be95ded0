/**
 * Characters that steer a terminal (C0, DEL and C1, ESC among them), break a line, turn the direction of what
 * follows, or are halves of others. Foreign text may hold them: names of files, members, keys and policies,
 * cells, messages of others. They are `\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Cs}\ufeff`, by their numbers:
 * Node looks properties up while it parses, which takes .4 ms of an import.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNPRINTABLE = /[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]/gu;

const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/**
 * A text that shows as one line and as what it is, wherever it is printed: what would steer a terminal or
 * turn the reading direction stands there as an escape, such as `\n` or `\u202e`, as JSON has it. Text
 * without such characters, and text that was escaped already, comes back as it is.
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escaped);
}

/** {@link printable} of every text in plain data. Keys are ours. */
export function printableTexts<T>(value: T): T {
  if (typeof value === 'string') return printable(value) as T;
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) {
    // Long lists of numbers are kept as they are.
    return value.some((entry) => typeof entry !== 'number') ? (value.map(printableTexts) as T) : value;
  }
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, printableTexts(entry)])) as T;
}

/** Data as JSON in one line that parses to the same, and can be printed: JSON.stringify() escapes C0 only. */
export function jsonText(value: unknown): string {
  return printable(JSON.stringify(value));
}

/** The same in lines that people read, each printable. */
export function jsonLines(value: unknown): string {
  return JSON.stringify(value, undefined, 2).split('\n').map(printable).join('\n');
}

/**
 * A text of many lines of ours, with some sequences of ours for colours: everything else in it is made
 * {@link printable}.
 *
 * @param own - what stays as it is, with the flags `g` and `u`
 */
export function printableBut(text: string, own: RegExp): string {
  let printed = '';
  let end = 0;
  for (const match of text.matchAll(own)) {
    printed += printable(text.slice(end, match.index)) + match[0];
    end = match.index + match[0].length;
  }
  return printed + printable(text.slice(end));
}

function escaped(character: string): string {
  return SHORT[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
