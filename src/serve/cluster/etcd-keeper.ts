import { EplbError } from '../../core/errors.ts';
import {
  afterRecord,
  COMPACT_AFTER,
  type GroupKeeper,
  type SavedGroup,
  type StateRecord,
} from '../group-store.ts';
import { base64, type EtcdClient, EtcdError, keyOf } from './etcd-client.ts';
import type { Compare, Operation } from './etcd-types.ts';
import { type Leader, type Leadership, leaderOf } from './leadership.ts';
import { type Head, headOf, type ReadModel } from './read-model.ts';
import type { RecordKeys } from './record-keys.ts';
import { PART_BYTES, type PackedRecord, packRecord } from './record-parts.ts';

/** Parts that one transaction may have: etcd takes 1.5 MB in one. */
const MOST_PARTS_AT_ONCE = Math.floor(2 ** 20 / PART_BYTES);
/** Deletions that one transaction may have: etcd takes 128 operations in one. */
const MOST_DELETIONS_AT_ONCE = 100;
const AGAIN_MS = 50;

/** What keepers work with: one a term. */
export interface KeeperHost {
  readonly client: EtcdClient;
  readonly keys: RecordKeys;
  readonly model: ReadModel;
  readonly leadership: Leadership;
  /** In which all is written. */
  readonly term: number;
  /** A write failed, or another one leads: what is in memory may not be what is in etcd. */
  failed(reason: string): void;
}

/**
 * Keeps one group in etcd. Each append is one transaction that compares who leads and the head of the group's
 * journal. So nothing of a former leader is ever written, and an append that is repeated, as nobody knows
 * whether it was done, is done once.
 */
export class EtcdKeeper implements GroupKeeper {
  readonly isKept = true;
  readonly how = 'each change is in etcd';
  readonly keepsWindow = false;
  readonly keepsAcks = true;
  readonly #host: KeeperHost;
  readonly #name: string;
  #head: Head | undefined;
  #numAppends = 0;
  #sequence = 0;
  /** Digests of contents that are there. */
  #there = new Set<string>();
  #underWay: Promise<unknown> = Promise.resolve();

  constructor(host: KeeperHost, name: string) {
    this.#host = host;
    this.#name = name;
  }

  /** Ends when no write is under way. */
  settled(): Promise<unknown> {
    return this.#underWay;
  }

  read(): Promise<SavedGroup | undefined> {
    const known = this.#host.model.groups.get(this.#name);
    this.#head = known?.head;
    this.#numAppends = known === undefined ? 0 : known.head.next - known.head.first;
    return Promise.resolve(known?.saved);
  }

