import type { Topology } from '../../core/topology.ts';

/**
 * Has ranks of a placement change places so that many slots have an expert that was on their rank before. As
 * the ranks are alike, the placement is as good as it was. The pairs of ranks that share most are matched
 * first. That can miss the most there is, which assignment.ts finds, but it does not take n^3 steps: there
 * may be hundreds of ranks.
 *
 * @param numParts ranks change places only within so many equally large parts, as nodes whose groups stay
 * @param live `[physical]`, -1 for an empty slot: what was there before
 * @param planned `[physical]`: changed in place
 */
export function matchRanks(
  topology: Topology,
  numParts: number,
  live: Int32Array,
  planned: Int32Array,
): void {
  const { numRanks } = topology;
  const slotsOfARank = live.length / numRanks;
  const ranksOfAPart = numRanks / numParts;
  const partOf = (rank: number) => Math.floor(rank / ranksOfAPart);
  const toRank = new Int32Array(numRanks).fill(-1);
  const isTaken = new Uint8Array(numRanks);
  const match = (from: number, to: number) => {
    toRank[from] = to;
    isTaken[to] = 1;
  };
  for (const pairs of sharingRanks(topology, live, planned).reverse()) {
    for (const pair of pairs) {
      const from = Math.floor(pair / numRanks);
      const to = pair % numRanks;
      if (toRank[from] === -1 && isTaken[to] === 0 && partOf(from) === partOf(to)) match(from, to);
    }
  }
  for (const from of toRank.keys()) {
    const first = partOf(from) * ranksOfAPart;
    if (toRank[from] === -1) match(from, isTaken.indexOf(0, first));
  }
  const before = planned.slice();
  for (const [from, to] of toRank.entries())
    planned.set(before.subarray(from * slotsOfARank, (from + 1) * slotsOfARank), to * slotsOfARank);
}

/**
 * Ranks of `planned` and of `live` that have experts in common, by how many slots those are, as
 * from * numRanks + to. A thousand ranks can make a million pairs: sorting them would take long.
 */
function sharingRanks(
  { numRanks, numLogicalExperts }: Topology,
  live: Int32Array,
  planned: Int32Array,
): number[][] {
  const slotsOfARank = live.length / numRanks;
  const holders = holdersOf(live, slotsOfARank, numLogicalExperts);
  const pairsBySharing: number[][] = Array.from({ length: slotsOfARank + 1 }, () => []);
  const shared = new Int32Array(numRanks);
  for (let from = 0; from < numRanks; from++) {
    shared.fill(0);
    for (const expert of planned.subarray(from * slotsOfARank, (from + 1) * slotsOfARank))
      for (const rank of holders[expert] ?? []) shared[rank]!++;
    for (let to = 0; to < numRanks; to++)
      if (shared[to]! > 0) pairsBySharing[shared[to]!]!.push(from * numRanks + to);
  }
  return pairsBySharing;
}

/** `[logical]`: the ranks that have each expert. */
function holdersOf(slots: Int32Array, slotsOfARank: number, numLogicalExperts: number): number[][] {
  const holders: number[][] = Array.from({ length: numLogicalExperts }, () => []);
  for (const [slot, expert] of slots.entries()) {
    const rank = Math.floor(slot / slotsOfARank);
    // Slots of a rank lie one after the other.
    if (expert >= 0 && holders[expert]!.at(-1) !== rank) holders[expert]!.push(rank);
  }
  return holders;
}
