import type {
  HostLoad,
  LayerOperations,
  LayerSchedule,
  Transfer,
  TransferCopy,
  UndoneSlot,
} from './layer.ts';
import type { LayerTables } from './layer-tables.ts';
import { RankMemory } from './rank-memory.ts';

/** A transfer that has not been made yet. */
interface Pending {
  readonly expert: number;
  source: number;
  readonly target: number;
  /** The round in which it would be were there no slots to wait for. */
  readonly round: number;
}

/**
 * The operations of a layer that moves in place. The rounds of the schedule are played one after the other,
 * the one first of which most can be made; what has to wait for a slot is made up for in a later round, in
 * which its two ranks have nothing else to do. With at least one staging slot a rank all can be made: where
 * nothing can, each rank has at least as many slots to be read as experts to receive and staging slots
 * together, but there are no more reads left than receives.
 */
export function inPlaceOperations(tables: LayerTables, schedule: LayerSchedule): LayerOperations {
  return new InPlaceLayer(tables, schedule).play();
}

class InPlaceLayer {
  readonly #tables: LayerTables;
  readonly #schedule: LayerSchedule;
  readonly #memories: RankMemory[];
  #pending: Pending[];
  readonly #rounds: Transfer[][] = [];
  readonly #copies: TransferCopy[] = [];
  #extraSlots = 0;

