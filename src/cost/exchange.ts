import { nodesOfRanks } from '../core/nodes.ts';
import type { Topology } from '../core/topology.ts';
import type { CostModel } from './cost-model.ts';

/** What dispatch and combine take of a rank, tokens of its slots beginning on all ranks alike. */
export interface Exchange {
  /** Of every token of its slots, those that were there already being free; `[ranks]` where they differ. */
  readonly secondsPerToken: number | ArrayLike<number>;
  /** Once, when there are tokens. */
  readonly latencySeconds: number;
  /**
   * The least that all ranks take together for loads [logical] beside latency, whatever the placement: where
   * that is not `secondsPerToken`.
   */
  readonly leastSeconds?: (loads: ArrayLike<number>) => number;
}

/** Experts alone: nothing crosses a link. */
export const NO_EXCHANGE: Exchange = { secondsPerToken: 0, latencySeconds: 0 };

/**
 * The exchange between ranks of equal nodes: 1 / ranks of the tokens are there already, those of the other
 * ranks of the node come over its links, and the rest from other nodes. Each token and expert is a transfer
 * of its own.
 */
export function evenExchange(cost: CostModel, numRanks: number, numNodes: number): Exchange {
  const within = numRanks > numNodes ? cost.link('intraNode').latencySeconds : 0;
  const between = numNodes > 1 ? cost.link('interNode').latencySeconds : 0;
  return {
    secondsPerToken: evenSecondsPerToken(exchangeByLink(cost), numRanks, numNodes),
    latencySeconds: 2 * Math.max(within, between),
  };
}

/** What decides over which links tokens go. */
export type ExchangeRanks = Pick<
  Topology,
  'numRanks' | 'numNodes' | 'nodeOfRank' | 'deadRanks' | 'linkClasses'
>;

/**
 * The exchange between the ranks that live, whatever nodes they are on: of nodes of equally many ranks that
 * of {@link evenExchange}.
 *
 * @throws EplbRangeError `EPLB_RANGE` for a class of links that the model does not have
 */
export function exchangeOf(cost: CostModel, ranks: ExchangeRanks): Exchange {
  const { numRanks, numNodes, nodeOfRank, deadRanks, linkClasses } = ranks;
  if (linkClasses !== undefined) return exchangeByClass(cost, numRanks, deadRanks ?? [], linkClasses);
  if (nodeOfRank === undefined && deadRanks === undefined) return evenExchange(cost, numRanks, numNodes);
  const nodes = nodesOfRanks(ranks);
  const onNode = new Int32Array(numNodes);
  const isDead = new Set(deadRanks);
  nodes.forEach((node, rank) => {
    if (!isDead.has(rank)) onNode[node]!++;
  });
  const live = numRanks - isDead.size;
  const within = onNode.some((count) => count > 1) ? cost.link('intraNode').latencySeconds : 0;
  const isSpread = onNode.filter((count) => count > 0).length > 1;
  const between = isSpread ? cost.link('interNode').latencySeconds : 0;
  const byLink = exchangeByLink(cost);
  return {
    secondsPerToken: Array.from(nodes, (node) => secondsOnNode(byLink, onNode[node]!, live)),
    latencySeconds: 2 * Math.max(within, between),
  };
}

/** Tokens that begin on all live ranks alike, each over the link of its own two ranks. */
function exchangeByClass(
  cost: CostModel,
  numRanks: number,
  deadRanks: readonly number[],
  classes: NonNullable<Topology['linkClasses']>,
): Exchange {
  const { dispatchBytesPerToken, combineBytesPerToken } = cost.toJSON();
  const bytes = dispatchBytesPerToken + combineBytesPerToken;
  const live = Array.from({ length: numRanks }, (_, rank) => rank).filter(
    (rank) => !deadRanks.includes(rank),
  );
  let latency = 0;
  const secondsPerToken = new Array<number>(numRanks).fill(0);
  for (const to of live) {
    for (const from of live) {
      if (from === to) continue;
      const { latencySeconds, bytesPerSecond } = cost.link(classes[from]![to]!);
      secondsPerToken[to]! += bytes / bytesPerSecond / live.length;
      latency = Math.max(latency, latencySeconds);
    }
  }
  return { secondsPerToken, latencySeconds: 2 * latency };
}

/** Seconds of dispatch and combine for a token that comes over a link of the node, and of another node. */
export interface ExchangeByLink {
  readonly withinNode: number;
  readonly betweenNodes: number;
}

export function exchangeByLink(cost: CostModel): ExchangeByLink {
  const { dispatchBytesPerToken, combineBytesPerToken } = cost.toJSON();
  const bytes = dispatchBytesPerToken + combineBytesPerToken;
  return {
    withinNode: bytes / cost.link('intraNode').bytesPerSecond,
    betweenNodes: bytes / cost.link('interNode').bytesPerSecond,
  };
}

/** The same for each token of a rank's slots, where tokens begin on all ranks alike. */
export function evenSecondsPerToken(byLink: ExchangeByLink, numRanks: number, numNodes: number): number {
  return secondsOnNode(byLink, numRanks / numNodes, numRanks);
}

/** Of a rank whose node has so many ranks, itself among them. */
function secondsOnNode(byLink: ExchangeByLink, perNode: number, numRanks: number): number {
  const within = ((perNode - 1) / numRanks) * byLink.withinNode;
  return within + ((numRanks - perNode) / numRanks) * byLink.betweenNodes;
}
