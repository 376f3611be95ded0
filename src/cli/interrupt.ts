/** The exit code of a command that Ctrl-C ended. */
export const EXIT_INTERRUPTED = 130;

/**
 * Ctrl-C while something runs that can end with what there is so far: the first one asks for that, the second
 * one ends the process.
 */
export class Interrupt {
  readonly #stop: () => void;
  #wasAsked = false;

  /** @param stop - called at the first Ctrl-C */
  constructor(stop: () => void = () => {}) {
    this.#stop = stop;
    process.on('SIGINT', this.#interrupt);
  }

  /** Whether the first one came. */
  get wasAsked(): boolean {
    return this.#wasAsked;
  }

  /** Leaves Ctrl-C to end the process again. */
  release(): void {
    process.off('SIGINT', this.#interrupt);
  }

  readonly #interrupt = (): void => {
    if (this.#wasAsked) process.exit(EXIT_INTERRUPTED);
    this.#wasAsked = true;
    this.#stop();
  };
}
