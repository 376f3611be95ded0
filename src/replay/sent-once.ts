import type { SentOnce } from '../cost/layer-timer.ts';
import { secondsBetween } from '../cost/nearest-exchange.ts';
import type { RecordedRoutes } from '../formats/recording.ts';
import { NO_EXPERT } from '../formats/tensor/decode.ts';
import type { CostModel, Dispatch, Topology } from '../index.ts';
import { zeros } from '../memory/allocate.ts';
import { type LayerCopies, layerCopies, liveRanks } from './layer-copies.ts';
import type { ScoredPlacement } from './scorer.ts';

/**
 * Tokens of a step that are looked at, at most: 1,024 of 58 layers and 8 experts take some 3 ms a placement.
 * What is found is a share of what loads say, which are counted whole.
 */
const MOST_TOKENS_A_STEP = 1024;

/** What is known of a layer of a placement. */
interface KnownLayer {
  version: number;
  /** The number of the step that `shares` is of. */
  ofStep: number;
  copies: LayerCopies;
  readonly sent: SentOnce & { readonly shares: Float64Array };
}

/**
 * Of the routes of a step, how much dispatch and combine take when a rank gets a token once: as a share of
 * what they take with each of the token's experts a transfer of its own. A token takes each copy of an
 * expert with its share, whatever it takes of its other experts.
 */
export class SentOnceOfRoutes {
  /** Every so many tokens of a step one is looked at: 1 where all are. */
  readonly stride: number;
  readonly #numLayers: number;
  readonly #topK: number;
  readonly #dispatch: Dispatch;
  readonly #cost: CostModel;
  #topology: Topology;
  #live: readonly number[];
  #between: (source: number, target: number) => number;
  /** [tokens x layers x topK]: those of the step that are looked at. */
  readonly #ids: Uint16Array;
  #numTokens = 0;
  /** Of the step, those that came. */
  #numSeen = 0;
  #step = 0;
  readonly #known = new Map<ScoredPlacement, KnownLayer[]>();
  /** [ranks]: the chance that a token misses each; what it takes there, each expert for itself. */
  readonly #missed: Float64Array;
  readonly #each: Float64Array;
  readonly #touched: Int32Array;

  constructor(routes: RecordedRoutes, topology: Topology, cost: CostModel, dispatch: Dispatch) {
    const { numLayers, numRanks } = topology;
    const { tokensPerStep, topK } = routes;
    this.stride = Math.max(1, Math.ceil(tokensPerStep / MOST_TOKENS_A_STEP));
    this.#numLayers = numLayers;
    this.#topK = topK;
    this.#dispatch = dispatch;
    this.#cost = cost;
    const perStep = Math.ceil(tokensPerStep / this.stride);
    this.#ids = zeros('replay: routes of a step', Uint16Array, perStep * numLayers * topK);
    this.#missed = new Float64Array(numRanks).fill(1);
    this.#each = new Float64Array(numRanks);
    this.#touched = new Int32Array(numRanks);
    this.#topology = topology;
    this.#live = liveRanks(topology);
    this.#between = secondsBetween(cost, topology);
  }

  /** To be called before the tokens of a step come. */
  beginStep(): void {
    this.#numTokens = 0;
    this.#numSeen = 0;
    this.#step++;
  }

  /** Adds tokens of the step [tokens x layers x topK]. */
  add(ids: Uint16Array, numTokens: number): void {
    const perToken = this.#numLayers * this.#topK;
    for (let token = 0; token < numTokens; token++) {
      if (this.#numSeen++ % this.stride !== 0) continue;
      const first = token * perToken;
      this.#ids.set(ids.subarray(first, first + perToken), this.#numTokens++ * perToken);
    }
  }

  /** The ranks are others from now on, and placements are assigned anew. */
  changeRanks(topology: Topology): void {
    this.#topology = topology;
    this.#live = liveRanks(topology);
    this.#between = secondsBetween(this.#cost, topology);
    this.#known.clear();
  }

  /** Of a layer of a placement as it is, for the tokens of the step. */
  ofLayer(placement: ScoredPlacement, layer: number): SentOnce {
    const known = this.#layerOf(placement, layer);
    if (known.ofStep === this.#step) return known.sent;
    known.ofStep = this.#step;
    this.#find(known, layer);
    return known.sent;
  }

  #layerOf(placement: ScoredPlacement, layer: number): KnownLayer {
    let layers = this.#known.get(placement);
    if (layers === undefined) {
      layers = [];
      this.#known.set(placement, layers);
    }
    const version = placement.versions[layer]!;
    const before = layers[layer];
    if (before?.version === version) return before;
    const copies = layerCopies(placement.layerSlots(layer), this.#topology, this.#dispatch);
    const { numRanks, numPhysicalExperts } = this.#topology;
    const sent = before?.sent ?? {
      shares: new Float64Array(numRanks),
      // A token has its experts on one rank at best, as many as there is room for.
      leastShare: 1 / Math.min(this.#topK, numPhysicalExperts / numRanks),
    };
    const found = { version, ofStep: -1, copies, sent };
    layers[layer] = found;
    return found;
  }

  #find({ copies: layerCopies, sent }: KnownLayer, layer: number): void {
    const { copies, first } = layerCopies;
    const each = this.#each.fill(0);
    const once = sent.shares.fill(0);
    const missed = this.#missed;
    const touched = this.#touched;
    const isEven = this.#dispatch === 'even';
    const topK = this.#topK;
    for (let token = 0; token < this.#numTokens; token++) {
      // Tokens are on all ranks alike: of even dispatch it makes no difference where one is.
      const source = this.#live[token % this.#live.length]!;
      const begin = (token * this.#numLayers + layer) * topK;
      let numTouched = 0;
      for (let k = begin; k < begin + topK; k++) {
        const expert = this.#ids[k]!;
        if (expert === NO_EXPERT) continue;
        let from = first[expert]!;
        let to = first[expert + 1]!;
        const isAny = isEven || to - from === 1;
        if (!isAny) {
          from = 0;
          to = copies.find(expert, source);
        }
        const { ranks, shares } = isAny ? layerCopies : copies;
        for (let i = from; i < to; i++) {
          const rank = ranks[i]!;
          const before = missed[rank]!;
          if (before === 1) touched[numTouched++] = rank;
          missed[rank] = before * (1 - shares[i]!);
          each[rank]! += shares[i]! * (isEven ? 1 : this.#between(source, rank));
        }
      }
      for (let i = 0; i < numTouched; i++) {
        const rank = touched[i]!;
        once[rank]! += (1 - missed[rank]!) * (isEven ? 1 : this.#between(source, rank));
        missed[rank] = 1;
      }
    }
    // A rank that none of them goes to may get some of those that are not looked at.
    for (let rank = 0; rank < once.length; rank++)
      once[rank] = each[rank] === 0 ? 1 : Math.min(1, once[rank]! / each[rank]!);
  }
}
