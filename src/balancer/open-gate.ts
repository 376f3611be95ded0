import { EplbError } from '../core/errors.ts';

/** Whether a balancer still works, as its parts see it. */
export class OpenGate {
  #isClosed = false;
  readonly #listeners = new Set<() => void>();

  get isClosed(): boolean {
    return this.#isClosed;
  }

  close(): void {
    this.#isClosed = true;
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }

  /** Tells when it is closed. @returns what ends that */
  onClose(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Throws EplbError `EPLB_CLOSED` once it is closed. On the recording path. */
  check(): void {
    if (this.#isClosed) throw closedError();
  }
}

export function closedError(): EplbError {
  return new EplbError('EPLB_CLOSED', 'the balancer is closed');
}
