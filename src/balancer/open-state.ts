import { EplbError } from '../core/errors.ts';

/** Whether a balancer still works, as its parts see it. */
export class OpenState {
  #isClosed = false;

  get isClosed(): boolean {
    return this.#isClosed;
  }

  close(): void {
    this.#isClosed = true;
  }

  /** Throws EplbError `EPLB_CLOSED` once it is closed. On the recording path. */
  check(): void {
    if (this.#isClosed) throw closedError();
  }
}

export function closedError(): EplbError {
  return new EplbError('EPLB_CLOSED', 'the balancer is closed');
}
