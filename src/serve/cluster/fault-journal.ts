import { EplbError, EplbRangeError } from '../../core/errors.ts';
import type { FaultJournal, FaultRecord } from '../vllm-faults.ts';
import { base64, bytesOf, type EtcdClient, EtcdError } from './etcd-client.ts';
import type { Compare, KeyValue } from './etcd-types.ts';
import type { Leadership } from './leadership.ts';
import type { RecordKeys } from './record-keys.ts';

const AGAIN_MS = 50;

/** What the journal works with: one a term. */
interface FaultJournalHost {
  readonly client: EtcdClient;
  readonly keys: RecordKeys;
  readonly leadership: Leadership;
  /** In which all is written. */
  readonly term: number;
}

/**
 * What vLLM's engines were told, in one key of etcd, for the next leader. Nothing of a former leader is ever
 * written, so what it had not yet written down it does not tell the engines either.
 */
export class EtcdFaultJournal implements FaultJournal {
  readonly #host: FaultJournalHost;
  #records: readonly FaultRecord[] = [];
  #revision = 0;

  constructor(host: FaultJournalHost) {
    this.#host = host;
  }

  async read(): Promise<readonly FaultRecord[]> {
    const { kvs } = await this.#host.client.range({ key: base64(this.#host.keys.faults) });
    const kv = kvs?.[0];
    if (kv !== undefined) {
      this.#records = recordsOf(kv);
      this.#revision = Number(kv.mod_revision);
    }
    return this.#records;
  }

  async append(record: FaultRecord): Promise<void> {
    const { client, keys, leadership, term } = this.#host;
    // Once all engines are healthy, nothing that was before matters.
    const records = record.kind === 'restored' ? [] : [...this.#records, record];
    const key = base64(keys.faults);
    const value = base64(JSON.stringify(records));
    const isAsRead: Compare = { key, target: 'MOD', mod_revision: String(this.#revision) };
    const txn = {
      compare: [leadership.compareOf(term), isAsRead],
      success: [{ request_put: { key, value } }],
      failure: [{ request_range: { key } }],
    };
    while (leadership.term === term) {
      try {
        const { succeeded, header, responses } = await client.txn(txn);
        const found = responses?.[0]?.response_range?.kvs?.[0];
        // What nobody heard of was done before.
        const isThere = succeeded || found?.value === value;
        if (!isThere) break;
        this.#records = records;
        this.#revision = Number(succeeded ? header.revision : found!.mod_revision);
        return;
      } catch (error) {
        if (!(error instanceof EtcdError) || !error.isUnknown) throw error;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
    throw new EplbError('EPLB_NO_LEADER', 'this service no longer leads, and tells vLLM nothing');
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function recordsOf(kv: KeyValue): readonly FaultRecord[] {
  try {
    const records: unknown = JSON.parse(bytesOf(kv).toString('utf8'));
    if (Array.isArray(records)) return records;
  } catch {
    // Refused below.
  }
  throw new EplbRangeError('EPLB_FORMAT', 'etcd: what vLLM was told is damaged');
}
