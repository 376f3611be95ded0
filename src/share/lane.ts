import { checkLayer, recordError } from '../core/checks.ts';
import type { Topology } from '../core/topology.ts';
import { copyRow, type LoadRow } from '../loads/load-matrix.ts';
import { foldRow } from '../loads/load-rows.ts';
import type { MappingTables } from '../mapping/mapping-tables.ts';
import { sharedBuffer } from '../memory/allocate.ts';
import { Carver } from '../memory/carver.ts';
import { carveRows, isFresh, LOGICAL, NUM_COPIES, PHYSICAL, RowCopies, withoutFresh } from './row-copies.ts';

/**
 * One thread's own accumulators for a step, on a SharedArrayBuffer.
 *
 * To add a row, its thread writes the new sums to a copy of its own and exchanges that for the published one;
 * the balancer's thread takes a row by exchanging an empty copy for the published one. Either is one atomic
 * operation on the layer's word. So neither side ever waits, every record is taken once, and a thread that
 * dies at any instruction has added its row or has not.
 *
 * Published rows of slots are always of the mapping the thread holds: before it takes a newer one, it makes
 * them rows of experts.
 */
export class Lane {
  readonly topology: Topology;
  readonly buffer: SharedArrayBuffer;
  /** [layers]: which copies are published: see row-copies.ts. */
  readonly #states: Int32Array;
  /** The recording thread's own note of the word below, for its side of the lane. */
  #held = 0;
  /** [1] */
  readonly #generationHeld: BigInt64Array;
  /** [copies x layers]: the generation of the mapping that each copy of a row of slots is of. */
  readonly #generations: Float64Array;
  readonly #physical: RowCopies;
  readonly #logical: RowCopies;
  readonly #physicalRow: Float32Array;
  readonly #logicalRow: Float32Array;

  constructor(topology: Topology, buffer?: SharedArrayBuffer) {
    const { numLayers, numPhysicalExperts, numLogicalExperts } = topology;
    const carver = new Carver();
    const states = carver.take(4 * numLayers);
    const generationHeld = carver.take(8);
    const generations = carver.take(8 * NUM_COPIES * numLayers);
    const physical = carveRows(carver, numLayers, numPhysicalExperts);
    const logical = carveRows(carver, numLayers, numLogicalExperts);
    this.topology = topology;
    this.buffer = buffer ?? sharedBuffer("a thread's loads", carver.end);
    this.#states = new Int32Array(this.buffer, states, numLayers);
    this.#generationHeld = new BigInt64Array(this.buffer, generationHeld, 1);
    this.#generations = new Float64Array(this.buffer, generations, NUM_COPIES * numLayers);
    this.#physical = new RowCopies(PHYSICAL, this.buffer, physical, numLayers, numPhysicalExperts);
    this.#logical = new RowCopies(LOGICAL, this.buffer, logical, numLayers, numLogicalExperts);
    this.#physicalRow = new Float32Array(numPhysicalExperts);
    this.#logicalRow = new Float32Array(numLogicalExperts);
    if (buffer !== undefined) return;
    this.#physical.begin();
    this.#logical.begin();
  }

  /** The generation of the mapping that the recording thread holds. */
  get generationHeld(): number {
    return Number(Atomics.load(this.#generationHeld, 0));
  }

  /**
   * Recording thread: adds loads of slots of the mapping it holds.
   *
   * @throws as `ExpertLoadBalancer.recordLoad`
   */
  recordPhysical(layer: number, loads: LoadRow): void {
    this.#record('recordLoad', layer, loads, this.#physicalRow, this.#physical);
  }

  /** Recording thread: adds loads of experts. @throws as `ExpertLoadBalancer.recordLogicalLoad` */
  recordLogical(layer: number, loads: LoadRow): void {
    this.#record('recordLogicalLoad', layer, loads, this.#logicalRow, this.#logical);
  }

  /** Recording thread: takes up a newer mapping; `held` is the one it held so far. */
  changeMapping(held: MappingTables, generation: number): void {
    for (let layer = 0; layer < this.topology.numLayers; layer++) this.#foldLayer(held, layer);
    // Only now may the balancer forget the mapping held before.
    this.#held = generation;
    Atomics.store(this.#generationHeld, 0, BigInt(generation));
  }

  /**
   * The balancer's thread: takes what was recorded. A row that is recorded meanwhile is taken now or the next
   * time.
   *
   * @param take gets each recorded row, the balancer's until the next time; rows of slots with the generation
   *   they belong to
   */
  drain(take: {
    physical(layer: number, row: Float32Array, generation: number): void;
    logical(layer: number, row: Float32Array): void;
  }): void {
    const { numLayers } = this.topology;
    for (let layer = 0; layer < numLayers; layer++) {
      const before = Atomics.load(this.#states, layer);
      if (!isFresh(before, PHYSICAL) && !isFresh(before, LOGICAL)) continue;
      const empty = this.#physical.empty(layer) | this.#logical.empty(layer);
      const state = Atomics.exchange(this.#states, layer, empty);
      this.#physical.take(layer, state);
      this.#logical.take(layer, state);
      if (isFresh(state, PHYSICAL)) {
        const generation = this.#generations[this.#physical.indexIn(state) * numLayers + layer]!;
        take.physical(layer, this.#physical.published(layer, state), generation);
      }
      if (isFresh(state, LOGICAL)) take.logical(layer, this.#logical.published(layer, state));
    }
  }

  #record(title: string, layer: number, loads: LoadRow, row: Float32Array, rows: RowCopies): void {
    const { numLayers } = this.topology;
    checkLayer(title, layer, numLayers);
    copyRow(title, layer, loads, row);
    // The balancer may have taken what there was meanwhile, but only once: this takes two tries at most.
    for (;;) {
      const state = Atomics.load(this.#states, layer);
      const refused = rows.prepareSum(layer, state, row);
      if (refused >= 0) throw recordError(title, layer, refused, row[refused]);
      if (rows.kind === PHYSICAL) this.#generations[rows.spareIndex(layer) * numLayers + layer] = this.#held;
      if (this.#publish(layer, state, rows.withSpare(layer, state), rows)) return;
    }
  }

  /** Makes the loads of a layer's slots loads of experts. */
  #foldLayer({ phyToLog }: MappingTables, layer: number): void {
    for (;;) {
      const state = Atomics.load(this.#states, layer);
      if (!isFresh(state, PHYSICAL)) return;
      foldRow(
        this.#physical.published(layer, state),
        layer,
        phyToLog,
        this.#logical.prepareCopy(layer, state),
      );
      const folded = withoutFresh(this.#logical.withSpare(layer, state), PHYSICAL);
      if (this.#publish(layer, state, folded, this.#logical)) return;
    }
  }

  /**
   * Makes the spare copy of a row the published one, unless the balancer has taken what there was in `state`.
   */
  #publish(layer: number, state: number, next: number, rows: RowCopies): boolean {
    if (Atomics.compareExchange(this.#states, layer, state, next) !== state) return false;
    rows.exchanged(layer, state);
    return true;
  }
}
