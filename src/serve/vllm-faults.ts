import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LineFile } from '../migration/line-file.ts';
import { askEngine, authorization, type EngineStatus, judge } from './vllm-status.ts';

const HEADER = 'eplb-vllm-faults 1\n';
const FILE_NAME = 'vllm.faults';
/** So many looks in a row have to find the same. */
const LOOKS = 3;
const ASK_TIMEOUT_MS = 2000;
/** What vLLM gives itself to recover is 300 s. */
const OUTCOME_TIMEOUT_MS = 360_000;

/** Where the removal of dead engines stands. */
export interface VllmView {
  /** 'blocked' stays until all engines are healthy again: nothing more is sent before. */
  readonly state: 'watching' | 'applying' | 'blocked';
  /** Data-parallel ranks that were removed. */
  readonly removedRanks: readonly number[];
  /** Of the last instruction. */
  readonly requestId?: string;
  /** Why it is blocked. */
  readonly reason?: string;
}

/** What happened: a log's line. */
export interface VllmEvent {
  readonly kind: 'waiting' | 'applying' | 'recovered' | 'blocked' | 'restored';
  readonly message: string;
}

/** What was done, as it is written down. */
export type FaultRecord =
  | {
      readonly kind: 'applying';
      readonly requestId: string;
      readonly removed: readonly number[];
      readonly survivors: readonly number[];
    }
  | { readonly kind: 'recovered' | 'restored' }
  | { readonly kind: 'blocked'; readonly reason: string };

/** Keeps what was done for who goes on after this process. */
export interface FaultJournal {
  read(): Promise<readonly FaultRecord[]>;
  /** Resolves once it lasts. */
  append(record: FaultRecord): Promise<void>;
  close(): Promise<void>;
}

/** A journal in the folder of the service's state. @throws EplbError `EPLB_FILE` */
export async function fileOfFaults(folder: string): Promise<FaultJournal> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = new LineFile(join(folder, FILE_NAME), HEADER);
  return {
    read: () => file.read() as Promise<readonly FaultRecord[]>,
    append: (record) => file.append([record]),
    close: () => file.close(),
  };
}

/** How engines are watched. */
export interface VllmFaultsOptions {
  /** The front end of each data-parallel engine, by its rank. */
  readonly urls: readonly string[];
  /** What every request to them carries. */
  readonly key: string | undefined;
  readonly journal: FaultJournal;
  readonly intervalMs: number;
  onEvent(event: VllmEvent): void;
  onFault(error: unknown): void;
}

/**
 * Has vLLM go on without engines that died: it asks the front ends how they are, and once all others say the
 * same of the dead, tells them to scale down, all with one request id. What is sent is written down before.
 * An instruction is sent once: one that was interrupted is waited for, and never sent again.
 *
 * The orchestrators that do the same keep such a journal, and end visibly 'blocked' where its outcome is not
 * known.
 */
export class VllmFaults {
  readonly #options: VllmFaultsOptions;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isClosed = false;
  #gone = new Set<number>();
  #applying: Extract<FaultRecord, { kind: 'applying' }> | undefined;
  #appliedAt = 0;
  #requestId: string | undefined;
  #blocked: string | undefined;
  #last = '';
  #numSame = 0;

  private constructor(options: VllmFaultsOptions) {
    this.#options = options;
  }

  /**
   * Reads what was done before, and begins to look.
   *
   * @throws EplbError `EPLB_FILE`, `EPLB_ETCD`; EplbRangeError `EPLB_FORMAT` for a journal that is damaged
   */
  static async start(options: VllmFaultsOptions): Promise<VllmFaults> {
    const faults = new VllmFaults(options);
    for (const record of await options.journal.read()) faults.#take(record);
    // What was sent before this process began is waited for anew.
    faults.#appliedAt = performance.now();
    faults.#plan();
    return faults;
  }

