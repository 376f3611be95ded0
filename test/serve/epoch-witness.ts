import assert from 'node:assert/strict';

/** What all are told of an attempt at an epoch. */
export interface HeardEpoch {
  readonly what: string;
  readonly operationId: string;
  readonly state: 'active' | 'fenced' | 'aborted';
  readonly epoch: number;
  readonly digest: string;
}

/** Hears all that is told of epochs and sees each step that is served, and fails where they do not agree. */
export class EpochWitness {
  /** The digest of every epoch that anybody was told is live. */
  readonly #told = new Map<number, string>();
  readonly #outcomes = new Map<string, string>();
  readonly #servedAt = new Map<number, string>();

  digestAt(epoch: number): string | undefined {
    return this.#told.get(epoch);
  }

  /** What an epoch is told to be it stays. */
  tell(epoch: number, digest: string): void {
    assert.equal(digest, this.#told.get(epoch) ?? digest, `epoch ${epoch} has two mappings`);
    this.#told.set(epoch, digest);
  }

  /** As {@link tell}; and none before it comes back. */
  live(epoch: number, digest: string): void {
    assert.ok(epoch >= Math.max(...this.#told.keys()), `epoch ${epoch} is live, and a later one was told`);
    this.tell(epoch, digest);
  }

  /**
   * Each attempt ends once, and what was decided is not taken back.
   * @returns how it ended, when that was not known before
   */
  hear({ what, operationId, state, epoch, digest }: HeardEpoch): HeardEpoch['state'] | undefined {
    if (what === 'decided') this.tell(epoch, digest);
    if (what !== 'ended') return undefined;
    const before = this.#outcomes.get(operationId);
    assert.equal(state, before ?? state, `${operationId} ended twice`);
    this.#outcomes.set(operationId, state);
    if (state !== 'aborted') this.tell(epoch, digest);
    return before === undefined ? state : undefined;
  }

  /** All ranks serve a step with the same epoch, which was decided, and with its weights. */
  served(
    step: number,
    { epoch, digest }: { epoch: number; digest: string },
    content: string | undefined,
  ): void {
    assert.equal(this.#told.get(epoch), digest, `epoch ${epoch} is served, and was never decided`);
    assert.equal(content, digest, `step ${step} is served with other weights`);
    const before = this.#servedAt.get(step);
    assert.equal(`${epoch} ${digest}`, before ?? `${epoch} ${digest}`, `step ${step} has two epochs`);
    this.#servedAt.set(step, `${epoch} ${digest}`);
  }
}