  constructor(tables: LayerTables, schedule: LayerSchedule) {
    this.#tables = tables;
    this.#schedule = schedule;
    const { numRanks } = tables.setting;
    this.#memories = Array.from({ length: numRanks }, (_, rank) => new RankMemory(tables, rank));
    this.#pending = Array.from(schedule.experts, (expert, i) => ({
      expert,
      source: schedule.sources[i]!,
      target: schedule.targets[i]!,
      round: schedule.rounds[i]!,
    }));
    for (const { expert, source } of this.#pending) this.#memories[source]!.addSend(expert);
  }

  play(): LayerOperations {
    const { isDead } = this.#tables.setting;
    const live = this.#memories.flatMap((_, rank) => (isDead[rank] === 1 ? [] : [rank]));
    this.#settle(live, 0);
    while (this.#pending.length > 0) {
      if (this.#playRound() || this.#takeOtherSource()) continue;
      break;
    }
    const hostLoads = this.#loadFromHost();
    this.#settle(live, this.#rounds.length + 1);
    const { undone, stagingBytes } = this.#giveUp(live);
    return {
      rounds: this.#rounds,
      copies: this.#copies,
      hostLoads,
      clears: this.#tables.clears(),
      undone: [...this.#tables.undoneOfDead(), ...undone],
      extraSlots: this.#extraSlots,
      stagingBytes,
    };
  }

  /** What waits for a slot on a cycle that cannot be broken is left out. */
  #loadFromHost(): HostLoad[] {
    const { bytesPerExpert: bytes } = this.#tables.setting;
    return Array.from(this.#schedule.hostExperts).flatMap((expert, i) => {
      const targetRank = this.#schedule.hostTargets[i]!;
      const memory = this.#memories[targetRank]!;
      const targetSlot = memory.write(expert);
      if (targetSlot < 0) return [];
      memory.finish(-1, expert);
      this.#note(targetSlot);
      return [{ expert, targetRank, targetSlot, bytes }];
    });
  }

  #settle(ranks: readonly number[], step: number): void {
    const { bytesPerExpert: bytes } = this.#tables.setting;
    for (const rank of ranks) {
      for (const { expert, from, to } of this.#memories[rank]!.settle()) {
        const place = { expert, sourceRank: rank, sourceSlot: from, targetRank: rank, targetSlot: to };
        this.#copies.push({ ...place, bytes, step });
        this.#note(to);
      }
    }
  }

  #note(slot: number): void {
    this.#extraSlots = Math.max(this.#extraSlots, slot + 1 - this.#tables.setting.slotsPerRank);
  }

  /** Makes as many of the pending transfers as fit into a round. @returns whether there was one */
  #playRound(): boolean {
    const made: Transfer[] = [];
    const left: Pending[] = [];
    const busy = new Busy(this.#tables.setting.numRanks, this.#tables.setting.oneAtATime);
    for (const pending of this.#inOrder()) {
      const transfer = busy.allows(pending) ? this.#make(pending) : undefined;
      if (transfer === undefined) left.push(pending);
      else {
        busy.take(pending);
        made.push(transfer);
      }
    }
    if (made.length === 0) return false;
    this.#rounds.push(made);
    this.#pending = left;
    const [sent, received] = [new Map<number, number>(), new Map<number, number>()];
    for (const { expert, sourceRank, targetRank } of made) {
      sent.set(sourceRank, expert);
      received.set(targetRank, expert);
    }
    const ranks = [...new Set([...sent.keys(), ...received.keys()])].sort((a, b) => a - b);
    for (const rank of ranks) this.#memories[rank]!.finish(sent.get(rank) ?? -1, received.get(rank) ?? -1);
    this.#settle(ranks, this.#rounds.length);
    return true;
  }

  /** The pending transfers: first those of the round of which most can be made, then by their rounds. */
  #inOrder(): Pending[] {
    const able = new Int32Array(this.#schedule.numRounds);
    const room = this.#memories.map((memory) => memory.hasRoom);
    for (const { expert, source, target, round } of this.#pending) {
      if (room[target] && this.#memories[source]!.find(expert) >= 0) able[round]!++;
    }
    const first = able.indexOf(able.reduce((most, count) => Math.max(most, count), 0));
    const place = ({ round }: Pending) => (round === first ? -1 : round);
    return this.#pending.toSorted((a, b) => place(a) - place(b));
  }

  #make({ expert, source, target }: Pending): Transfer | undefined {
    const sourceSlot = this.#memories[source]!.read(expert);
    if (sourceSlot < 0) return undefined;
    const targetSlot = this.#memories[target]!.write(expert);
    if (targetSlot < 0) {
      this.#memories[source]!.dropRead();
      return undefined;
    }
    this.#note(targetSlot);
    return this.#tables.transfer(expert, source, sourceSlot, target, targetSlot);
  }

  /** Where nothing can be made: has an expert sent by another rank that has it, which frees its slot. */
  #takeOtherSource(): boolean {
    for (const pending of this.#pending) {
      const { expert, source, target } = pending;
      if (this.#memories[source]!.keeps(expert)) continue;
      const other = this.#memories.findIndex(
        (memory, rank) =>
          rank !== source &&
          rank !== target &&
          this.#tables.setting.isDead[rank] === 0 &&
          memory.keeps(expert),
      );
      if (other < 0) continue;
      this.#memories[source]!.dropSend(expert);
      this.#memories[other]!.addSend(expert);
      pending.source = other;
      this.#settle([source], this.#rounds.length);
      return true;
    }
    return false;
  }

  /** Lists the slots that do not get what they are to hold, and what they would need. */
  #giveUp(live: readonly number[]): { undone: UndoneSlot[]; stagingBytes: number } {
    const { slotsPerRank, bytesPerExpert: bytes } = this.#tables.setting;
    const undone: UndoneSlot[] = [];
    for (const targetRank of live) {
      for (let targetSlot = 0; targetSlot < slotsPerRank; targetSlot++) {
        if (this.#memories[targetRank]!.isRight(targetSlot)) continue;
        const expert = this.#tables.after(targetRank, targetSlot);
        undone.push({ expert, targetRank, targetSlot, bytes, reason: 'staging' });
      }
    }
    return { undone, stagingBytes: this.#numCycles(undone) * bytes };
  }

  /** The cycles of slots that each wait for the next one. */
  #numCycles(undone: readonly UndoneSlot[]): number {
    const name = (rank: number, slot: number) => rank * this.#tables.setting.slotsPerRank + slot;
    const next = new Map(
      undone.map(({ expert, targetRank, targetSlot }) => {
        const pending = this.#pending.find((one) => one.target === targetRank && one.expert === expert);
        const rank = pending?.source ?? targetRank;
        return [name(targetRank, targetSlot), name(rank, this.#memories[rank]!.find(expert))];
      }),
    );
    const seenIn = new Map<number, number>();
    let cycles = 0;
    for (const start of next.keys()) {
      let at = start;
      while (next.has(at) && !seenIn.has(at)) {
        seenIn.set(at, start);
        at = next.get(at)!;
      }
      if (seenIn.get(at) === start && next.has(at)) cycles++;
    }
    return cycles;
  }
}

/** Which ranks have something to do in a round. */
class Busy {
  readonly #sends: Uint8Array;
  readonly #receives: Uint8Array;

  constructor(numRanks: number, oneAtATime: boolean) {
    this.#sends = new Uint8Array(numRanks);
    this.#receives = oneAtATime ? this.#sends : new Uint8Array(numRanks);
  }

  allows({ source, target }: Pending): boolean {
    return this.#sends[source] === 0 && this.#receives[target] === 0;
  }

  take({ source, target }: Pending): void {
    this.#sends[source] = 1;
    this.#receives[target] = 1;
  }
}
