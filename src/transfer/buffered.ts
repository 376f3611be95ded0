import type { HostLoad, LayerOperations, LayerSchedule, Transfer, TransferCopy } from './layer.ts';
import type { LayerTables } from './layer-tables.ts';

/**
 * The operations of a layer that is received into buffers: what a rank gets, and what it has only in slots
 * that are overwritten, goes to a buffer slot, once; at the end each changed slot is copied from there, or
 * from a slot of the rank that keeps the expert.
 */
export function bufferedOperations(tables: LayerTables, schedule: LayerSchedule): LayerOperations {
  const { numRanks, slotsPerRank, isDead, bytesPerExpert: bytes } = tables.setting;
  const activation = schedule.numRounds + 1;
  const buffers = new Buffers(numRanks, slotsPerRank);
  const [preparing, activating]: [TransferCopy[], TransferCopy[]] = [[], []];
  const copy = (rank: number, expert: number, sourceSlot: number, targetSlot: number, step: number) => ({
    expert,
    sourceRank: rank,
    sourceSlot,
    targetRank: rank,
    targetSlot,
    bytes,
    step,
  });
  for (let rank = 0; rank < numRanks; rank++) {
    if (isDead[rank] === 1) continue;
    for (let slot = 0; slot < slotsPerRank; slot++) {
      const expert = tables.after(rank, slot);
      if (expert < 0 || !tables.isChanged(rank, slot)) continue;
      const held = tables.slotOf(rank, expert);
      let source = held;
      if (held < 0 || tables.isChanged(rank, held)) {
        const known = buffers.find(rank, expert);
        source = known < 0 ? buffers.add(rank, expert) : known;
        if (known < 0 && held >= 0) preparing.push(copy(rank, expert, held, source, 0));
      }
      activating.push(copy(rank, expert, source, slot, activation));
    }
  }
  const hostLoads = Array.from(schedule.hostExperts, (expert, i): HostLoad => {
    const targetRank = schedule.hostTargets[i]!;
    return { expert, targetRank, targetSlot: buffers.find(targetRank, expert), bytes };
  });
  return {
    rounds: roundsOf(tables, schedule, buffers),
    copies: [...preparing, ...activating],
    hostLoads,
    clears: tables.clears(),
    undone: tables.undoneOfDead(),
    extraSlots: buffers.most,
    stagingBytes: 0,
  };
}

function roundsOf(tables: LayerTables, schedule: LayerSchedule, buffers: Buffers): Transfer[][] {
  const rounds: Transfer[][] = Array.from({ length: schedule.numRounds }, () => []);
  for (let i = 0; i < schedule.count; i++) {
    const [expert, sourceRank, targetRank] = [
      schedule.experts[i]!,
      schedule.sources[i]!,
      schedule.targets[i]!,
    ];
    const held = tables.slotOf(sourceRank, expert);
    const sourceSlot = held < 0 ? buffers.find(sourceRank, expert) : held;
    const targetSlot = buffers.find(targetRank, expert);
    const transfer = tables.transfer(expert, sourceRank, sourceSlot, targetRank, targetSlot);
    rounds[schedule.rounds[i]!]!.push(transfer);
  }
  return rounds;
}

/** Which experts the buffers of the ranks hold; numbered from slots-per-rank on. */
class Buffers {
  /** The slots of the largest. */
  most = 0;
  readonly #slotsPerRank: number;
  /** [ranks x slots], of each rank as many as its count. */
  readonly #experts: Int32Array;
  readonly #counts: Int32Array;

  constructor(numRanks: number, slotsPerRank: number) {
    this.#slotsPerRank = slotsPerRank;
    this.#experts = new Int32Array(numRanks * slotsPerRank);
    this.#counts = new Int32Array(numRanks);
  }

  /** -1 where the expert is not there. */
  find(rank: number, expert: number): number {
    const first = rank * this.#slotsPerRank;
    for (let i = 0; i < this.#counts[rank]!; i++) {
      if (this.#experts[first + i] === expert) return this.#slotsPerRank + i;
    }
    return -1;
  }

  add(rank: number, expert: number): number {
    const place = this.#counts[rank]!++;
    this.#experts[rank * this.#slotsPerRank + place] = expert;
    this.most = Math.max(this.most, place + 1);
    return this.#slotsPerRank + place;
  }
}
