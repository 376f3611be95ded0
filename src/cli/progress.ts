import type { WriteStream } from 'node:tty';
import cliProgress from 'cli-progress';

/** Work that is done within this time shows no bar. */
const QUIET_MS = 1000;

/**
 * A progress bar over the stages of a command. It appears once the command has run for a second, on a
 * terminal only, and leaves nothing behind.
 */
export class Progress {
  readonly #stream: WriteStream;
  readonly #quietMs: number;
  readonly #started = performance.now();
  #bar: cliProgress.SingleBar | undefined;
  #label = '';
  #unit = '';
  #total = 0;

  /**
   * @param stream - where the bar is drawn: the standard error, as results go to the standard output
   * @param quietMs - how long the command has to run before a bar appears
   */
  constructor(stream: WriteStream, quietMs: number = QUIET_MS) {
    this.#stream = stream;
    this.#quietMs = quietMs;
  }

  /** Begins a stage of `total` units. */
  begin(label: string, total: number, unit: string): void {
    this.stop();
    this.#label = label;
    this.#unit = unit;
    this.#total = total;
  }

  /**
   * Says how many units of the stage are done. Cheap, and draws at once, so it works in the middle of a long
   * loop.
   */
  update(done: number): void {
    if (!this.#stream.isTTY || performance.now() - this.#started < this.#quietMs) return;
    if (this.#bar === undefined) {
      this.#bar = new cliProgress.SingleBar({
        stream: this.#stream,
        format:
          `${this.#label} [{bar}] {percentage}% | {value} of {total} ${this.#unit} | ` +
          '{duration_formatted}',
        barsize: 24,
        clearOnComplete: true,
        // The bar is cut to the terminal's width, not drawn with line breaks switched off, and the cursor
        // stays: Ctrl-C would leave them off.
        linewrap: true,
      });
      this.#bar.start(this.#total, done);
    }
    this.#bar.update(done);
  }

  /** Ends the stage and takes its bar away. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}
