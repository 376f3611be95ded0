import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { EplbError, EplbRangeError, isOwnError } from '../core/errors.ts';
import { fileReason } from '../formats/bytes/file-reason.ts';
import { LineFile } from '../migration/line-file.ts';
import type { FullDeclaration } from './declaration.ts';
import {
  afterEpochs,
  type EpochsRecord,
  NOTHING_SAVED,
  type SavedEpochs,
  typeOfRecord,
} from './epochs/epoch-host.ts';
import type { MappingRecord } from './mapping-record.ts';
import type { PlanRecord } from './plan-result.ts';

// The state of a service: a folder with two files of each group. NAME.journal has what the group promised,
// one synced line an act. NAME.window has the balancer's snapshot, written anew now and then: losing it loses
// loads, and nothing that was promised.

const HEADER = 'eplb-serve-state 1\n';
const JOURNAL_END = '.journal';
const WINDOW_END = '.window';
/** Appends after which a journal is replaced by one line. */
export const COMPACT_AFTER = 256;

/** How a group counts since it was declared. */
interface GroupCounters {
  readonly lastStep?: number;
  readonly numSteps: number;
  readonly numPlanned: number;
  readonly numKept: number;
  readonly numMoves: number;
}

export type StateRecord =
  | { readonly kind: 'group'; readonly declaration: FullDeclaration }
  /** A mapping went live. */
  | { readonly kind: 'live'; readonly epoch: number; readonly table: MappingRecord }
  /** The answer that stands for a plan's id. */
  | { readonly kind: 'plan'; readonly planId: string; readonly plan: PlanRecord }
  | { readonly kind: 'mode'; readonly paused: boolean; readonly dryRun: boolean }
  | { readonly kind: 'counters'; readonly counters: GroupCounters }
  /** There are other ranks: the declaration says no more which mapping is the first. */
  | ({ readonly kind: 'resized' } & Pick<SavedGroup, 'declaration' | 'table' | 'earlier' | 'epochs'>)
  /** What the coordinator decided, and what is known of ranks. */
  | EpochsRecord
  | { readonly kind: 'whole'; readonly state: SavedGroup };

/** What the records of a group come to. */
export interface SavedGroup {
  readonly declaration: FullDeclaration;
  readonly epoch: number;
  readonly table: MappingRecord | undefined;
  readonly plans: readonly (readonly [planId: string, plan: PlanRecord])[];
  readonly paused: boolean;
  readonly dryRun: boolean;
  readonly counters: GroupCounters | undefined;
  /** What was live before, as ranks may still serve it. */
  readonly earlier?: { readonly epoch: number; readonly table: MappingRecord | undefined } | undefined;
  readonly epochs?: SavedEpochs | undefined;
}

/** Where one group keeps its state. */
export interface GroupKeeper {
  /** Whether anything is kept. */
  readonly isKept: boolean;
  /** How that is so, for people. */
  readonly how: string;
  /** Whether windows are. */
  readonly keepsWindow: boolean;
  /** Whether what ranks have prepared is; else they are asked again after a restart. */
  readonly keepsAcks: boolean;
  /** What was kept; undefined for a new group, or one whose declaration was never durable. */
  read(): Promise<SavedGroup | undefined>;
  /**
   * Durable when it resolves.
   * @param before what all records before it come to
   */
  append(record: StateRecord, before: () => SavedGroup): Promise<void>;
  saveWindow(snapshot: Uint8Array): Promise<void>;
  readWindow(): Promise<Uint8Array | undefined>;
  /** Forgets the group. */
  remove(): Promise<void>;
  close(): Promise<void>;
}

/** Where all groups are kept. */
export interface ServiceRecord {
  /** The groups that there are. */
  names(): Promise<readonly string[]>;
  keeperOf(name: string): GroupKeeper;
}

/** Groups that are kept in a folder; nowhere, when the service has none. */
export function folderRecord(folder: string | undefined): ServiceRecord {
  return {
    names: () => (folder === undefined ? Promise.resolve([]) : openStateFolder(folder)),
    keeperOf: (name) => new GroupStore(folder, name),
  };
}

/** Keeps one group in a folder; nowhere, when the service has none. */
class GroupStore implements GroupKeeper {
  readonly #folder: string | undefined;
  readonly #name: string;
  readonly #journal: LineFile | undefined;
  #numAppends = 0;

  constructor(folder: string | undefined, name: string) {
    this.#folder = folder;
    this.#name = name;
    this.#journal = folder === undefined ? undefined : new LineFile(this.#path(JOURNAL_END), HEADER);
  }

  get isKept(): boolean {
    return this.#journal !== undefined;
  }

  get how(): string {
    return this.isKept ? 'each change is synced to the disk' : 'no state folder';
  }

  get keepsWindow(): boolean {
    return this.isKept;
  }

  // Whoever waits for a disk after each of them would wait long, and the one service asks again at once.
  readonly keepsAcks = false;

