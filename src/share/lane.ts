import { checkLayer, MAX_FLOAT32, recordError } from '../checks.ts';
import { sharedBuffer } from '../engine/allocate.ts';
import { Carver } from '../engine/layout.ts';
import { copyRow, type LoadRow } from '../load-matrix.ts';
import { foldRow } from '../load-rows.ts';
import type { MappingTables } from '../mapping-tables.ts';
import type { Topology } from '../topology.ts';

/** What a row holds: loads of slots, loads of experts, or both. Bits. */
const PHYSICAL = 1;
const LOGICAL = 2;

/** Words of a lane. STATE is the bank in use, plus BUSY while a record is being added to it. */
const Word = { STATE: 0, GENERATION_HELD: 1, BANK_GENERATION: 2 } as const;
const BUSY = 2;
const NUM_WORDS = 16;

/** A record takes under a microsecond; a thread that holds its bank longer than this many tries was interrupted. */
const MAX_TRIES = 1000;

/**
 * One thread's own accumulators for a step, on a SharedArrayBuffer: two banks, of which it fills one while the
 * balancer's thread empties the other. A compare-and-swap on the state decides who has which bank, so neither side ever
 * waits for the other, and every record is in exactly one bank.
 *
 * Records of slots in the bank in use are always of the mapping the thread holds: before it takes a newer mapping, it
 * folds them to loads of experts.
 */
export class Lane {
  readonly topology: Topology;
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #kinds: [Uint8Array, Uint8Array];
  readonly #physical: [Float32Array, Float32Array];
  readonly #logical: [Float32Array, Float32Array];
  readonly #rows: { physical: Float32Array; logical: Float32Array };