  append(record: StateRecord, before: () => SavedGroup): Promise<void> {
    return this.#write(async () => {
      await this.#add(record);
      if (++this.#numAppends < COMPACT_AFTER) return;
      this.#numAppends = 0;
      const state = afterRecord(before(), record)!;
      await this.#add({ kind: 'whole', state }, true);
    });
  }

  /** Windows are the leader's alone: loads would be too much for etcd. */
  saveWindow(): Promise<void> {
    return Promise.resolve();
  }

  readWindow(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  /** Forgets the group. */
  remove(): Promise<void> {
    return this.#write(async () => {
      const { keys, model } = this.#host;
      const head = this.#head;
      // It was never there.
      if (head === undefined) return;
      const key = base64(keys.head(this.#name));
      const success = [{ request_delete_range: { key } }, { request_delete_range: keys.all(this.#name) }];
      const compare = { key, target: 'MOD', mod_revision: String(head.revision) } as const;
      // What a repeated attempt finds gone, the first one has removed.
      await this.#commit([compare], success, (found) => (found === undefined ? { ...head } : undefined));
      this.#head = undefined;
      model.removed(this.#name);
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #write(work: () => Promise<void>): Promise<void> {
    const written = work().catch((error: unknown) => {
      this.#host.failed(error instanceof Error ? error.message : String(error));
      throw error;
    });
    this.#underWay = written.catch(() => undefined);
    return written;
  }

  /** @param replaces whether it stands for all records before it */
  async #add(record: StateRecord, replaces = false): Promise<void> {
    const { keys, model, term } = this.#host;
    const packed = await packRecord(record);
    await this.#addParts(packed);
    const index = this.#head?.next ?? 0;
    const by = `${term}-${++this.#sequence}`;
    const first = replaces ? index : (this.#head?.first ?? 0);
    const key = base64(keys.head(this.#name));
    const head = { first, next: index + 1, by };
    const success: Operation[] = [
      { request_put: { key: base64(keys.journal(this.#name, index)), value: base64(packed.text) } },
      { request_put: { key, value: base64(JSON.stringify(head)) } },
    ];
    if (replaces) {
      success.push({ request_delete_range: keys.journalRange(this.#name, this.#head?.first ?? 0, index) });
    }
    const compare = { key, target: 'MOD', mod_revision: String(this.#head?.revision ?? 0) } as const;
    const written = await this.#commit([compare], success, (found) => (found?.by === by ? found : undefined));
    const born = this.#head?.born ?? written.revision;
    this.#head = { ...head, revision: written.revision, born };
    model.wrote(this.#name, this.#head, record);
    if (replaces) await this.#sweep(packed);
  }

  /** Writes contents that are not there yet. Nothing names them before the record is written. */
  async #addParts({ contents }: PackedRecord): Promise<void> {
    const { keys } = this.#host;
    const operations = contents
      .filter(({ digest }) => !this.#there.has(digest))
      .flatMap(({ digest, parts }) =>
        parts.map((part, i) => ({
          request_put: { key: base64(keys.part(this.#name, digest, i)), value: part.toString('base64') },
        })),
      );
    for (let i = 0; i < operations.length; i += MOST_PARTS_AT_ONCE) {
      await this.#commit([], operations.slice(i, i + MOST_PARTS_AT_ONCE), () => undefined);
    }
    for (const { digest } of contents) this.#there.add(digest);
  }

  /** Removes the parts of contents that no record names any more. */
  async #sweep({ contents }: PackedRecord): Promise<void> {
    const { client, keys } = this.#host;
    const named = new Set(contents.map(({ digest }) => digest));
    const { kvs = [] } = await client.range({ ...keys.parts(this.#name), keys_only: true });
    const old = new Map(kvs.map((kv) => [keys.digestOf(keyOf(kv)), kv] as const).reverse());
    for (const digest of named) old.delete(digest);
    const all = [...old];
    for (let i = 0; i < all.length; i += MOST_DELETIONS_AT_ONCE) {
      const some = all.slice(i, i + MOST_DELETIONS_AT_ONCE);
      // A deletion that comes late finds what was written anew since, and leaves it.
      const compare = some.map(([, { key, mod_revision }]) => ({
        key,
        target: 'MOD' as const,
        mod_revision,
      }));
      const deletions = some.map(([digest]) => ({ request_delete_range: keys.parts(this.#name, digest) }));
      await this.#commit(compare, deletions, (found) => found);
    }
    this.#there = named;
  }

  /**
   * Does all of it or nothing, as long as this service leads.
   *
   * @param doneBefore what the group's head shows of an attempt that was done, though nobody heard of it
   * @returns the head's revision
   * @throws EplbError `EPLB_NO_LEADER`, `EPLB_ETCD`
   */
  async #commit(
    compare: readonly Compare[],
    success: readonly Operation[],
    doneBefore: (found: Head | undefined) => Head | undefined,
  ): Promise<{ readonly revision: number }> {
    const { client, keys, leadership, term } = this.#host;
    const failure: Operation[] = [
      { request_range: { key: base64(keys.leader) } },
      { request_range: { key: base64(keys.head(this.#name)) } },
    ];
    const txn = { compare: [leadership.compareOf(term), ...compare], success, failure };
    for (let attempt = 1; ; attempt++) {
      this.#checkLeads();
      try {
        const { succeeded, header, responses = [] } = await client.txn(txn);
        if (succeeded) return { revision: Number(header.revision) };
        const [leader, head] = responses.map(({ response_range: found }) => found?.kvs?.[0]);
        const found = doneBefore(head && headOf(head));
        if (attempt > 1 && found !== undefined) return found;
        throw lost(leaderOf(leader), term);
      } catch (error) {
        if (!(error instanceof EtcdError) || !error.isUnknown) throw error;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
  }

  #checkLeads(): void {
    const { leadership, term } = this.#host;
    if (leadership.term !== term) throw lost(undefined, term);
  }
}

function lost(leader: Leader | undefined, term: number): EplbError {
  if (leader?.term === term) {
    return new EplbError('EPLB_INTERNAL', 'etcd: the journal is not as its leader left it');
  }
  return new EplbError('EPLB_NO_LEADER', 'this service no longer leads');
}
