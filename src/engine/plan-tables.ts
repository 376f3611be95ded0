import { copyInts } from './copies.ts';
import type { JobLayout } from './layout.ts';

/** What a job makes: the tables of a mapping, flat and row-major. */
export interface PlanTables {
  /** [layers x physical]: the expert of each slot. */
  readonly phyToLog: Int32Array;
  /** [layers x physical]: which replica of its expert a slot holds. */
  readonly replicaRank: Int32Array;
}

/** Copies a finished job's tables out of the memory, which the next job will write. */
export function copyTables(
  buffer: ArrayBufferLike,
  { topology, phyToLog, replicaRank }: JobLayout,
): PlanTables {
  const length = topology.numLayers * topology.numPhysicalExperts;
  return {
    phyToLog: copyInts(buffer, phyToLog, length),
    replicaRank: copyInts(buffer, replicaRank, length),
  };
}

/** Tables that other threads can read. */
export function makeSharedTables(length: number): PlanTables {
  const buffer = new SharedArrayBuffer(8 * length);
  return {
    phyToLog: new Int32Array(buffer, 0, length),
    replicaRank: new Int32Array(buffer, 4 * length, length),
  };
}

/**
 * A worker's answers: tables that go to the main thread as they are. A shared buffer takes 40 us to make, and at times 350
 * (measured, 58x288): it is made ahead, while the worker waits for its next job and the host does not wait for it.
 */
export class SharedAnswers {
  readonly #layout: JobLayout;
  readonly #length: number;
  #spare: PlanTables | undefined;

  constructor(layout: JobLayout) {
    this.#layout = layout;
    this.#length = layout.topology.numLayers * layout.topology.numPhysicalExperts;
  }

  /** As {@link copyTables}, to shared memory of their own. */
  copyTables(buffer: ArrayBufferLike): PlanTables {
    const tables = this.#spare ?? makeSharedTables(this.#length);
    this.#spare = undefined;
    this.#fill(tables, buffer);
    setImmediate(() => {
      this.#spare ??= makeSharedTables(this.#length);
      // Written once, so that the memory is there when it is needed.
      this.#fill(this.#spare, buffer);
    });
    return tables;
  }

  #fill({ phyToLog, replicaRank }: PlanTables, buffer: ArrayBufferLike): void {
    phyToLog.set(new Int32Array(buffer, this.#layout.phyToLog, this.#length));
    replicaRank.set(new Int32Array(buffer, this.#layout.replicaRank, this.#length));
  }
}
