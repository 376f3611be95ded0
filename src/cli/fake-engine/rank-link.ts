import { isDeepStrictEqual } from 'node:util';
import type { RankMessage, RankTransport } from '../../migration/index.ts';
import { type ServiceClient, sleep } from '../service/client.ts';
import type { RankSetup } from './messages.ts';

/** What a heartbeat is answered. */
interface Answer {
  readonly lease: string;
  readonly messages: readonly unknown[];
}

/**
 * A rank's link to the service: what it says goes out as heartbeats, which keep its lease. What it is told
 * comes in their answers, and as events.
 */
export class RankLink implements RankTransport {
  readonly #client: ServiceClient;
  readonly #setup: RankSetup;
  readonly #onService: (isThere: boolean, reason: string) => void;
  readonly #ended = new AbortController();
  #listener: ((message: unknown) => void) | undefined;
  /** What is to be said next: the newest message says all that those before it did. */
  #next: RankMessage | undefined;
  #said: { readonly message: RankMessage | undefined; readonly atMs: number } = {
    message: undefined,
    atMs: Number.NEGATIVE_INFINITY,
  };
  #isSending = false;
  #isThere = true;
  #leaseEndMs = Number.NEGATIVE_INFINITY;

  constructor(
    client: ServiceClient,
    setup: RankSetup,
    onService: (isThere: boolean, reason: string) => void,
  ) {
    this.#client = client;
    this.#setup = setup;
    this.#onService = onService;
    void this.#listen();
  }

  /** How often the rank is to say how it stands: three times a lease. */
  static resendMs({ leaseMs }: Pick<RankSetup, 'leaseMs'>): number {
    return Math.max(5, Math.floor(leaseMs / 3));
  }

  /** Whether steps may be served: with a promise to stop, only while there is a lease. */
  get hasLease(): boolean {
    return !this.#setup.stopsWithLease || performance.now() < this.#leaseEndMs;
  }

  send(message: RankMessage): void {
    const isSaid = this.#isThere && isDeepStrictEqual(message, this.#said.message);
    // An answer may have the rank say the same again: once in a while is enough.
    if (isSaid && performance.now() - this.#said.atMs < 0.9 * RankLink.resendMs(this.#setup)) return;
    this.#next = message;
    if (!this.#isSending) void this.#sendAll();
  }

  onMessage(listener: (message: unknown) => void): () => void {
    this.#listener = listener;
    return () => {
      this.#listener = undefined;
    };
  }

  close(): void {
    this.#ended.abort();
  }

  async #sendAll(): Promise<void> {
    this.#isSending = true;
    while (this.#next !== undefined && !this.#ended.signal.aborted) {
      const message = this.#next;
      this.#next = undefined;
      if (await this.#beat(message)) continue;
      this.#next ??= message;
      await sleep(Math.min(1000, this.#setup.leaseMs / 4), this.#ended.signal);
    }
    this.#isSending = false;
  }

  /** @returns whether it was answered */
  async #beat(message: RankMessage): Promise<boolean> {
    const { group, rank, incarnation, leaseMs: ttlMs, stopsWithLease } = this.#setup;
    const sentMs = performance.now();
    this.#said = { message, atMs: sentMs };
    try {
      const body = { incarnation, ttlMs, stopsWithLease, message };
      const path = `/v1/groups/${group}/ranks/${rank}/heartbeat`;
      // An answer that comes after the lease is of no use.
      const answer = await this.#client.ask<Answer>('POST', path, body, Math.max(500, ttlMs));
      if (answer.lease === 'alive') this.#leaseEndMs = sentMs + ttlMs;
      this.#tell(true, '');
      for (const order of answer.messages) this.#listener?.(order);
      return true;
    } catch (error) {
      this.#tell(false, (error as Error).message);
      return false;
    }
  }

  #tell(isThere: boolean, reason: string): void {
    if (isThere === this.#isThere || this.#ended.signal.aborted) return;
    this.#isThere = isThere;
    this.#onService(isThere, reason);
  }

  async #listen(): Promise<void> {
    const { group, rank } = this.#setup;
    await this.#client.listen(
      `/v1/groups/${group}/events?rank=${rank}`,
      ({ type, data }) => {
        if (type === 'message') this.#listener?.(data);
        if (type !== 'state') return;
        const { messages = [] } = data as { messages?: readonly unknown[] };
        for (const message of messages) this.#listener?.(message);
      },
      { signal: this.#ended.signal },
    );
  }
}
