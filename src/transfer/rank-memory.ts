import type { LayerTables } from './layer-tables.ts';

/** A copy within a rank. */
export interface MemoryCopy {
  readonly expert: number;
  readonly from: number;
  readonly to: number;
}

/**
 * What the slots and staging slots of one rank hold while a layer moves in place, and which of them may be
 * overwritten: those whose expert neither has to be sent yet, nor is wanted by another slot of the rank, or
 * is there twice. A slot that may be overwritten is a place to put anything meanwhile.
 */
export class RankMemory {
  readonly #content: Int32Array;
  /** What each slot is to hold; -1 for staging, -2 for a slot that stays or becomes empty: it is not used. */
  readonly #wanted: Int32Array;
  readonly #slotsPerRank: number;
  readonly #sendsLeft = new Map<number, number>();
  /** Read, or written, in the round at hand; -1 for none. */
  #reading = -1;
  #writing = -1;

  constructor(tables: LayerTables, rank: number) {
    const { slotsPerRank, staging } = tables.setting;
    this.#slotsPerRank = slotsPerRank;
    this.#content = new Int32Array(slotsPerRank + staging).fill(-1);
    this.#wanted = new Int32Array(slotsPerRank + staging).fill(-1);
    for (let slot = 0; slot < slotsPerRank; slot++) {
      this.#content[slot] = tables.before(rank, slot);
      const after = tables.after(rank, slot);
      this.#wanted[slot] = after < 0 ? -2 : after;
    }
  }

  addSend(expert: number): void {
    this.#sendsLeft.set(expert, (this.#sendsLeft.get(expert) ?? 0) + 1);
  }

  /** Where the rank has an expert: in the slot that it is to be in, else in the first; -1 for nowhere. */
  find(expert: number, avoid = -1): number {
    let first = -1;
    for (let at = 0; at < this.#content.length; at++) {
      if (this.#content[at] !== expert || at === avoid) continue;
      if (this.#wanted[at] === expert) return at;
      if (first < 0) first = at;
    }
    return first;
  }

  /** Whether the slot holds what it is to hold. */
  isRight(slot: number): boolean {
    return this.#wanted[slot] === -2 || this.#wanted[slot] === this.#content[slot];
  }

  /** Whether the rank has an expert in a slot that is to hold it: it will never be overwritten. */
  keeps(expert: number): boolean {
    return this.#content.some((content, at) => content === expert && this.#wanted[at] === expert);
  }

  /**
   * Reads an expert in this round. @returns from where; -1 where it is not there, or just being overwritten
   */
  read(expert: number): number {
    const at = this.find(expert, this.#writing);
    if (at >= 0) this.#reading = at;
    return at;
  }

  /** Whether something could be received in this round. */
  get hasRoom(): boolean {
    return this.#room(-1) >= 0;
  }

  /** Receives an expert in this round. @returns where to; -1 where there is no room */
  write(expert: number): number {
    this.#writing = this.#room(expert);
    return this.#writing;
  }

  /** Takes back what the round at hand would have read. */
  dropRead(): void {
    this.#reading = -1;
  }

  /** Ends the round. */
  finish(sent: number, received: number): void {
    if (sent >= 0) this.#sendsLeft.set(sent, this.#sendsLeft.get(sent)! - 1);
    if (received >= 0) this.#content[this.#writing] = received;
    this.#reading = -1;
    this.#writing = -1;
  }

  /** A send that is given up. */
  dropSend(expert: number): void {
    this.#sendsLeft.set(expert, this.#sendsLeft.get(expert)! - 1);
  }

  /** Copies into their slots what is there and can be put there, in this order. */
  settle(): MemoryCopy[] {
    const copies: MemoryCopy[] = [];
    const copy = (from: number, to: number) => {
      copies.push({ expert: this.#content[from]!, from, to });
      this.#content[to] = this.#content[from]!;
    };
    for (;;) {
      const before = copies.length;
      for (let slot = 0; slot < this.#slotsPerRank; slot++) {
        if (this.isRight(slot) || !this.#isFree(slot)) continue;
        const from = this.find(this.#wanted[slot]!);
        if (from >= 0) copy(from, slot);
      }
      if (copies.length > before) continue;
      const [first, spare] = [this.#cycle(), this.#room(-1)];
      if (first < 0 || spare < 0) return copies;
      copy(first, spare);
    }
  }

  /** A slot on a cycle of slots that wait for each other and for nothing else; -1 for none. */
  #cycle(): number {
    for (let first = 0; first < this.#slotsPerRank; first++) {
      let slot = first;
      for (let steps = 0; steps < this.#slotsPerRank; steps++) {
        if (this.isRight(slot) || (this.#sendsLeft.get(this.#content[slot]!) ?? 0) > 0) break;
        slot = this.find(this.#wanted[slot]!);
        if (slot < 0 || slot >= this.#slotsPerRank) break;
        if (slot === first) return first;
      }
    }
    return -1;
  }

  /** Where an expert can be put: into its slot, else a staging slot, else any other that is free. */
  #room(expert: number): number {
    let any = -1;
    for (let at = this.#content.length - 1; at >= 0; at--) {
      if (at === this.#reading || !this.#isFree(at)) continue;
      if (expert >= 0 && this.#wanted[at] === expert) return at;
      if (any < 0) any = at;
    }
    return any;
  }

  #isFree(at: number): boolean {
    const expert = this.#content[at]!;
    const wanted = this.#wanted[at]!;
    if (wanted === -2 || wanted === expert) return wanted === -1;
    if (expert < 0) return true;
    for (let other = 0; other < this.#content.length; other++) {
      if (other !== at && this.#content[other] === expert) return true;
    }
    return (this.#sendsLeft.get(expert) ?? 0) === 0 && !this.#isWanted(expert);
  }

  #isWanted(expert: number): boolean {
    for (let slot = 0; slot < this.#slotsPerRank; slot++) {
      if (this.#wanted[slot] === expert && this.#content[slot] !== expert) return true;
    }
    return false;
  }
}
