import { addShared, rankSpeedsOf, weighRanks } from '../core/rank-speeds.ts';
import { sharedLoads } from '../core/rules.ts';
import type { Topology } from '../core/topology.ts';
import type { Dispatch } from '../index.ts';
import { replicatedWords } from '../mapping/score-tables.ts';
import { makeSlotShares, type SlotShares } from '../mapping/slot-shares.ts';
import { zeros } from '../memory/allocate.ts';
import { Carver } from '../memory/carver.ts';
import type { Pointer } from '../memory/kernel-exports.ts';
import { kernelSizes, leaseKernelMemory } from '../memory/kernel-memory.ts';
import type { KernelRegion } from '../memory/memory-arena.ts';
import { scoreShares } from './score-shares.ts';
import type { SourceDispatch } from './source-dispatch.ts';

/** Sizes of what is scored. */
type ScorerSizes = Pick<Topology, 'numLayers' | 'numLogicalExperts' | 'numPhysicalExperts' | 'numRanks'>;

/** How what is scored is to be read. */
interface ScorerOptions {
  /** How many placements are followed at once. */
  readonly numPlacements: number;
  /** As in the cost model. */
  readonly zeroLoadsCountAsOne: boolean;
  /** Which copies tokens take, which are on all ranks alike. Default 'even'. */
  readonly dispatch?: Dispatch;
  /** Where it is known on which ranks tokens are. Who gives it tells it of steps, and of ranks first. */
  readonly sources?: SourceDispatch | undefined;
  /** How many sums of loads are kept beside them. Default 0. */
  readonly numSums?: number;
}

/** Where a placement lies in the kernels' memory. */
interface PlacementLayout {
  readonly offsets: Pointer;
  readonly replicated: Pointer;
  readonly counts: Pointer;
  readonly rankLoads: Pointer;
  readonly stats: Pointer;
}

/** Where everything that a scorer has lies. */
interface ScorerLayout {
  readonly loads: Pointer;
  readonly shares: Pointer;
  readonly placements: readonly PlacementLayout[];
  /** From one placement to the next. */
  readonly stride: number;
  readonly sums: readonly Pointer[];
  readonly end: Pointer;
}

/**
 * Rank loads of whole steps under several placements, by the kernel `scoreLayers`: a region of the kernels'
 * memory holds one step's loads, and every placement with the rank loads that it was last scored to.
 */
export class Scorer {
  /** [layers x logical]: the loads that {@link score} reads. The caller writes them. */
  readonly loads: Float32Array;
  readonly placements: readonly ScoredPlacement[];
  readonly sums: readonly LoadSum[];
  readonly #sizes: ScorerSizes;
  readonly #dispatch: Dispatch;
  readonly #sources: SourceDispatch | undefined;
  readonly #zeroIsOne: number;
  readonly #region: KernelRegion;
  readonly #layout: ScorerLayout;
  readonly #words: number;
  #speeds: Float64Array | undefined;
  /** `[ranks]`: what a shared expert adds, as a share of the layer's load; undefined where there is none. */
  #shared: readonly number[] | undefined;
  /** [ranks] of ranks that are alike. */
  readonly #usual: Float64Array;

  /** @throws EplbRangeError `EPLB_MEMORY` */
  constructor(topology: Topology, options: ScorerOptions) {
    const { numPlacements, zeroLoadsCountAsOne, dispatch = 'even', numSums = 0, sources } = options;
    const sizes = topology;
    const { numLayers, numLogicalExperts, numPhysicalExperts } = sizes;
    this.#sizes = sizes;
    this.#dispatch = dispatch;
    this.#sources = dispatch === 'even' ? undefined : sources;
    this.#usual = new Float64Array(sizes.numRanks).fill(1);
    this.#zeroIsOne = Number(zeroLoadsCountAsOne);
    const words = replicatedWords(sizes);
    const what = `replay: ${numLayers} layers, ${numLogicalExperts} experts in ${numPhysicalExperts} slots`;
    const { region, layout } = leaseKernelMemory(what, (start) =>
      carveScorer(sizes, words, { numPlacements, numSums }, start),
    );
    this.#words = words;
    this.#region = region;
    this.#layout = layout;
    this.loads = new Float32Array(region.buffer, layout.loads, numLayers * numLogicalExperts);
    this.placements = layout.placements.map((at) => new ScoredPlacement(sizes, words, region, at));
    this.sums = layout.sums.map((at) => new LoadSum(region, at, layout.loads, this.loads.length));
    this.changeRanks(topology);
  }

