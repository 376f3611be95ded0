import type { TransferSetting } from './options.ts';

/**
 * What the ranks need for one layer: each expert that a live rank is to have and does not have yet, once,
 * however many of its slots it is to fill. One is used for all layers; what it holds is of the last one read.
 */
export class LayerNeeds {
  /** Needs of experts that some live rank has: rank by rank, in the order of the slots. */
  count = 0;
  readonly experts: Int32Array;
  readonly targets: Int32Array;
  /** Needs of experts that none has: they come from the host. */
  hostCount = 0;
  readonly hostExperts: Int32Array;
  readonly hostTargets: Int32Array;
  /** Slots of live ranks whose expert changes, empty ones included. */
  changedSlots = 0;
  /** [slots]: the rank of each. */
  readonly rankOf: Int32Array;

  readonly #isDead: Uint8Array;
  readonly #numRanks: number;
  readonly #slotsPerRank: number;
  /** [experts]: the first slot with it, where a need asks for it; then by slot the next one, rank by rank. */
  readonly #firstHolder: Int32Array;
  readonly #nextHolder: Int32Array;
  /** [experts]: when it was last asked for, seen on a rank, and needed by a rank. */
  readonly #askedAt: Int32Array;
  readonly #seenAt: Int32Array;
  readonly #neededAt: Int32Array;
  #rankStamp = 0;
  #layerStamp = 0;

  constructor(setting: TransferSetting, numPhysicalExperts: number, numLogicalExperts: number) {
    const { numRanks, slotsPerRank, isDead } = setting;
    const slots = () => new Int32Array(numPhysicalExperts);
    const experts = () => new Int32Array(numLogicalExperts);
    this.#isDead = isDead;
    this.#numRanks = numRanks;
    this.#slotsPerRank = slotsPerRank;
    [this.experts, this.targets, this.hostExperts, this.hostTargets] = [slots(), slots(), slots(), slots()];
    this.rankOf = Int32Array.from({ length: numPhysicalExperts }, (_, slot) =>
      Math.floor(slot / slotsPerRank),
    );
    [this.#firstHolder, this.#nextHolder] = [experts(), slots()];
    [this.#askedAt, this.#seenAt, this.#neededAt] = [experts(), experts(), experts()];
  }

  /**
   * The first slot of a live rank that has the expert of a need, -1 when none has; each rank's only once, by
   * ascending ranks.
   */
  firstHolder(expert: number): number {
    return this.#firstHolder[expert]!;
  }

  /** The next one, -1 after the last. */
  nextHolder(slot: number): number {
    return this.#nextHolder[slot]!;
  }

  /** Reads a layer. @param before tables [layers x physical], of which the layer begins at `start` */
  read(before: Int32Array, after: Int32Array, start: number): void {
    this.count = 0;
    this.hostCount = 0;
    this.changedSlots = 0;
    this.#layerStamp++;
    for (let rank = 0; rank < this.#numRanks; rank++) {
      if (this.#isDead[rank] === 0) this.#readRank(before, after, start + rank * this.#slotsPerRank, rank);
    }
    if (this.count === 0) return;
    this.#findHolders(before, start);
    this.#splitHostLoads();
  }

  #readRank(before: Int32Array, after: Int32Array, first: number, rank: number): void {
    const end = first + this.#slotsPerRank;
    let at = first;
    while (at < end && before[at] === after[at]) at++;
    if (at === end) return;
    const stamp = ++this.#rankStamp;
    for (let i = first; i < end; i++) if (before[i]! >= 0) this.#seenAt[before[i]!] = stamp;
    for (; at < end; at++) {
      const expert = after[at]!;
      if (before[at] === expert) continue;
      this.changedSlots++;
      if (expert < 0 || this.#seenAt[expert] === stamp || this.#neededAt[expert] === stamp) continue;
      this.#neededAt[expert] = stamp;
      if (this.#askedAt[expert] !== this.#layerStamp) {
        this.#askedAt[expert] = this.#layerStamp;
        this.#firstHolder[expert] = -1;
      }
      this.experts[this.count] = expert;
      this.targets[this.count++] = rank;
    }
  }

  /** From the last slot to the first, so that each list begins with the lowest rank. */
  #findHolders(before: Int32Array, start: number): void {
    const { rankOf } = this;
    for (let slot = rankOf.length - 1; slot >= 0; slot--) {
      const expert = before[start + slot]!;
      if (expert < 0 || this.#askedAt[expert] !== this.#layerStamp) continue;
      const rank = rankOf[slot]!;
      if (this.#isDead[rank] === 1) continue;
      const first = this.#firstHolder[expert]!;
      if (first >= 0 && rankOf[first] === rank) continue;
      this.#nextHolder[slot] = first;
      this.#firstHolder[expert] = slot;
    }
  }

  #splitHostLoads(): void {
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      const expert = this.experts[i]!;
      if (this.#firstHolder[expert] === -1) {
        this.hostExperts[this.hostCount] = expert;
        this.hostTargets[this.hostCount++] = this.targets[i]!;
      } else {
        this.experts[kept] = expert;
        this.targets[kept++] = this.targets[i]!;
      }
    }
    this.count = kept;
  }
}