  constructor(topology: Topology, buffer?: SharedArrayBuffer) {
    const { numLayers, numPhysicalExperts, numLogicalExperts } = topology;
    const carver = new Carver();
    const numSlots = numLayers * numPhysicalExperts;
    const numExperts = numLayers * numLogicalExperts;
    const words = carver.take(4 * NUM_WORDS);
    const kinds = [carver.take(numLayers), carver.take(numLayers)] as const;
    const physical = [carver.take(4 * numSlots), carver.take(4 * numSlots)] as const;
    const logical = [carver.take(4 * numExperts), carver.take(4 * numExperts)] as const;
    this.topology = topology;
    this.buffer = buffer ?? sharedBuffer("a thread's loads", carver.end);
    this.#words = new Int32Array(this.buffer, words, NUM_WORDS);
    this.#kinds = [
      new Uint8Array(this.buffer, kinds[0], numLayers),
      new Uint8Array(this.buffer, kinds[1], numLayers),
    ];
    this.#physical = [
      new Float32Array(this.buffer, physical[0], numSlots),
      new Float32Array(this.buffer, physical[1], numSlots),
    ];
    this.#logical = [
      new Float32Array(this.buffer, logical[0], numExperts),
      new Float32Array(this.buffer, logical[1], numExperts),
    ];
    this.#rows = {
      physical: new Float32Array(numPhysicalExperts),
      logical: new Float32Array(numLogicalExperts),
    };
  }

  /** The generation of the mapping that the recording thread holds. */
  get generationHeld(): number {
    return Atomics.load(this.#words, Word.GENERATION_HELD);
  }

  /** Recording thread: adds loads of slots of the mapping it holds. @throws as `ExpertLoadBalancer.recordLoad` */
  recordPhysical(layer: number, loads: LoadRow): void {
    this.#record('recordLoad', layer, loads, this.#rows.physical, this.#physical, PHYSICAL);
  }

  /** Recording thread: adds loads of experts. @throws as `ExpertLoadBalancer.recordLogicalLoad` */
  recordLogical(layer: number, loads: LoadRow): void {
    this.#record('recordLogicalLoad', layer, loads, this.#rows.logical, this.#logical, LOGICAL);
  }

  /** Recording thread: takes up a newer mapping; `held` is the one it held so far. */
  changeMapping(held: MappingTables, generation: number): void {
    const bank = this.#enter();
    const { numLayers } = this.topology;
    for (let layer = 0; layer < numLayers; layer++) {
      if ((this.#kinds[bank][layer]! & PHYSICAL) === 0) continue;
      const physical = this.#physicalRow(bank, layer);
      foldRow(physical, layer, held.phyToLog, this.#logicalRow(bank, layer));
      physical.fill(0);
      this.#kinds[bank][layer] = LOGICAL;
    }
    this.#words[Word.BANK_GENERATION + bank] = generation;
    this.#leave(bank);
    // Only now may the balancer forget the mapping held before.
    Atomics.store(this.#words, Word.GENERATION_HELD, generation);
  }

  /**
   * The balancer's thread: takes what was recorded. When the recording thread was interrupted in the middle of a record, nothing
   * is taken this time, and all of it the next time.
   *
   * @param take gets each recorded row; rows of slots come with the generation they belong to
   */
  drain(take: {
    physical(layer: number, row: Float32Array, generation: number): void;
    logical(layer: number, row: Float32Array): void;
  }): void {
    const bank = this.#exchange();
    if (bank === undefined) return;
    const { numLayers } = this.topology;
    const kinds = this.#kinds[bank];
    const generation = this.#words[Word.BANK_GENERATION + bank]!;
    for (let layer = 0; layer < numLayers; layer++) {
      const kind = kinds[layer]!;
      kinds[layer] = 0;
      if ((kind & PHYSICAL) !== 0) {
        const row = this.#physicalRow(bank, layer);
        take.physical(layer, row, generation);
        row.fill(0);
      }
      if ((kind & LOGICAL) !== 0) {
        const row = this.#logicalRow(bank, layer);
        take.logical(layer, row);
        row.fill(0);
      }
    }
  }

  /** The balancer's thread, when the recording one is gone: a record it died in no longer holds its bank. */
  release(): void {
    Atomics.and(this.#words, Word.STATE, ~BUSY);
  }

  #record(
    title: string,
    layer: number,
    loads: LoadRow,
    row: Float32Array,
    banks: [Float32Array, Float32Array],
    kind: number,
  ): void {
    checkLayer(title, layer, this.topology.numLayers);
    copyRow(title, layer, loads, row);
    const bank = this.#enter();
    const sums = banks[bank];
    const first = layer * row.length;
    const refused = row.findIndex((load, i) => !(load >= 0 && sums[first + i]! + load <= MAX_FLOAT32));
    if (refused < 0) {
      this.#words[Word.BANK_GENERATION + bank] = this.generationHeld;
      for (let i = 0; i < row.length; i++) sums[first + i]! += row[i]!;
      this.#kinds[bank][layer]! |= kind;
    }
    this.#leave(bank);
    if (refused >= 0) throw recordError(title, layer, refused, loads[refused]);
  }

  /** Claims the bank in use. The balancer can only have exchanged it meanwhile, so this takes two tries at most. */
  #enter(): 0 | 1 {
    for (;;) {
      const bank = Atomics.load(this.#words, Word.STATE) & 1;
      if (Atomics.compareExchange(this.#words, Word.STATE, bank, bank | BUSY) === bank) return bank as 0 | 1;
    }
  }

  #leave(bank: 0 | 1): void {
    Atomics.store(this.#words, Word.STATE, bank);
  }

  /** Puts the other bank in use and returns the one that was. */
  #exchange(): 0 | 1 | undefined {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const bank = Atomics.load(this.#words, Word.STATE) & 1;
      if (Atomics.compareExchange(this.#words, Word.STATE, bank, 1 - bank) === bank) return bank as 0 | 1;
    }
    return undefined;
  }

  #physicalRow(bank: 0 | 1, layer: number): Float32Array {
    const { numPhysicalExperts: n } = this.topology;
    return this.#physical[bank].subarray(layer * n, (layer + 1) * n);
  }

  #logicalRow(bank: 0 | 1, layer: number): Float32Array {
    const { numLogicalExperts: n } = this.topology;
    return this.#logical[bank].subarray(layer * n, (layer + 1) * n);
  }
}