  /**
   * The index in {@link loads} of the first that is negative or not finite; its length when there is none.
   */
  firstInvalid(): number {
    return this.#region.kernels.firstInvalid(this.#layout.loads, this.loads.length);
  }

  /**
   * Says how fast ranks are from now on, and which of them live. What a placement has is read so from when it
   * is assigned next.
   */
  changeRanks(topology: Topology): void {
    this.#speeds = rankSpeedsOf(topology);
    this.#shared = topology.rules && sharedLoads(topology);
    if (this.#dispatch === 'even') return;
    const shares = makeSlotShares(topology, topology.numLogicalExperts, this.#dispatch);
    for (const placement of this.placements) placement.sharesTokens(shares);
  }

  /** Computes rank loads and stats of the placement with this number, from {@link loads}. */
  score(placement: number): ScoredPlacement {
    this.scoreSome(placement, 1);
    return this.placements[placement]!;
  }

  /** {@link score} of `count` placements, from this number on: in less time than one by one. */
  scoreSome(first: number, count: number): void {
    if (this.#dispatch === 'even') this.#scoreEven(first, count);
    for (let placement = first; placement < first + count; placement++) {
      const scored = this.placements[placement]!;
      if (this.#sources !== undefined) scored.takeShares(this.#sources);
      if (scored.shares !== undefined)
        scoreShares(this.loads, scored.shares, scored, this.#sizes, this.#zeroIsOne !== 0);
      if (this.#shared !== undefined) this.#addShared(scored, this.#shared);
      const speeds = this.#shared === undefined ? this.#speeds : (this.#speeds ?? this.#usual);
      if (speeds !== undefined) this.#weigh(scored, speeds);
    }
  }

  #scoreEven(first: number, count: number): void {
    const { loads, shares, placements, stride } = this.#layout;
    const { offsets, replicated, rankLoads, stats } = placements[first]!;
    const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks } = this.#sizes;
    this.#region.kernels.scoreLayers(
      loads,
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
      shares,
      count,
      stride,
    );
  }

  #addShared({ rankLoads }: ScoredPlacement, shared: readonly number[]): void {
    const { numLayers, numRanks } = this.#sizes;
    for (let layer = 0; layer < numLayers; layer++)
      addShared(rankLoads.subarray(layer * numRanks, (layer + 1) * numRanks), shared);
  }

  #weigh({ rankLoads: loads, stats }: ScoredPlacement, speeds: Float64Array): void {
    const { numLayers, numRanks } = this.#sizes;
    for (let layer = 0; layer < numLayers; layer++) {
      const { most, mean } = weighRanks(loads.subarray(layer * numRanks, (layer + 1) * numRanks), speeds);
      stats[2 * layer] = most;
      stats[2 * layer + 1] = mean;
    }
  }
}

function carveScorer(
  { numLayers, numLogicalExperts, numPhysicalExperts, numRanks }: ScorerSizes,
  words: number,
  { numPlacements, numSums }: { readonly numPlacements: number; readonly numSums: number },
  start: Pointer,
): ScorerLayout {
  const carver = new Carver(start);
  const loads = carver.take(4 * numLayers * numLogicalExperts);
  const shares = carver.take(kernelSizes().scoreLayersScratchBytes(numLogicalExperts));
  const firstPlacement = carver.end;
  const placements = Array.from({ length: numPlacements }, () => ({
    offsets: carver.take(4 * numLayers * numPhysicalExperts),
    replicated: carver.take(4 * numLayers * words),
    counts: carver.take(4 * numLayers * numLogicalExperts),
    rankLoads: carver.take(8 * numLayers * numRanks),
    stats: carver.take(16 * numLayers),
  }));
  const stride = (carver.end - firstPlacement) / numPlacements;
  const sums = Array.from({ length: numSums }, () => carver.take(8 * numLayers * numLogicalExperts));
  return { loads, shares, placements, stride, sums, end: carver.end };
}

/**
 * A sum of steps' loads, which lies beside those of the scorer: so a kernel adds a step, in a third of the
 * time that a loop takes.
 */
export class LoadSum {
  /** [layers x logical] */
  readonly values: Float64Array;
  readonly #region: KernelRegion;
  readonly #at: Pointer;
  readonly #loads: Pointer;

