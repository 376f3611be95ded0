import { trafficOf } from '../cost/traffic.ts';
import { NO_EXPERT } from '../formats/tensor/decode.ts';
import type { Dispatch, Topology, Traffic } from '../index.ts';
import { zeros } from '../memory/allocate.ts';
import { type LayerCopies, layerCopies, liveRanks } from './layer-copies.ts';

/** With more ranks traffic takes too much memory: a number for each pair of them. */
export const MOST_TRAFFIC_RANKS = 1024;

/** A placement, as it is now. */
interface Placement {
  /** `[physical]`: the expert of each slot, -1 when it is empty; a view. */
  layerSlots(layer: number): Int32Array;
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
  /** [layers x logical], or [layers x ranks x logical]: loads since the layer was settled last. */
  readonly #sums: Float64Array;
  readonly #isBySource: boolean;
  readonly #layers: (LayerCopies | undefined)[] = [];
  /** [ranks x ranks]; and [ranks]: tokens that come from all live ranks alike. */
  readonly #pairs: Float64Array;
  readonly #fromAny: Float64Array;
  /** [ranks]: the chance that a token misses each of those that are listed. */
  readonly #missed: Float64Array;
  readonly #touched: Int32Array;
  #nextSource = 0;

  /** @param isBySource whether loads are by the rank that tokens are on */
  constructor(topology: Topology, dispatch: Dispatch, placement: Placement, isBySource = false) {
    const { numLayers, numLogicalExperts, numRanks } = topology;
    const what = `traffic between ${numRanks} ranks`;
    this.#placement = placement;
    this.#dispatch = dispatch;
    this.#topology = topology;
    this.#live = liveRanks(topology);
    this.#isBySource = isBySource;
    this.#sums = zeros(what, Float64Array, numLayers * numLogicalExperts * (isBySource ? numRanks : 1));
    this.#pairs = zeros(what, Float64Array, numRanks * numRanks);
    this.#fromAny = new Float64Array(numRanks);
    this.#missed = new Float64Array(numRanks).fill(1);
    this.#touched = new Int32Array(numRanks);
  }

  /** Adds a step's loads [layers x logical], or by ranks [layers x ranks x logical]. */
  addLoads(loads: Float32Array): void {
    const sums = this.#sums;
    for (let i = 0; i < loads.length; i++) sums[i]! += loads[i]!;
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
        this.#sums.subarray(layer * numLogicalExperts, (layer + 1) * numLogicalExperts),
        layer,
      );
    this.#layers[layer] = undefined;
  }

  #settleSources(layer: number): void {
    const { numLogicalExperts: numExperts, numRanks } = this.#topology;
    const perLayer = numRanks * numExperts;
    const sums = this.#sums.subarray(layer * perLayer, (layer + 1) * perLayer);
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

  /** A tally with the same so far, of another placement, which is alike until now. */
  copyFor(placement: Placement): TrafficTally {
    this.#settleAll();
    const copy = new TrafficTally(this.#topology, this.#dispatch, placement, this.#isBySource);
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

  #addToken(layer: LayerCopies, source: number, ids: Uint16Array, begin: number, topK: number): void {
    const { copies, first } = layer;
    const missed = this.#missed;
    const touched = this.#touched;
    const isEven = this.#dispatch === 'even';
    let numTouched = 0;
    for (let k = begin; k < begin + topK; k++) {
      const expert = ids[k]!;
      if (expert === NO_EXPERT) continue;
      let from = first[expert]!;
      let to = first[expert + 1]!;
      const isAny = isEven || to - from === 1;
      if (!isAny) {
        from = 0;
        to = copies.find(expert, source);
      }
      const { ranks, shares } = isAny ? layer : copies;
      for (let i = from; i < to; i++) {
        const rank = ranks[i]!;
        const before = missed[rank]!;
        if (before === 1) touched[numTouched++] = rank;
        missed[rank] = before * (1 - shares[i]!);
      }
    }
    const row = isEven ? 0 : source * this.#topology.numRanks;
    const sums = isEven ? this.#fromAny : this.#pairs;
    for (let i = 0; i < numTouched; i++) {
      const rank = touched[i]!;
      sums[row + rank]! += 1 - missed[rank]!;
      missed[rank] = 1;
    }
  }

  #copiesOf(layer: number): LayerCopies {
    const known = this.#layers[layer];
    if (known !== undefined) return known;
    const found = layerCopies(this.#placement.layerSlots(layer), this.#topology, this.#dispatch);
    this.#layers[layer] = found;
    return found;
  }
}