  async read(): Promise<SavedGroup | undefined> {
    const records = (await this.#readJournal()) ?? [];
    return stateOf(`${this.#name}${JOURNAL_END}`, records as readonly StateRecord[]);
  }

  async #readJournal(): Promise<readonly unknown[] | undefined> {
    try {
      return await this.#journal?.read();
    } catch (error) {
      if (isOwnError(error) && error.code === 'EPLB_FORMAT') {
        error.message = `${this.#path(JOURNAL_END)}: ${error.message}`;
      }
      throw error;
    }
  }

  /**
   * Durable when it resolves.
   *
   * @param before what all records before it come to
   * @throws EplbError `EPLB_FILE`, `EPLB_STALE`, `EPLB_CLOSED`
   */
  async append(record: StateRecord, before: () => SavedGroup): Promise<void> {
    if (this.#journal === undefined) return;
    await this.#journal.append([record]);
    if (++this.#numAppends < COMPACT_AFTER) return;
    this.#numAppends = 0;
    await this.#journal.replace({ kind: 'whole', state: afterRecord(before(), record)! });
  }

  /** Puts one file in the place of the last one: a crash leaves either. */
  async saveWindow(snapshot: Uint8Array): Promise<void> {
    if (this.#folder === undefined) return;
    const path = this.#path(WINDOW_END);
    const file = await open(`${path}.next`, 'w', 0o600);
    try {
      await file.writeFile(snapshot);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(`${path}.next`, path);
  }

  /** The last snapshot; undefined when there is none. */
  async readWindow(): Promise<Uint8Array | undefined> {
    if (this.#folder === undefined) return undefined;
    return readFile(this.#path(WINDOW_END)).catch(() => undefined);
  }

  /** Forgets the group. */
  async remove(): Promise<void> {
    await this.#journal?.close();
    if (this.#folder === undefined) return;
    // The journal first: without it the window is nobody's.
    await rm(this.#path(JOURNAL_END), { force: true });
    await rm(this.#path(WINDOW_END), { force: true });
    await syncFolder(this.#folder);
  }

  async close(): Promise<void> {
    await this.#journal?.close();
  }

  #path(end: string): string {
    return join(this.#folder!, this.#name + end);
  }
}

/** Makes the folder where there is none, and lists the groups in it. @throws EplbError `EPLB_FILE` */
export async function openStateFolder(folder: string): Promise<readonly string[]> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const files = await readdir(folder);
    return files
      .filter((file) => file.endsWith(JOURNAL_END))
      .map((file) => file.slice(0, -JOURNAL_END.length))
      .sort();
  } catch (cause) {
    if (isOwnError(cause)) throw cause;
    const isFile = (cause as NodeJS.ErrnoException).code === 'EEXIST';
    const reason = isFile ? 'it is a file, not a directory' : fileReason(cause);
    throw new EplbError('EPLB_FILE', `config.state: ${folder}: cannot be used: ${reason}`, { cause });
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

export function stateOf(file: string, records: readonly StateRecord[]): SavedGroup | undefined {
  let state: SavedGroup | undefined;
  for (const record of records) {
    const next = afterRecord(state, record);
    if (next === undefined) {
      throw new EplbRangeError(
        'EPLB_FORMAT',
        `${file}: holds a record '${record.kind}' where none of that kind can be`,
      );
    }
    state = next;
  }
  return state;
}

/** Of plans, so many answers stand. */
const MOST_PLANS = 32;

/** Adds the answer that stands for an id, and forgets the oldest ones. */
export function withPlan<T>(
  plans: readonly (readonly [string, T])[],
  planId: string,
  plan: T,
): readonly (readonly [string, T])[] {
  return [...plans, [planId, plan] as const].slice(-MOST_PLANS);
}

/** What records come to with one more; undefined when it cannot follow on them. */
export function afterRecord(state: SavedGroup | undefined, record: StateRecord): SavedGroup | undefined {
  if (record.kind === 'whole') return record.state;
  if (record.kind === 'group') {
    const { declaration } = record;
    const { dryRun } = declaration;
    return { declaration, epoch: 0, table: undefined, plans: [], paused: false, dryRun, counters: undefined };
  }
  if (state === undefined) return undefined;
  switch (record.kind) {
    case 'live':
      return { ...wentLive(state, record.table), epoch: record.epoch };
    case 'epochs':
      return withEpochs(state, record);
    case 'resized': {
      const { declaration, table, earlier, epochs } = record;
      return { ...state, declaration, table, earlier, epochs };
    }
    case 'plan':
      return { ...state, plans: withPlan(state.plans, record.planId, record.plan) };
    case 'mode':
      return { ...state, paused: record.paused, dryRun: record.dryRun };
    case 'counters':
      return { ...state, counters: record.counters };
    default:
      return undefined;
  }
}

/** Another mapping is live, of the next epoch. */
function wentLive(state: SavedGroup, table: MappingRecord | undefined): SavedGroup {
  const earlier = { epoch: state.epoch, table: state.table };
  return { ...state, epoch: state.epoch + 1, table, earlier };
}

function withEpochs(state: SavedGroup, record: EpochsRecord): SavedGroup {
  const epochs = afterEpochs(state.epochs ?? NOTHING_SAVED, record);
  const isDecided = (record.records ?? []).some((one) => typeOfRecord(one) === 'decided');
  return { ...(isDecided ? wentLive(state, epochs.offered) : state), epochs };
}
