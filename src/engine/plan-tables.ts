import type { JobLayout } from './layout.ts';

/** What a job makes: the tables of a mapping, flat and row-major. */
export interface PlanTables {
  /** [layers x physical]: the expert of each slot. */
  readonly phyToLog: Int32Array;
  /** [layers x physical]: which replica of its expert a slot holds. */
  readonly replicaRank: Int32Array;
}

/**
 * Tables on a buffer of their own. A worker's are shared, and go to the main thread as they are: to make the buffer there
 * would take the host's thread 40 us, and at times 350 (measured, 58x288).
 */
export function makeTables(length: number, shared: boolean): PlanTables {
  const buffer = shared ? new SharedArrayBuffer(8 * length) : new ArrayBuffer(8 * length);
  return {
    phyToLog: new Int32Array(buffer, 0, length),
    replicaRank: new Int32Array(buffer, 4 * length, length),
  };
}

/** Copies a finished job's tables out of the memory, which the next job will write. */
export function takeTables(buffer: ArrayBufferLike, layout: JobLayout, tables: PlanTables): PlanTables {
  const { length } = tables.phyToLog;
  tables.phyToLog.set(new Int32Array(buffer, layout.phyToLog, length));
  tables.replicaRank.set(new Int32Array(buffer, layout.replicaRank, length));
  return tables;
}

/** Shared tables for a worker's answers, made ahead: while it waits for its next job, and not while the host waits for it. */
export class SpareTables {
  readonly #length: number;
  #spare: PlanTables | undefined;

  constructor({ topology }: JobLayout) {
    this.#length = topology.numLayers * topology.numPhysicalExperts;
  }

  /** Tables that nobody else has; the next ones are made after the answer. */
  take(): PlanTables {
    const tables = this.#spare ?? makeTables(this.#length, true);
    this.#spare = undefined;
    setImmediate(() => {
      this.#spare ??= makeTables(this.#length, true);
      // Written once, so that the memory is there.
      this.#spare.phyToLog.set(tables.phyToLog);
      this.#spare.replicaRank.set(tables.replicaRank);
    });
    return tables;
  }
}
