import {
  type AdaptiveRequest,
  type AdaptiveScratch,
  carveAdaptiveData,
  carveAdaptiveScratch,
  wholeVectors,
} from './adaptive-request.ts';
import type { KernelExports, Pointer } from './kernel-exports.ts';
import type { JobLayout } from './layout.ts';
import { emptyClosedSlots, numOpenSlots } from './open-slots.ts';
import { estimateShrinkage } from './sampling-noise.ts';

/** What a sample counts in the mean falls by this from one to the next: see kernels/adaptive-samples.ts for what was measured. */
const RECENCY = 0.95;
/** At a price above this the live placement is the better start; below it both are tried. */
const HIGHEST_FRESH_PRICE = 0.0005;

/** So few slots are searched as good as exhaustively. */
const FEW_SLOTS = 16;
const KICKS_OF_FEW_SLOTS = 20;

/** The samples of a job, which lie in its data. */
export interface JobSamples {
  readonly numSamples: number;
  /** Steps that a sample is the mean of, and how many of them the newest one has, as a share in (0, 1]. */
  readonly stepsPerSample: number;
  readonly newestShare: number;
}

/** How to search. */
export interface SearchTerms {
  readonly price: number;
  readonly maxMoves: number;
  /** 'live' searches from the live placement, 'fresh' from one that is made for the samples and then moved to. */
  readonly start: 'live' | 'fresh';
  /** One step and no more: whether there is any. */
  readonly isOneStep?: boolean;
}

/** Runs the adaptive policy's kernels on one layer after the other, in one worker. */
export class AdaptiveSearch {
  readonly #kernels: KernelExports;
  readonly #buffer: ArrayBufferLike;
  readonly #layout: JobLayout;
  readonly #request: AdaptiveRequest;
  readonly #job: JobSamples;
  readonly #samples: Pointer;
  readonly #at: AdaptiveScratch;
  #numChosen = 0;

