import { EplbError } from '../../core/errors.ts';
import { openPlaces, openSlotsOfNodes } from '../../core/open-slots.ts';
import type { ThreadJob } from '../../engine/layer-kernel.ts';
import type { JobLayout } from '../../engine/layout.ts';
import { MoveCounter } from '../../mapping/move-counter.ts';
import type { Pointer } from '../../memory/kernel-exports.ts';
import { RankShares } from './rank-shares.ts';
import {
  type AdaptiveData,
  type AdaptiveRequest,
  carveAdaptiveData,
  hasRungs,
  LayerStat,
  NUM_RUNGS,
  STATS_PER_LAYER,
} from './request.ts';
import { AdaptiveSearch } from './search.ts';

/** No move is ever worth as much. An infinite price x 0 moves would not even be a number. */
const MOST_PRICE = Number.MAX_VALUE;
/** Prices of the rungs double from this on, or from the price itself when that is higher. */
const LEAST_RUNG_PRICE = 0.0005;
/**
 * Layers tell together whether a plan gains: so many of them do, and the others need no second search. With 8
 * of 26 layers gains of 0.004 on the next steps were taken for chance.
 */
const MOST_TRIED_LAYERS = 32;
/** Samples from this age on judge no trial; nor do those that are less like the newest than this share. */
const MOST_JUDGING_AGE = 8;
const LEAST_JUDGING_LIKENESS = 0.5;
/** Fewer samples cannot be parted for a trial. */
const LEAST_TRIAL_SAMPLES = 4;

/** Plans layers for the adaptive policy, in one worker: into the job's tables and statistics. */
export class AdaptiveLayers {
  readonly #buffer: ArrayBufferLike;
  readonly #layout: JobLayout;
  readonly #request: AdaptiveRequest;
  readonly #numSamples: number;
  readonly #hasPrevious: boolean;
  readonly #data: AdaptiveData;
  readonly #search: AdaptiveSearch;
  readonly #shares: RankShares;
  readonly #moves: MoveCounter;
  /** [samples]: how much slower the slowest rank is, under the live placement and under another. */
  readonly #live: Float64Array;
  readonly #planned: Float64Array;
  /** [samples]: what each tells of the loads to come, together 1. */
  readonly #likeness: Float64Array;
  /** Numbers of samples: all, those a trial plans from, and those it is measured on. */
  readonly #all: readonly number[];
  readonly #planning: readonly number[];
  readonly #judging: readonly number[];
  /** [slots]: -1 where one is closed. */
  readonly #places: Int32Array;

  constructor(threadJob: ThreadJob<AdaptiveRequest>) {
    const { buffer, layout, request, job } = threadJob;
    const { loads, hasPrevious } = job;
    if (loads.from !== 'samples') throw new EplbError('EPLB_INTERNAL', 'a search without samples');
    const { numSamples } = loads;
    this.#buffer = buffer;
    this.#layout = layout;
    this.#request = request;
    this.#numSamples = numSamples;
    this.#hasPrevious = hasPrevious;
    this.#data = carveAdaptiveData(layout.topology, request, layout.kernelData);
    this.#search = new AdaptiveSearch(threadJob, loads);
    this.#shares = new RankShares(layout.topology);
    this.#moves = new MoveCounter(layout.topology);
    this.#live = new Float64Array(numSamples);
    this.#planned = new Float64Array(numSamples);
    this.#likeness = new Float64Array(numSamples);
    this.#all = Array.from(this.#live, (_, sample) => sample);
    this.#judging = this.#all.filter((sample) => isForJudging(sample, numSamples));
    this.#planning = this.#all.filter((sample) => !isForJudging(sample, numSamples));
    this.#places = openPlaces(layout.topology);
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
    this.#plan(layer, phyToLog, replicaRank, stats);
    stats[LayerStat.EVALUATIONS] = this.#search.evaluations - before;
  }

