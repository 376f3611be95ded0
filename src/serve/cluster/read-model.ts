import { performance } from 'node:perf_hooks';
import { EplbRangeError } from '../../core/errors.ts';
import { initialMapping } from '../../mapping/initial-mapping.ts';
import { readDeclaration } from '../declaration.ts';
import { afterRecord, type SavedGroup, type StateRecord } from '../group-store.ts';
import { type Held, held } from '../live-epochs.ts';
import { type MappingRecord, mappingOfRecord } from '../mapping-record.ts';
import { bytesOf, type EtcdClient, keyOf } from './etcd-client.ts';
import type { KeyValue } from './etcd-types.ts';
import { type Leader, leaderOf } from './leadership.ts';
import type { RecordKeys } from './record-keys.ts';
import { unpackRecord } from './record-parts.ts';

/** The head of a group's journal, and the revision that it was written at. */
export interface Head {
  /** The first append that counts, and the one to come. */
  readonly first: number;
  readonly next: number;
  /** Names the append, for who does not know whether its own one was done. */
  readonly by: string;
  readonly revision: number;
  /** Another one after the group was removed and declared anew. */
  readonly born: number;
}

/** A group as the record has it. */
export interface KnownGroup {
  readonly head: Head;
  readonly saved: SavedGroup;
  /** What is live, and was before: made when it is asked for. */
  readonly live: () => Held;
  readonly earlier: { readonly epoch: number; readonly held: () => Held } | undefined;
}

export function headOf(kv: KeyValue): Head {
  const { first, next, by } = JSON.parse(bytesOf(kv).toString('utf8')) as Head;
  return { first, next, by, revision: Number(kv.mod_revision), born: Number(kv.create_revision) };
}

/** What the record holds, as of the last look at it. A leader goes on from it; others answer from it. */
export class ReadModel {
  readonly #client: EtcdClient;
  readonly #keys: RecordKeys;
  readonly #groups = new Map<string, KnownGroup>();
  #leader: Leader | undefined;
  #revision = 0;
  #loading: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  #confirmedMs: number | undefined;

  constructor(client: EtcdClient, keys: RecordKeys) {
    this.#client = client;
    this.#keys = keys;
  }

  get groups(): ReadonlyMap<string, KnownGroup> {
    return this.#groups;
  }

  get leader(): Leader | undefined {
    return this.#leader;
  }

  /** Of etcd, at the last look. */
  get revision(): number {
    return this.#revision;
  }

  /** Since all this was so for certain; undefined before the first look. */
  get ageMs(): number | undefined {
    return this.#confirmedMs === undefined ? undefined : performance.now() - this.#confirmedMs;
  }

  /**
   * Looks at the record: afterwards nothing is missing that was acknowledged before the call. Calls at one
   * time share a look.
   *
   * @throws EtcdError; EplbRangeError `EPLB_FORMAT`
   */
  fresh(): Promise<void> {
    this.#next ??= this.#loading
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        this.#loading = this.#load();
        return this.#loading;
      });
    return this.#next;
  }

  /** What this service has written itself. */
  wrote(name: string, head: Head, record: StateRecord): void {
    const known = this.#groups.get(name);
    if (head.revision <= (known?.head.revision ?? 0)) return;
    this.#set(name, head, afterRecord(known?.saved, record)!);
  }

  removed(name: string): void {
    this.#groups.delete(name);
  }

  async #load(): Promise<void> {
    const beganMs = performance.now();
    const { kvs = [], header } = await this.#client.range(this.#keys.index);
    let leader: Leader | undefined;
    const heads = new Map<string, Head>();
    for (const kv of kvs) {
      const key = keyOf(kv);
      const name = this.#keys.nameOf(key);
      if (name !== undefined) heads.set(name, headOf(kv));
      else if (key === this.#keys.leader) leader = leaderOf(kv);
    }
    for (const [name, head] of heads) await this.#follow(name, head, header.revision);
    for (const [name, { head }] of this.#groups) {
      // One that was written meanwhile by this service is newer than the look.
      if (!heads.has(name) && head.revision <= Number(header.revision)) this.#groups.delete(name);
    }
    this.#leader = leader;
    this.#revision = Number(header.revision);
    this.#confirmedMs = beganMs;
  }

  async #follow(name: string, head: Head, revision: string): Promise<void> {
    let known = this.#groups.get(name);
    if (known !== undefined && known.head.revision >= head.revision) return;
    if (known?.head.born !== head.born) known = undefined;
    const first = Math.max(head.first, known?.head.next ?? 0);
    const range = this.#keys.journalRange(name, first, head.next);
    const { kvs = [] } = await this.#client.range({ ...range, revision });
    if (kvs.length !== head.next - first) throw damaged(name);
    const read = (digest: string) => this.#parts(name, digest, revision);
    let saved = known?.saved;
    for (const kv of kvs) {
      const record = await unpackRecord(bytesOf(kv).toString('utf8'), read);
      saved = afterRecord(saved, record as StateRecord);
      if (saved === undefined) throw damaged(name);
    }
    // It may have been written on meanwhile, by this service.
    if ((this.#groups.get(name)?.head.revision ?? 0) < head.revision) this.#set(name, head, saved!);
  }

  async #parts(name: string, digest: string, revision: string): Promise<readonly Buffer[]> {
    const { kvs = [] } = await this.#client.range({ ...this.#keys.parts(name, digest), revision });
    return kvs.map(bytesOf);
  }

  #set(name: string, head: Head, saved: SavedGroup): void {
    const before = this.#groups.get(name);
    const { table, earlier } = saved;
    const isSame = before?.saved.table === table && before?.head.born === head.born;
    this.#groups.set(name, {
      ...{ head, saved },
      live: isSame ? before!.live : once(() => heldOf(saved, table)),
      earlier: earlier && { epoch: earlier.epoch, held: () => heldOf(saved, earlier.table) },
    });
  }
}

function damaged(name: string): EplbRangeError {
  return new EplbRangeError('EPLB_FORMAT', `etcd: the journal of group ${name} is damaged`);
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/** The mapping of a record; the initial one when there is none. */
function heldOf({ declaration }: SavedGroup, table: MappingRecord | undefined): Held {
  return held(
    table === undefined ? initialMapping(readDeclaration(declaration).topology) : mappingOfRecord(table),
  );
}
