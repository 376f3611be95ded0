import { trafficOf } from '../cost/traffic.ts';
import type { Dispatch, Topology, Traffic } from '../index.ts';
import { zeros } from '../memory/allocate.ts';
import { layerCopies, liveRanks, type TokenDestinations } from './layer-copies.ts';
import { TokenTargets } from './token-targets.ts';

/** With more ranks traffic takes too much memory: a number for each pair of them. */
export const MOST_TRAFFIC_RANKS = 1024;

/** A placement, as it is now. */
interface Placement {
  /** `[physical]`: the expert of each slot, -1 when it is empty; a view. */
  layerSlots(layer: number): Int32Array;
}

/** Loads of steps, added up. */
export interface TrafficSum {
  /** [layers x logical], or [layers x ranks x logical]: whoever has counted a layer's empties them. */
  readonly values: Float64Array;
  /** Adds the loads of the step. */
  add(): void;
}

/**
 * Adds up which ranks send each other tokens under a placement that changes. Of loads every token of an
 * expert is a transfer of its own; of routes a rank gets a token once. Where loads are not by rank, tokens
 * begin on all ranks that live alike: of routes one after the other.
 */
export class TrafficTally {
  readonly #placement: Placement;
  readonly #dispatch: Dispatch;
  #topology: Topology;
  #live: readonly number[];
  /** Since the layer was settled last. */
  readonly #sum: TrafficSum;
  readonly #isBySource: boolean;
  readonly #layers: (TokenDestinations | undefined)[] = [];
  /** [ranks x ranks]; and [ranks]: tokens that come from all live ranks alike. */
  readonly #pairs: Float64Array;
  readonly #fromAny: Float64Array;
  readonly #targets: TokenTargets;
  #nextSource = 0;

  /**
   * @param sum of nothing yet, which knows the loads that are to be added
   * @param isBySource whether they are by the rank that tokens are on
   */
  constructor(
    topology: Topology,
    dispatch: Dispatch,
    placement: Placement,
    sum: TrafficSum,
    isBySource = false,
  ) {
    const { numRanks } = topology;
    const what = `traffic between ${numRanks} ranks`;
    this.#placement = placement;
    this.#dispatch = dispatch;
    this.#topology = topology;
    this.#live = liveRanks(topology);
    this.#sum = sum;
    this.#isBySource = isBySource;
    this.#pairs = zeros(what, Float64Array, numRanks * numRanks);
    this.#fromAny = new Float64Array(numRanks);
    this.#targets = new TokenTargets(numRanks, dispatch);
  }

  /** Adds a step's loads, which the sum knows. */
  addLoads(): void {
    this.#sum.add();
  }

  /** Adds tokens, by the experts of each: [tokens x layers x topK]. */
  addRoutes(ids: Uint16Array, numTokens: number, topK: number): void {
    const { numLayers } = this.#topology;
    const live = this.#live;
    for (let token = 0, at = 0; token < numTokens; token++) {
      const source = live[this.#nextSource]!;
      this.#nextSource = (this.#nextSource + 1) % live.length;
      for (let layer = 0; layer < numLayers; layer++, at += topK)
        this.#addToken(this.#copiesOf(layer), source, ids, at, topK);
    }
  }

  /** Counts what has come for a layer under the placement as it is: to be called before it changes. */
  settle(layer: number): void {
    const { numLogicalExperts } = this.#topology;
    if (this.#isBySource) this.#settleSources(layer);
    else
      this.#settleUniform(
        this.#sum.values.subarray(layer * numLogicalExperts, (layer + 1) * numLogicalExperts),
        layer,
      );
    this.#layers[layer] = undefined;
  }

  #settleSources(layer: number): void {
    const { numLogicalExperts: numExperts, numRanks } = this.#topology;
    const perLayer = numRanks * numExperts;
    const sums = this.#sum.values.subarray(layer * perLayer, (layer + 1) * perLayer);
    const { copies } = this.#copiesOf(layer);
    for (let source = 0; source < numRanks; source++) {
      for (let expert = 0; expert < numExperts; expert++) {
        const load = sums[source * numExperts + expert]!;
        if (load === 0) continue;
        const numTargets = copies.find(expert, source);
        for (let i = 0; i < numTargets; i++)
          this.#pairs[source * numRanks + copies.ranks[i]!]! += load * copies.shares[i]!;
      }
    }
    sums.fill(0);
  }

  #settleUniform(sums: Float64Array, layer: number): void {
    const { numRanks } = this.#topology;
    const { copies, first, ranks, shares } = this.#copiesOf(layer);
    sums.forEach((load, expert) => {
      if (load === 0) return;
      const from = first[expert]!;
      const to = first[expert + 1]!;
      if (this.#dispatch === 'even' || to - from === 1) {
        for (let i = from; i < to; i++) this.#fromAny[ranks[i]!]! += load * shares[i]!;
        return;
      }
      for (const source of this.#live) {
        const numTargets = copies.find(expert, source);
        for (let i = 0; i < numTargets; i++)
          this.#pairs[source * numRanks + copies.ranks[i]!]! +=
            (load / this.#live.length) * copies.shares[i]!;
      }
    });
    sums.fill(0);
  }

  /** Counts what has come, and takes other ranks from now on: to be called before their placement changes. */
  changeRanks(topology: Topology): void {
    this.#settleAll();
    this.#topology = topology;
    this.#live = liveRanks(topology);
    this.#nextSource = 0;
  }

  /**
   * A tally with the same so far, of another placement, which is alike until now.
   * @param sum of nothing yet, which knows the loads that are to be added
   */
  copyFor(placement: Placement, sum: TrafficSum): TrafficTally {
    this.#settleAll();
    const copy = new TrafficTally(this.#topology, this.#dispatch, placement, sum, this.#isBySource);
    copy.#pairs.set(this.#pairs);
    copy.#nextSource = this.#nextSource;
    return copy;
  }

  /** All that has come so far. */
  traffic(bytesPerToken: number): Traffic {
    this.#settleAll();
    return trafficOf(this.#pairs, this.#topology, bytesPerToken, this.#isBySource ? 'given' : 'uniform');
  }

  #settleAll(): void {
    const { numLayers, numRanks } = this.#topology;
    for (let layer = 0; layer < numLayers; layer++) this.settle(layer);
    for (const source of this.#live)
      for (let target = 0; target < numRanks; target++)
        this.#pairs[source * numRanks + target]! += this.#fromAny[target]! / this.#live.length;
    this.#fromAny.fill(0);
  }

  #addToken(layer: TokenDestinations, source: number, ids: Uint16Array, begin: number, topK: number): void {
    const isEven = this.#dispatch === 'even';
    const { ranks, missed } = this.#targets;
    this.#targets.find(layer, source, ids, begin, topK);
    const row = isEven ? 0 : source * this.#topology.numRanks;
    const sums = isEven ? this.#fromAny : this.#pairs;
    for (let i = 0; i < this.#targets.numRanks; i++) {
      const rank = ranks[i]!;
      sums[row + rank]! += 1 - missed[rank]!;
    }
  }

  #copiesOf(layer: number): TokenDestinations {
    const known = this.#layers[layer];
    if (known !== undefined) return known;
    const found = layerCopies(this.#placement.layerSlots(layer), this.#topology, this.#dispatch);
    this.#layers[layer] = found;
    return found;
  }
}