  #plan(layer: number, phyToLog: Pointer, replicaRank: Pointer, stats: Float64Array): void {
    const row = 4 * layer * this.#layout.topology.numPhysicalExperts;
    const samples = this.#samplesOf(layer);
    stats[LayerStat.MEAN_RANK_LOAD] = this.#shares.meanRankLoad(samples, this.#numSamples);
    stats[LayerStat.IS_NOISE] = this.#search.prepare(layer, this.#all) ? 1 : 0;
    if (!this.#hasPrevious) {
      const terms = { price: 0, maxMoves: 0, start: 'fresh' } as const;
      this.#search.run(0, terms, phyToLog, replicaRank);
      return;
    }
    this.#search.likeness(this.#likeness);
    const live = this.#tableAt(this.#layout.previous + row);
    this.#shares.measure(samples, live, this.#live);
    const mustLeave = this.#search.keepsGroups && (this.#splitsGroups(live) || this.#overfillsNode(live));
    stats[LayerStat.MUST_CHANGE] = mustLeave || this.#isUnfit(live) ? 1 : 0;
    const start = mustLeave ? 'fresh' : 'live';
    const price = this.#priceAt(stats[LayerStat.MEAN_RANK_LOAD]!);
    const gain = this.#search.run(
      this.#layout.previous + row,
      { price, maxMoves: this.#maxMoves, start },
      phyToLog,
      replicaRank,
    );
    if (this.#search.isCancelled) return;
    stats[LayerStat.SMOOTH_GAIN] = gain;
    this.#describe(samples, live, this.#tableAt(phyToLog), stats);
    this.#keepUnpaid(live, this.#tableAt(phyToLog), price, stats);
    if (hasRungs(this.#request, this.#layout.topology)) this.#climb(layer, live, price, start, stats);
    if (stats[LayerStat.MOVES]! > 0) this.#try(layer, price, start, stats);
  }

  /**
   * When all layers are planned and none moves: finds out whether the price is why. The first layer where a
   * step would gain if moves were free tells it, and mostly that is the first layer of all.
   */
  findFreeGain(): void {
    const { numLayers, numPhysicalExperts } = this.#layout.topology;
    const { table, ranks } = this.#search.spare;
    const terms = { price: 0, maxMoves: this.#maxMoves, start: 'live', isOneStep: true } as const;
    const layers = Array.from({ length: numLayers }, (_, layer) => this.#statsAt(this.#data.stats, layer));
    if (layers.some((stats) => stats[LayerStat.MOVES]! > 0 || stats[LayerStat.MUST_CHANGE] !== 0)) return;
    for (const [layer, stats] of layers.entries()) {
      if (this.#search.isCancelled) return;
      if (this.#priceAt(stats[LayerStat.MEAN_RANK_LOAD]!) === 0) continue;
      this.#search.prepare(layer, this.#all);
      const live = this.#layout.previous + 4 * layer * numPhysicalExperts;
      stats[LayerStat.FREE_GAIN] = this.#search.run(live, terms, table, ranks);
      if (stats[LayerStat.FREE_GAIN]! > 0) return;
    }
  }

  get #maxMoves(): number {
    const { maxMoves, maxMovesPerLayer } = this.#request;
    return Math.min(maxMoves, maxMovesPerLayer, this.#layout.topology.numPhysicalExperts);
  }

  #priceAt(meanRankLoad: number): number {
    const { price, priceInLoad } = this.#request;
    if (priceInLoad === 0) return price;
    // Without load nothing can be gained: no move is worth it.
    return meanRankLoad > 0 ? Math.min(price + priceInLoad / meanRankLoad, MOST_PRICE) : MOST_PRICE;
  }

  /** Writes what a placement gains and moves. */
  #describe(samples: Float32Array, live: Int32Array, planned: Int32Array, stats: Float64Array): void {
    const { moves, movesBetweenNodes } = this.#moves.count(live, planned);
    this.#shares.measure(samples, planned, this.#planned);
    let gain = 0;
    for (let t = 0; t < this.#numSamples; t++)
      gain += this.#likeness[t]! * (this.#live[t]! - this.#planned[t]!);
    stats[LayerStat.MOVES] = moves;
    stats[LayerStat.MOVES_BETWEEN_NODES] = movesBetweenNodes;
    stats[LayerStat.GAIN] = gain;
  }

  /**
   * Keeps a layer that is valid as it is when nothing of it moves, and when all its moves together gain less
   * than their price: the kernel takes second copies off a rank whatever that costs.
   */
  #keepUnpaid(live: Int32Array, planned: Int32Array, price: number, stats: Float64Array): void {
    if (stats[LayerStat.MUST_CHANGE] !== 0) return;
    const moves = stats[LayerStat.MOVES]!;
    const isPaid = moves <= this.#maxMoves && stats[LayerStat.GAIN]! > price * moves;
    if (moves > 0 && (isPaid || !this.#moves.hasDoubles(live))) return;
    planned.set(live);
    for (const stat of [
      LayerStat.MOVES,
      LayerStat.MOVES_BETWEEN_NODES,
      LayerStat.GAIN,
      LayerStat.SMOOTH_GAIN,
    ])
      stats[stat] = 0;
  }

  /**
   * Plans without some of the newer samples and measures that plan on them: what a plan gains where it was
   * not made for is what it will gain; what it gains more in its own samples is chance. Newer ones, as the
   * live placement was made for the older.
   */
  #try(layer: number, price: number, start: 'live' | 'fresh', stats: Float64Array): void {
    if (!this.#request.hasTrial || this.#numSamples < LEAST_TRIAL_SAMPLES) return;
    if (layer % Math.ceil(this.#layout.topology.numLayers / MOST_TRIED_LAYERS) !== 0) return;
    const row = 4 * layer * this.#layout.topology.numPhysicalExperts;
    const { table, ranks } = this.#search.spare;
    this.#search.prepare(layer, this.#planning);
    // A fresh start as well takes a seventh of a first plan's time, and changed no decision on six recordings
    // at four prices.
    const terms = { price, maxMoves: this.#maxMoves, start, isQuick: true };
    this.#search.run(this.#layout.previous + row, terms, table, ranks);
    if (this.#search.isCancelled) return;
    this.#shares.measure(this.#samplesOf(layer), this.#tableAt(table), this.#planned);
    for (const sample of this.#planning) {
      stats[LayerStat.TRIAL_OWN_SAMPLES]!++;
      stats[LayerStat.TRIAL_OWN_GAIN]! += this.#live[sample]! - this.#planned[sample]!;
    }
    const least = LEAST_JUDGING_LIKENESS * this.#likeness.at(-1)!;
    for (const sample of this.#judging) {
      if (this.#likeness[sample]! < least) continue;
      const gain = this.#live[sample]! - this.#planned[sample]!;
      stats[LayerStat.TRIAL_SAMPLES]!++;
      stats[LayerStat.TRIAL_GAIN]! += gain;
      stats[LayerStat.TRIAL_SQUARES]! += gain * gain;
    }
  }

  /**
   * Dearer placements, for when all layers together move too much. Layers within their even share need none,
   * but of one that has to change the last is its mere repair.
   */
  #climb(layer: number, live: Int32Array, price: number, start: 'live' | 'fresh', stats: Float64Array): void {
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
      if (start === 'fresh' || (!isLarge && !isRepair)) continue;
      dearer = Math.min(2 * dearer, MOST_PRICE);
      const terms = { price: dearer, maxMoves: isRepair ? 0 : this.#maxMoves, start };
      const row = this.#layout.previous + 4 * layer * numPhysicalExperts;
      rungStats[LayerStat.SMOOTH_GAIN] = this.#search.run(row, terms, table, ranks);
      if (this.#search.isCancelled) return;
      this.#describe(this.#samplesOf(layer), live, this.#tableAt(table), rungStats);
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

  /** The layer's loads in all samples: its row of the first, and on to its row of the last. */
  #samplesOf(layer: number): Float32Array {
    const { numLayers, numLogicalExperts } = this.#layout.topology;
    const length = ((this.#numSamples - 1) * numLayers + 1) * numLogicalExperts;
    return new Float32Array(this.#buffer, this.#layout.samples + 4 * layer * numLogicalExperts, length);
  }

  #tableAt(pointer: Pointer): Int32Array {
    return new Int32Array(this.#buffer, pointer, this.#layout.topology.numPhysicalExperts);
  }

  #statsAt(pointer: Pointer, index: number): Float64Array {
    return new Float64Array(this.#buffer, pointer + 8 * STATS_PER_LAYER * index, STATS_PER_LAYER);
  }
}

/**
 * Every other sample of the newer half, but not the newest; of many samples only new ones, as they are most
 * like what comes.
 */
function isForJudging(sample: number, numSamples: number): boolean {
  const age = numSamples - 1 - sample;
  return age % 2 === 1 && age < Math.min(numSamples / 2, MOST_JUDGING_AGE);
}
