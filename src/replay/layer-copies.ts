import type { Dispatch, Topology } from '../index.ts';
import { type CopyShares, makeCopyShares } from '../mapping/copy-shares.ts';

/** Where the tokens of a layer's experts may go. */
export interface TokenDestinations {
  /** By the rank that a token is on. */
  readonly copies: CopyShares;
  /** [logical + 1]: where the ranks of an expert's copies begin, each rank once; and the share of each. */
  readonly first: Int32Array;
  readonly ranks: Int32Array;
  readonly shares: Float64Array;
}

/** @param slots `[physical]`: the expert of each slot, -1 when it is empty */
export function layerCopies(slots: Int32Array, topology: Topology, dispatch: Dispatch): TokenDestinations {
  const { numLogicalExperts } = topology;
  const anywhere = makeCopyShares(slots, topology, 'even');
  const first = new Int32Array(numLogicalExperts + 1);
  const ranks = new Int32Array(slots.length);
  const shares = new Float64Array(slots.length);
  for (let expert = 0; expert < numLogicalExperts; expert++) {
    const at = first[expert]!;
    const numTargets = anywhere.find(expert, 0);
    ranks.set(anywhere.ranks.subarray(0, numTargets), at);
    shares.set(anywhere.shares.subarray(0, numTargets), at);
    first[expert + 1] = at + numTargets;
  }
  const copies = dispatch === 'even' ? anywhere : makeCopyShares(slots, topology, dispatch);
  return { copies, first, ranks, shares };
}

/** The ranks that live, ascending. */
export function liveRanks({ numRanks, deadRanks = [] }: Topology): number[] {
  return Array.from({ length: numRanks }, (_, rank) => rank).filter((rank) => !deadRanks.includes(rank));
}
