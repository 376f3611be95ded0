import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { base64, bytesOf, type EtcdClient, EtcdError } from './etcd-client.ts';
import type { Compare, KeyValue } from './etcd-types.ts';

/** What of a lease is not relied on, as etcd counts by another clock. */
const LEASE_MARGIN = 0.1;

/** Who leads, as the record says. */
export interface Leader {
  /** The start of a service. */
  readonly id: string;
  /** Where it is reached by others. */
  readonly url: string;
  /** The revision at which it began to lead: the later leader has the greater one. */
  readonly term: number;
}

/** What a service's lead begins and ends with. */
interface LeadershipHooks {
  /** It leads from now on. */
  began(term: number): void;
  /** It does not lead any more, or not for certain. */
  ended(reason: string): void;
}

export function leaderOf(kv: KeyValue | undefined): Leader | undefined {
  if (kv === undefined) return undefined;
  const { id, url } = JSON.parse(bytesOf(kv).toString('utf8')) as Leader;
  return { id, url, term: Number(kv.create_revision) };
}

/**
 * Who of all services leads: whoever has put the key, which is there as long as its lease. A leader knows by
 * its own clock that its lease has run out, before etcd gives the lead to another. Should it not know, as it
 * was stopped at the wrong moment, then its writes come to nothing: each compares the key's create revision.
 */
export class Leadership {
  /** Of this start of the service. */
  readonly id = randomUUID();
  readonly #client: EtcdClient;
  readonly #key: string;
  readonly #leaseSeconds: number;
  readonly #hooks: LeadershipHooks;
  #url = '';
  #lease: { readonly id: string; readonly term: number } | undefined;
  /** The lease holds until then, by this process's clock. */
  #untilMs = 0;
  #renewing: ReturnType<typeof setTimeout> | undefined;
  #ending: ReturnType<typeof setTimeout> | undefined;
  #notBeforeMs = 0;
  #isCampaigning = false;

  constructor(client: EtcdClient, key: string, leaseSeconds: number, hooks: LeadershipHooks) {
    this.#client = client;
    this.#key = key;
    this.#leaseSeconds = leaseSeconds;
    this.#hooks = hooks;
  }

  /** The term, while it leads for certain. */
  get term(): number | undefined {
    return performance.now() < this.#untilMs ? this.#lease?.term : undefined;
  }

  /** What each write has to compare. */
  compareOf(term: number): Compare {
    return { key: base64(this.#key), target: 'CREATE', create_revision: String(term) };
  }

  /** Takes the lead if nobody has it. Does nothing while it leads. @throws EtcdError */
  async campaign(url: string): Promise<void> {
    if (this.#isCampaigning || this.#lease !== undefined || performance.now() < this.#notBeforeMs) return;
    this.#isCampaigning = true;
    this.#url = url;
    try {
      await this.#campaign();
    } finally {
      this.#isCampaigning = false;
    }
  }

  /** Gives the lead up, for another or for itself a lease later. */
  async resign(reason: string, pauseMs = 1000 * this.#leaseSeconds): Promise<void> {
    const lease = this.#lease;
    this.#notBeforeMs = performance.now() + pauseMs;
    if (lease === undefined) return;
    this.#end(reason);
    // Else it runs out.
    await this.#client.revoke(lease.id).catch(() => undefined);
  }

  async #campaign(): Promise<void> {
    const beganMs = performance.now();
    const { id, seconds } = await this.#client.grant(this.#leaseSeconds);
    const term = await this.#put(id).catch(async (error) => {
      if (!(error instanceof EtcdError) || !error.isUnknown) throw error;
      // It may be there all the same.
      const { kvs } = await this.#client.range({ key: base64(this.#key) });
      return kvs?.[0]?.lease === id ? Number(kvs[0].create_revision) : undefined;
    });
    if (term === undefined) {
      await this.#client.revoke(id).catch(() => undefined);
      return;
    }
    this.#lease = { id, term };
    this.#holds(beganMs, seconds);
    if (this.term === undefined) return this.#end('etcd answered too late');
    this.#renewLater(seconds);
    this.#hooks.began(term);
  }

  /** @returns the term; undefined when another one leads */
  async #put(lease: string): Promise<number | undefined> {
    const key = base64(this.#key);
    const value = base64(JSON.stringify({ id: this.id, url: this.#url }));
    const { succeeded, header } = await this.#client.txn({
      compare: [{ key, target: 'CREATE', create_revision: '0' }],
      success: [{ request_put: { key, value, lease } }],
    });
    return succeeded ? Number(header.revision) : undefined;
  }

  /** The lease was granted or renewed by a request that began then. */
  #holds(beganMs: number, seconds: number): void {
    this.#untilMs = beganMs + 1000 * seconds * (1 - LEASE_MARGIN);
    clearTimeout(this.#ending);
    const leftMs = Math.max(0, this.#untilMs - performance.now());
    this.#ending = setTimeout(() => this.#end('its lease has run out'), leftMs);
  }

  #renewLater(seconds: number): void {
    clearTimeout(this.#renewing);
    this.#renewing = setTimeout(() => void this.#renew(seconds), (1000 * seconds) / 3);
  }

  async #renew(lastSeconds: number): Promise<void> {
    const lease = this.#lease;
    if (lease === undefined) return;
    const beganMs = performance.now();
    try {
      const seconds = await this.#client.keepAlive(lease.id);
      if (lease !== this.#lease) return;
      if (seconds === 0) return this.#end('etcd knows no such lease any more');
      this.#holds(beganMs, seconds);
      this.#renewLater(seconds);
    } catch {
      // As long as the lease holds, it is tried again: by another member, when this one is gone.
      if (lease === this.#lease) this.#renewing = setTimeout(() => void this.#renew(lastSeconds), 50);
    }
  }

  #end(reason: string): void {
    if (this.#lease === undefined) return;
    this.#lease = undefined;
    this.#untilMs = 0;
    clearTimeout(this.#renewing);
    clearTimeout(this.#ending);
    this.#hooks.ended(reason);
  }
}
