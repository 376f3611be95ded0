import type { KernelExports, Pointer } from '../engine/kernel-exports.ts';
import { createKernelMemory } from '../engine/kernel-memory.ts';
import { Carver } from '../engine/layout.ts';

/** Sizes of what is scored. */
export interface ScorerSizes {
  readonly numLayers: number;
  readonly numLogicalExperts: number;
  readonly numPhysicalExperts: number;
  readonly numRanks: number;
}

/** Where a placement lies in the kernels' memory. */
interface PlacementLayout {
  readonly offsets: Pointer;
  readonly replicated: Pointer;
  readonly rankLoads: Pointer;
  readonly stats: Pointer;
}

/**
 * Rank loads of whole steps under several placements, by the kernel `scoreLayers`: a memory of its own holds one step's
 * loads, and every placement with the rank loads that it was last scored to.
 */
export class Scorer {
  /** [layers x logical]: the loads that {@link score} reads. The caller writes them. */
  readonly loads: Float32Array;
  readonly placements: readonly Placement[];
  readonly #sizes: ScorerSizes;
  readonly #zeroIsOne: number;
  readonly #kernels: KernelExports;
  readonly #loads: Pointer;
  readonly #shares: Pointer;
  readonly #words: number;
  readonly #layouts: readonly PlacementLayout[];

  /**
   * @param numPlacements how many are followed at once
   * @param zeroLoadsCountAsOne as in the cost model
   * @throws EplbRangeError `EPLB_MEMORY`
   */
  constructor(sizes: ScorerSizes, numPlacements: number, zeroLoadsCountAsOne: boolean) {
    const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks } = sizes;
    const carver = new Carver();
    this.#sizes = sizes;
    this.#zeroIsOne = Number(zeroLoadsCountAsOne);
    this.#loads = carver.take(4 * numLayers * numLogicalExperts);
    this.#shares = carver.take(8 * (numLogicalExperts + 1));
    // Experts with replicas: no more than there are redundant slots, or half the slots where some experts have none.
    this.#words = 1 + 2 * Math.min(numLogicalExperts, numPhysicalExperts >> 1);
    this.#layouts = Array.from({ length: numPlacements }, () => ({
      offsets: carver.take(4 * numLayers * numPhysicalExperts),
      replicated: carver.take(4 * numLayers * this.#words),
      rankLoads: carver.take(8 * numLayers * numRanks),
      stats: carver.take(16 * numLayers),
    }));
    const what = `replay: ${numLayers} layers, ${numLogicalExperts} experts in ${numPhysicalExperts} slots`;
    const { memory, kernels } = createKernelMemory(carver.end, what);
    this.#kernels = kernels;
    this.loads = new Float32Array(memory.buffer, this.#loads, numLayers * numLogicalExperts);
    this.placements = this.#layouts.map((layout) => new Placement(sizes, this.#words, memory.buffer, layout));
  }

  /** The index in {@link loads} of the first that is negative or not finite; its length when there is none. */
  firstInvalid(): number {
    return this.#kernels.firstInvalid(this.#loads, this.loads.length);
  }

  /** Computes rank loads and stats of the placement with this number, from {@link loads}. */
  score(placement: number): Placement {
    const { offsets, replicated, rankLoads, stats } = this.#layouts[placement]!;
    const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks } = this.#sizes;
    this.#kernels.scoreLayers(
      this.#loads,
      offsets,
      replicated,
      this.#words,
      numLayers,
      numLogicalExperts,
      numPhysicalExperts,
      numRanks,
      this.#zeroIsOne,
      rankLoads,
      stats,
      this.#shares,
    );
    return this.placements[placement]!;
  }
}

/** A mapping as the kernel reads it, and what it made of the loads that were scored last. */
export class Placement {
  /** [layers x physical]: the expert of each slot, -1 when empty. Written by {@link setLayer} only. */
  readonly slots: Int32Array;
  /** [layers x ranks] */
  readonly rankLoads: Float64Array;
  /** [layers][2]: the largest rank load and the mean. */
  readonly stats: Float64Array;
  readonly #sizes: ScorerSizes;
  readonly #words: number;
  readonly #offsets: Int32Array;
  readonly #replicated: Int32Array;
  readonly #counts: Int32Array;

  constructor(sizes: ScorerSizes, words: number, buffer: ArrayBufferLike, layout: PlacementLayout) {
    const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks } = sizes;
    this.#sizes = sizes;
    this.#words = words;
    this.slots = new Int32Array(numLayers * numPhysicalExperts);
    this.rankLoads = new Float64Array(buffer, layout.rankLoads, numLayers * numRanks);
    this.stats = new Float64Array(buffer, layout.stats, 2 * numLayers);
    this.#offsets = new Int32Array(buffer, layout.offsets, numLayers * numPhysicalExperts);
    this.#replicated = new Int32Array(buffer, layout.replicated, numLayers * words);
    this.#counts = new Int32Array(numLogicalExperts);
  }

  /** Puts a layer of checked slots [layers x physical] into the placement; all layers when none is named. */
  assign(slots: Int32Array, layer?: number): void {
    const { numLayers } = this.#sizes;
    for (let at = layer ?? 0; at < (layer === undefined ? numLayers : layer + 1); at++)
      this.#setLayer(slots, at);
  }

  /** The slots of a layer; a view. */
  layerSlots(layer: number): Int32Array {
    const { numPhysicalExperts } = this.#sizes;
    return this.slots.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts);
  }

  #setLayer(slots: Int32Array, layer: number): void {
    const { numLogicalExperts, numPhysicalExperts } = this.#sizes;
    const counts = this.#counts.fill(0);
    const first = layer * numPhysicalExperts;
    for (let at = first; at < first + numPhysicalExperts; at++) {
      const expert = slots[at]!;
      this.slots[at] = expert;
      this.#offsets[at] = 8 * (expert === -1 ? numLogicalExperts : expert);
      if (expert !== -1) counts[expert]!++;
    }
    const start = layer * this.#words;
    let at = start + 1;
    for (let expert = 0; expert < numLogicalExperts; expert++) {
      if (counts[expert]! < 2) continue;
      this.#replicated[at++] = 8 * expert;
      this.#replicated[at++] = counts[expert]!;
    }
    this.#replicated[start] = (at - start - 1) / 2;
  }
}
