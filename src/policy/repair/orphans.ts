/** A layer of a placement in which experts may have no copy left, and where they may be put. */
export interface DamagedLayer {
  /** [physical]: the expert of each slot, -1 when it is empty or lost; experts are put into it. */
  readonly slots: Int32Array;
  /** [logical] */
  readonly loads: Float32Array;
  /** [ranks]: the first so many slots of each rank may hold an expert; 0 for a dead rank. */
  readonly openSlots: readonly number[];
  /** [ranks]: what a rank takes is its load / speed. */
  readonly rankSpeed?: readonly number[] | undefined;
  /** `[ranks]`: what a shared expert adds to each rank, as a share of the layer's load. */
  readonly sharedLoad?: readonly number[] | undefined;
  /** Of pinned experts, their ranks: these copies stay where any other can be spared. */
  readonly pins?: ReadonlyMap<number, readonly number[]> | undefined;
}

/** An expert that has a copy again, and where. */
export interface PlacedOrphan {
  readonly expert: number;
  /** [physical] */
  readonly slot: number;
}

/**
 * Gives experts that have no copy left a slot each: an empty one, or that of a copy that its expert can
 * spare. The one with most load goes first. Each goes where the ranks whose load it changes stay lowest.
 *
 * One object works on layers of one size one after the other.
 */
export class OrphanPlacer {
  readonly #stride: number;
  /** [logical] */
  readonly #copies: Int32Array;
  /** [ranks] */
  readonly #rankLoads: Float64Array;
  readonly #rankSpeed: Float64Array;

  constructor(numLogicalExperts: number, numPhysicalExperts: number, numRanks: number) {
    this.#stride = numPhysicalExperts / numRanks;
    this.#copies = new Int32Array(numLogicalExperts);
    this.#rankLoads = new Float64Array(numRanks);
    this.#rankSpeed = new Float64Array(numRanks);
  }

  /**
   * Puts them into the layer's slots, of which there have to be as many open ones as experts.
   *
   * @returns in the order in which they were placed
   */
  place(layer: DamagedLayer): PlacedOrphan[] {
    const { loads, slots, rankSpeed } = layer;
    this.#rankSpeed.fill(1);
    if (rankSpeed !== undefined) this.#rankSpeed.set(rankSpeed);
    const copies = this.#copies.fill(0);
    for (const expert of slots) if (expert >= 0) copies[expert]!++;
    const orphans: number[] = [];
    for (let expert = 0; expert < copies.length; expert++) if (copies[expert] === 0) orphans.push(expert);
    if (orphans.length === 0) return [];
    orphans.sort((a, b) => loads[b]! - loads[a]! || a - b);
    this.#addUp(layer);
    const holders = holdersOf(slots, copies);
    return orphans.map((expert) => {
      const slot = this.#slotFor(layer, expert, holders);
      this.#put(layer, expert, slot, holders);
      return { expert, slot };
    });
  }

  #addUp({ slots, loads, sharedLoad }: DamagedLayer): void {
    const rankLoads = this.#rankLoads.fill(0);
    if (sharedLoad !== undefined) {
      const total = loads.reduce((sum, load) => sum + load, 0);
      rankLoads.set(sharedLoad.map((share) => share * total));
    }
    for (let slot = 0; slot < slots.length; slot++) {
      const expert = slots[slot]!;
      if (expert >= 0) rankLoads[Math.floor(slot / this.#stride)]! += loads[expert]! / this.#copies[expert]!;
    }
  }

  /** On a rank that it is pinned to if there is one, and of a copy that is not pinned itself. */
  #slotFor(layer: DamagedLayer, orphan: number, holders: Holders): number {
    const { pins } = layer;
    if (pins === undefined) return this.#bestSlot(layer, orphan, holders, () => true);
    const isPinned = (slot: number) =>
      pins.get(layer.slots[slot]!)?.includes(Math.floor(slot / this.#stride)) === true;
    const own = pins.get(orphan);
    const isOwn = (slot: number) => own?.includes(Math.floor(slot / this.#stride)) === true;
    const pinned = this.#bestSlot(layer, orphan, holders, (slot) => isOwn(slot) && !isPinned(slot));
    if (pinned >= 0) return pinned;
    const spare = this.#bestSlot(layer, orphan, holders, (slot) => !isPinned(slot));
    return spare >= 0 ? spare : this.#bestSlot(layer, orphan, holders, () => true);
  }

  #bestSlot(
    { slots, loads, openSlots }: DamagedLayer,
    orphan: number,
    holders: Holders,
    mayTake: (slot: number) => boolean,
  ): number {
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (let rank = 0; rank < openSlots.length; rank++) {
      const first = rank * this.#stride;
      for (let slot = first; slot < first + openSlots[rank]!; slot++) {
        const expert = slots[slot]!;
        if ((expert >= 0 && this.#copies[expert]! < 2) || !mayTake(slot)) continue;
        const highest = this.#highestAfter(rank, expert, loads, loads[orphan]!, holders);
        if (highest >= least) continue;
        best = slot;
        least = highest;
      }
    }
    return best;
  }

  /**
   * The longest that a rank takes of those that change when a slot of `rank` holds `load` in place of an
   * expert.
   */
  #highestAfter(rank: number, expert: number, loads: Float32Array, load: number, holders: Holders): number {
    const rankLoads = this.#rankLoads;
    const speed = this.#rankSpeed;
    if (expert < 0) return (rankLoads[rank]! + load) / speed[rank]!;
    const copies = this.#copies[expert]!;
    const before = loads[expert]! / copies;
    const more = loads[expert]! / (copies - 1) - before;
    let onRank = -1;
    let highest = 0;
    // A rank that has several copies comes several times: its load is right at the last of them.
    const owners = holders.get(expert)!;
    for (let i = 0; i < owners.length; i++) {
      const owner = Math.floor(owners[i]! / this.#stride);
      if (owner === rank) {
        onRank++;
        continue;
      }
      let own = rankLoads[owner]!;
      for (let j = 0; j < owners.length; j++)
        if (Math.floor(owners[j]! / this.#stride) === owner) own += more;
      highest = Math.max(highest, own / speed[owner]!);
    }
    const own = rankLoads[rank]! - before + onRank * more + load;
    return Math.max(own / speed[rank]!, highest);
  }

  #put({ slots, loads }: DamagedLayer, orphan: number, slot: number, holders: Holders): void {
    const lost = slots[slot]!;
    const rankLoads = this.#rankLoads;
    if (lost >= 0) {
      const before = loads[lost]! / this.#copies[lost]!;
      const owners = holders.get(lost)!;
      for (const owner of owners) rankLoads[Math.floor(owner / this.#stride)]! -= before;
      owners.splice(owners.indexOf(slot), 1);
      this.#copies[lost]!--;
      const after = loads[lost]! / this.#copies[lost]!;
      for (const owner of owners) rankLoads[Math.floor(owner / this.#stride)]! += after;
    }
    slots[slot] = orphan;
    this.#copies[orphan] = 1;
    rankLoads[Math.floor(slot / this.#stride)]! += loads[orphan]!;
  }
}

/** The slots of experts that have several. */
type Holders = Map<number, number[]>;

function holdersOf(slots: Int32Array, copies: Int32Array): Holders {
  const holders: Holders = new Map();
  for (let slot = 0; slot < slots.length; slot++) {
    const expert = slots[slot]!;
    if (expert < 0 || copies[expert]! < 2) continue;
    const own = holders.get(expert);
    if (own === undefined) holders.set(expert, [slot]);
    else own.push(slot);
  }
  return holders;
}
