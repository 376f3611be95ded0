import { once } from 'node:events';
import type { WriteStream } from 'node:tty';
import { printableBut } from '../core/printable.ts';
import { namingInput } from './standard-streams.ts';
import { fitted } from './wrap.ts';

/**
 * Whether text for a stream may carry colours: a terminal that can show them, and a user who did not set
 * NO_COLOR.
 */
export function wantsColor(stream: WriteStream): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}

/**
 * What may stand in a text of ours: the ends of its lines, and the colours and weights that the views use.
 */
const OURS = new RegExp(`\n|${'\u001b'}\\[(?:[12]|22|3[123]|39)m`, 'gu');

/**
 * Writes to a stream of the command; beside the progress bar, nothing else does. Foreign text was made
 * printable where it entered the text: only there it is known from ours. This lets nothing through that
 * was forgotten, but for line feeds and our own colours.
 */
export function print(stream: NodeJS.WritableStream, text: string): void {
  const isTaken = isOutputTaken && stream === process.stdout;
  (isTaken ? process.stderr : stream).write(printableBut(text, OURS));
}

/** What moves a terminal's cursor and clears what is there. */
const CONTROLS = {
  enterScreen: '\u001b[?1049h\u001b[?25l',
  leaveScreen: '\u001b[?25h\u001b[?1049l',
  home: '\u001b[H',
  endLine: '\u001b[K\n',
  clearRest: '\u001b[J',
} as const;

/** Controls a terminal: by names alone, so that nothing that came from elsewhere does. */
export function control(stream: NodeJS.WritableStream, name: keyof typeof CONTROLS): void {
  stream.write(CONTROLS[name]);
}

/** Prints a result for people, in lines that the terminal has room for. */
export function printText(text: string): void {
  print(process.stdout, fitted(namingInput(text), textColumns()));
}

/** Columns that text for people has; undefined where it goes to no terminal, and COLUMNS says nothing. */
export function textColumns(): number | undefined {
  return columnsOf(isOutputTaken ? process.stderr : process.stdout);
}

/** Columns of a terminal, or as COLUMNS says; undefined where neither is known. */
export function columnsOf(stream: WriteStream): number | undefined {
  const columns = stream.isTTY === true ? stream.columns : Number(process.env.COLUMNS);
  // Less is not a width that anything can be read in.
  return Number.isInteger(columns) && columns > 0 ? Math.max(LEAST_COLUMNS, columns) : undefined;
}

const LEAST_COLUMNS = 20;

/**
 * Writes the content of a file to a stream, as it is and as fast as it is read. What goes wrong there is told
 * where it is heard.
 */
export async function writeContent(
  stream: NodeJS.WritableStream,
  content: string | Uint8Array | AsyncIterable<Uint8Array>,
): Promise<void> {
  const pieces = typeof content === 'string' || content instanceof Uint8Array ? [content] : content;
  for await (const piece of pieces) if (!stream.write(piece)) await once(stream, 'drain');
}

let isOutputTaken = false;

/** Leaves standard output to a file that was asked for as `-`: what is for people goes to standard error. */
export function takeStandardOutput(): void {
  isOutputTaken = true;
}
