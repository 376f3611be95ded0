import { emptyClosedSlots } from '../../core/open-slots.ts';
import { meanSpeed, relativeSpeeds } from '../../core/rank-speeds.ts';
import { sharedLoads } from '../../core/rules.ts';
import type { ThreadJob } from '../../engine/layer-kernel.ts';
import { isCancelled, type JobLayout, JobWord, jobWords } from '../../engine/layout.ts';
import { lengthOfSample, stepsOfSamples, type WrittenSamples } from '../../loads/load-samples.ts';
import { numberReplicas } from '../../mapping/number-replicas.ts';
import type { KernelExports, Pointer } from '../../memory/kernel-exports.ts';
import { meanLoads } from './ceiling.ts';
import { type ExtentName, linkedExtent, numKicksOf, searchExtent } from './extent.ts';
import { type AdaptiveExports, adaptiveExports } from './kernel-exports.ts';
import { numLinkNodes, pairsPerRow } from './link-sizes.ts';
import { checkPairs, preparePairs, writeNodes } from './links.ts';
import { matchRanks } from './match-ranks.ts';
import { NearLinks } from './near-links.ts';
import { areInterchangeable } from './relabel.ts';
import { type AdaptiveRequest, type AdaptiveScratch, carveAdaptiveScratch, NO_LIMIT } from './request.ts';
import { SearchRules } from './rules.ts';
import { NUM_CURVE_POINTS, writeCurve } from './slot-costs.ts';
import { SurvivalGoal } from './survive.ts';
import { AdaptiveTerms } from './terms.ts';

/** How to search. */
export interface SearchTerms {
  readonly price: number;
  readonly maxMoves: number;
  /**
   * 'live' searches from the live placement, 'fresh' from one that is made for the samples and then moved
   * to.
   */
  readonly start: 'live' | 'fresh';
  /** Default: 'first' for a fresh start, else 'next'. */
  readonly extent?: ExtentName;
  /**
   * Whether the norm of the rank loads is 16, not 8: nearer to the slowest rank, where loads are known well
   * or the plan is the first.
   */
  readonly isSharp?: boolean;
  /** One step and no more: whether there is any. */
  readonly isOneStep?: boolean;
  /** From the live placement, but from one made for the samples as well. */
  readonly triesFresh?: boolean;
  /** `[physical]`: in place of the one that is made for the samples. */
  readonly from?: Int32Array;
}

/** What the prepared samples of a layer tell. */
export interface SampleFacts {
  /** Whether nothing tells them from chance draws out of equal loads, for ranks that are alike. */
  readonly isNoise: boolean;
  /** The variance of one step, in shares of the mean rank load, added up over the experts. */
  readonly noise: number;
  /** Steps that the mean is as good as; experts that the noise is spread over. */
  readonly numTelling: number;
  readonly numVarying: number;
  /** By how much the loads move on in a step, half the squared distance over all experts. */
  readonly forgetting: number;
  /** What loads that pass add to `noise`, where the mean of many steps is asked for. */
  readonly turnover: number;
  /**
   * What ranks take in a sample at balance: their mean load, or seconds where slots have costs, / their mean
   * speed.
   */
  readonly meanRankLoad: number;
  /** By what share of their own growth tokens make what slots cost grow. */
  readonly elasticity: number;
  /** `[logical]`: the expected loads, as shares of the mean rank load. Changes with the next layer. */
  readonly expected: Float32Array;
}

/** How far a layer's newest steps are from what was expected. */
export interface LayerChange {
  /** Squared, in shares of the mean rank load, over all experts. */
  readonly distance: number;
  /** Steps that are new; 0 when none of them has load. */
  readonly numNewSteps: number;
  readonly noise: number;
  readonly numVarying: number;
}

