import { EplbError } from '../../core/errors.ts';
import { openPlaces, openSlotsOfNodes } from '../../core/open-slots.ts';
import { meanSpeed } from '../../core/rank-speeds.ts';
import type { ThreadJob } from '../../engine/layer-kernel.ts';
import type { JobLayout } from '../../engine/layout.ts';
import { MoveCounter } from '../../mapping/move-counter.ts';
import { numberReplicas } from '../../mapping/number-replicas.ts';
import type { Pointer } from '../../memory/kernel-exports.ts';
import { outlooksOf, type PlanOutlook } from './change.ts';
import { PlanMemory } from './memory.ts';
import { NearestCounter } from './nearest.ts';
import { chanceOf, doubtOf, type LayerOutlook, MOST_PRICE, priceOf, stayingStepsOf } from './price.ts';
import {
  type AdaptiveData,
  type AdaptiveRequest,
  CHOSEN_STATS,
  carveAdaptiveData,
  expectedGain,
  hasRungs,
  LayerStat,
  NUM_RUNGS,
  STATS_PER_LAYER,
} from './request.ts';
import { AdaptiveSearch, type SampleFacts, type SearchTerms } from './search.ts';
import { WayBack } from './way-back.ts';

/** Prices of the rungs double from this on, or from the price itself when that is higher. */
const LEAST_RUNG_PRICE = 0.0005;
/** What rounding alone makes of the smoothed load of the slowest rank. */
const ROUNDING = 1e-6;

/** Plans layers for the adaptive policy, in one worker: into the job's tables and statistics. */
export class AdaptiveLayers {
  readonly #buffer: ArrayBufferLike;
  readonly #layout: JobLayout;
  readonly #request: AdaptiveRequest;
  readonly #numSamples: number;
  readonly #hasPrevious: boolean;
  readonly #isInitial: boolean;
  readonly #data: AdaptiveData;
  readonly #search: AdaptiveSearch;
  readonly #moves: MoveCounter;
  readonly #memory: PlanMemory;
  readonly #newMemory: PlanMemory;
  /** `[layers]` */
  readonly #outlooks: readonly PlanOutlook[];
  /** [logical] */
  readonly #counts: Int32Array;
  /** [samples]: how much slower the slowest rank is, under the live placement and under another. */
  readonly #live: Float64Array;
  readonly #planned: Float64Array;
  /** [samples]: what each tells of the loads to come, together 1. */
  readonly #likeness: Float64Array;
  /** [slots]: -1 where one is closed. */
  readonly #places: Int32Array;
  /** The layer that was prepared last. */
  #layer = 0;
  /** Where tokens take the nearest copy, and that can differ from any. */
  readonly #nearest: NearestCounter | undefined;
  readonly #wayBack: WayBack;

  constructor(threadJob: ThreadJob<AdaptiveRequest>) {
    const { buffer, layout, request, job } = threadJob;
    const { loads, hasPrevious, history } = job;
    if (loads.from !== 'samples') throw new EplbError('EPLB_INTERNAL', 'a search without samples');
    this.#buffer = buffer;
    this.#layout = layout;
    this.#request = request;
    this.#numSamples = loads.numSamples;
    this.#hasPrevious = hasPrevious;
    this.#isInitial = history?.isInitial === true;
    this.#data = carveAdaptiveData(layout.topology, request, layout.kernelData);
    this.#search = new AdaptiveSearch(threadJob, loads);
    this.#moves = new MoveCounter(layout.topology);
    this.#memory = new PlanMemory(buffer, layout, layout.memory);
    this.#newMemory = new PlanMemory(buffer, layout, layout.newMemory);
    this.#outlooks = outlooksOf(this.#search, request, history, this.#memory);
    this.#counts = new Int32Array(layout.topology.numLogicalExperts);
    this.#live = new Float64Array(loads.numSamples);
    this.#planned = new Float64Array(loads.numSamples);
    this.#likeness = new Float64Array(loads.numSamples);
    this.#places = openPlaces(layout.topology);
    // Of groups that stay on their node all copies are near each other.
    const isNear =
      request.dispatch === 'nearest' && layout.topology.numNodes > 1 && !this.#search.keepsGroups;
    this.#nearest = isNear ? new NearestCounter(layout.topology, request) : undefined;
    const tableAt = (pointer: Pointer) => this.#tableAt(pointer);
    this.#wayBack = new WayBack(this.#search, this.#moves, layout.topology, request, tableAt);
  }

