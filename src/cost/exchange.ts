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
  const perNode = numRanks / numNodes;
  const shares = [
    [(perNode - 1) / numRanks, cost.link('intraNode')],
    [(numRanks - perNode) / numRanks, cost.link('interNode')],
  ] as const;
  let secondsPerToken = 0;
  let latencySeconds = 0;
  for (const [share, link] of shares) {
    if (share <= 0) continue;
    secondsPerToken += (share * bytes) / link.bytesPerSecond;
    latencySeconds = Math.max(latencySeconds, 2 * link.latencySeconds);
  }
  return { secondsPerToken, latencySeconds };
}