  /** @param scratch laid out by carveAdaptiveScratch */
  constructor(
    kernels: KernelExports,
    buffer: ArrayBufferLike,
    layout: JobLayout,
    request: AdaptiveRequest,
    job: JobSamples,
    scratch: Pointer,
  ) {
    this.#kernels = kernels;
    this.#buffer = buffer;
    this.#layout = layout;
    this.#request = request;
    this.#job = job;
    this.#samples = carveAdaptiveData(layout.topology, request, layout.kernelData).samples;
    this.#at = carveAdaptiveScratch(layout.topology, request, scratch);
    const { slotsPerRank, numRanks } = layout.topology;
    if (slotsPerRank !== undefined) new Int32Array(buffer, this.#at.slotsPerRank, numRanks).set(slotsPerRank);
  }

  /** Whether groups stay on nodes: those that cannot be dealt evenly to the nodes are given up. */
  get keepsGroups(): boolean {
    const { numGroups, numNodes } = this.#layout.topology;
    return this.#request.keepsGroups && numNodes > 1 && numGroups % numNodes === 0;
  }

  /** A table and its replica numbers for searches whose placement is only looked at: i32[slots] each. */
  get spare(): { readonly table: Pointer; readonly ranks: Pointer } {
    return this.#at;
  }

  /**
   * Takes a layer's samples, the chosen ones, for the searches that follow.
   *
   * @returns whether they are nothing but noise
   */
  prepare(layer: number, chosen: readonly number[]): boolean {
    const { numLayers, numLogicalExperts, numRanks } = this.#layout.topology;
    const rowBytes = 4 * numLogicalExperts;
    this.#numChosen = chosen.length;
    for (const [i, sample] of chosen.entries()) {
      const row = this.#samples + (sample * numLayers + layer) * rowBytes;
      this.#kernels.copyBytes(this.#at.rows + i * rowBytes, row, rowBytes);
    }
    this.#weigh(chosen);
    const rows = new Float32Array(this.#buffer, this.#at.rows, chosen.length * numLogicalExperts);
    const steps = Float64Array.from(chosen, (sample) => this.#stepsOf(sample));
    const { shrink, prior, isNoise } = estimateShrinkage(rows, steps, numLogicalExperts);
    this.#kernels.prepareSamples(
      this.#at.rows,
      rowBytes,
      chosen.length,
      numLogicalExperts,
      numRanks,
      this.#at.recency,
      shrink,
      prior,
      this.#at.prepared,
      this.#at.spread,
      this.#at.mean,
    );
    return isNoise;
  }

  /**
   * Searches a placement of the prepared layer.
   *
   * @param live i32[slots]: the live placement; 0 when there is none: then nothing counts as a move
   * @returns what the smoothed load of the slowest rank falls by, from the start, as a share of the mean rank load
   */
  run(live: Pointer, terms: SearchTerms, phyToLog: Pointer, replicaRank: Pointer): number {
    const isFresh = live === 0 || terms.start === 'fresh';
    const triesFresh = !isFresh && !terms.isOneStep && terms.price <= HIGHEST_FRESH_PRICE;
    if (isFresh || triesFresh) this.#placeAfresh(replicaRank);
    const { topology } = this.#layout;
    const { numLogicalExperts, numPhysicalExperts, numRanks, numNodes, slotsPerRank } = topology;
    const { numKicks, maxEvaluations } = this.#request;
    const kicks = numOpenSlots(topology) <= FEW_SLOTS ? Math.max(numKicks, KICKS_OF_FEW_SLOTS) : numKicks;
    this.#kernels.searchAdaptive(
      this.#at.prepared,
      this.#at.spread,
      this.#at.weights,
      numLogicalExperts,
      numPhysicalExperts,
      numRanks,
      this.keepsGroups ? numNodes : 1,
      wholeVectors(this.#numChosen),
      slotsPerRank === undefined ? 0 : this.#at.slotsPerRank,
      isFresh ? this.#at.fresh : live,
      triesFresh ? this.#at.fresh : 0,
      isFresh ? 0 : terms.price,
      isFresh ? numPhysicalExperts : terms.maxMoves,
      terms.isOneStep ? 1 : maxEvaluations,
      terms.isOneStep ? 0 : kicks,
      phyToLog,
      replicaRank,
      this.#at.result,
      this.#at.search,
    );
    if (isFresh && live !== 0) this.#keepSlots(live, phyToLog, replicaRank);
    const [before = 0, after = 0] = new Float64Array(this.#buffer, this.#at.result, 2);
    return before - after;
  }

  /** Steps that the last search looked at closely. */
  get evaluations(): number {
    return new Float64Array(this.#buffer, this.#at.result, 4)[3]!;
  }

  /** The default policy's placement for the samples' mean, closed slots and all: the search leaves out what is in them. */
  #placeAfresh(ranks: Pointer): void {
    const { topology } = this.#layout;
    const { numLogicalExperts, numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
    const loads = new Float32Array(this.#buffer, this.#at.loads, numLogicalExperts);
    loads.set(new Float64Array(this.#buffer, this.#at.mean, numLogicalExperts));
    this.#kernels.placeLayers(
      this.#at.loads,
      1,
      numLogicalExperts,
      numPhysicalExperts,
      this.keepsGroups ? numGroups : 1,
      this.keepsGroups ? numNodes : 1,
      numRanks,
      this.#at.fresh,
      ranks,
      this.#at.search,
    );
  }

  #keepSlots(live: Pointer, phyToLog: Pointer, replicaRank: Pointer): void {
    const { numLogicalExperts, numPhysicalExperts, numRanks } = this.#layout.topology;
    this.#kernels.copyBytes(this.#at.fresh, live, 4 * numPhysicalExperts);
    // No expert may go back to a closed slot.
    emptyClosedSlots(new Int32Array(this.#buffer, this.#at.fresh, numPhysicalExperts), this.#layout.topology);
    this.#kernels.preserveSlots(
      this.#at.fresh,
      phyToLog,
      replicaRank,
      numPhysicalExperts,
      numRanks,
      numLogicalExperts,
      this.#at.search,
    );
  }

  /** Steps that a sample is the mean of. */
  #stepsOf(sample: number): number {
    const { numSamples, stepsPerSample, newestShare } = this.#job;
    return sample === numSamples - 1 ? stepsPerSample * newestShare : stepsPerSample;
  }

  /** Samples count by their steps; for their mean, that falls with age. */
  #weigh(chosen: readonly number[]): void {
    const { numSamples } = this.#job;
    const recency = new Float64Array(this.#buffer, this.#at.recency, chosen.length);
    const weights = new Float32Array(this.#buffer, this.#at.weights, wholeVectors(chosen.length)).fill(0);
    let sum = 0;
    let total = 0;
    for (const sample of chosen) total += this.#stepsOf(sample);
    for (const [i, sample] of chosen.entries()) {
      const steps = this.#stepsOf(sample);
      weights[i] = steps / total;
      // A product, not a power: Math.pow is not the same on every machine.
      let weight = steps;
      for (let age = sample; age < numSamples - 1; age++) weight *= RECENCY;
      recency[i] = weight;
      sum += weight;
    }
    for (let i = 0; i < recency.length; i++) recency[i]! /= sum;
  }
}
