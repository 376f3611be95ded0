import type { Topology, Traffic } from '../index.ts';
import type { ReplayConfiguration } from './configuration.ts';
import { roundedLoad } from './rank-load-samples.ts';
import type { ScoredPlacement } from './scorer.ts';
import { MAX_PAIR_RANKS, type ReplayTraffic, type TrafficFigures } from './traffic-result.ts';
import { MOST_TRAFFIC_RANKS, type TrafficSum, TrafficTally } from './traffic-tally.ts';

/** Counts the traffic of a replay, under the live mappings and under the first one. */
export class ReplayTrafficCounter {
  readonly #bytesPerToken: number | null;
  readonly #hasRoutes: boolean;
  readonly #isBySource: boolean;
  readonly #first: ScoredPlacement;
  readonly #unbalancedSum: TrafficSum;
  readonly #live: TrafficTally;
  /** Undefined until the live mapping changes: then it is the same. */
  #unbalanced: TrafficTally | undefined;

  /**
   * @param sums of loads, for either placement
   * @param from whether {@link addRoutes} is to come: then loads are left out; and whether loads are by rank
   */
  constructor(
    topology: Topology,
    { cost, dispatch = 'even' }: ReplayConfiguration,
    placements: { readonly live: ScoredPlacement; readonly first: ScoredPlacement },
    sums: { readonly live: TrafficSum; readonly first: TrafficSum },
    from: { readonly hasRoutes: boolean; readonly isBySource: boolean },
  ) {
    this.#bytesPerToken = cost.time.kind === 'slots' ? bytesOfToken(cost.time.model) : null;
    this.#hasRoutes = from.hasRoutes;
    this.#isBySource = from.isBySource;
    this.#first = placements.first;
    this.#unbalancedSum = sums.first;
    this.#live = new TrafficTally(topology, dispatch, placements.live, sums.live, from.isBySource);
  }

  /** Adds a step's loads, which the sums know. */
  addLoads(): void {
    if (this.#hasRoutes) return;
    this.#live.addLoads();
    this.#unbalanced?.addLoads();
  }

  /** Adds tokens of a step [tokens x layers x topK]. */
  addRoutes(ids: Uint16Array, numTokens: number, topK: number): void {
    this.#live.addRoutes(ids, numTokens, topK);
    this.#unbalanced?.addRoutes(ids, numTokens, topK);
  }

  /** To be called before a layer of the live mapping changes. */
  layerChanges(layer: number): void {
    this.#unbalanced ??= this.#live.copyFor(this.#first, this.#unbalancedSum);
    this.#live.settle(layer);
  }

  /** To be called before the mappings change for other ranks. */
  changeRanks(topology: Topology): void {
    this.#unbalanced ??= this.#live.copyFor(this.#first, this.#unbalancedSum);
    for (const tally of [this.#live, this.#unbalanced]) tally.changeRanks(topology);
  }

  /** @param times how many times the tokens of routes a step has that was resized */
  result(numSteps: number, times: number): ReplayTraffic {
    const perStep = (this.#hasRoutes ? times : 1) / Math.max(1, numSteps);
    const figures = (tally: TrafficTally) =>
      scaledTraffic(tally.traffic(this.#bytesPerToken ?? 0), perStep, this.#bytesPerToken !== null);
    const live = figures(this.#live);
    return {
      countedFrom: this.#hasRoutes ? 'routes' : 'loads',
      sources: this.#isBySource ? 'given' : 'uniform',
      live,
      unbalanced: this.#unbalanced === undefined ? live : figures(this.#unbalanced),
    };
  }
}

/** Undefined where there are too many ranks. */
export function replayTrafficCounter(
  ...of: ConstructorParameters<typeof ReplayTrafficCounter>
): ReplayTrafficCounter | undefined {
  return of[0].numRanks > MOST_TRAFFIC_RANKS ? undefined : new ReplayTrafficCounter(...of);
}

/** Dispatch and combine of a token. */
function bytesOfToken(model: {
  readonly dispatchBytesPerToken: number;
  readonly combineBytesPerToken: number;
}): number {
  return model.dispatchBytesPerToken + model.combineBytesPerToken;
}

/** What traffic comes to, times a factor. */
export function scaledTraffic(traffic: Traffic, factor: number, hasBytes: boolean): TrafficFigures {
  const { numRanks, tokens, links, localTokens } = traffic;
  const sent = links.reduce((sum, link) => sum + link.tokens, 0);
  return {
    tokens: (sent + localTokens) * factor,
    localTokens: localTokens * factor,
    links: links.map((link) => ({
      ...link,
      tokens: link.tokens * factor,
      busiestTokens: link.busiestTokens * factor,
      bytes: hasBytes ? link.bytes * factor : null,
    })),
    rankPairs:
      numRanks > MAX_PAIR_RANKS
        ? null
        : Array.from({ length: numRanks }, (_, rank) =>
            Array.from(tokens.subarray(rank * numRanks, (rank + 1) * numRanks), (all) =>
              roundedLoad(all * factor),
            ),
          ),
  };
}