  constructor(region: KernelRegion, at: Pointer, loads: Pointer, length: number) {
    this.values = new Float64Array(region.buffer, at, length);
    this.#region = region;
    this.#at = at;
    this.#loads = loads;
  }

  /** Adds the loads of the scorer, `times` each. */
  add(times = 1): void {
    this.#region.kernels.addSample(this.#loads, this.#at, this.values.length, times);
  }
}

/** `[layers]`: the means of stats [layers][2]. A loop, as a callback for each takes many times as long. */
export function meansOf(stats: Float64Array): Float32Array {
  const means = new Float32Array(stats.length / 2);
  for (let layer = 0; layer < means.length; layer++) means[layer] = stats[2 * layer + 1]!;
  return means;
}

/** A mapping as the kernel reads it, and what it made of the loads that were scored last. */
export class ScoredPlacement {
  /** [layers x physical]: the expert of each slot, -1 when empty. Written by {@link setLayer} only. */
  readonly slots: Int32Array;
  /** [layers x ranks]; where ranks differ in speed, load / speed. */
  readonly rankLoads: Float64Array;
  /** [layers][2]: the largest rank load, and the mean of ranks that live: what all have at best. */
  readonly stats: Float64Array;
  /** `[layers]`: how often each layer was assigned. */
  readonly versions: Int32Array;
  /** What the views lie in: it is held as long as they are. */
  readonly region: KernelRegion;
  readonly #sizes: ScorerSizes;
  readonly #words: number;
  readonly #offsets: Int32Array;
  readonly #layout: PlacementLayout;
  /** [layers x logical] */
  readonly #counts: Int32Array;
  #slotShares: SlotShares | undefined;
  #shares: Float64Array | undefined;

  constructor(sizes: ScorerSizes, words: number, region: KernelRegion, layout: PlacementLayout) {
    const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks } = sizes;
    const { buffer } = region;
    this.region = region;
    this.#sizes = sizes;
    this.#words = words;
    this.slots = zeros('replay: a placement', Int32Array, numLayers * numPhysicalExperts);
    this.rankLoads = new Float64Array(buffer, layout.rankLoads, numLayers * numRanks);
    this.stats = new Float64Array(buffer, layout.stats, 2 * numLayers);
    this.#offsets = new Int32Array(buffer, layout.offsets, numLayers * numPhysicalExperts);
    this.#layout = layout;
    this.#counts = new Int32Array(buffer, layout.counts, numLayers * numLogicalExperts);
    this.versions = new Int32Array(numLayers);
  }

  /** [layers x physical]: of its expert's tokens, what each slot gets; undefined where copies get alike. */
  get shares(): Float64Array | undefined {
    return this.#shares;
  }

  /** Has the shares of what is assigned from now on computed. */
  sharesTokens(slotShares: SlotShares): void {
    this.#slotShares = slotShares;
    this.#shares ??= zeros('replay: a placement', Float64Array, this.slots.length);
  }

  /** Has the shares be those of a step's tokens. */
  takeShares(sources: SourceDispatch): void {
    const { numLayers, numPhysicalExperts } = this.#sizes;
    for (let layer = 0; layer < numLayers; layer++)
      this.#shares!.set(sources.ofLayer(this, layer).shares, layer * numPhysicalExperts);
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

  /** The replicas of each expert of a layer, [logical]; a view. */
  layerCounts(layer: number): Int32Array {
    const { numLogicalExperts } = this.#sizes;
    return this.#counts.subarray(layer * numLogicalExperts, (layer + 1) * numLogicalExperts);
  }

  #setLayer(slots: Int32Array, layer: number): void {
    const { numLogicalExperts, numPhysicalExperts } = this.#sizes;
    const first = layer * numPhysicalExperts;
    const row = slots.subarray(first, first + numPhysicalExperts);
    this.slots.set(row, first);
    this.versions[layer]!++;
    this.#slotShares?.write(row, this.#shares!.subarray(first, first + numPhysicalExperts));
    this.#offsets.set(row, first);
    this.region.kernels.scoreTables(
      this.#layout.offsets + 4 * first,
      numPhysicalExperts,
      numLogicalExperts,
      this.#layout.replicated + 4 * layer * this.#words,
      this.#layout.counts + 4 * layer * numLogicalExperts,
    );
  }
}