/** Runs the adaptive policy's kernels on one layer after the other, in one worker. */
export class AdaptiveSearch {
  readonly #kernels: KernelExports;
  readonly #adaptive: AdaptiveExports;
  readonly #buffer: ArrayBufferLike;
  readonly #layout: JobLayout;
  readonly #request: AdaptiveRequest;
  readonly #job: WrittenSamples;
  readonly #at: AdaptiveScratch;
  readonly #terms: AdaptiveTerms;
  readonly #words: Int32Array;
  readonly #goal: SurvivalGoal | undefined;
  readonly #threadJob: ThreadJob<AdaptiveRequest>;
  readonly #hasLinks: boolean;
  /** `[ranks]`: how fast each is, 1 in the mean; undefined where all are alike. */
  readonly #speeds: readonly number[] | undefined;
  readonly #rules: SearchRules | undefined;
  /** `[ranks]`: what a shared expert adds, as a share of the layer's load; undefined where there is none. */
  readonly #shared: readonly number[] | undefined;
  /** Where tokens take the nearest copy, and links count. */
  readonly nearLinks: NearLinks | undefined;
  #evaluations = 0;
  #layer = 0;
  #savedByLinks = 0;

  constructor(threadJob: ThreadJob<AdaptiveRequest>, samples: WrittenSamples) {
    const { kernels, buffer, layout, request, scratch } = threadJob;
    this.#threadJob = threadJob;
    this.#hasLinks = numLinkNodes(request, layout.topology) > 0;
    const isNear = this.#hasLinks && request.dispatch === 'nearest';
    this.nearLinks = isNear ? new NearLinks(layout.topology, request.linkPrice) : undefined;
    this.#kernels = kernels;
    this.#adaptive = adaptiveExports(kernels);
    this.#buffer = buffer;
    this.#layout = layout;
    this.#request = request;
    this.#job = samples;
    this.#at = carveAdaptiveScratch(layout.topology, request, kernels, scratch);
    this.#terms = new AdaptiveTerms(this.#adaptive, buffer, this.#at.terms);
    this.#words = jobWords(buffer, layout);
    const { survive } = request;
    this.#goal = survive === undefined ? undefined : new SurvivalGoal(layout.topology, survive);
    this.#speeds = relativeSpeeds(layout.topology);
    this.#rules = SearchRules.of(layout.topology, buffer, this.#at);
    this.#shared = layout.topology.rules && sharedLoads(layout.topology);
    this.#setFixedTerms();
  }

  /** Whether a placement of a layer keeps the user's rules. */
  keepsRules(layer: number, slots: Int32Array): boolean {
    return this.#rules?.isKept(layer, slots) ?? true;
  }

  /** Whether as many experts as can survive any single failure; true where none has to. */
  isSurvivedByAny(layer: number, slots: Int32Array): boolean {
    return this.#goal?.isReachedByAny(layer, slots) ?? true;
  }