  /** Where it stands now. */
  view(): VllmView {
    const state = this.#blocked !== undefined ? 'blocked' : this.#applying ? 'applying' : 'watching';
    return {
      state,
      removedRanks: [...this.#gone].sort((a, b) => a - b),
      ...(this.#requestId === undefined ? {} : { requestId: this.#requestId }),
      ...(this.#blocked === undefined ? {} : { reason: this.#blocked }),
    };
  }

  /** Ends after the look that is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#looking;
    await this.#options.journal.close();
  }

  #plan(): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.#look()
        .catch((error) => this.#options.onFault(error))
        .finally(() => this.#plan());
    }, this.#options.intervalMs);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const { urls, key } = this.#options;
    const engines = await Promise.all(
      urls.map((url, rank) => askEngine({ url, key }, rank, urls.length, ASK_TIMEOUT_MS)),
    );
    if (this.#isClosed) return;
    const wasDone = this.#gone.size > 0 || this.#applying !== undefined || this.#blocked !== undefined;
    if (wasDone && engines.every(({ status }) => status === 'healthy')) {
      return this.#note({ kind: 'restored' }, 'all engines are healthy');
    }
    if (this.#blocked !== undefined) return;
    if (this.#applying !== undefined) return this.#awaitOutcome(this.#applying, engines);
    await this.#decide(engines);
  }

  async #decide(engines: readonly EngineStatus[]): Promise<void> {
    const found = judge(engines, this.#gone);
    const text = JSON.stringify(found);
    this.#numSame = text === this.#last ? this.#numSame + 1 : 1;
    this.#last = text;
    if (this.#numSame !== LOOKS) return;
    if (found.kind === 'waiting') this.#options.onEvent({ kind: 'waiting', message: found.reason });
    if (found.kind !== 'dead') return;
    const { removed, survivors } = found;
    const requestId = randomUUID();
    const message = `engines ${removed.join(', ')} are removed by request ${requestId}`;
    await this.#note({ kind: 'applying', requestId, removed, survivors }, message);
    this.#appliedAt = performance.now();
    const sent = await Promise.all(survivors.map((rank) => this.#send(rank, requestId, removed)));
    const failed = sent.find((one) => one !== undefined);
    if (failed !== undefined) await this.#note({ kind: 'blocked', reason: failed }, failed);
  }

  /** @returns why it was not accepted */
  async #send(rank: number, requestId: string, removed: readonly number[]): Promise<string | undefined> {
    try {
      const response = await fetch(new URL('/v1/fault_tolerance/apply', this.#options.urls[rank]!), {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...authorization(this.#options.key) },
        body: JSON.stringify({
          instruction: 'scale_down',
          params: { removed_dp_ranks: removed },
          request_id: requestId,
        }),
        signal: AbortSignal.timeout(ASK_TIMEOUT_MS),
        redirect: 'error',
      });
      await response.text();
      return response.status === 202 ? undefined : `engine ${rank} answered ${response.status}`;
    } catch (error) {
      return `engine ${rank} was not told: ${error instanceof Error ? error.message : error}`;
    }
  }

  async #awaitOutcome(
    { requestId, survivors }: Extract<FaultRecord, { kind: 'applying' }>,
    engines: readonly EngineStatus[],
  ): Promise<void> {
    const failed = survivors.find((rank) => {
      const { requestId: done, error } = engines[rank]!;
      return done === requestId && error !== undefined;
    });
    if (failed !== undefined) {
      const reason = `engine ${failed} failed: ${engines[failed]!.error}`;
      return this.#note({ kind: 'blocked', reason }, reason);
    }
    const isDone = (rank: number) =>
      engines[rank]!.status === 'healthy' && engines[rank]!.requestId === requestId;
    if (survivors.every(isDone)) {
      return this.#note({ kind: 'recovered' }, `engines ${survivors.join(', ')} go on`);
    }
    if (performance.now() - this.#appliedAt < OUTCOME_TIMEOUT_MS) return;
    const reason = `request ${requestId} has no outcome after ${OUTCOME_TIMEOUT_MS / 1000} s`;
    await this.#note({ kind: 'blocked', reason }, reason);
  }

  /** Writes it down, and then acts on it. */
  async #note(record: FaultRecord, message: string): Promise<void> {
    await this.#options.journal.append(record);
    this.#take(record);
    this.#options.onEvent({ kind: record.kind, message });
  }

  #take(record: FaultRecord): void {
    this.#last = '';
    if (record.kind === 'applying') {
      this.#applying = record;
      this.#requestId = record.requestId;
    } else if (record.kind === 'blocked') this.#blocked = record.reason;
    else if (record.kind === 'recovered') {
      for (const rank of this.#applying?.removed ?? []) this.#gone.add(rank);
      this.#applying = undefined;
    } else {
      this.#gone = new Set();
      this.#applying = undefined;
      this.#blocked = undefined;
      this.#requestId = undefined;
    }
  }
}
