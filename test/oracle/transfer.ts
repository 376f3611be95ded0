import type { ExpertMapping, TransferLayer, TransferPlan } from 'expert-load-balancer';

const BYTES = 8;

/** The weights of an expert: bytes that no other expert of any layer has. */
function weightsOf(layer: number, expert: number): string {
  return Buffer.from(Uint32Array.of(layer, expert).buffer)
    .toString('hex')
    .padEnd(2 * BYTES, '0');
}

/**
 * Moves bytes as a plan says: weights in the slots of ranks, and behind them their buffer or staging slots.
 *
 * @returns of each rank and slot the bytes, in hex; undefined where there are none
 */
export function movedWeights(
  plan: TransferPlan,
  layer: TransferLayer,
  from: ExpertMapping,
): (string | undefined)[][] {
  const slotsPerRank = plan.numPhysicalExperts / plan.numRanks;
  const ranks = Array.from({ length: plan.numRanks }, (_, rank) =>
    Array.from({ length: slotsPerRank + layer.extraSlots }, (__, slot): Uint8Array | undefined => {
      const expert =
        slot < slotsPerRank ? from.getLogicalExpert(layer.layer, rank * slotsPerRank + slot) : -1;
      const isLost = plan.deadRanks.includes(rank) || expert < 0;
      return isLost ? undefined : new Uint8Array(Buffer.from(weightsOf(layer.layer, expert), 'hex'));
    }),
  );
  const copy = (step: number) => {
    for (const { step: when, sourceRank, sourceSlot, targetSlot } of layer.copies) {
      if (when === step) ranks[sourceRank]![targetSlot] = ranks[sourceRank]![sourceSlot]?.slice();
    }
  };
  copy(0);
  for (const [i, round] of layer.rounds.entries()) {
    // One after the other: nothing that is read in a round may be written in it.
    for (const { sourceRank, sourceSlot, targetRank, targetSlot } of round) {
      ranks[targetRank]![targetSlot] = ranks[sourceRank]![sourceSlot]?.slice();
    }
    copy(i + 1);
  }
  for (const { expert, targetRank, targetSlot } of layer.hostLoads) {
    ranks[targetRank]![targetSlot] = new Uint8Array(Buffer.from(weightsOf(layer.layer, expert), 'hex'));
  }
  copy(layer.rounds.length + 1);
  for (const { rank, slot } of layer.clears) ranks[rank]![slot] = undefined;
  return ranks.map((slots) =>
    slots.slice(0, slotsPerRank).map((bytes) => bytes && Buffer.from(bytes).toString('hex')),
  );
}

/** What {@link movedWeights} has to come to: the target, but for undone slots, which `skip` says. */
export function wantedWeights(
  plan: TransferPlan,
  layer: number,
  to: ExpertMapping,
): (string | undefined)[][] {
  const slotsPerRank = plan.numPhysicalExperts / plan.numRanks;
  return Array.from({ length: plan.numRanks }, (_, rank) =>
    Array.from({ length: slotsPerRank }, (__, slot) => {
      const expert = to.getLogicalExpert(layer, rank * slotsPerRank + slot);
      return expert < 0 ? undefined : weightsOf(layer, expert);
    }),
  );
}

/** What ranks need in a layer: each an expert, the rank, and the live ranks that have it. */
export interface Need {
  readonly expert: number;
  readonly target: number;
  readonly holders: readonly number[];
}

export function needsOf(
  from: ExpertMapping,
  to: ExpertMapping,
  layer: number,
  { numRanks, deadRanks }: { readonly numRanks: number; readonly deadRanks: readonly number[] },
): Need[] {
  const slotsPerRank = from.numPhysicalExperts / numRanks;
  const expertsOf = (mapping: ExpertMapping, rank: number) =>
    new Set(
      Array.from({ length: slotsPerRank }, (_, slot) =>
        mapping.getLogicalExpert(layer, rank * slotsPerRank + slot),
      ).filter((expert) => expert >= 0),
    );
  const live = Array.from({ length: numRanks }, (_, rank) => rank).filter(
    (rank) => !deadRanks.includes(rank),
  );
  const before = new Map(live.map((rank) => [rank, expertsOf(from, rank)]));
  return live.flatMap((target) =>
    [...expertsOf(to, target)]
      .filter((expert) => !before.get(target)!.has(expert))
      .map((expert) => ({ expert, target, holders: live.filter((rank) => before.get(rank)!.has(expert)) })),
  );
}

/**
 * The least that the busiest sender can send: the smallest limit at which every need finds a sender below it,
 * each by an augmenting path (H. W. Kuhn).
 */
export function leastMostSent(needs: readonly Need[], numRanks: number): number {
  const open = needs.filter(({ holders }) => holders.length > 0);
  for (let limit = 0; ; limit++) {
    const sends: Need[][] = Array.from({ length: numRanks }, () => []);
    const place = (need: Need, tried: Set<number>): boolean =>
      need.holders.some((rank) => {
        if (tried.has(rank)) return false;
        tried.add(rank);
        const own = sends[rank]!;
        if (own.length < limit) {
          own.push(need);
          return true;
        }
        const moved = own.findIndex((other) => place(other, tried));
        if (moved < 0) return false;
        own[moved] = need;
        return true;
      });
    if (open.every((need) => place(need, new Set()))) return limit;
  }
}

/** Experts of the rank that receives most of them from others. */
export function mostReceived(needs: readonly Need[], numRanks: number): number {
  const received = new Array<number>(numRanks).fill(0);
  for (const { target, holders } of needs) if (holders.length > 0) received[target]!++;
  return Math.max(...received);
}

/** The least cost of links with no sender above a limit: every choice is tried. */
export function leastLinkCost(
  needs: readonly Need[],
  numRanks: number,
  limit: number,
  costOf: (source: number, target: number) => number,
): number {
  const open = needs.filter(({ holders }) => holders.length > 0);
  const sent = new Array<number>(numRanks).fill(0);
  const from = (i: number): number => {
    if (i === open.length) return 0;
    let least = Number.POSITIVE_INFINITY;
    for (const rank of open[i]!.holders) {
      if (sent[rank] === limit) continue;
      sent[rank]!++;
      least = Math.min(least, costOf(rank, open[i]!.target) + from(i + 1));
      sent[rank]!--;
    }
    return least;
  };
  return from(0);
}
