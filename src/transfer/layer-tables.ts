import type { RankSlot, Transfer, UndoneSlot } from './layer.ts';
import type { TransferSetting } from './options.ts';

/** What slots of one layer hold before and after, by rank. */
export class LayerTables {
  readonly setting: TransferSetting;
  readonly #before: Int32Array;
  readonly #after: Int32Array;
  readonly #start: number;
  #holders: Map<number, RankSlot[]> | undefined;

  /** @param before tables [layers x physical], of which the layer begins at `start` */
  constructor(setting: TransferSetting, before: Int32Array, after: Int32Array, start: number) {
    this.setting = setting;
    this.#before = before;
    this.#after = after;
    this.#start = start;
  }

  before(rank: number, slot: number): number {
    return this.#before[this.#start + rank * this.setting.slotsPerRank + slot]!;
  }

  after(rank: number, slot: number): number {
    return this.#after[this.#start + rank * this.setting.slotsPerRank + slot]!;
  }

  isChanged(rank: number, slot: number): boolean {
    return this.before(rank, slot) !== this.after(rank, slot);
  }

  /** The slot from which a rank gives an expert away: one that keeps it, else the first; -1 for none. */
  slotOf(rank: number, expert: number): number {
    let first = -1;
    for (let slot = 0; slot < this.setting.slotsPerRank; slot++) {
      if (this.before(rank, slot) !== expert) continue;
      if (!this.isChanged(rank, slot)) return slot;
      if (first < 0) first = slot;
    }
    return first;
  }

  /** A transfer as an object. */
  transfer(
    expert: number,
    sourceRank: number,
    sourceSlot: number,
    targetRank: number,
    targetSlot: number,
  ): Transfer {
    const { links, bytesPerExpert: bytes } = this.setting;
    const link = links.classes[links.classOf(sourceRank, targetRank)]!;
    const fallbacks = this.#fallbacks(expert, sourceRank, targetRank);
    // Written out: spread from parts they take three times as long to make.
    return fallbacks === undefined
      ? { expert, sourceRank, sourceSlot, targetRank, targetSlot, bytes, link }
      : { expert, sourceRank, sourceSlot, targetRank, targetSlot, bytes, link, fallbacks };
  }

  /** The slots of dead ranks that are to hold an expert: nothing can be sent there. */
  undoneOfDead(): UndoneSlot[] {
    const { deadRanks, slotsPerRank, bytesPerExpert: bytes } = this.setting;
    return deadRanks.flatMap((targetRank) =>
      Array.from({ length: slotsPerRank }, (_, targetSlot) => ({
        expert: this.after(targetRank, targetSlot),
        targetRank,
        targetSlot,
        bytes,
        reason: 'deadRank' as const,
      })).filter(({ expert }) => expert >= 0),
    );
  }

  /** Slots of live ranks that become empty. */
  clears(): RankSlot[] {
    const { numRanks, slotsPerRank, isDead } = this.setting;
    const clears: RankSlot[] = [];
    for (let rank = 0; rank < numRanks; rank++) {
      if (isDead[rank] === 1) continue;
      for (let slot = 0; slot < slotsPerRank; slot++) {
        if (this.after(rank, slot) < 0 && this.before(rank, slot) >= 0) clears.push({ rank, slot });
      }
    }
    return clears;
  }

  /**
   * Live ranks with an expert but `source`, the cheapest link to `target` first, then the lowest rank;
   * undefined when there is none.
   */
  #fallbacks(expert: number, source: number, target: number): RankSlot[] | undefined {
    this.#holders ??= this.#findHolders();
    const all = this.#holders.get(expert)!;
    const { links } = this.setting;
    if (all.length < 2 && all[0]!.rank === source) return undefined;
    const others = all.filter(({ rank }) => rank !== source);
    if (links.isEven || others.length < 2) return others;
    return others.sort((a, b) => links.costOf(a.rank, target) - links.costOf(b.rank, target));
  }

  /** The live ranks that have each expert, ascending, with the slots that they give it away from. */
  #findHolders(): Map<number, RankSlot[]> {
    const { numRanks, slotsPerRank, isDead } = this.setting;
    const holders = new Map<number, RankSlot[]>();
    for (let rank = 0; rank < numRanks; rank++) {
      if (isDead[rank] === 1) continue;
      for (let slot = 0; slot < slotsPerRank; slot++) {
        const expert = this.before(rank, slot);
        if (expert < 0) continue;
        const own = holders.get(expert);
        if (own === undefined) holders.set(expert, [{ rank, slot }]);
        else if (own.at(-1)!.rank !== rank) own.push({ rank, slot });
        else if (!this.isChanged(rank, slot)) own[own.length - 1] = { rank, slot };
      }
    }
    return holders;
  }
}
