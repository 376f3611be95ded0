import { costModel, ExpertMapping } from 'expert-load-balancer';
import fc from 'fast-check';
import type { DispatchProblem } from '../oracle/dispatch.ts';
import { seededRandom } from './arbitraries.ts';

export interface MappedProblem extends DispatchProblem {
  readonly mapping: ExpertMapping;
  readonly numExperts: number;
  readonly random: () => number;
}

/** Links whose times are simple numbers. */
export const dispatchCost = costModel({
  slotSeconds: { floor: 4, perToken: 0.5 },
  dispatchBytesPerToken: 2,
  combineBytesPerToken: 4,
  links: {
    intraNode: { latencySeconds: 1, bytesPerSecond: 60 },
    interNode: { latencySeconds: 2, bytesPerSecond: 20 },
  },
});

/** Nodes of any sizes, dead ranks, copies anywhere, two on a rank too, and empty slots. */
export const dispatchProblems = fc
  .record({
    seed: fc.nat(),
    numLayers: fc.integer({ min: 1, max: 2 }),
    numRanks: fc.integer({ min: 1, max: 5 }),
    perRank: fc.integer({ min: 1, max: 4 }),
    dispatch: fc.constantFrom('even' as const, 'nearest' as const),
  })
  .map(({ seed, numLayers, numRanks, perRank, dispatch }): MappedProblem => {
    const random = seededRandom(seed);
    const numSlots = numRanks * perRank;
    const numExperts = 1 + Math.floor(random() * numSlots);
    const rows = Array.from({ length: numLayers }, () =>
      Array.from({ length: numSlots }, (_, slot) =>
        slot < numExperts ? slot : Math.floor(random() * (numExperts + 1)) - 1,
      ).sort(() => random() - 0.5),
    );
    let node = 0;
    const nodeOf = Array.from({ length: numRanks }, (_, rank) =>
      rank > 0 && random() < 0.4 ? ++node : node,
    );
    const deadRanks = nodeOf.flatMap((_, rank) => (rank > 0 && random() < 0.15 ? [rank] : []));
    const mapping = ExpertMapping.fromPhysicalToLogical(rows, numExperts);
    return { rows, numRanks, nodeOf, deadRanks, dispatch, mapping, numExperts, random };
  });

/** A problem as the options of the library's functions. */
export const dispatchOptions = ({ numRanks, nodeOf, deadRanks, dispatch }: DispatchProblem) => ({
  ...{ numRanks, numNodes: nodeOf.at(-1)! + 1, nodeOfRank: nodeOf, deadRanks, dispatch },
});
