import { stripVTControlCharacters } from 'node:util';

/** A text in lines of at most `width` columns, broken between words. A longer word has a line of its own. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!;
    const length = shownLength(line) + 1 + shownLength(word);
    if (line !== '' && length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}

/** How many columns a text takes: colours take none. */
export function shownLength(text: string): number {
  return stripVTControlCharacters(text).length;
}

/** Every line of a text that is longer than the columns, broken between words and further in. */
export function fitted(text: string, columns: number | undefined): string {
  if (columns === undefined) return text;
  const lines = text.split('\n').flatMap((line) => {
    if (shownLength(line) <= columns) return [line];
    const [indent] = /^ */.exec(line)!;
    const [first, ...rest] = wrapped(line.slice(indent.length), columns - indent.length - 2);
    return [indent + first, ...rest.map((one) => `${indent}  ${one}`)];
  });
  return lines.join('\n');
}
