import { nodesOfRanks } from '../core/nodes.ts';
import type { TransferPlan } from '../index.ts';
import { nodeStartsOf } from './compact.ts';
import type { TransferData } from './transfer-data.ts';

/** Takes from a plan what its page draws. */
export function transferData(plan: TransferPlan): TransferData {
  const links = Object.keys(plan.bytesByLink);
  const indexOf = new Map(links.map((link, i) => [link, i]));
  return {
    numRanks: plan.numRanks,
    nodeStarts: nodeStartsOf(nodesOfRanks(plan)),
    bytesPerExpert: plan.bytesPerExpert,
    links,
    layers: plan.layers.map(({ layer, bounds, rounds }) => ({
      layer,
      bound: bounds.rounds,
      rounds: rounds.map((round) =>
        round.flatMap(({ sourceRank, targetRank, expert, link }) => [
          sourceRank,
          targetRank,
          expert,
          indexOf.get(link)!,
        ]),
      ),
    })),
  };
}
