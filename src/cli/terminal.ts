import type { WriteStream } from 'node:tty';

/** Whether text for a stream may carry colours: a terminal that can show them, and a user who did not set NO_COLOR. */
export function wantsColor(stream: WriteStream): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}
