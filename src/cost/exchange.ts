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
  const { dispatchBytesPerToken, combineBytesPerToken } = cost.toJSON();
  const bytes = dispatchBytesPerToken + combineBytesPerToken;
  const within = cost.link('intraNode');
  const between = cost.link('interNode');
  const secondsPerToken = evenSecondsPerToken(
    { withinNode: bytes / within.bytesPerSecond, betweenNodes: bytes / between.bytesPerSecond },
    numRanks,
    numNodes,
  );
  const latencies = [numRanks > numNodes ? within : undefined, numNodes > 1 ? between : undefined];
  const latencySeconds = Math.max(0, ...latencies.map((link) => 2 * (link?.latencySeconds ?? 0)));
  return { secondsPerToken, latencySeconds };
}

/**
 * Seconds of dispatch and combine for each token of a rank's slots, where tokens begin on all ranks alike.
 *
 * @param perToken seconds of a token that comes over a link of the node, and of another node
 */
export function evenSecondsPerToken(
  perToken: { readonly withinNode: number; readonly betweenNodes: number },
  numRanks: number,
  numNodes: number,
): number {
  const perNode = numRanks / numNodes;
  const within = ((perNode - 1) / numRanks) * perToken.withinNode;
  return within + ((numRanks - perNode) / numRanks) * perToken.betweenNodes;
}
