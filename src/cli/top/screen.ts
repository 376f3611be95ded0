import type { WriteStream } from 'node:tty';
import { print } from '../terminal.ts';

const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const TO_END_OF_LINE = '\u001b[K';
const TO_END = '\u001b[J';

/** A terminal's second screen, which is gone when it is closed. */
export class Screen {
  readonly #stream: WriteStream;

  constructor(stream: WriteStream) {
    this.#stream = stream;
    stream.write(ENTER);
  }

  /** Shows lines in place of those before: as many as there is room for. */
  show(text: string): void {
    const lines = text.trimEnd().split('\n');
    const room = Math.max(1, this.#stream.rows - 1);
    const shown =
      lines.length <= room ? lines : [...lines.slice(0, room - 1), '... a higher terminal shows more'];
    this.#stream.write(HOME);
    for (const line of shown) {
      print(this.#stream, line);
      this.#stream.write(`${TO_END_OF_LINE}\n`);
    }
    this.#stream.write(TO_END);
  }

  close(): void {
    this.#stream.write(LEAVE);
  }
}
