import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { base64, bytesOf, type EtcdClient } from './etcd-client.ts';
import type { Compare, KeyValue, TxnResponse } from './etcd-types.ts';

/** What of a lease its holder does not rely on, as others count it by their own clocks. */
const LEASE_MARGIN = 0.1;

/** Who leads, as the record says. */
export interface Leader {
  /** The start of a service. */
  readonly id: string;
  /** Where it is reached by others. */
  readonly url: string;
  /** The revision at which it began to lead: the later leader has the greater one. */
  readonly term: number;
  /** The revision at which it said last that it still leads. */
  readonly beat: number;
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
  return { id, url, term: Number(kv.create_revision), beat: Number(kv.mod_revision) };
}

/**
 * Who of all services leads: whoever has put the key. It puts the key again each third of a lease: a beat.
 * Who has seen no new beat for a lease removes the key, as it was at the last one, and whoever puts it then
 * leads. Nothing depends on clocks but when that is: each write compares the key's create revision, so what a
 * former leader writes comes to nothing. By its own clock a leader ends before another may take over.
 *
 * The key has no lease of etcd's, which lasts longer than was asked for: 2 s are the least with etcd's own
 * defaults, it is looked at twice a second, and whenever etcd elects, it begins anew.
 */
export class Leadership {
  /** Of this start of the service. */
  readonly id = randomUUID();
  readonly #client: EtcdClient;
  readonly #key: string;
  readonly #leaseMs: number;
  readonly #hooks: LeadershipHooks;
  #url = '';
  #held: { readonly term: number } | undefined;
  /** Nobody else leads until then, by this process's clock. */
  #untilMs = 0;
  #beating: ReturnType<typeof setTimeout> | undefined;
  #ending: ReturnType<typeof setTimeout> | undefined;
  #notBeforeMs = 0;
  #isCampaigning = false;
  /** The last beat of another one that was seen, and when it was first seen. */
  #seen = { beat: 0, atMs: 0 };

  constructor(client: EtcdClient, key: string, leaseSeconds: number, hooks: LeadershipHooks) {
    this.#client = client;
    this.#key = key;
    this.#leaseMs = 1000 * leaseSeconds;
    this.#hooks = hooks;
  }

  /** The term, while it leads for certain. */
  get term(): number | undefined {
    return performance.now() < this.#untilMs ? this.#held?.term : undefined;
  }

  /** What each write has to compare. */
  compareOf(term: number): Compare {
    return { key: base64(this.#key), target: 'CREATE', create_revision: String(term) };
  }

  /**
   * Takes note of who leads, and takes the lead over when nobody does, or one that is silent.
   *
   * @param leader as the record has it now
   * @returns after how long the leader is silent, if nothing is heard of it
   * @throws EtcdError
   */
  async look(leader: Leader | undefined, url: string): Promise<number> {
    this.#url = url;
    const silentMs = this.#silentMs(leader);
    if (this.#isCampaigning || this.#held !== undefined) return this.#leaseMs;
    if (leader !== undefined && leader.id !== this.id && silentMs < this.#leaseMs) {
      return this.#leaseMs - silentMs;
    }
    this.#isCampaigning = true;
    try {
      if (leader !== undefined) await this.#remove(leader);
      if (performance.now() >= this.#notBeforeMs) await this.#campaign();
    } finally {
      this.#isCampaigning = false;
    }
    return this.#leaseMs;
  }

  /** Gives the lead up, for another or for itself a lease later. */
  async resign(reason: string, pauseMs = this.#leaseMs): Promise<void> {
    const held = this.#held;
    this.#notBeforeMs = performance.now() + pauseMs;
    if (held === undefined) return;
    this.#end(reason);
    // Else others see that it is silent.
    await this.#removeIf(this.compareOf(held.term)).catch(() => undefined);
  }

  /** How long nothing has been heard of the leader. */
  #silentMs(leader: Leader | undefined): number {
    const nowMs = performance.now();
    if (leader !== undefined && leader.beat !== this.#seen.beat)
      this.#seen = { beat: leader.beat, atMs: nowMs };
    return nowMs - this.#seen.atMs;
  }

  /** Of another one only as it was at the last beat that was seen: one that has been heard since stays. */
  async #remove({ id, term, beat }: Leader): Promise<void> {
    const isAsSeen: Compare = { key: base64(this.#key), target: 'MOD', mod_revision: String(beat) };
    await this.#removeIf(id === this.id ? this.compareOf(term) : isAsSeen);
  }

  async #removeIf(compare: Compare): Promise<void> {
    const success = [{ request_delete_range: { key: base64(this.#key) } }];
    await this.#client.txn({ compare: [compare], success });
  }

  async #campaign(): Promise<void> {
    const beganMs = performance.now();
    const absent: Compare = { key: base64(this.#key), target: 'CREATE', create_revision: '0' };
    // Should nobody know whether it was done, the next look finds a key of this service's, and removes it.
    const { succeeded, header } = await this.#put(absent);
    if (!succeeded) return;
    const term = Number(header.revision);
    // It was resigned meanwhile.
    if (beganMs < this.#notBeforeMs) return this.#removeIf(this.compareOf(term));
    this.#held = { term };
    this.#holds(beganMs);
    if (this.term === undefined) return this.#end('etcd answered too late');
    this.#beatIn(this.#leaseMs / 3);
    this.#hooks.began(term);
  }

  #put(compare: Compare): Promise<TxnResponse> {
    const value = base64(JSON.stringify({ id: this.id, url: this.#url }));
    const success = [{ request_put: { key: base64(this.#key), value } }];
    return this.#client.txn({ compare: [compare], success });
  }

  /** It leads, by a request that began then. */
  #holds(beganMs: number): void {
    this.#untilMs = Math.max(this.#untilMs, beganMs + this.#leaseMs * (1 - LEASE_MARGIN));
    clearTimeout(this.#ending);
    const leftMs = Math.max(0, this.#untilMs - performance.now());
    this.#ending = setTimeout(() => this.#end('its lease has run out'), leftMs);
  }

  #beatIn(ms: number): void {
    clearTimeout(this.#beating);
    this.#beating = setTimeout(() => void this.#beat(), ms);
  }

  async #beat(): Promise<void> {
    const held = this.#held;
    if (held === undefined) return;
    const beganMs = performance.now();
    // Another one follows soon if this one is not answered: one that etcd has lost by an election never is.
    this.#beatIn(this.#leaseMs / 10);
    try {
      const { succeeded } = await this.#put(this.compareOf(held.term));
      if (held !== this.#held) return;
      if (!succeeded) return this.#end('another service took it for silent');
      this.#holds(beganMs);
      this.#beatIn(this.#leaseMs / 3);
    } catch {
      // The next one is asked of another member, when this one is gone.
    }
  }

  #end(reason: string): void {
    if (this.#held === undefined) return;
    this.#held = undefined;
    this.#untilMs = 0;
    clearTimeout(this.#beating);
    clearTimeout(this.#ending);
    this.#hooks.ended(reason);
  }
}
