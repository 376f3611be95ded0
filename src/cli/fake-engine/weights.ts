import type { ExpertMapping } from '../../index.ts';
import { tablesOf } from '../../mapping/expert-mapping.ts';

/** Sizes of the weights that a rank keeps. */
export interface WeightSizes {
  readonly numLayers: number;
  readonly slotsPerRank: number;
  readonly expertBytes: number;
}

/**
 * The weights of an expert, as its checkpoint has them: bytes that are those of no other expert of any layer,
 * and the same each time.
 */
export function checkpointOf(layer: number, expert: number, into: Buffer): Buffer {
  // xorshift32 from a seed that no two experts share: layers and experts are fewer than 2 ** 16 each here.
  let state = (Math.imul(layer + 1, 0x9e3779b1) ^ Math.imul(expert + 1, 0x85ebca6b)) >>> 0 || 1;
  into.writeUInt32LE(layer, 0);
  into.writeUInt32LE(expert, 4);
  for (let at = 8; at < into.length; at++) {
    if (at % 4 === 0) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
    }
    into[at] = state >>> (8 * (at % 4));
  }
  return into;
}

/**
 * What a rank has in its memory: a buffer of bytes for each slot of each layer, and for what it receives
 * further ones beside them, numbered on from the slots.
 */
export class WeightStore {
  readonly #sizes: WeightSizes;
  /** [layers] of [slots x bytes] */
  readonly #slots: readonly Buffer[];
  readonly #beside = new Map<number, Map<number, Buffer>>();

  constructor(sizes: WeightSizes) {
    this.#sizes = sizes;
    const bytes = sizes.slotsPerRank * sizes.expertBytes;
    this.#slots = Array.from({ length: sizes.numLayers }, () => Buffer.alloc(bytes));
  }

  /** The memory of a slot, or of a buffer beside the slots, which is made if need be: no copy. */
  at(layer: number, slot: number): Buffer {
    const { slotsPerRank, expertBytes } = this.#sizes;
    if (slot < slotsPerRank) {
      return this.#slots[layer]!.subarray(slot * expertBytes, (slot + 1) * expertBytes);
    }
    const beside = this.#beside.get(layer) ?? new Map<number, Buffer>();
    this.#beside.set(layer, beside);
    const buffer = beside.get(slot) ?? Buffer.alloc(expertBytes);
    beside.set(slot, buffer);
    return buffer;
  }

  /** Lets go of the buffers beside the slots. */
  dropBuffers(): void {
    this.#beside.clear();
  }

  /** Loads what a mapping has on a rank from the checkpoint. @returns how many experts */
  load(mapping: ExpertMapping, rank: number): number {
    let numLoaded = 0;
    this.#eachSlot(mapping, rank, (layer, slot, expert) => {
      const memory = this.at(layer, slot);
      if (expert < 0) memory.fill(0);
      else {
        checkpointOf(layer, expert, memory);
        numLoaded++;
      }
    });
    return numLoaded;
  }

  /** Compares every slot, byte by byte, with what a mapping has there. @returns which are wrong */
  verify(
    mapping: ExpertMapping,
    rank: number,
  ): { readonly numSlots: number; readonly wrong: readonly string[] } {
    const wanted = Buffer.alloc(this.#sizes.expertBytes);
    const wrong: string[] = [];
    let numSlots = 0;
    this.#eachSlot(mapping, rank, (layer, slot, expert) => {
      if (expert < 0) wanted.fill(0);
      else checkpointOf(layer, expert, wanted);
      numSlots++;
      if (!this.at(layer, slot).equals(wanted)) wrong.push(`layer ${layer}, slot ${slot}, expert ${expert}`);
    });
    return { numSlots, wrong };
  }

  #eachSlot(
    mapping: ExpertMapping,
    rank: number,
    visit: (layer: number, slot: number, expert: number) => void,
  ): void {
    const { phyToLog, numPhysicalExperts } = tablesOf(mapping);
    const { numLayers, slotsPerRank } = this.#sizes;
    for (let layer = 0; layer < numLayers; layer++) {
      const first = layer * numPhysicalExperts + rank * slotsPerRank;
      for (let slot = 0; slot < slotsPerRank; slot++) visit(layer, slot, phyToLog[first + slot]!);
    }
  }
}
