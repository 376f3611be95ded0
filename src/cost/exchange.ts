import type { CostModel } from './cost-model.ts';

/** What dispatch and combine take of a rank, tokens of its slots beginning on all ranks alike. */
export interface Exchange {
  /** Of every token of its slots, those that were there already being free. */
  readonly secondsPerToken: number;
  /** Once, when there are tokens. */
  readonly latencySeconds: number;
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
  const perNode = numRanks / numNodes;
  const within = ((perNode - 1) / numRanks) * byLink.withinNode;
  return within + ((numRanks - perNode) / numRanks) * byLink.betweenNodes;
}
