import { describeTopology, type Topology } from '../core/topology.ts';
import { sharedBuffer } from '../memory/allocate.ts';
import { Carver } from '../memory/carver.ts';
import { type ExpertMapping, mappingOfTables, tablesOf } from './expert-mapping.ts';

/** Where the live mapping is published for other threads, as byte offsets. */
export interface PublishedLayout {
  readonly topology: Topology;
  /** i64[3]: see {@link Word}. */
  readonly words: number;
  /**
   * Two banks of i32[layers x physical]: the table of generation g is in bank g % 2, its replica numbers
   * beside it.
   */
  readonly banks: number;
  readonly bankBytes: number;
}

/** Generations are counted for as long as the process lives: 32 bits are too few. */
const Word = { GENERATION: 0, WRITING: 1, CLOSED: 2 } as const;

export function carvePublished(topology: Topology, carver: Carver): PublishedLayout {
  const bankBytes = 8 * topology.numLayers * topology.numPhysicalExperts;
  return { topology, words: carver.take(24), banks: carver.take(2 * bankBytes), bankBytes };
}

/** Where other threads read the live mapping. */
export interface PublishedState {
  /** What the mapping lies in, and nothing else: other threads read it as long as they like. */
  readonly buffer: SharedArrayBuffer;
  readonly layout: PublishedLayout;
  readonly mapping: PublishedMapping;
}

/** @throws EplbRangeError `EPLB_MEMORY` */
export function makePublished(topology: Topology): PublishedState {
  const carver = new Carver();
  const layout = carvePublished(topology, carver);
  const buffer = sharedBuffer(`the shared mapping of ${describeTopology(topology)}`, carver.end);
  return { buffer, layout, mapping: new PublishedMapping(buffer, layout) };
}

/**
 * The live mapping in shared memory. The writer fills the bank that is not live and then raises the
 * generation; a reader copies the live bank and takes it only if the writer has not come back to that bank
 * meanwhile, which takes two commits. So readers never see a mix, and neither side ever waits.
 */
export class PublishedMapping {
  readonly #buffer: ArrayBufferLike;
  readonly #layout: PublishedLayout;
  readonly #words: BigInt64Array;

  constructor(buffer: ArrayBufferLike, layout: PublishedLayout) {
    this.#buffer = buffer;
    this.#layout = layout;
    this.#words = new BigInt64Array(buffer, layout.words, 3);
  }

  /** The number of commits so far. */
  get generation(): number {
    return Number(Atomics.load(this.#words, Word.GENERATION));
  }

  /** Whether mappings are published elsewhere by now. */
  get isClosed(): boolean {
    return Atomics.load(this.#words, Word.CLOSED) !== 0n;
  }

  /** Tells readers to look elsewhere: they have to know by now where that is. */
  close(): void {
    Atomics.store(this.#words, Word.CLOSED, 1n);
  }

  /** Publishes `mapping` as the given generation. Only one thread may write. */
  write(mapping: ExpertMapping, generation: number): void {
    const { phyToLog, replicaRank } = tablesOf(mapping);
    Atomics.exchange(this.#words, Word.WRITING, BigInt(generation));
    const [table, ranks] = this.#bank(generation);
    table.set(phyToLog);
    ranks.set(replicaRank);
    Atomics.exchange(this.#words, Word.GENERATION, BigInt(generation));
  }

  /** A copy of the live mapping, whole, with its generation. */
  read(): { mapping: ExpertMapping; generation: number } {
    for (;;) {
      const generation = this.generation;
      const [table, ranks] = this.#bank(generation);
      const phyToLog = new Int32Array(table); // not slice(): see engine/copies.ts
      const replicaRank = new Int32Array(ranks);
      // A read-modify-write: a plain load could be answered before the copies above are done.
      const writing = Number(Atomics.add(this.#words, Word.WRITING, 0n));
      if (writing > generation + 1) continue;
      const { numLayers, numPhysicalExperts, numLogicalExperts } = this.#layout.topology;
      const tables = { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaRank };
      return { mapping: mappingOfTables(tables), generation };
    }
  }

  #bank(generation: number): [Int32Array, Int32Array] {
    const { banks, bankBytes, topology } = this.#layout;
    const length = topology.numLayers * topology.numPhysicalExperts;
    const start = banks + (generation % 2) * bankBytes;
    return [
      new Int32Array(this.#buffer, start, length),
      new Int32Array(this.#buffer, start + 4 * length, length),
    ];
  }
}
