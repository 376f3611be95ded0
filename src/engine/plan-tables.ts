import { sharedBuffer, zeros } from '../memory/allocate.ts';
import type { JobLayout } from './layout.ts';

/** Tables from this size on are not copied by one thread for all. */
const LARGE_BYTES = 2 ** 20;

/** What a job makes: the tables of a mapping, flat and row-major. */
export interface PlanTables {
  /** [layers x physical]: the expert of each slot. */
  readonly phyToLog: Int32Array;
  /** [layers x physical]: which replica of its expert a slot holds. */
  readonly replicaRank: Int32Array;
  /** [layers x logical]: replicas of each expert; a worker counts them, so that the main thread need not. */
  readonly replicaCount?: Int32Array;
  /** f64[layers x any], of kernels that leave statistics. */
  readonly stats?: Float64Array;
  /** What the kernel is to be given back when the mapping is live: see memoryBytes of a layer kernel. */
  readonly memory?: Uint8Array;
}

/** With all tables: what workers make. */
export type SharedTables = PlanTables & { readonly replicaCount: Int32Array };

/** The tables that a job's threads fill together, in the memory, which the next job will write. */
function jobTables(buffer: ArrayBufferLike, layout: JobLayout): SharedTables {
  const { numLayers, numPhysicalExperts, numLogicalExperts } = layout.topology;
  const numSlots = numLayers * numPhysicalExperts;
  return {
    phyToLog: new Int32Array(buffer, layout.phyToLog, numSlots),
    replicaRank: new Int32Array(buffer, layout.replicaRank, numSlots),
    replicaCount: new Int32Array(buffer, layout.replicaCount, numLayers * numLogicalExperts),
  };
}

/** Tables of their own. */
export function makeTables({ numLayers, numPhysicalExperts }: JobLayout['topology']): PlanTables {
  const length = numLayers * numPhysicalExperts;
  const what = `a placement of ${numLayers} layers of ${numPhysicalExperts} slots`;
  return { phyToLog: zeros(what, Int32Array, length), replicaRank: zeros(what, Int32Array, length) };
}

/**
 * A copy of tables that other threads can read, on shared memory of its own.
 * @param to where to, if there is one already
 */
export function shareTables(
  tables: SharedTables,
  to = sharedTables(tables.phyToLog.length, tables.replicaCount.length),
): SharedTables {
  to.phyToLog.set(tables.phyToLog);
  to.replicaRank.set(tables.replicaRank);
  to.replicaCount.set(tables.replicaCount);
  return to;
}

/**
 * Tables on shared memory that a job's threads write to directly, where they are large: one thread alone
 * would copy them for longer than the main thread takes to make the buffer (40 us). Undefined where they are
 * small.
 */
export function makeLargeTables(topology: JobLayout['topology']): SharedTables | undefined {
  const { numLayers, numPhysicalExperts, numLogicalExperts } = topology;
  const numSlots = numLayers * numPhysicalExperts;
  return 8 * numSlots < LARGE_BYTES ? undefined : sharedTables(numSlots, numLayers * numLogicalExperts);
}

function sharedTables(numSlots: number, numCounts: number): SharedTables {
  const buffer = sharedBuffer(`a placement of ${numSlots} slots`, 4 * (2 * numSlots + numCounts));
  return {
    phyToLog: new Int32Array(buffer, 0, numSlots),
    replicaRank: new Int32Array(buffer, 4 * numSlots, numSlots),
    replicaCount: new Int32Array(buffer, 8 * numSlots),
  };
}

/**
 * A worker's answers: tables that go to the main thread as they are. A shared buffer takes 40 us to make, and
 * at times 350 (measured, 58x288): it is made ahead, while the worker waits for its next job and the host
 * does not wait for it.
 */
export class SharedAnswers {
  readonly #job: SharedTables;
  #spare: SharedTables | undefined;

  constructor(buffer: ArrayBufferLike, layout: JobLayout) {
    this.#job = jobTables(buffer, layout);
  }

  /** What this worker's part of a job is to be written to. */
  get job(): PlanTables {
    return this.#job;
  }

  /** A copy of the finished job's tables, on shared memory of their own. */
  answer(): PlanTables {
    const tables = shareTables(this.#job, this.#spare);
    this.#spare = undefined;
    setImmediate(() => {
      // Filled once, so that the memory is there when it is needed.
      this.#spare = shareTables(this.#job, this.#spare);
    });
    return tables;
  }
}