  /**
   * Whether those of the prepared layer survive that have to, or any may be them: which experts are the
   * heaviest is chance, where nothing tells the loads from equal ones.
   */
  isSurvived(slots: Int32Array): boolean {
    if (this.#goal === undefined || this.#terms.integer('isNoise') !== 0) return true;
    return this.#goal.isReached(slots, this.#survivors);
  }

  /**
   * Chooses which experts of the prepared layer have to survive: the heaviest ones, or those of the live
   * placement that are nearly as heavy.
   */
  chooseSurvivors(live?: Int32Array): void {
    const mean = new Float32Array(this.#buffer, this.#at.mean, this.#layout.topology.numLogicalExperts);
    this.#goal?.choose(this.#layer, mean, this.#survivors, live);
  }

  /** u8[logical]: which experts of the prepared layer have to survive any single failure. */
  get #survivors(): Uint8Array {
    return new Uint8Array(this.#buffer, this.#at.survivors, this.#layout.topology.numLogicalExperts);
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

  get numLayers(): number {
    return this.#layout.topology.numLayers;
  }

  /** Steps that the samples are of. */
  get knownSteps(): number {
    return stepsOfSamples(this.#job);
  }

  /** Takes a layer's samples for the searches that follow. */
  prepare(layer: number): SampleFacts {
    this.#terms.setIntegers({ steps: this.#samplesAt(layer) });
    this.#rules?.write(layer);
    this.#adaptive.prepareSamples(this.#terms.at);
    this.#prepareLinks(layer);
    if (this.#request.tolerance !== undefined) this.#prepareCeiling();
    const { topology } = this.#layout;
    const { numLogicalExperts } = topology;
    this.#layer = layer;
    this.chooseSurvivors();
    return {
      // Of ranks that are not alike a placement is better than another for equal loads too.
      isNoise: this.#terms.integer('isNoise') !== 0 && this.#areAlike,
      noise: this.#terms.number('noise'),
      numTelling: this.#terms.number('numTelling'),
      numVarying: this.#terms.number('numVarying'),
      forgetting: this.#terms.number('forgetting'),
      turnover: this.#terms.number('turnover'),
      meanRankLoad: this.#meanRankLoad() / meanSpeed(topology),
      elasticity: this.#terms.number('elasticity'),
      expected: new Float32Array(this.#buffer, this.#at.middle, numLogicalExperts),
    };
  }

  /** What links and the ceiling need of a layer. */
  #prepareLinks(layer: number): void {
    const { tolerance, linkPrice } = this.#request;
    if (linkPrice > 0 && !this.#hasLinks) checkPairs(this.#threadJob, layer);
    if (!this.#hasLinks && tolerance === undefined) return;
    meanLoads(this.rowsOf(layer), (sample) => lengthOfSample(this.#job, sample), this.#meanLoads);
    if (!this.#hasLinks) return;
    const pairsTotal = this.nearLinks?.prepare(this.#meanLoads, this.#nearWorth);
    this.#terms.setNumbers({ pairsTotal: pairsTotal ?? preparePairs(this.#threadJob, this.#at, layer) });
  }

  /** f32[nodes x logical made a multiple of 4] */
  get #nearWorth(): Float32Array {
    const { numNodes, numLogicalExperts } = this.#layout.topology;
    return new Float32Array(this.#buffer, this.#at.pairs, numNodes * pairsPerRow(numLogicalExperts));
  }

  get #meanLoads(): Float32Array {
    return new Float32Array(this.#buffer, this.#at.ceilingLoads, this.#layout.topology.numLogicalExperts);
  }

  /** Places the default policy's placement of the mean loads, and takes the ceiling from it. */
  #prepareCeiling(): void {
    const { topology } = this.#layout;
    const { numPhysicalExperts, numGroups, numNodes } = topology;
    const isByGroups = numGroups % numNodes === 0 && topology.nodeOfRank === undefined;
    this.#placeByDefault(this.#at.ceilingLoads, isByGroups, this.#at.ranks);
    this.#kernels.copyBytes(this.#at.reference, this.#at.fresh, 4 * numPhysicalExperts);
    if (this.#isDealt || topology.slotsPerRank !== undefined) {
      this.#dealFresh();
      this.#kernels.copyBytes(this.#at.reference, this.#at.fresh, 4 * numPhysicalExperts);
    }
    const most = this.#adaptive.longestTime(this.#terms.at, this.#at.reference);
    // A hair less than allowed: sums of loads are rounded.
    this.#terms.setNumbers({ ceiling: (most / (1 - this.#request.tolerance!)) * (1 - 2 ** -40) });
  }

  /** Whether a rank of a placement of the prepared layer is above the ceiling. */
  isAbove(placement: Pointer): boolean {
    if (this.#request.tolerance === undefined) return false;
    return this.#adaptive.longestTime(this.#terms.at, placement) > this.#terms.number('ceiling');
  }

  /** Whether equal loads leave all ranks equally slow, wherever experts are. */
  get #areAlike(): boolean {
    return this.#speeds === undefined && (this.#shared?.every((load) => load === this.#shared![0]) ?? true);
  }

  #meanRankLoad(): number {
    if (this.#request.slotCosts !== undefined) return this.#terms.number('unit');
    return this.#terms.number('totalLoad') / this.#job.numSamples / this.#layout.topology.numRanks;
  }

  /**
   * Measures how far a layer's newest steps are from what was expected. What was prepared is lost.
   *
   * @param expected f32[logical made a multiple of 4]
   */
  change(layer: number, numNewSteps: number, expected: Pointer): LayerChange {
    this.#terms.setIntegers({
      steps: this.#samplesAt(layer),
      expected,
      firstNew: this.#firstNew(numNewSteps),
    });
    this.#adaptive.measureChange(this.#terms.at);
    return {
      distance: this.#terms.number('distance'),
      numNewSteps: this.#terms.number('numNewSteps'),
      noise: this.#terms.number('noise'),
      numVarying: this.#terms.number('numVarying'),
    };
  }

  /**
   * Writes what each sample of the prepared layer tells of the loads to come, together 1.
   *
   * @param out [samples]
   */
  likeness(out: Float64Array): void {
    out.set(new Float64Array(this.#buffer, this.#at.likeness, out.length));
  }

  /**
   * Measures the load of the slowest rank / the mean rank load, by their speeds, of every sample of the
   * prepared layer; 1 where there is no load.
   *
   * @param placement i32[slots], -1 for an empty slot
   * @param out [samples]
   */
  slowest(placement: Pointer, out: Float64Array): void {
    this.#terms.setIntegers({ placement });
    this.#adaptive.measureSlowest(this.#terms.at);
    out.set(new Float64Array(this.#buffer, this.#at.slowest, out.length));
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
    const triesFresh = !isFresh && terms.triesFresh === true;
    const { numPhysicalExperts } = this.#layout.topology;
    if (terms.from !== undefined) this.#tableAt(this.#at.fresh).set(terms.from);
    else if (isFresh || triesFresh) this.#placeAfresh(replicaRank);
    if (triesFresh && terms.from === undefined) this.#matchFresh(live);
    const extent = terms.extent ?? (isFresh ? 'first' : 'next');
    const isOneStep = terms.isOneStep === true;
    const { topology } = this.#layout;
    const { effort } = this.#request;
    const { maxVisits, maxIdle, maxPasses, leastGain, walkPatience } = this.countsLinks
      ? linkedExtent(effort, extent, topology)
      : searchExtent(effort, extent, topology);
    const isSharp = terms.isSharp ?? extent === 'first';
    this.#terms.setNumbers({ price: isFresh ? 0 : terms.price, leastGain });
    this.#terms.setIntegers({
      previous: isFresh ? this.#at.fresh : live,
      fresh: triesFresh ? this.#at.fresh : 0,
      // Copies dealt out by their loads alone would leave the nodes that links save on.
      dealsCopies: isOneStep || this.hasPairs ? 0 : 1,
      isSharp: isSharp ? 1 : 0,
      maxMoves: isFresh ? numPhysicalExperts : terms.maxMoves,
      maxVisits,
      maxPasses,
      // Whether there is any step is told for sure.
      maxIdle: isOneStep ? NO_LIMIT : maxIdle,
      maxEvaluations: isOneStep ? 1 : this.#request.maxEvaluations,
      walkPatience: isOneStep ? 0 : walkPatience,
      numKicks: isOneStep ? 0 : numKicksOf(this.#request, topology),
      phyToLog,
      replicaRank,
    });
    if (this.#isDealt && terms.from === undefined && (isFresh || triesFresh)) this.#dealFresh();
    this.#adaptive.searchAdaptive(this.#terms.at);
    if (this.isCancelled) return 0;
    this.#evaluations += this.#terms.number('evaluations');
    this.#savedByLinks = this.#terms.number('savedAfter') - this.#terms.number('savedBefore');
    if (isFresh && live !== 0) this.keepSlots(live, phyToLog, replicaRank);
    // Loads that burst on some of a thousand ranks and more have powers beyond float32: then nothing is
    // known to be gained.
    const gain = this.#terms.number('before') - this.#terms.number('after');
    return Number.isFinite(gain) ? gain : 0;
  }

  /** What links save more by what the last search found, as a share of the mean rank load. */
  get savedByLinks(): number {
    return this.#savedByLinks;
  }

  /** Whether no rank was above the ceiling in what the last search found. */
  get isBelow(): boolean {
    return this.#terms.integer('isBelow') !== 0;
  }

  /** Whether something tells of the prepared layer which experts belong together. */
  get hasPairs(): boolean {
    return this.countsLinks && this.nearLinks === undefined;
  }

  /** Whether links count in the prepared layer. */
  get countsLinks(): boolean {
    return this.#hasLinks && this.#terms.number('pairsTotal') > 0;
  }

  /**
   * Whether links were to count, within a ceiling, and nothing tells which experts belong together: then
   * there is no reason to leave the placement that the ceiling is by.
   */
  get hasOnlyReference(): boolean {
    const { linkPrice, tolerance } = this.#request;
    const isBound = this.#goal !== undefined || this.#rules !== undefined;
    return linkPrice > 0 && tolerance !== undefined && !this.hasPairs && !isBound;
  }

  /**
   * Whether the last search came to nothing below the ceiling, so that the placement that it is by is all
   * there is: that may have two copies of an expert on one rank, which no search makes.
   */
  get isToBeReference(): boolean {
    return !this.isBelow && this.#request.tolerance !== undefined && this.#goal === undefined;
  }

  /** Writes the placement that the ceiling is by; what stays on a rank keeps its slots in `live`, if any. */
  takeReference(live: Pointer, phyToLog: Pointer, replicaRank: Pointer): void {
    const planned = this.#tableAt(phyToLog);
    planned.set(this.#tableAt(this.#at.reference));
    const counts = new Int32Array(this.#layout.topology.numLogicalExperts);
    numberReplicas(planned, this.#tableAt(replicaRank), counts);
    if (live !== 0) this.keepSlots(live, phyToLog, replicaRank);
  }

  /** Steps that all searches looked at closely. */
  get evaluations(): number {
    return this.#evaluations;
  }

  /** What is the same for all layers. */
  #setFixedTerms(): void {
    const { topology, words } = this.#layout;
    const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes, slotsPerRank } = topology;
    const { numSamples, stepsPerSample, newestShare, numSingles } = this.#job;
    const at = this.#at;
    this.#terms.setNumbers({ stepLength: stepsPerSample, newestLength: stepsPerSample * newestShare });
    this.#terms.setIntegers({
      numExperts: numLogicalExperts,
      numSlots: numPhysicalExperts,
      numRanks,
      numNodes: this.keepsGroups ? numNodes : 1,
      maxSamples: this.#request.maxSamples,
      numSteps: numSamples,
      numSingles,
      slotsPerRank: slotsPerRank === undefined ? 0 : at.slotsPerRank,
      survivors: this.#goal === undefined ? 0 : at.survivors,
      domains: at.domains,
      rankSpeed: this.#speeds === undefined ? 0 : at.rankSpeed,
      pairs: this.#hasLinks ? at.pairs : 0,
      nodeOfRank: at.nodeOfRank,
      numLinkNodes: numLinkNodes(this.#request, topology),
      isNearest: this.nearLinks === undefined ? 0 : 1,
      ceilingLoads: this.#request.tolerance === undefined ? 0 : at.ceilingLoads,
      pinned: this.#rules === undefined ? 0 : at.pinned,
      numPins: at.numPins,
      mostCopies: at.mostCopies,
      fixedShare: this.#shared === undefined ? 0 : at.fixedShare,
      fixedLoad: at.fixedLoad,
      curve: this.#request.slotCosts === undefined ? 0 : at.curve,
      tokens: at.tokens,
      scratch: at.search,
      stride: 4 * numLayers * numLogicalExperts,
      slowest: at.slowest,
      samples: at.samples,
      spread: at.spread,
      weights: at.weights,
      mean: at.mean,
      middle: at.middle,
      likeness: at.likeness,
      cancelled: words + 4 * JobWord.CANCELLED,
    });
    if (this.#hasLinks) writeNodes(this.#threadJob, at);
    this.#terms.setNumbers({ linkPrice: this.#request.linkPrice });
    const { slotCosts } = this.#request;
    if (slotCosts !== undefined)
      writeCurve(slotCosts, topology, new Float32Array(this.#buffer, at.curve, NUM_CURVE_POINTS));
    if (this.#goal !== undefined) new Int32Array(this.#buffer, at.domains, numRanks).set(this.#goal.domains);
    if (this.#speeds !== undefined) new Float32Array(this.#buffer, at.rankSpeed, numRanks).set(this.#speeds);
    if (this.#shared !== undefined) new Float32Array(this.#buffer, at.fixedShare, numRanks).set(this.#shared);
    if (slotsPerRank !== undefined) new Int32Array(this.#buffer, at.slotsPerRank, numRanks).set(slotsPerRank);
  }

  /**
   * The default policy's placement for the samples' mean, closed slots and all: the search leaves out what
   * is in them.
   */
  #placeAfresh(ranks: Pointer): void {
    if (this.#request.tolerance !== undefined) {
      const { numPhysicalExperts } = this.#layout.topology;
      this.#kernels.copyBytes(this.#at.fresh, this.#at.reference, 4 * numPhysicalExperts);
    } else this.#placeByDefault(this.#at.mean, this.keepsGroups, ranks);
  }

  #placeByDefault(loads: Pointer, isByGroups: boolean, ranks: Pointer): void {
    const { topology } = this.#layout;
    const { numLogicalExperts, numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
    this.#kernels.placeLayers(
      loads,
      1,
      numLogicalExperts,
      numPhysicalExperts,
      isByGroups ? numGroups : 1,
      isByGroups ? numNodes : 1,
      numRanks,
      this.#at.fresh,
      ranks,
      this.#at.layer,
    );
  }

  /**
   * Whether that placement is dealt anew: to ranks that are not alike, or where others have copies than it
   * gives some.
   */
  get #isDealt(): boolean {
    const isRuled = this.#rules !== undefined || !this.#areAlike;
    return isRuled || this.#speeds !== undefined || this.#goal !== undefined;
  }

  /** Has ranks of that placement change places, where they may, so that less of what is live has to move. */
  #matchFresh(live: Pointer): void {
    const { topology } = this.#layout;
    if (this.#isDealt || !areInterchangeable(topology, this.#request.survive)) return;
    const numParts = this.keepsGroups ? topology.numNodes : 1;
    matchRanks(topology, numParts, this.#tableAt(live), this.#tableAt(this.#at.fresh));
  }

  /** Deals that placement to the ranks as they are. */
  #dealFresh(): void {
    const fresh = this.#terms.integer('fresh');
    this.#terms.setIntegers({ fresh: this.#at.fresh });
    this.#adaptive.dealToRanks(this.#terms.at);
    this.#terms.setIntegers({ fresh });
  }

  /** What stays on a rank goes back to its slots in `live`. */
  keepSlots(live: Pointer, phyToLog: Pointer, replicaRank: Pointer): void {
    const { numLogicalExperts, numPhysicalExperts, numRanks } = this.#layout.topology;
    this.#kernels.copyBytes(this.#at.fresh, live, 4 * numPhysicalExperts);
    // No expert may go back to a closed slot.
    emptyClosedSlots(this.#tableAt(this.#at.fresh), this.#layout.topology);
    this.#kernels.preserveSlots(
      this.#at.fresh,
      phyToLog,
      replicaRank,
      numPhysicalExperts,
      numRanks,
      numLogicalExperts,
      this.#at.layer,
    );
  }

  /** i32[slots] */
  #tableAt(at: Pointer): Int32Array {
    return new Int32Array(this.#buffer, at, this.#layout.topology.numPhysicalExperts);
  }

  /** The samples [logical] of a layer, as they were given. */
  rowsOf(layer: number): readonly Float32Array[] {
    const { numLayers, numLogicalExperts } = this.#layout.topology;
    const stride = 4 * numLayers * numLogicalExperts;
    return Array.from(
      { length: this.#job.numSamples },
      (_, t) => new Float32Array(this.#buffer, this.#samplesAt(layer) + t * stride, numLogicalExperts),
    );
  }

  #samplesAt(layer: number): Pointer {
    return this.#layout.samples + 4 * layer * this.#layout.topology.numLogicalExperts;
  }

  /** The first sample that is of new steps alone. */
  #firstNew(numNewSteps: number): number {
    let first = this.#job.numSamples;
    let numSteps = 0;
    while (first > 0) {
      numSteps += lengthOfSample(this.#job, first - 1);
      // Lengths can be a hair off whole numbers.
      if (numSteps > numNewSteps + 1e-6) break;
      first--;
    }
    return first;
  }
}
