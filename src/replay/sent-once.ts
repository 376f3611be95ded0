import type { SentOnce } from '../cost/layer-timer.ts';
import { secondsBetween } from '../cost/nearest-exchange.ts';
import type { RecordedRoutes } from '../formats/recording.ts';
import type { CostModel, Dispatch, Topology } from '../index.ts';
import { zeros } from '../memory/allocate.ts';
import { LayerCache } from './layer-cache.ts';
import { layerCopies, liveRanks, type TokenDestinations } from './layer-copies.ts';
import type { ScoredPlacement } from './scorer.ts';
import { TokenTargets } from './token-targets.ts';

/**
 * Tokens of a step that are looked at, at most: 1,024 of 58 layers and 8 experts take some 3 ms a placement.
 * What is found is a share of what loads say, which are counted whole.
 */
const MOST_TOKENS_A_STEP = 1024;

/** What is known of a layer of a placement. */
interface KnownLayer {
  /** The number of the step that `shares` is of. */
  ofStep: number;
  readonly copies: TokenDestinations;
  readonly sent: SentOnce & { readonly shares: Float64Array };
}

/**
 * Of the routes of a step, how much dispatch and combine take when a rank gets a token once: as a share of
 * what they take with each of the token's experts a transfer of its own.
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
  readonly #known = new LayerCache<KnownLayer>();
  readonly #targets: TokenTargets;
  /** [ranks]: what tokens take there, each expert for itself. */
  readonly #each: Float64Array;

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
    this.#targets = new TokenTargets(numRanks, dispatch);
    this.#each = new Float64Array(numRanks);
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
    const known = this.#known.of(placement, layer, (slots, before) => ({
      ofStep: -1,
      copies: layerCopies(slots, this.#topology, this.#dispatch),
      sent: before?.sent ?? this.#nothingSent(),
    }));
    if (known.ofStep !== this.#step) {
      known.ofStep = this.#step;
      this.#find(known, layer);
    }
    return known.sent;
  }

  #nothingSent(): KnownLayer['sent'] {
    const { numRanks, numPhysicalExperts } = this.#topology;
    return {
      shares: new Float64Array(numRanks),
      // A token has its experts on one rank at best, as many as there is room for.
      leastShare: 1 / Math.min(this.#topK, numPhysicalExperts / numRanks),
    };
  }

  #find({ copies, sent }: KnownLayer, layer: number): void {
    const each = this.#each.fill(0);
    const once = sent.shares.fill(0);
    const targets = this.#targets;
    const isEven = this.#dispatch === 'even';
    for (let token = 0; token < this.#numTokens; token++) {
      // Tokens are on all ranks alike: of even dispatch it makes no difference where one is.
      const source = this.#live[token % this.#live.length]!;
      const begin = (token * this.#numLayers + layer) * this.#topK;
      targets.find(copies, source, this.#ids, begin, this.#topK);
      for (let i = 0; i < targets.numRanks; i++) {
        const rank = targets.ranks[i]!;
        const seconds = isEven ? 1 : this.#between(source, rank);
        each[rank]! += targets.experts[rank]! * seconds;
        once[rank]! += (1 - targets.missed[rank]!) * seconds;
      }
    }
    // A rank that none of them goes to may get some of those that are not looked at.
    for (let rank = 0; rank < once.length; rank++)
      once[rank] = each[rank] === 0 ? 1 : Math.min(1, once[rank]! / each[rank]!);
  }
}
