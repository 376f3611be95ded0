import { emptyClosedSlots, numOpenSlots } from '../../core/open-slots.ts';
import type { ThreadJob } from '../../engine/layer-kernel.ts';
import { isCancelled, type JobLayout, JobWord, jobWords } from '../../engine/layout.ts';
import type { WrittenSamples } from '../../loads/load-samples.ts';
import type { KernelExports, Pointer } from '../../memory/kernel-exports.ts';
import { type AdaptiveRequest, type AdaptiveScratch, carveAdaptiveScratch, wholeVectors } from './request.ts';
import { estimateShrinkage } from './sampling-noise.ts';

/** So few slots are searched as good as exhaustively. */
const FEW_SLOTS = 16;
const KICKS_OF_FEW_SLOTS = 20;

/** How to search. */
export interface SearchTerms {
  readonly price: number;
  readonly maxMoves: number;
  /**
   * 'live' searches from the live placement, 'fresh' from one that is made for the samples and then moved to.
   */
  readonly start: 'live' | 'fresh';
  /** One step and no more: whether there is any. */
  readonly isOneStep?: boolean;
  /** From the one start alone, however far it leads. */
  readonly isQuick?: boolean;
}

/** Runs the adaptive policy's kernels on one layer after the other, in one worker. */
export class AdaptiveSearch {
  readonly #kernels: KernelExports;
  readonly #buffer: ArrayBufferLike;
  readonly #layout: JobLayout;
  readonly #request: AdaptiveRequest;
  readonly #job: WrittenSamples;
  readonly #at: AdaptiveScratch;
  readonly #words: Int32Array;
  /** Numbers of the samples that are prepared. */
  #chosen: readonly number[] = [];
  #evaluations = 0;

  constructor(
    { kernels, buffer, layout, request, scratch }: ThreadJob<AdaptiveRequest>,
    samples: WrittenSamples,
  ) {
    this.#kernels = kernels;
    this.#buffer = buffer;
    this.#layout = layout;
    this.#request = request;
    this.#job = samples;
    this.#at = carveAdaptiveScratch(layout.topology, request, kernels, scratch);
    this.#words = jobWords(buffer, layout);
    const { slotsPerRank, numRanks } = layout.topology;
    if (slotsPerRank !== undefined) new Int32Array(buffer, this.#at.slotsPerRank, numRanks).set(slotsPerRank);
  }

  /** Whether groups stay on nodes: those that cannot be dealt evenly to the nodes are given up. */
  get keepsGroups(): boolean {
    const { numGroups, numNodes } = this.#layout.topology;
    return this.#request.keepsGroups && numNodes > 1 && numGroups % numNodes === 0;
  }

  /** Whether the job is cancelled: then what a search was to write may not be there. */
  get isCancelled(): boolean {
    return isCancelled(this.#words);
  }

  /** A table and its replica numbers for searches whose placement is only looked at: i32[slots] each. */
  get spare(): { readonly table: Pointer; readonly ranks: Pointer } {
    return this.#at;
  }

  /**
   * Takes a layer's samples, the chosen ones that have load, for the searches that follow.
   *
   * @returns whether they are nothing but noise
   */
  prepare(layer: number, chosen: readonly number[]): boolean {
    const { numLogicalExperts, numRanks } = this.#layout.topology;
    const rowBytes = 4 * numLogicalExperts;
    const loaded = chosen.filter((sample) => this.#hasLoad(layer, sample));
    this.#chosen = loaded.length > 0 ? loaded : chosen;
    const { length } = this.#chosen;
    for (const [i, sample] of this.#chosen.entries()) {
      this.#kernels.copyBytes(this.#at.rows + i * rowBytes, this.#rowOf(layer, sample), rowBytes);
    }
    const rows = new Float32Array(this.#buffer, this.#at.rows, length * numLogicalExperts);
    const lengths = new Float64Array(this.#buffer, this.#at.lengths, length);
    lengths.set(this.#chosen.map((sample) => this.#stepsOf(sample)));
    const { shrink, prior, isNoise } = estimateShrinkage(rows, lengths, numLogicalExperts);
    this.#kernels.prepareSamples(
      this.#at.rows,
      rowBytes,
      length,
      numLogicalExperts,
      numRanks,
      this.#at.lengths,
      shrink,
      prior,
      this.#at.prepared,
      this.#at.spread,
      this.#at.mean,
      this.#at.likeness,
      this.#at.weights,
      this.#at.search,
    );
    return isNoise;
  }

  /**
   * Writes what each sample of the prepared layer tells of the loads to come, together 1.
   *
   * @param out [samples]; 0 for those that were not chosen
   */
  likeness(out: Float64Array): void {
    out.fill(0);
    const likeness = new Float64Array(this.#buffer, this.#at.likeness, this.#chosen.length);
    for (const [i, sample] of this.#chosen.entries()) out[sample] = likeness[i]!;
  }

  /**
   * Searches a placement of the prepared layer.
   *
   * @param live i32[slots]: the live placement; 0 when there is none: then nothing counts as a move
   * @returns what the smoothed load of the slowest rank falls by, from the start, as a share of the mean rank
   * load; 0 when it was cancelled
   */
  run(live: Pointer, terms: SearchTerms, phyToLog: Pointer, replicaRank: Pointer): number {
    const isFresh = live === 0 || terms.start === 'fresh';
    const triesFresh = !isFresh && !terms.isOneStep && !terms.isQuick;
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
      wholeVectors(this.#chosen.length),
      slotsPerRank === undefined ? 0 : this.#at.slotsPerRank,
      isFresh ? this.#at.fresh : live,
      triesFresh ? this.#at.fresh : 0,
      isFresh ? 0 : terms.price,
      isFresh ? numPhysicalExperts : terms.maxMoves,
      terms.isOneStep ? 1 : maxEvaluations,
      terms.isOneStep ? 0 : kicks,
      this.#layout.words + 4 * JobWord.CANCELLED,
      phyToLog,
      replicaRank,
      this.#at.result,
      this.#at.search,
    );
    if (this.isCancelled) return 0;
    const [before = 0, after = 0, , evaluations = 0] = new Float64Array(this.#buffer, this.#at.result, 4);
    this.#evaluations += evaluations;
    if (isFresh && live !== 0) this.#keepSlots(live, phyToLog, replicaRank);
    // Loads that burst on some of a thousand ranks and more have powers beyond float32: then nothing is known
    // to be gained.
    const gain = before - after;
    return Number.isFinite(gain) ? gain : 0;
  }

  /** Steps that all searches looked at closely. */
  get evaluations(): number {
    return this.#evaluations;
  }

  /**
   * The default policy's placement for the samples' mean, closed slots and all: the search leaves out what is
   * in them.
   */
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

  #hasLoad(layer: number, sample: number): boolean {
    const { numLogicalExperts } = this.#layout.topology;
    return new Float32Array(this.#buffer, this.#rowOf(layer, sample), numLogicalExperts).some(
      (load) => load > 0,
    );
  }

  #rowOf(layer: number, sample: number): Pointer {
    const { numLayers, numLogicalExperts } = this.#layout.topology;
    return this.#layout.samples + 4 * (sample * numLayers + layer) * numLogicalExperts;
  }
}
