import type { WriteStream } from 'node:tty';
import { control, print } from '../terminal.ts';

/** A terminal's second screen, which is gone when it is closed. */
export class Screen {
  readonly #stream: WriteStream;

  constructor(stream: WriteStream) {
    this.#stream = stream;
    control(stream, 'enterScreen');
  }

  /** Shows lines in place of those before: as many as there is room for. */
  show(text: string): void {
    const lines = text.trimEnd().split('\n');
    const room = Math.max(1, this.#stream.rows - 1);
    const shown =
      lines.length <= room ? lines : [...lines.slice(0, room - 1), '... a higher terminal shows more'];
    control(this.#stream, 'home');
    for (const line of shown) {
      print(this.#stream, line);
      control(this.#stream, 'endLine');
    }
    control(this.#stream, 'clearRest');
  }

  close(): void {
    control(this.#stream, 'leaveScreen');
  }
}
