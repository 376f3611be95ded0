import type { PlacementRules, Topology } from 'expert-load-balancer';

/** What is said of one layer, as sentences: what a placement of it breaks. Knows nothing of the search. */
export function brokenSentences(
  slots: ArrayLike<number>,
  layer: number,
  { numRanks, numLogicalExperts, deadRanks = [], rules = {} }: Topology,
): string[] {
  const stride = slots.length / numRanks;
  const copies = (expert: number, rank: number) => {
    let count = 0;
    for (let slot = rank * stride; slot < (rank + 1) * stride; slot++) if (slots[slot] === expert) count++;
    return count;
  };
  const isFor = ({ layers }: { readonly layers?: readonly number[] }) => layers?.includes(layer) ?? true;
  const all = Array.from({ length: numRanks }, (_, rank) => rank);
  const broken = new Set<string>();
  for (const { experts, ranks, only } of (rules.pinned ?? []).filter(isFor)) {
    const live = ranks.filter((rank) => !deadRanks.includes(rank));
    for (const expert of experts) {
      for (const rank of live) if (copies(expert, rank) === 0) broken.add(`${expert} is missing on ${rank}`);
      if (only !== true || live.length === 0) continue;
      for (const rank of all) {
        if (copies(expert, rank) > (live.includes(rank) ? 1 : 0))
          broken.add(`${expert} is too often on ${rank}`);
      }
    }
  }
  for (const { experts } of (rules.neverReplicated ?? []).filter(isFor)) {
    for (const expert of experts ?? Array.from({ length: numLogicalExperts }, (_, one) => one)) {
      const count = all.reduce((sum, rank) => sum + copies(expert, rank), 0);
      if (count > 1) broken.add(`${expert} is replicated`);
    }
  }
  return [...broken];
}

/** The load of each rank in one layer, with that of the shared expert. @param loads [logical] */
export function ruledRankLoads(
  slots: ArrayLike<number>,
  loads: ArrayLike<number>,
  { numRanks, deadRanks = [], rules }: Pick<Topology, 'numRanks' | 'deadRanks' | 'rules'>,
): number[] {
  const stride = slots.length / numRanks;
  const counts = new Map<number, number>();
  for (let slot = 0; slot < slots.length; slot++)
    counts.set(slots[slot]!, (counts.get(slots[slot]!) ?? 0) + 1);
  const ranks = new Array<number>(numRanks).fill(0);
  for (let slot = 0; slot < slots.length; slot++) {
    const expert = slots[slot]!;
    if (expert >= 0) ranks[Math.floor(slot / stride)]! += loads[expert]! / counts.get(expert)!;
  }
  const total = Array.from(loads).reduce((sum, load) => sum + load, 0);
  return ranks.map((load, rank) => load + total * sharedShare(rules, rank, numRanks, deadRanks));
}

function sharedShare(
  rules: PlacementRules | undefined,
  rank: number,
  numRanks: number,
  deadRanks: readonly number[],
): number {
  if (rules?.sharedExpert === undefined) return 0;
  const { load, ranks = Array.from({ length: numRanks }, (_, one) => one) } = rules.sharedExpert;
  const live = ranks.filter((one) => !deadRanks.includes(one));
  if (!live.includes(rank)) return 0;
  return typeof load === 'number' ? load / live.length : load[rank]!;
}

/**
 * The least that any placement of one layer costs which keeps the rules, by trying all of them. An expert
 * comes twice on a rank only where no other placement fills the slots.
 */
export function bestUnderRules(topology: Topology, costOf: (row: Int32Array) => number): number {
  const { numPhysicalExperts, numRanks, numLogicalExperts } = topology;
  const stride = numPhysicalExperts / numRanks;
  const row = new Int32Array(numPhysicalExperts);
  const best = { once: Number.POSITIVE_INFINITY, twice: Number.POSITIVE_INFINITY };
  const fill = (slot: number, hasDoubles: boolean): void => {
    if (slot === numPhysicalExperts) {
      if (new Set(row).size < numLogicalExperts || brokenSentences(row, 0, topology).length > 0) return;
      const kind = hasDoubles ? 'twice' : 'once';
      best[kind] = Math.min(best[kind], costOf(row));
      return;
    }
    // Slots of a rank are alike: only rising rows are tried.
    const isFirst = slot % stride === 0;
    for (let expert = isFirst ? 0 : row[slot - 1]!; expert < numLogicalExperts; expert++) {
      row[slot] = expert;
      fill(slot + 1, hasDoubles || (!isFirst && row[slot - 1] === expert));
    }
  };
  fill(0, false);
  return best.once < Number.POSITIVE_INFINITY ? best.once : best.twice;
}