  /**
   * Plans one layer. Where the job is cancelled meanwhile, nothing may be made of it.
   *
   * @param phyToLog i32[slots], and `replicaRank`: where its tables are written
   */
  plan(layer: number, phyToLog: Pointer, replicaRank: Pointer): void {
    const stats = this.#statsAt(this.#data.stats, layer);
    const before = this.#search.evaluations;
    stats.fill(0);
    // A layer that stays as it is has no dearer placements.
    if (hasRungs(this.#request, this.#layout.topology)) this.#rungStatsOf(layer).fill(0);
    if (this.#hasPrevious) this.#planFromLive(layer, phyToLog, replicaRank, stats);
    else this.#planAfresh(layer, phyToLog, replicaRank, stats);
    stats[LayerStat.EVALUATIONS] = this.#search.evaluations - before;
  }

  #planAfresh(layer: number, phyToLog: Pointer, replicaRank: Pointer, stats: Float64Array): void {
    this.#prepare(layer, stats);
    const terms = { price: 0, maxMoves: 0, start: 'fresh', extent: 'first' } as const;
    if (this.#search.hasOnlyReference) this.#search.takeReference(0, phyToLog, replicaRank);
    else {
      this.#searchPlan(0, terms, phyToLog, replicaRank);
      if (this.#search.isToBeReference) this.#search.takeReference(0, phyToLog, replicaRank);
    }
  }

  /** A search, and what it has to be followed by where tokens take the nearest copy. @returns the gain */
  #searchPlan(live: Pointer, terms: SearchTerms, phyToLog: Pointer, replicaRank: Pointer): number {
    const gain = this.#search.run(live, terms, phyToLog, replicaRank);
    const nearest = this.#nearest;
    if (nearest === undefined || this.#search.isCancelled) return gain;
    const slots = this.#tableAt(phyToLog);
    const before = live === 0 ? undefined : this.#tableAt(live);
    const isAllowed = (changed: Int32Array) =>
      this.#search.isSurvived(changed) && this.#search.keepsRules(this.#layer, changed);
    const savedByLinks = (changed: Int32Array) => this.#search.nearLinks?.saved(changed) ?? 0;
    const { price, maxMoves } = terms;
    nearest.polish(slots, before, { price, maxMoves, savedByLinks, isAllowed });
    numberReplicas(slots, this.#tableAt(replicaRank), this.#counts);
    if (before === undefined) return gain;
    const saved = savedByLinks(slots) - savedByLinks(before);
    return nearest.expected(before) - nearest.expected(slots) + saved;
  }

  #planFromLive(layer: number, phyToLog: Pointer, replicaRank: Pointer, stats: Float64Array): void {
    const { mode } = this.#outlooks[layer]!;
    const at = this.#layout.previous + 4 * layer * this.#layout.topology.numPhysicalExperts;
    const live = this.#tableAt(at);
    const planned = this.#tableAt(phyToLog);
    const mustLeave = this.#search.keepsGroups && (this.#splitsGroups(live) || this.#overfillsNode(live));
    let mustChange = mustLeave || this.#isUnfit(live) || !this.#search.isSurvivedByAny(layer, live);
    if (!this.#search.keepsRules(layer, live)) mustChange = true;
    stats[LayerStat.MUST_CHANGE] = mustChange ? 1 : 0;
    stats[LayerStat.IS_UNCHANGED] = mode === 'keep' ? 1 : 0;
    if (mode === 'keep' && !mustChange && this.#request.tolerance === undefined) {
      planned.set(live);
      return;
    }
    const facts = this.#prepare(layer, stats);
    const price = this.#priceAt(layer, stats);
    // A mapping that was made for no loads has no experts that were chosen to survive.
    if (price > 0 && mode !== 'first' && !this.#isInitial) this.#search.chooseSurvivors(live);
    if (!this.#search.isSurvived(live) || this.#search.isAbove(at)) mustChange = true;
    if (mode === 'keep' && !mustChange) {
      planned.set(live);
      return;
    }
    stats[LayerStat.MUST_CHANGE] = mustChange ? 1 : 0;
    const isFree = mode === 'first' || price === 0;
    // Links save little in a placement that was made for no loads: where all may move, it is no start.
    const isUnlimited = this.#maxMoves >= live.length && !hasRungs(this.#request, this.#layout.topology);
    const isAnew = mode === 'first' && price === 0 && isUnlimited && this.#search.hasPairs;
    const start = mustLeave || isAnew ? 'fresh' : 'live';
    const terms: SearchTerms = {
      price,
      maxMoves: this.#maxMoves,
      start,
      extent: isFree ? 'first' : 'next',
      isSharp: isFree || mode === 'again',
      triesFresh: isFree,
    };
    // What nothing tells from equal loads is as good as it is.
    const isDone = facts.isNoise && !mustChange && !this.#search.countsLinks;
    if (isDone) planned.set(live);
    else this.#searchFrom(at, terms, phyToLog, replicaRank, stats);
    if (this.#search.isCancelled || isDone) return;
    if (this.#search.hasPairs && isUnlimited && !mustLeave) {
      const found = { live: at, phyToLog, replicaRank, stats };
      if (isAnew) this.#wayBack.fromAnew(found, { ...terms, price: this.#laterPrice(stats) });
      else this.#wayBack.fromLive(found, terms);
      if (this.#search.isCancelled) return;
    }
    this.#search.likeness(this.#likeness);
    this.#slowest(at, this.#live);
    this.#describe(live, phyToLog, stats);
    if (!isAnew) this.#keepUnpaid(live, planned, price, stats);
    if (hasRungs(this.#request, this.#layout.topology)) this.#climb(layer, live, price, terms, stats);
  }

  /**
   * Searches, and from another start where the ceiling cannot be met from the live placement: if the layer
   * may move as much as that takes.
   */
  #searchFrom(
    live: Pointer,
    terms: SearchTerms,
    phyToLog: Pointer,
    replicaRank: Pointer,
    stats: Float64Array,
  ): void {
    stats[LayerStat.SMOOTH_GAIN] = this.#searchPlan(live, terms, phyToLog, replicaRank);
    const { tolerance, maxMovesPerLayer } = this.#request;
    const mayBeginAnew = terms.start === 'fresh' || maxMovesPerLayer >= this.#tableAt(live).length;
    if (tolerance !== undefined && mayBeginAnew && !this.#search.isBelow && !this.#search.isCancelled) {
      const fresh: SearchTerms = { ...terms, start: 'fresh' };
      stats[LayerStat.SMOOTH_GAIN] = this.#searchPlan(live, fresh, phyToLog, replicaRank);
      if (this.#search.isToBeReference) this.#search.takeReference(live, phyToLog, replicaRank);
    }
    stats[LayerStat.LINK_GAIN] = this.#linkGain(live, phyToLog);
  }

  /** What links save more by what was searched. */
  #linkGain(live: Pointer, planned: Pointer): number {
    const { nearLinks, savedByLinks } = this.#search;
    if (nearLinks === undefined) return savedByLinks;
    return nearLinks.saved(this.#tableAt(planned)) - nearLinks.saved(this.#tableAt(live));
  }

  /** What a move of the prepared layer costs where a plan is not the first. */
  #laterPrice(stats: Float64Array): number {
    return priceOf(this.#request, this.#layout.topology, 'anew', factsOf(stats));
  }

  /** Prepares a layer's samples, and remembers what is expected of its loads. */
  #prepare(layer: number, stats: Float64Array): SampleFacts {
    const facts = this.#search.prepare(layer);
    this.#layer = layer;
    this.#newMemory.expect(layer, facts.expected, facts.numTelling);
    if (this.#nearest !== undefined) {
      this.#search.likeness(this.#likeness);
      this.#nearest.prepare({
        rows: this.#search.rowsOf(layer),
        likeness: this.#likeness,
        unit: facts.meanRankLoad * meanSpeed(this.#layout.topology),
      });
    }
    stats[LayerStat.MEAN_RANK_LOAD] = facts.meanRankLoad;
    stats[LayerStat.IS_NOISE] = facts.isNoise ? 1 : 0;
    stats[LayerStat.CHANCE] = chanceOf(this.#layout.topology, facts);
    stats[LayerStat.DOUBT] = doubtOf(this.#layout.topology, facts);
    stats[LayerStat.STAYING_STEPS] =
      this.#outlooks[layer]!.stayingSteps ??
      this.#request.stayingSteps ??
      stayingStepsOf(this.#layout.topology, facts, this.#search.knownSteps);
    return facts;
  }

  #priceAt(layer: number, stats: Float64Array): number {
    return priceOf(this.#request, this.#layout.topology, this.#outlooks[layer]!.mode, factsOf(stats));
  }

  /** What is left to do when all layers are planned: remembers how well their loads were known. */
  finish(): void {
    const stayingSteps = this.#meanStayingSteps();
    for (const [layer, { mode }] of this.#outlooks.entries()) {
      if (mode === 'keep') this.#newMemory.copyLayer(this.#memory, layer);
      else this.#newMemory.describe(layer, this.#search.knownSteps, stayingSteps);
    }
    if (this.#hasPrevious) this.#findFreeGain();
  }

  /** Of the layers that were planned for the loads as they are now. */
  #meanStayingSteps(): number {
    let sum = 0;
    let numLayers = 0;
    for (const [layer, { mode }] of this.#outlooks.entries()) {
      if (mode === 'keep') continue;
      sum += this.#statsAt(this.#data.stats, layer)[LayerStat.STAYING_STEPS]!;
      numLayers++;
    }
    return sum / Math.max(numLayers, 1);
  }

  /**
   * When no layer moves: finds out whether the price is why. The first layer where a step would gain if moves
   * were free tells it, and mostly that is the first layer of all.
   */
  #findFreeGain(): void {
    const { numLayers, numPhysicalExperts } = this.#layout.topology;
    const { table, ranks } = this.#search.spare;
    const terms = { price: 0, maxMoves: this.#maxMoves, start: 'live', isOneStep: true } as const;
    const layers = Array.from({ length: numLayers }, (_, layer) => this.#statsAt(this.#data.stats, layer));
    if (layers.some((stats) => stats[LayerStat.MOVES]! > 0 || stats[LayerStat.MUST_CHANGE] !== 0)) return;
    for (const [layer, stats] of layers.entries()) {
      if (this.#search.isCancelled || stats[LayerStat.IS_UNCHANGED] !== 0) return;
      const facts = this.#search.prepare(layer);
      if ((facts.isNoise && !this.#search.countsLinks) || this.#priceAt(layer, stats) === 0) continue;
      const live = this.#layout.previous + 4 * layer * numPhysicalExperts;
      stats[LayerStat.FREE_GAIN] = this.#search.run(live, terms, table, ranks);
      if (stats[LayerStat.FREE_GAIN]! > 0) return;
    }
  }

  get #maxMoves(): number {
    const { maxMoves, maxMovesPerLayer } = this.#request;
    return Math.min(maxMoves, maxMovesPerLayer, this.#layout.topology.numPhysicalExperts);
  }

  /** The load of the slowest rank / the mean, of every sample. */
  #slowest(placement: Pointer, out: Float64Array): void {
    if (this.#nearest === undefined) this.#search.slowest(placement, out);
    else this.#nearest.slowest(this.#tableAt(placement), out);
  }

  /** Writes what a placement gains and moves. */
  #describe(live: Int32Array, planned: Pointer, stats: Float64Array): void {
    const { moves, movesBetweenNodes } = this.#moves.count(live, this.#tableAt(planned));
    this.#slowest(planned, this.#planned);
    let gain = 0;
    for (let t = 0; t < this.#numSamples; t++)
      gain += this.#likeness[t]! * (this.#live[t]! - this.#planned[t]!);
    stats[LayerStat.MOVES] = moves;
    stats[LayerStat.MOVES_BETWEEN_NODES] = movesBetweenNodes;
    stats[LayerStat.GAIN] = gain;
  }

  /**
   * Keeps a layer that is valid as it is when nothing of it moves, and when all its moves together gain less
   * than their price, or nothing is expected of them: with many ranks the smoothed load can fall where that
   * of the slowest rank rises. Free moves may do that.
   */
  #keepUnpaid(live: Int32Array, planned: Int32Array, price: number, stats: Float64Array): void {
    if (stats[LayerStat.MUST_CHANGE] !== 0) return;
    const moves = stats[LayerStat.MOVES]!;
    const isPaid = moves <= this.#maxMoves && stats[LayerStat.SMOOTH_GAIN]! > price * moves + ROUNDING;
    const isBetter = price === 0 || expectedGain(stats) > 0;
    if (moves > 0 && isBetter && (isPaid || !this.#moves.hasDoubles(live))) return;
    planned.set(live);
    for (const stat of CHOSEN_STATS) stats[stat] = 0;
  }

  /**
   * Dearer placements, for when all layers together move too much. Layers within their even share need none,
   * but of one that has to change the last is its mere repair.
   */
  #climb(layer: number, live: Int32Array, price: number, planned: SearchTerms, stats: Float64Array): void {
    const { numLayers, numPhysicalExperts } = this.#layout.topology;
    const { ranks } = this.#search.spare;
    const isLarge = stats[LayerStat.MOVES]! > Math.floor(this.#request.maxMoves / numLayers);
    let dearer = Math.max(price, LEAST_RUNG_PRICE);
    const last = (layer + 1) * NUM_RUNGS - 1;
    for (let rung = layer * NUM_RUNGS; rung <= last; rung++) {
      const rungStats = this.#statsAt(this.#data.rungStats, rung);
      const table = this.#data.rungs + 4 * rung * numPhysicalExperts;
      rungStats.set(stats);
      const isRepair = rung === last && stats[LayerStat.MUST_CHANGE] !== 0;
      if (planned.start === 'fresh' || (!isLarge && !isRepair)) continue;
      dearer = Math.min(2 * dearer, MOST_PRICE);
      const terms = { ...planned, price: dearer, maxMoves: isRepair ? 0 : this.#maxMoves };
      const row = this.#layout.previous + 4 * layer * numPhysicalExperts;
      rungStats[LayerStat.SMOOTH_GAIN] = this.#searchPlan(row, terms, table, ranks);
      if (this.#search.isCancelled) return;
      rungStats[LayerStat.LINK_GAIN] = this.#linkGain(row, table);
      this.#describe(live, table, rungStats);
    }
  }

  /** Whether an open slot is empty, or a closed one is not. */
  #isUnfit(live: Int32Array): boolean {
    return live.some((expert, slot) => expert < 0 !== this.#places[slot]! < 0);
  }

  /** Whether a node has more experts than open slots. */
  #overfillsNode(live: Int32Array): boolean {
    const { topology } = this.#layout;
    if (topology.slotsPerRank === undefined) return false;
    const slotsPerNode = live.length / topology.numNodes;
    return openSlotsOfNodes(topology).some((numOpen, node) => {
      const slots = live.subarray(node * slotsPerNode, (node + 1) * slotsPerNode);
      return new Set(slots.filter((expert) => expert >= 0)).size > numOpen;
    });
  }

  #splitsGroups(live: Int32Array): boolean {
    const { numLogicalExperts, numGroups, numNodes } = this.#layout.topology;
    const slotsPerNode = live.length / numNodes;
    const nodes = new Int32Array(numGroups).fill(-1);
    return live.some((expert, slot) => {
      if (expert < 0) return false;
      const group = Math.floor((expert * numGroups) / numLogicalExperts);
      const node = Math.floor(slot / slotsPerNode);
      if (nodes[group] === -1) nodes[group] = node;
      return nodes[group] !== node;
    });
  }

  #tableAt(pointer: Pointer): Int32Array {
    return new Int32Array(this.#buffer, pointer, this.#layout.topology.numPhysicalExperts);
  }

  #rungStatsOf(layer: number): Float64Array {
    const length = NUM_RUNGS * STATS_PER_LAYER;
    return new Float64Array(this.#buffer, this.#data.rungStats + 8 * length * layer, length);
  }

  #statsAt(pointer: Pointer, index: number): Float64Array {
    return new Float64Array(this.#buffer, pointer + 8 * STATS_PER_LAYER * index, STATS_PER_LAYER);
  }
}

/** What the price of a layer's moves follows from. */
function factsOf(stats: Float64Array): LayerOutlook {
  return {
    chance: stats[LayerStat.CHANCE]!,
    meanRankLoad: stats[LayerStat.MEAN_RANK_LOAD]!,
    stayingSteps: stats[LayerStat.STAYING_STEPS]!,
  };
}
