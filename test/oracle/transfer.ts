import type { ExpertMapping, TransferLayer, TransferPlan } from 'expert-load-balancer';

/**
 * Bytes of an expert: numbers of its layer and its own, from 1 on, so that no two are alike and none is
 * empty.
 */
const BYTES = 8;

/** The slots of ranks as memory. */
class Memory {
  readonly #bytes: Uint8Array;
  readonly #width: number;

  constructor(numRanks: number, width: number) {
    this.#bytes = new Uint8Array(numRanks * width * BYTES);
    this.#width = width;
  }

  #at(rank: number, slot: number): number {
    return (rank * this.#width + slot) * BYTES;
  }

  put(rank: number, slot: number, layer: number, expert: number): void {
    const weights = expert < 0 ? [0, 0] : [layer + 1, expert + 1];
    this.#bytes.set(new Uint8Array(Uint32Array.from(weights).buffer), this.#at(rank, slot));
  }

  copy(fromRank: number, fromSlot: number, toRank: number, toSlot: number): void {
    const from = this.#at(fromRank, fromSlot);
    this.#bytes.copyWithin(this.#at(toRank, toSlot), from, from + BYTES);
  }

  /** The bytes of a slot. */
  slot(rank: number, slot: number): Uint8Array {
    return this.#bytes.subarray(this.#at(rank, slot), this.#at(rank, slot) + BYTES);
  }
}

/** Moves bytes as a plan says: in the slots of ranks, and behind them their buffer or staging slots. */
function moveWeights(plan: TransferPlan, layer: TransferLayer, from: ExpertMapping): Memory {
  const slotsPerRank = plan.numPhysicalExperts / plan.numRanks;
  const memory = new Memory(plan.numRanks, slotsPerRank + layer.extraSlots);
  for (let at = 0; at < plan.numPhysicalExperts; at++) {
    const rank = Math.floor(at / slotsPerRank);
    const expert = plan.deadRanks.includes(rank) ? -1 : from.getLogicalExpert(layer.layer, at);
    memory.put(rank, at % slotsPerRank, layer.layer, expert);
  }
  const move = (one: Omit<TransferLayer['copies'][number], 'step'>) =>
    memory.copy(one.sourceRank, one.sourceSlot, one.targetRank, one.targetSlot);
  const copy = (step: number) => layer.copies.filter((one) => one.step === step).forEach(move);
  copy(0);
  for (const [i, round] of layer.rounds.entries()) {
    // One after the other: nothing that is read in a round may be written in it.
    round.forEach(move);
    copy(i + 1);
  }
  for (const { expert, targetRank, targetSlot } of layer.hostLoads) {
    memory.put(targetRank, targetSlot, layer.layer, expert);
  }
  copy(layer.rounds.length + 1);
  for (const { rank, slot } of layer.clears) memory.put(rank, slot, layer.layer, -1);
  return memory;
}

/**
 * The first slot of a live rank that does not have the target's bytes after a plan moved them, and is not
 * listed as undone; undefined when there is none.
 */
export function firstWrongSlot(
  plan: TransferPlan,
  layer: TransferLayer,
  from: ExpertMapping,
  to: ExpertMapping,
): string | undefined {
  const slotsPerRank = plan.numPhysicalExperts / plan.numRanks;
  const memory = moveWeights(plan, layer, from);
  const wanted = new Memory(1, 1);
  for (let at = 0; at < plan.numPhysicalExperts; at++) {
    const [rank, slot] = [Math.floor(at / slotsPerRank), at % slotsPerRank];
    if (plan.deadRanks.includes(rank)) continue;
    if (layer.undone.some(({ targetRank, targetSlot }) => targetRank === rank && targetSlot === slot))
      continue;
    wanted.put(0, 0, layer.layer, to.getLogicalExpert(layer.layer, at));
    const isEqual = Buffer.compare(memory.slot(rank, slot), wanted.slot(0, 0)) === 0;
    if (!isEqual) return `rank ${rank}, slot ${slot}`;
  }
  return undefined;
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
