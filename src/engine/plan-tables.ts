import type { JobLayout } from './layout.ts';

/** What a job makes: the tables of a mapping, flat and row-major. */
export interface PlanTables {
  /** [layers x physical]: the expert of each slot. */
  readonly phyToLog: Int32Array;
  /** [layers x physical]: which replica of its expert a slot holds. */
  readonly replicaRank: Int32Array;
}

/** The tables that a job's threads fill together, in the memory, which the next job will write. */
export function jobTables(
  buffer: ArrayBufferLike,
  { topology, phyToLog, replicaRank }: JobLayout,
): PlanTables {
  const length = topology.numLayers * topology.numPhysicalExperts;
  return {
    phyToLog: new Int32Array(buffer, phyToLog, length),
    replicaRank: new Int32Array(buffer, replicaRank, length),
  };
}

/** Tables of their own. */
export function makeTables({ numLayers, numPhysicalExperts }: JobLayout['topology']): PlanTables {
  const length = numLayers * numPhysicalExperts;
  return { phyToLog: new Int32Array(length), replicaRank: new Int32Array(length) };
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
  readonly #job: PlanTables;
  #spare: PlanTables | undefined;

  constructor(buffer: ArrayBufferLike, layout: JobLayout) {
    this.#job = jobTables(buffer, layout);
  }

  /** What this worker's part of a job is to be written to. */
  get job(): PlanTables {
    return this.#job;
  }

  /** A copy of the finished job's tables, on shared memory of their own. */
  answer(): PlanTables {
    const tables = this.#fill(this.#spare);
    this.#spare = undefined;
    setImmediate(() => {
      // Filled once, so that the memory is there when it is needed.
      this.#spare = this.#fill(this.#spare);
    });
    return tables;
  }

  #fill(tables = makeSharedTables(this.#job.phyToLog.length)): PlanTables {
    tables.phyToLog.set(this.#job.phyToLog);
    tables.replicaRank.set(this.#job.replicaRank);
    return tables;
  }
}
